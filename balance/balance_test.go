package balance_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outrigger-mesh/outrigger/balance"
	"github.com/outrigger-mesh/outrigger/discover"
)

// clients runs n clients, one request after the other each, until ctx ends, and
// returns how many each port got. took says how long its answers take.
func clients(ctx context.Context, b *balance.Balancer[*origin], n int, took func(port uint16) time.Duration) map[uint16]int {
	var wg sync.WaitGroup
	var mu sync.Mutex
	count := map[uint16]int{}
	for range n {
		wg.Go(func() {
			for ctx.Err() == nil {
				o, call, err := b.Pick(ctx, balance.Hint{})
				if err != nil {
					return
				}
				port := o.of.Addr.Port()
				mu.Lock()
				count[port]++
				mu.Unlock()
				time.Sleep(took(port))
				call.First()
				call.End(balance.Outcome{Status: 200})
			}
		})
	}
	wg.Wait()
	return count
}

func during(t *testing.T, d time.Duration, b *balance.Balancer[*origin], n int, took func(uint16) time.Duration) map[uint16]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	return clients(ctx, b, n, took)
}

// share returns what part of the work port had, or -1 if nobody had any.
func share(count map[uint16]int, port uint16) float64 {
	sum := 0
	for _, n := range count {
		sum += n
	}
	if sum == 0 {
		return -1
	}
	return float64(count[port]) / float64(sum)
}

func alike(uint16) time.Duration { return 10 * time.Millisecond }

func slow1(port uint16) time.Duration {
	if port == 1 {
		return 200 * time.Millisecond
	}
	return alike(port)
}

func TestSlowEndpointLosesItsShareAndRegainsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := fleet(t, config(), nil)
		b.Update(ports(1, 2, 3))
		for p := range uint16(3) {
			if got := share(during(t, 20*time.Second, b, 10, alike), p+1); math.Abs(got-1./3) > 0.03 {
				t.Errorf("%d has %.3f of the work while all are alike", p+1, got)
			}
		}
		during(t, 2*time.Second, b, 10, slow1)
		if got := share(during(t, 10*time.Second, b, 10, slow1), 1); got < 0 || got > 0.1 {
			t.Errorf("the slow one has %.3f of the work after two seconds", got)
		}
		during(t, time.Minute, b, 10, alike)
		if got := share(during(t, time.Minute, b, 10, alike), 1); math.Abs(got-1./3) > 0.03 {
			t.Errorf("it has %.3f of the work when it has recovered", got)
		}
	})
}

// Weights are followed by one client at a time and by many. The tolerance is
// relative: of a share of a tenth, 5 % is half a hundredth.
func TestPicksFollowWeights(t *testing.T) {
	for _, n := range []int{1, 100} {
		synctest.Test(t, func(t *testing.T) {
			b, _ := fleet(t, config(), nil)
			s := ports(0, 1, 2, 3, 4)
			for i := range s.Endpoints {
				s.Endpoints[i].Weight = uint32(i) // 0 gets nothing
			}
			b.Update(s)
			count := during(t, 1000*time.Second/time.Duration(n), b, n, alike)
			for p := range uint16(5) {
				if got, want := share(count, p), float64(p)/10; math.Abs(got-want) > 0.05*want {
					t.Errorf("%d clients: %d has %.4f of the work, want %.4f", n, p, got, want)
				}
			}
		})
	}
}

func TestWeightsDoNotSaveTheSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := fleet(t, config(), nil)
		s := ports(1, 2)
		s.Endpoints[0].Weight *= 3
		b.Update(s)
		during(t, 2*time.Second, b, 10, slow1)
		if got := share(during(t, 10*time.Second, b, 10, slow1), 1); got < 0 || got > 0.1 {
			t.Errorf("the slow one has %.3f of the work", got)
		}
	})
}

func TestWeightZeroIsForWhenAllHaveIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, os := fleet(t, config(), nil)
		s := ports(1, 2)
		s.Endpoints[0].Weight = 0
		b.Update(s)
		os.of(2)[0].set(false)
		if _, _, err := b.Pick(t.Context(), balance.Hint{}); !errors.Is(err, balance.ErrFailFast) {
			t.Errorf("err = %v, want no pick of an endpoint that is to have none", err)
		}
		s = ports(1, 3)
		s.Endpoints[0].Weight, s.Endpoints[1].Weight = 0, 0
		b.Update(s)
		during(t, time.Minute, b, 1, alike) // until the new one has been found to be as fast
		if got := share(during(t, time.Minute, b, 1, alike), 1); math.Abs(got-0.5) > 0.05 {
			t.Errorf("%.3f of the work, want half", got)
		}
	})
}

// A stream that is open is load, though its first data has long come.
func TestOpenStreamsCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := fleet(t, config(), nil)
		b.Update(ports(1, 2))
		for range 100 {
			_, call := pick(t, b)
			time.Sleep(time.Millisecond)
			call.First()
		}
		for p := range uint16(2) {
			if got := view(t, b, p+1).Pending; got < 40 || got > 60 {
				t.Errorf("%d has %d of 100 streams", p+1, got)
			}
		}
	})
}

// An endpoint that refuses at once is not fast, and does not draw the work.
func TestFailuresAreNotFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := fleet(t, config(), nil)
		b.Update(ports(1, 2))
		during(t, 10*time.Second, b, 1, alike)
		n := 0
		for range 10000 {
			o, call := pick(t, b)
			if o.of.Addr.Port() == 1 {
				n++
				call.End(balance.Outcome{Err: errors.New("connection refused"), GRPC: -1})
				continue
			}
			time.Sleep(10 * time.Millisecond)
			call.First()
			call.End(balance.Outcome{Status: 200})
		}
		if n > 6000 {
			t.Errorf("the refusing endpoint was picked %d times of 10000", n)
		}
	})
}

func TestCallCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := fleet(t, config(), nil)
		b.Update(ports(1))
		_, call := pick(t, b)
		if e := view(t, b, 1); e.Pending != 1 || e.Picks != 1 || math.Abs(e.Load-2*rtt.Seconds()) > 1e-6 {
			t.Errorf("in hand: %+v", e)
		}
		time.Sleep(time.Second)
		call.First()
		time.Sleep(time.Second)
		call.First()
		want := time.Duration(float64(time.Second) * math.Exp(-0.1))
		if got := view(t, b, 1).RTT; (got - want).Abs() > time.Microsecond {
			t.Errorf("estimate %v, want a second's, faded for one: %v", got, want)
		}
		call.End(balance.Outcome{})
		call.First()
		_, second := pick(t, b)
		call.End(balance.Outcome{})
		if got := view(t, b, 1).Pending; got != 1 {
			t.Errorf("pending %d, want the second alone", got)
		}
		second.End(balance.Outcome{Err: context.Canceled})
		e := view(t, b, 1)
		if e.Pending != 0 || call.Endpoint() != at(1) {
			t.Errorf("pending %d, endpoint %v", e.Pending, call.Endpoint())
		}
		var zero balance.Call
		zero.First()
		zero.End(balance.Outcome{})
		if zero.Endpoint() != (discover.Endpoint{}) {
			t.Error("the zero Call has an endpoint")
		}
	})
}

func TestPickPassesOverTheUnready(t *testing.T) {
	b, os := fleet(t, config(), func(o *origin) { o.down = o.of.Addr.Port() != 4 })
	b.Update(ports(1, 2, 3, 4))
	for range 100 {
		if o, _ := pick(t, b); o.of.Addr.Port() != 4 {
			t.Fatalf("picked %v, which is not ready", o.of.Addr)
		}
	}
	os.of(2)[0].set(true)
	os.of(4)[0].set(false)
	for range 100 {
		if o, _ := pick(t, b); o.of.Addr.Port() != 2 {
			t.Fatalf("picked %v, which is not ready", o.of.Addr)
		}
	}
}

// An endpoint that has not yet come to say that it is not ready is not picked
// either.
func TestPickAsksAgain(t *testing.T) {
	b, os := fleet(t, config(), nil)
	b.Update(ports(1, 2, 3))
	for _, p := range []uint16{1, 3} {
		o := os.of(p)[0]
		o.mu.Lock()
		o.down = true
		o.mu.Unlock()
	}
	for range 100 {
		if o, _ := pick(t, b); o.of.Addr.Port() != 2 {
			t.Fatalf("picked %v, which is not ready", o.of.Addr)
		}
	}
}

// However many endpoints there are and however few are ready, a Pick asks none
// but the one that it takes.
func TestPickAsksOne(t *testing.T) {
	asked := 0
	b := balance.New(t.Context(), config(), func(_ context.Context, e discover.Endpoint, _ func()) (int, func() bool) {
		return 0, func() bool { asked++; return e.Weight%1000 == 0 }
	})
	s := many(10000, false)
	for i := range s.Endpoints {
		s.Endpoints[i].Weight = uint32(i + 1)
	}
	b.Update(s)
	if asked != len(s.Endpoints) {
		t.Errorf("Update asked %d times", asked)
	}
	asked = 0
	for range 1000 {
		_, call, err := b.Pick(t.Context(), balance.Hint{})
		if err != nil {
			t.Fatal(err)
		}
		call.End(balance.Outcome{})
	}
	if asked != 1000 {
		t.Errorf("1000 picks asked %d times", asked)
	}
}

func TestPickHeedsTheHint(t *testing.T) {
	b, _ := fleet(t, config(), nil)
	b.Update(ports(1, 2, 3))
	for range 100 {
		o, _, err := b.Pick(t.Context(), balance.Hint{Avoid: []discover.Key{at(1).Key(), at(3).Key()}})
		if err != nil || o.of.Addr.Port() != 2 {
			t.Fatalf("picked %v, %v; want 2", o.of.Addr, err)
		}
	}
}

// Everything at once, for the race detector; and at the end the sums are right.
func TestEverythingAtOnce(t *testing.T) {
	b, os := fleet(t, config(), nil)
	b.Update(ports(1, 2, 3))
	var clients, rest sync.WaitGroup
	stop := make(chan struct{})
	every := func(do func(i int)) {
		rest.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					do(i)
				}
			}
		})
	}
	every(func(i int) {
		s := ports(1, 2, 3+uint16(i%5))
		s.Endpoints[1].Weight = uint32(i % 3)
		s.Endpoints[2].Hint = discover.Hint(i % 2)
		b.Update(s)
	})
	every(func(i int) {
		for _, o := range os.of(3 + uint16(i%5)) {
			o.set(i%3 == 0)
		}
	})
	every(func(int) { b.View() })
	for range 8 {
		clients.Go(func() {
			for i := range 300 {
				_, call, err := b.Pick(t.Context(), balance.Hint{Avoid: []discover.Key{at(uint16(i % 4)).Key()}[:i%2]})
				if err != nil {
					t.Error(err)
					return
				}
				var both sync.WaitGroup
				both.Go(call.First)
				call.End(balance.Outcome{})
				both.Wait()
			}
		})
	}
	clients.Wait()
	close(stop)
	rest.Wait()
	for _, e := range b.View().Endpoints {
		if e.Pending != 0 {
			t.Errorf("%v has %d pending after the end", e.Endpoint.Addr, e.Pending)
		}
	}
}
