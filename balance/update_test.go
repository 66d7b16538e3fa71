package balance_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/outrigger-mesh/outrigger/balance"
	"github.com/outrigger-mesh/outrigger/discover"
)

// What a change of the set does to the service of port 1, which has an estimate
// of a second and a call in hand.
func TestUpdateKeepsWhatItCan(t *testing.T) {
	with := func(change func(*discover.Endpoint)) discover.Set {
		e := at(1)
		change(&e)
		return set(e, at(2))
	}
	for _, c := range []struct {
		name          string
		next          discover.Set
		built         int  // services for port 1 in all
		gone          bool // the first service's context has ended
		kept, updated bool // its estimate; the count of updates
	}{
		{"same", ports(1, 2), 1, false, true, false},
		{"other order", ports(2, 1), 1, false, true, false},
		{"one more", ports(1, 2, 3), 1, false, true, true},
		{"twice", ports(1, 1, 2), 1, false, true, false},
		{"weight", with(func(e *discover.Endpoint) { e.Weight = 1 }), 1, false, true, true},
		{"zone", with(func(e *discover.Endpoint) { e.Zone = discover.ZoneLocal }), 1, false, true, true},
		{"labels", with(func(e *discover.Endpoint) { e.Labels = discover.NewLabels(map[string]string{"a": "b"}) }), 1, false, true, true},
		{"hint", with(func(e *discover.Endpoint) { e.Hint = discover.HTTP2 }), 2, true, true, true},
		{"inbound port", with(func(e *discover.Endpoint) { e.InboundPort = 4143 }), 2, true, true, true},
		{"identity", with(func(e *discover.Endpoint) { e.ID = other }), 2, true, false, true},
		{"missing", ports(2), 1, true, false, true},
		{"none", ports(), 1, true, false, true},
		{"unknown", discover.Set{}, 1, true, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, os := fleet(t, config(), nil)
				b.Update(ports(1))
				_, slow := pick(t, b)
				time.Sleep(time.Second)
				slow.First()
				b.Update(ports(1, 2))
				before := b.View().Updates

				b.Update(c.next)
				if got := b.View().Updates; got > before != c.updated {
					t.Errorf("%d updates after %d", got, before)
				}
				built := os.of(1)
				if len(built) != c.built || built[0].gone() != c.gone {
					t.Errorf("built %d, the first gone: %v; want %d, %v", len(built), built[0].gone(), c.built, c.gone)
				}
				if len(b.View().Endpoints) != 0 && c.kept {
					if e := view(t, b, 1); e.RTT < time.Second-1 || e.Pending != 1 {
						t.Errorf("estimate %v, pending %d; want 1s, 1", e.RTT, e.Pending)
					}
				}
				slow.End(balance.Outcome{}) // wherever its endpoint is
				if c.kept {
					if e := view(t, b, 1); e.Pending != 0 {
						t.Errorf("pending %d after the end", e.Pending)
					}
				}
			})
		})
	}
}

func TestUpdateForgetsTheEstimateOfAnotherIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := fleet(t, config(), nil)
		b.Update(ports(1))
		_, call := pick(t, b)
		time.Sleep(time.Second)
		call.End(balance.Outcome{})
		e := at(1)
		e.ID = other
		b.Update(set(e))
		if got := view(t, b, 1).RTT; (got - rtt).Abs() > 1 {
			t.Errorf("estimate %v, want a new endpoint's %v", got, rtt)
		}
	})
}

// A rebuilt service may have to connect first. Until it has, the old one serves.
func TestOldServiceServesUntilTheNewIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := true
		b, os := fleet(t, config(), func(o *origin) { o.down, first = !first, false })
		b.Update(ports(1))
		hinted := at(1)
		for _, hint := range []discover.Hint{discover.HTTP2, discover.Opaque} { // the second before the first is ready
			hinted.Hint = hint
			b.Update(set(hinted))
			hinted.Weight++
			b.Update(set(hinted)) // and this changes nothing of it
			if o, _ := pick(t, b); o != os.of(1)[0] || o.gone() {
				t.Fatalf("hint %d: picked a service with hint %d, gone: %v; want the old one", hint, o.of.Hint, o.gone())
			}
		}
		built := os.of(1)
		if len(built) != 3 || !built[1].gone() || built[2].gone() {
			t.Fatalf("built %d; want 3, of which the second is gone and the third not", len(built))
		}
		built[2].set(true)
		if o, _ := pick(t, b); o != built[2] {
			t.Errorf("picked a service with hint %d; want the new one, which is ready", o.of.Hint)
		}
		if !built[0].gone() {
			t.Error("the old service is not told that it is gone")
		}
		b.Update(ports())
		if !built[2].gone() {
			t.Error("the new service is not told that it is gone")
		}
	})
}

// Both the waiting and the one it waits for end when the endpoint is gone.
func TestEvictionEndsOldAndNewService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := true
		b, os := fleet(t, config(), func(o *origin) { o.down, first = !first, false })
		b.Update(ports(1))
		hinted := at(1)
		hinted.Hint = discover.HTTP2
		b.Update(set(hinted))
		b.Update(ports(2))
		for i, o := range os.of(1) {
			if !o.gone() {
				t.Errorf("service %d is not told that it is gone", i)
			}
		}
	})
}

func TestUpdateAfterTheEndBuildsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := cancellable(t)
		os := &origins{}
		b := balance.New(ctx, config(), os.build)
		cancel()
		b.Update(ports(1))
		if len(os.of(1)) != 0 {
			t.Error("built a service that nobody will end")
		}
	})
}
