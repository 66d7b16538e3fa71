package balance_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outrigger-mesh/outrigger/balance"
	"github.com/outrigger-mesh/outrigger/discover"
)

func cancellable(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithCancel(t.Context())
}

// picked is what a Pick returned, and after how long.
type picked struct {
	o     *origin
	err   error
	after time.Duration
}

// picks begins n picks in order and returns a function that awaits them.
func picks(ctx context.Context, b *balance.Balancer[*origin], n int) func() []picked {
	var wg sync.WaitGroup
	got := make([]picked, n)
	for i := range got {
		wg.Go(func() {
			start := time.Now()
			o, call, err := b.Pick(ctx, balance.Hint{})
			got[i] = picked{o, err, time.Since(start)}
			call.End(balance.Outcome{})
		})
		synctest.Wait()
	}
	return func() []picked { wg.Wait(); return got }
}

func all(t *testing.T, got []picked, err error, after time.Duration) {
	t.Helper()
	for i, g := range got {
		if !errors.Is(g.err, err) || g.after != after {
			t.Errorf("pick %d: %v after %v; want %v after %v", i, g.err, g.after, err, after)
		}
	}
}

func TestPickWaitsFor(t *testing.T) {
	for _, c := range []struct {
		name  string
		first *discover.Set
		then  func(*balance.Balancer[*origin], *origins)
	}{
		{"the first set", nil, func(b *balance.Balancer[*origin], _ *origins) { b.Update(ports(1)) }},
		{"an endpoint", &discover.Set{}, func(b *balance.Balancer[*origin], _ *origins) { b.Update(ports(1)) }},
		{"readiness", new(ports(7)), func(_ *balance.Balancer[*origin], os *origins) { os.of(7)[0].set(true) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, os := fleet(t, config(), func(o *origin) { o.down = o.of.Addr.Port() == 7 })
				if c.first != nil {
					b.Update(*c.first)
				}
				wait := picks(t.Context(), b, 3)
				if v := b.View(); v.Waiting != 3 || !v.Gate.Open || !b.Ready() {
					t.Errorf("waiting %d, gate %+v", v.Waiting, v.Gate)
				}
				time.Sleep(2 * time.Second)
				c.then(b, os)
				all(t, wait(), nil, 2*time.Second)
				if v := b.View(); v.Waiting != 0 || v.Waited != 3 {
					t.Errorf("waiting %d, waited %d", v.Waiting, v.Waited)
				}
			})
		})
	}
}

// An update that brings nothing ready does not end a wait, nor prolong it.
func TestUpdatesWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := fleet(t, config(), down)
		wait := picks(t.Context(), b, 2)
		for p := range uint16(10) {
			time.Sleep(failFast / 20)
			b.Update(ports(p))
		}
		all(t, wait(), balance.ErrFailFast, failFast)
	})
}

func TestFailFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, os := fleet(t, config(), down)
		b.Update(ports(1))
		open, shuts := b.Gate()

		early := picks(t.Context(), b, 2)
		time.Sleep(time.Second)
		late := picks(t.Context(), b, 2) // the time is the destination's, not the pick's
		all(t, early(), balance.ErrFailFast, failFast)
		all(t, late(), balance.ErrFailFast, failFast-time.Second)
		<-shuts
		shut, opens := b.Gate()
		if b.Ready() || shut.Open || shut.Shut != 1 || shut.Opened != 1 || shut.Since.Sub(open.Since) != failFast {
			t.Errorf("the gate was %+v and is %+v", open, shut)
		}
		all(t, picks(t.Context(), b, 2)(), balance.ErrUnavailable, 0)

		time.Sleep(time.Minute)
		os.of(1)[0].set(true)
		<-opens // without a Pick
		if g, _ := b.Gate(); !b.Ready() || g.Opened != 2 || g.Shut != 1 {
			t.Errorf("the gate is %+v", g)
		}
		all(t, picks(t.Context(), b, 2)(), nil, 0)

		os.of(1)[0].set(false)
		time.Sleep(time.Minute)
		if !b.Ready() {
			t.Error("failing fast though none has waited")
		}
		all(t, picks(t.Context(), b, 2)(), balance.ErrFailFast, failFast) // the whole time anew
	})
}

func TestFailFastInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, os := fleet(t, config(), down)
		b.Update(ports(1))
		for range 3 {
			wait := picks(t.Context(), b, 2)
			time.Sleep(failFast - 1)
			os.of(1)[0].set(true)
			all(t, wait(), nil, failFast-1)
			os.of(1)[0].set(false)
		}
		if g := b.View().Gate; g.Shut != 0 {
			t.Errorf("the gate shut %d times", g.Shut)
		}
	})
}

// Ready for a moment that no Pick saw is ready all the same.
func TestFailFastStartsAnewThoughNobodyWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, os := fleet(t, config(), down)
		b.Update(ports(1))
		ctx, cancel := cancellable(t)
		given := picks(ctx, b, 1)
		time.Sleep(time.Second)
		cancel()
		all(t, given(), context.Canceled, time.Second)
		os.of(1)[0].set(true)
		synctest.Wait()
		os.of(1)[0].set(false)
		all(t, picks(t.Context(), b, 1)(), balance.ErrFailFast, failFast)
	})
}

// Clients that are too impatient to wait for fail-fast bring it about none the
// less.
func TestFailFastStrikesThoughAllHaveGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := fleet(t, config(), down)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		all(t, picks(ctx, b, 2)(), context.DeadlineExceeded, time.Second)
		if v := b.View(); v.Waiting != 0 || !v.Gate.Open {
			t.Errorf("waiting %d, gate %+v", v.Waiting, v.Gate)
		}
		time.Sleep(failFast)
		all(t, picks(t.Context(), b, 1)(), balance.ErrUnavailable, 0)
	})
}

func TestUpdateWhileFailingFastRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := fleet(t, config(), func(o *origin) { o.down = o.of.Addr.Port() == 1 })
		b.Update(ports(1))
		picks(t.Context(), b, 1)()
		b.Update(ports(1, 3))
		if !b.Ready() {
			t.Error("failing fast with an endpoint ready")
		}
		all(t, picks(t.Context(), b, 1)(), nil, 0)
	})
}

func TestCapacity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, os := fleet(t, config(), down)
		b.Update(ports(1))
		ctx, cancel := cancellable(t)
		one := picks(ctx, b, 1)
		rest := picks(t.Context(), b, config().Capacity-1)
		all(t, picks(t.Context(), b, 3)(), balance.ErrQueueFull, 0)
		cancel() // which makes a place
		all(t, one(), context.Canceled, 0)
		more := picks(t.Context(), b, 1)
		all(t, picks(t.Context(), b, 1)(), balance.ErrQueueFull, 0)
		os.of(1)[0].set(true)
		all(t, append(rest(), more()...), nil, 0)
	})
}

func TestFailFastMayBeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config()
		c.FailFast = 0
		b, _ := fleet(t, c, nil)
		all(t, picks(t.Context(), b, 1)(), balance.ErrFailFast, 0)
		b.Update(ports(1))
		all(t, picks(t.Context(), b, 1)(), nil, 0)
	})
}

// An endpoint that comes up just when it has said no is found, though it came up
// while there seemed to be others: the roster from before was not empty yet.
func TestChangeWhileAskedIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		b := balance.New(t.Context(), config(), func(_ context.Context, _ discover.Endpoint, changed func()) (int, func() bool) {
			return 0, func() bool {
				asked++
				if asked == 9 { // the first time that a pick which has its place in the queue looks
					changed()
				}
				return asked > 9 || asked < 9 && asked%2 == 1 // ready whenever all are asked, not when it is picked
			}
		})
		b.Update(ports(1))
		start := time.Now()
		if _, _, err := b.Pick(t.Context(), balance.Hint{}); err != nil || time.Since(start) != 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// However often endpoints change while they are being asked, it takes a
// goroutine that asks and one that is about to.
func TestManyChangesTakeFewGoroutines(t *testing.T) {
	var hold atomic.Bool
	answer := make(chan struct{})
	var change func()
	b := balance.New(t.Context(), config(), func(_ context.Context, _ discover.Endpoint, changed func()) (int, func() bool) {
		change = changed
		return 0, func() bool {
			if hold.Load() {
				<-answer
			}
			return false
		}
	})
	b.Update(ports(1))
	hold.Store(true)
	before := runtime.NumGoroutine()
	for range 1000 {
		change()
		runtime.Gosched()
	}
	if got := runtime.NumGoroutine() - before; got > 3 {
		t.Errorf("%d goroutines", got)
	}
	close(answer)
}

func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := cancellable(t)
		os := &origins{born: down}
		b := balance.New(ctx, config(), os.build)
		b.Update(ports(1))
		wait := picks(t.Context(), b, 2)
		cancel()
		all(t, wait(), balance.ErrUnavailable, 0)
		all(t, picks(t.Context(), b, 2)(), balance.ErrUnavailable, 0)
		os.of(1)[0].set(true) // too late
		synctest.Wait()
		all(t, picks(t.Context(), b, 2)(), balance.ErrUnavailable, 0)
		if !os.of(1)[0].gone() || b.Ready() {
			t.Error("the endpoint or the balancer lives on")
		}
	})
}

func TestErrorsNameDestinationAndCause(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	for _, c := range []struct {
		name    string
		set     *discover.Set
		why     error
		cause   string
		unknown bool
	}{
		{"silent", nil, nil, "no answer from the control plane yet", false},
		{"unknown", &discover.Set{}, nil, "the control plane knows no such destination", true},
		{"empty", new(ports()), nil, "it has no endpoints", false},
		{"not ready", new(ports(1, 2)), nil, "2 endpoints, none ready", false},
		{"refused", new(ports(1)), refused, "1 endpoints, none ready: [::1]:1: dial tcp: connection refused", false},
		{"stale", &discover.Set{Exists: true, Stale: true, Endpoints: ports(1).Endpoints}, nil, "1 endpoints last known, none ready", false},
		{"deadline", new(ports(1)), context.DeadlineExceeded, "1 endpoints, none ready: [::1]:1: context deadline exceeded", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, _ := fleet(t, config(), func(o *origin) { o.down, o.why = true, c.why })
				if c.set != nil {
					b.Update(*c.set)
				}
				err := picks(t.Context(), b, 1)()[0].err
				want := `destination "web:80": no endpoint became ready in time: ` + c.cause
				if err.Error() != want {
					t.Errorf("%v\nwant %v", err, want)
				}
				if errors.Is(err, balance.ErrUnknown) != c.unknown || errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v is taken for another error", err)
				}
				later := picks(t.Context(), b, 1)()[0].err
				if want := `destination "web:80": failing fast, as no endpoint is ready: ` + c.cause; later.Error() != want {
					t.Errorf("%v\nwant %v", later, want)
				}
			})
		})
	}
}

func TestErrorQuotesTheName(t *testing.T) {
	c := config()
	c.Name, c.Capacity = "a\nb", 0
	b, _ := fleet(t, c, nil)
	_, _, err := b.Pick(t.Context(), balance.Hint{})
	if !errors.Is(err, balance.ErrQueueFull) || strings.Contains(err.Error(), "\n") {
		t.Errorf("err = %q", err)
	}
}
