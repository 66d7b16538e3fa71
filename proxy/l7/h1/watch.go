package h1

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/outrigger-mesh/outrigger/guard"
	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
)

// A watcher sees that a client leaves while its request is in hand, and ends the
// exchange. Most requests are over before it begins, and cost it two additions: a
// timer looks, now and then, whether the request in hand is the one that was in
// hand when it last looked. For such a request its goroutine receives ahead into
// the connection's input, which nobody else reads by then.
//
// It also sees that no request has begun between two looks, and then has the
// connection parked. One whose requests come faster than that keeps its goroutine.
type watcher struct {
	s *server

	// state counts the beginnings and ends of requests, by two, so that its
	// second bit says whether one is in hand. Its first bit says that the timer's
	// goroutine receives, which the server's must end before it goes on.
	state   atomic.Uint64
	running atomic.Bool // the timer is set, or its goroutine looks
	timer   *time.Timer
	seen    uint64        // the state when the timer's goroutine last looked
	begun   uint64        // requests until then, or until the timer was set
	gone    chan struct{} // closed when that goroutine no longer receives
}

const (
	receiving uint64 = 1 << iota
	inHand
)

func (w *watcher) init(s *server) { w.s = s }

// start says that a request is in hand from now on.
func (w *watcher) start() {
	if w.s.params.ClientWatch <= 0 {
		return
	}
	w.state.Add(inHand)
	w.run()
}

// run sees to it that the timer looks, if it does not.
func (w *watcher) run() {
	if w.s.params.ClientWatch <= 0 || w.running.Load() || !w.running.CompareAndSwap(false, true) {
		return
	}
	w.begun = begun(w.state.Load())
	soon := w.s.params.ClientWatch
	if !w.s.known {
		soon /= 4
	}
	if w.timer == nil { // not set before it has its place, where look finds it
		w.timer = time.AfterFunc(time.Hour, w.guarded)
	}
	w.timer.Reset(soon)
}

// watching is where what panics on a watcher's goroutine is caught.
const watching = "http1 watcher"

// guarded is look on the timer's goroutine, where nobody else would catch its panic.
// The timer is not set again after one, nor the server used for another connection.
func (w *watcher) guarded() { _ = w.s.params.Guard.Do(watching, w.look) }

// look runs on the timer's goroutine, one at a time.
func (w *watcher) look() {
	state := w.state.Load()
	switch {
	case state&inHand == 0:
		if w.lookIdle(state) {
			return
		}
	case state&receiving != 0: // it has seen the client leave, or as much as it may hold
	case state == w.seen && w.s.body.isClosed(): // else its reader will see the client leave
		w.gone = make(chan struct{})
		if w.state.CompareAndSwap(state, state|receiving) {
			if err := w.s.params.Guard.Do(watching, w.receive); err != nil {
				w.s.closeAfter()
				w.s.x.End(err)
			}
			close(w.gone)
		}
	}
	w.seen, w.begun = state, begun(state)
	again := w.s.params.ClientWatch
	w.running.Store(true) // still: whoever stops the timer from now on comes after all that is above
	w.timer.Reset(again)
}

// lookIdle looks at a connection on which no request is in hand. It reports whether
// that was the last look: start sets the timer when it is needed again, and of a
// connection that is parked w is another's by then.
func (w *watcher) lookIdle(state uint64) (last bool) {
	if w.s.wait != nil && !w.s.ending.Load() {
		return w.begun == begun(state) && w.s.kick(w, state)
	}
	w.running.Store(false)
	return w.state.Load()&inHand == 0 || !w.running.CompareAndSwap(false, true)
}

// begun is how many requests have begun in a state.
func begun(state uint64) uint64 { return (state + inHand) / (2 * inHand) }

// receive receives ahead until the server's goroutine interrupts it.
func (w *watcher) receive() {
	in := &w.s.in
	guard.Point("http1 client watched")
	for in.w-in.r < codec.Head/2 { // the client may send its next requests
		if err := in.waitFirst(); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				w.s.closeAfter() // what else it has sent is not answered
				w.s.x.End(clientGone(err))
			}
			return
		}
	}
}

func clientGone(err error) error {
	if errors.Is(err, io.EOF) {
		return ErrClientGone
	}
	return errors.Join(ErrClientGone, err)
}

// stop says that no request is in hand, and gives the input back to the server's
// goroutine, which calls it.
func (w *watcher) stop() {
	for {
		state := w.state.Load()
		if state&inHand == 0 {
			return
		}
		if !w.state.CompareAndSwap(state, state&^receiving+inHand) {
			continue
		}
		if state&receiving != 0 {
			_ = w.s.c.SetReadDeadline(longAgo())
			<-w.gone
			_ = w.s.c.SetReadDeadline(time.Time{})
		}
		return
	}
}

// end ends the timer. It reports whether it looks no more.
func (w *watcher) end() bool {
	if w.running.Load() && !w.timer.Stop() {
		return false
	}
	w.running.Store(false)
	return true
}
