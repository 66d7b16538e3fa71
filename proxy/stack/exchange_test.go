package stack_test

import (
	"context"
	"errors"
	"testing"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

var errGone = errors.New("gone")

type told struct{ n int }

func (t *told) Interrupt() { t.n++ }

func TestExchangeInterruptsWhoWaits(t *testing.T) {
	var x stack.Exchange
	x.Begin()
	var many [8]told
	var watches []stack.Watch
	for i := range many {
		watches = append(watches, stack.WatchFor(&x, &many[i]))
	}
	if !watches[0].Stop() || !watches[7].Stop() {
		t.Error("a watch was over before the exchange")
	}
	x.End(errGone)
	x.End(errors.New("again"))
	for i := range many {
		want := 1
		if i == 0 || i == 7 {
			want = 0
		}
		if many[i].n != want {
			t.Errorf("waiter %d told %d times, want %d", i, many[i].n, want)
		}
	}
	if watches[1].Stop() {
		t.Error("a watch that was told says that it was not")
	}
	var late told
	stack.WatchFor(&x, &late)
	if late.n != 1 {
		t.Error("who comes after the end is not told")
	}
}

func TestExchangeIsAContext(t *testing.T) {
	var x stack.Exchange
	x.Begin()
	ctx, cancel := context.WithCancel(&x)
	defer cancel()
	if stack.ExchangeOf(ctx) != &x || stack.ExchangeOf(t.Context()) != nil {
		t.Error("ExchangeOf does not find the exchange")
	}
	select {
	case <-ctx.Done():
		t.Fatal("done before its end")
	default:
	}
	x.End(errGone)
	<-ctx.Done()
	<-x.Done()
	if !errors.Is(context.Cause(ctx), errGone) || !errors.Is(context.Cause(&x), errGone) {
		t.Errorf("causes %v, %v", context.Cause(ctx), context.Cause(&x))
	}
	if x.Begin() {
		t.Error("began anew while a context that was not canceled may still ask why it ended")
	}
	var y stack.Exchange
	derived, cancelDerived := context.WithCancel(&y)
	cancelDerived()
	<-derived.Done()
	y.End(errGone)
	if !y.Begin() || y.Err() != nil {
		t.Error("not begun anew")
	}
}

func TestWaitingFlushes(t *testing.T) {
	flushed := 0
	x := stack.Exchange{Flush: func() { flushed++ }}
	ctx, cancel := context.WithCancel(&x)
	defer cancel()
	stack.Waiting(ctx)
	stack.Waiting(t.Context())
	if flushed != 1 {
		t.Errorf("flushed %d times", flushed)
	}
}

func TestWatchCostsNoAllocation(t *testing.T) {
	var x stack.Exchange
	var w told
	if n := testing.AllocsPerRun(100, func() {
		x.Begin()
		stack.WatchFor(&x, &w).Stop()
		x.End(errGone)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
