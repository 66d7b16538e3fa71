package stack

import (
	"context"
	"sync"
	"time"
)

// An Exchange is one request's life, and the context that its Service is given.
// A codec has one a connection, or a stream, and begins it anew for each
// request: a context of its own would cost several allocations each time.
//
// It is done when its codec ends it: because the client has left, or because the
// response is over. It has no deadline and no values but itself.
type Exchange struct {
	// Flush, if it is not nil, writes what the codec still holds back. Whoever
	// is about to wait in a Service calls Waiting, which calls it.
	Flush func()

	// Warm, if it is not nil, has the processor fetch what the codec uses once there
	// is an answer. A client calls it when one has come.
	Warm func()

	now   time.Duration // Now's reading; zero if there is none for this stage
	holds *Response     // that Abandon is to end; nil if there is none

	mu    sync.Mutex
	cause error         // why it ended; nil while it lasts
	done  chan struct{} // made when it is asked for
	stops [3]Interrupter
	more  []Interrupter
	asked bool // a context derived from x may still be about to ask why it ended
}

// An Interrupter is told that the Exchange on which it waits has ended.
type Interrupter interface {
	// Interrupt makes a wait in hand fail. It must not block.
	Interrupt()
}

// Hold has Abandon end resp. Whoever makes a response whose end others wait for calls
// it, and so does whoever observes one that may be anybody's: a panic on its way up
// loses it, and with it what was counted. It is called, as Abandon is, by the goroutine
// that runs the Service.
func Hold(ctx context.Context, resp *Response) {
	if x := ExchangeOf(ctx); x != nil {
		x.holds, resp.held = resp, x
	}
}

// Abandon closes the response that a panic has lost, if there is one, for cause.
func (x *Exchange) Abandon(cause error) {
	if resp := x.holds; resp != nil {
		x.holds = nil
		_ = resp.Body.Close(cause)
	}
}

type exchangeKey struct{}

// Begin starts x anew. Nothing may still hold the one before. It reports whether
// it has: not if a context that derives from x was not canceled before x's end, and
// so hears of that in a goroutine of its own, which may be late and must not find x
// unended. Such an Exchange is left to the collector.
func (x *Exchange) Begin() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.asked {
		return false
	}
	x.cause, x.done, x.more, x.now, x.holds = nil, nil, nil, 0, nil
	x.stops = [3]Interrupter{}
	return true
}

// End ends x for that cause, which must not be nil, and interrupts whoever waits.
// Only the first call counts.
func (x *Exchange) End(cause error) {
	x.mu.Lock()
	if x.cause != nil {
		x.mu.Unlock()
		return
	}
	x.cause = cause
	if x.done != nil {
		close(x.done)
	}
	stops, more := x.stops, x.more
	x.stops, x.more = [3]Interrupter{}, nil
	x.mu.Unlock()
	for _, i := range stops {
		if i != nil {
			x.interrupt(i)
		}
	}
	for _, i := range more {
		x.interrupt(i)
	}
}

func (x *Exchange) interrupt(i Interrupter) {
	if _, ok := i.(*after); ok {
		x.mu.Lock()
		x.asked = true
		x.mu.Unlock()
	}
	i.Interrupt()
}

// Deadline implements context.Context: there is none.
func (x *Exchange) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements context.Context.
func (x *Exchange) Done() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done == nil {
		x.done = make(chan struct{})
		if x.cause != nil {
			close(x.done)
		}
	}
	return x.done
}

// Err implements context.Context. It tells why x ended, where a context of the
// standard library would only say that it was canceled.
func (x *Exchange) Err() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.cause
}

// Value implements context.Context.
func (x *Exchange) Value(key any) any {
	if _, ok := key.(exchangeKey); ok {
		return x
	}
	return nil
}

// AfterFunc calls f in a goroutine of its own once x has ended, unless stop comes
// first. By it, package context derives from x without a goroutine.
func (x *Exchange) AfterFunc(f func()) (stop func() bool) {
	a := &after{f: f}
	if !x.add(a) {
		x.interrupt(a)
	}
	return func() bool { return x.remove(a) }
}

type after struct{ f func() }

func (a *after) Interrupt() { go a.f() }

// add reports whether i will be told; if not, x has ended already.
func (x *Exchange) add(i Interrupter) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cause != nil {
		return false
	}
	for k := range x.stops {
		if x.stops[k] == nil {
			x.stops[k] = i
			return true
		}
	}
	x.more = append(x.more, i)
	return true
}

// remove reports whether i was still to be told.
func (x *Exchange) remove(i Interrupter) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for k := range x.stops {
		if x.stops[k] == i {
			x.stops[k] = nil
			return true
		}
	}
	for k := range x.more {
		if x.more[k] == i {
			x.more[k] = x.more[len(x.more)-1]
			x.more = x.more[:len(x.more)-1]
			return true
		}
	}
	return false
}

// ExchangeOf returns the Exchange that ctx is or derives from, or nil.
func ExchangeOf(ctx context.Context) *Exchange {
	if x, ok := ctx.(*Exchange); ok {
		return x
	}
	x, _ := ctx.Value(exchangeKey{}).(*Exchange)
	return x
}

// Waiting says that a Service is about to wait for something outside. What the
// codec above still holds back is written first, so that nothing at hand waits
// for what is not.
func Waiting(ctx context.Context) {
	x := ExchangeOf(ctx)
	if x == nil {
		return
	}
	if x.now = 0; x.Flush != nil {
		x.Flush()
	}
}

// A Watch is one Interrupter that waits for one context's end.
type Watch struct {
	x    *Exchange
	i    Interrupter
	stop func() bool
}

// WatchFor calls i.Interrupt once ctx is done, until Stop. It costs no
// allocation if ctx is an Exchange. If ctx is done already, it calls it at once.
func WatchFor(ctx context.Context, i Interrupter) Watch {
	if x, ok := ctx.(*Exchange); ok {
		if !x.add(i) {
			i.Interrupt()
		}
		return Watch{x: x, i: i}
	}
	return Watch{stop: context.AfterFunc(ctx, i.Interrupt)}
}

// Stop ends the watch. It reports whether Interrupt has not been, and will not
// be, called.
func (w Watch) Stop() bool {
	switch {
	case w.x != nil:
		return w.x.remove(w.i)
	case w.stop != nil:
		return w.stop()
	default:
		return true
	}
}
