package balance_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"github.com/outrigger-mesh/outrigger/balance"
	"github.com/outrigger-mesh/outrigger/discover"
)

// many returns n endpoints, whose weights differ if weighed.
func many(n int, weighed bool) discover.Set {
	s := discover.Set{Exists: true}
	a := netip.MustParseAddr("fd00::")
	for i := range n {
		a = a.Next()
		e := discover.Endpoint{Addr: netip.AddrPortFrom(a, 80), Weight: 10000}
		if weighed {
			e.Weight += uint32(i % 7)
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return s
}

func always(context.Context, discover.Endpoint, func()) (int, func() bool) { return 0, nil }

func exchange(ctx context.Context, b *balance.Balancer[int], h balance.Hint) {
	_, call, _ := b.Pick(ctx, h)
	call.First()
	call.End(balance.Outcome{Status: 200})
}

func TestPickAllocatesNothing(t *testing.T) {
	ctx := t.Context()
	for _, n := range []int{1, 2, 100} {
		for _, weighed := range []bool{false, true} {
			b := balance.New(ctx, config(), always)
			s := many(n, weighed)
			b.Update(s)
			for _, h := range []balance.Hint{{}, {Avoid: []discover.Key{s.Endpoints[0].Key()}}} {
				if got := testing.AllocsPerRun(1000, func() { exchange(ctx, b, h) }); got != 0 {
					t.Errorf("%d endpoints, weighed: %v, avoiding %d: %v allocations", n, weighed, len(h.Avoid), got)
				}
			}
		}
	}
}

func BenchmarkPick(b *testing.B) {
	for _, n := range []int{1, 8, 10000} {
		for _, weighed := range []bool{false, true} {
			b.Run(fmt.Sprintf("endpoints=%d/weighed=%v", n, weighed), func(b *testing.B) {
				ctx := b.Context()
				bal := balance.New(ctx, config(), always)
				bal.Update(many(n, weighed))
				b.ReportAllocs()
				for b.Loop() {
					exchange(ctx, bal, balance.Hint{})
				}
			})
		}
	}
}

func BenchmarkPickParallel(b *testing.B) {
	ctx := b.Context()
	bal := balance.New(ctx, config(), always)
	bal.Update(many(8, false))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			exchange(ctx, bal, balance.Hint{})
		}
	})
}

func BenchmarkUpdate(b *testing.B) {
	bal := balance.New(b.Context(), config(), always)
	sets := [2]discover.Set{many(10000, false), many(10000, true)}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		bal.Update(sets[i%2])
	}
}
