package proxy

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outrigger-mesh/outrigger/discover"
	"github.com/outrigger-mesh/outrigger/profiles"
	"github.com/outrigger-mesh/outrigger/proxy/l7/h2"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// TestBackendsOutliveTheirRoutes: a request that found its route before a change
// may still be about to use a backend that no route names any more.
func TestBackendsOutliveTheirRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		built := map[string][]context.Context{}
		bs := newBackends(t.Context(), time.Minute, func(ctx context.Context, b profiles.Backend) (string, func() bool) {
			built[b.Name] = append(built[b.Name], ctx)
			return b.Name, always
		})
		a, b := profiles.Backend{Name: "a"}, profiles.Backend{Name: "b"}
		bs.of(a)
		bs.of(b)
		bs.sweep()
		bs.of(a)
		bs.sweep()
		if len(built["a"]) != 1 {
			t.Errorf("a was built %d times, want once: it has stayed", len(built["a"]))
		}
		time.Sleep(59 * time.Second)
		if built["b"][0].Err() != nil {
			t.Error("b ended before the requests that may still use it")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if built["b"][0].Err() == nil || built["a"][0].Err() != nil {
			t.Errorf("after the time: b %v, want an end; a %v, want none", built["b"][0].Err(), built["a"][0].Err())
		}
		if bs.of(b); len(built["b"]) != 2 {
			t.Errorf("b was built %d times, want anew", len(built["b"]))
		}
	})
}

// TestPeersAreShared: who reaches the same endpoint shares its connections, however
// it weighs or labels it, until the last has gone.
func TestPeersAreShared(t *testing.T) { synctest.Test(t, testPeersAreShared) }

func testPeersAreShared(t *testing.T) {
	ps := &peers{http2: func(discover.HTTP2Params) h2.Params { return h2.Params{} }, dial: func(discover.Endpoint) stack.Dialer { return nil }}
	e := discover.Endpoint{Weight: 1, Labels: discover.NewLabels(map[string]string{"pod": "web-1"})}
	other := e
	other.Weight, other.Zone, other.Labels = 2, discover.ZoneLocal, ""
	hinted := e
	hinted.Hint = discover.HTTP2
	one, endOne := context.WithCancel(t.Context())
	two, endTwo := context.WithCancel(t.Context())
	pool := ps.client(one, e, nil)
	if ps.client(two, other, nil) != pool {
		t.Error("a changed weight, zone or label costs the connections")
	}
	if ps.client(two, hinted, nil) == pool {
		t.Error("a changed hint shares the connections")
	}
	endOne()
	endTwo()
	synctest.Wait() // what leaves does so on goroutines of its own
	if n := ps.usersOf(e); n != 0 {
		t.Errorf("%d share it after all have left", n)
	}
	three, endThree := context.WithCancel(t.Context())
	if ps.client(three, e, nil) == pool {
		t.Error("a peer that nobody used is used again")
	}
	endThree()
	synctest.Wait()
}

// usersOf returns how many share e's connections.
func (ps *peers) usersOf(e discover.Endpoint) int {
	e.Weight, e.Zone, e.Labels = 0, 0, ""
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.held[e]; p != nil {
		return len(p.users)
	}
	return 0
}
