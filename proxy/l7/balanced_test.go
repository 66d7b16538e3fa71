package l7_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outrigger-mesh/outrigger/balance"
	"github.com/outrigger-mesh/outrigger/discover"
	"github.com/outrigger-mesh/outrigger/proxy/l7"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// balanced returns a balanced service over endpoints on ports 1, 2 …, which serve
// as svc says.
func balanced(t *testing.T, n int, svc func(port uint16) stack.Service) (stack.Service, *balance.Balancer[stack.Service]) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	b := balance.New(ctx, balance.Config{Name: "web.test:80", DefaultRTT: time.Millisecond, Decay: time.Second, FailFast: time.Second, Capacity: 10},
		func(_ context.Context, e discover.Endpoint, _ func()) (stack.Service, func() bool) {
			return svc(e.Addr.Port()), nil
		})
	set := discover.Set{Exists: true}
	for port := range uint16(n) {
		set.Endpoints = append(set.Endpoints, discover.Endpoint{Addr: netip.AddrPortFrom(netip.IPv6Loopback(), port+1), Weight: 1})
	}
	b.Update(set)
	return l7.Balanced(b), b
}

func pending(b *balance.Balancer[stack.Service]) (n uint64) {
	for _, e := range b.View().Endpoints {
		n += e.Pending
	}
	return n
}

func TestBalancedCountsToTheBodysEnd(t *testing.T) {
	svc, b := balanced(t, 1, func(uint16) stack.Service { return hello })
	resp, err := svc(t.Context(), request())
	if err != nil || pending(b) != 1 {
		t.Fatalf("%v, %d pending; want 1", err, pending(b))
	}
	_, _ = resp.Body.Next(t.Context())
	if pending(b) != 0 {
		t.Errorf("%d pending after the end", pending(b))
	}
}

func TestBalancedGoesElsewhereIfNothingWasSent(t *testing.T) {
	unsent := fmt.Errorf("%w: refused", stack.ErrUnsent)
	for name, tt := range map[string]struct {
		endpoints int
		err       error // of the endpoint on port 1
		fails     bool
	}{
		"another endpoint":                   {2, unsent, false},
		"no other":                           {1, unsent, true},
		"the request may have been executed": {2, errDown, true},
	} {
		t.Run(name, func(t *testing.T) {
			tried := map[uint16]int{}
			svc, b := balanced(t, tt.endpoints, func(port uint16) stack.Service {
				return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
					tried[port]++
					if port == 1 {
						return nil, tt.err
					}
					return hello(ctx, r)
				}
			})
			failed := 0
			for range 50 {
				resp, err := svc(t.Context(), request())
				if err != nil {
					failed++
					if !errors.Is(err, tt.err) {
						t.Fatalf("failed with %v, want the first failure", err)
					}
					continue
				}
				_, _ = resp.Body.Next(t.Context())
			}
			if (failed > 0) != tt.fails || tried[1] == 0 {
				t.Errorf("%d of 50 failed; tried %v", failed, tried)
			}
			if pending(b) != 0 {
				t.Errorf("%d still pending", pending(b))
			}
		})
	}
}

func TestBalancedWaitsNoLongerThanFailFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc, _ := balanced(t, 0, nil)
		begun := time.Now()
		_, err := svc(t.Context(), request())
		if !errors.Is(err, balance.ErrFailFast) || time.Since(begun) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		if _, err = svc(t.Context(), request()); !errors.Is(err, balance.ErrUnavailable) {
			t.Errorf("then %v", err)
		}
	})
}
