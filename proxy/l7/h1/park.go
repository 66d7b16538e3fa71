package h1

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A waiter is a connection that can be waited on without being read.
type waiter interface{ WaitReadable() error }

// An accepted is a connection that Serve was given, and all that is kept of it
// while it is parked: it waits on Serve's goroutine, whose stack has stayed small
// since no request ever ran on it. From its first byte on it has a server, on the
// goroutine of a worker, until the watcher finds that it has idled for a while:
// most connections of most programs do so most of the time, and a stack that has
// grown is more than all else of them. One that is busy changes goroutines once.
type accepted struct {
	c      *stack.Conn
	svc    stack.Service
	params *Params
	wait   waiter // c's, or nil if it is never parked
	blank  int    // empty lines that have come ahead of the next request
	known  bool   // it has been parked before; a new connection is looked at sooner, since many bring one request and no other for long

	mu     sync.Mutex  // guards idle, kicked and since, and the deadlines that end an idle wait
	idle   bool        // between two requests
	kicked bool        // it is to be parked
	since  time.Time   // when it began to idle, if clients were asked to leave by then
	ending atomic.Bool // the response in hand is the last

	draining  atomic.Bool // each response is to be the last, and idling has an end
	tunnelled atomic.Bool // it carries a tunnel, and will carry nothing else
	came      bool        // something came as the wait was ended
}

// An outcome is how a server's work on a connection has ended.
type outcome struct {
	parked bool // the connection lives on, without the server
	clean  bool // the server may serve another
	err    error
}

func newAccepted(c *stack.Conn, svc stack.Service, p *Params) *accepted {
	a := &accepted{c: c, svc: svc, params: p}
	if p.Workers != nil && p.ClientWatch > 0 {
		a.wait, _ = c.Conn.(waiter)
	}
	c.CloseClient = a.closeAfter
	c.HeldBy(a)
	return a
}

func (a *accepted) closeAfter() { a.ending.Store(true) }

// beginIdle reports whether the connection may wait for a request. That it is to be
// left is told with a response: who closes it before may lose one that is on its
// way.
func (a *accepted) beginIdle() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.idle = true
	if a.draining.Load() || a.params.leaving() {
		a.limitIdle()
	}
	return !a.ending.Load()
}

// endIdle takes back what was to end the wait. It reports whether the connection
// is to be parked, should nothing have come.
func (a *accepted) endIdle() (kicked bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	kicked = a.kicked
	if a.kicked || a.draining.Load() {
		_ = a.c.SetReadDeadline(time.Time{})
	}
	a.idle, a.kicked, a.since = false, false, time.Time{}
	return kicked && !a.ending.Load()
}

// kick ends an idle wait, so that the connection is parked; unless it has seen a
// request since w was in that state, or is not waiting yet.
func (a *accepted) kick(w *watcher, state uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.idle || w.state.Load() != state {
		return false
	}
	a.kicked = true
	w.running.Store(false) // whoever is told may have the watcher serve another
	_ = a.c.SetReadDeadline(longAgo())
	return true
}

// idled says what the end of an idle wait means.
func (a *accepted) idled(err error, kicked bool) (more bool, _ error) {
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return !kicked && a.late(), nil
	case errors.Is(err, io.EOF):
		return false, nil
	default:
		return false, fmt.Errorf("idle connection: %w", err)
	}
}

// serve has the connection served whenever something has come on it. What follows
// runs on Serve's goroutine, and is to be frugal with its stack.
func (a *accepted) serve() error {
	a.params.Workers.Opened()
	defer a.params.Workers.Closed()
	for {
		if more, err := a.park(); !more {
			a.c.Failed(err)
			return err
		}
		if parked, err := a.work(); !parked {
			return err
		}
	}
}

// park waits until something has come. It reports whether it has.
func (a *accepted) park() (more bool, err error) {
	if a.c.Unread() {
		return true, nil
	}
	if !a.beginIdle() {
		return false, nil
	}
	err = a.wait.WaitReadable()
	a.endIdle()
	return a.idled(err, false)
}

// work has a worker serve the connection. It reports whether it is to be parked
// again.
func (a *accepted) work() (parked bool, err error) {
	s := takeServer()
	s.attach(a)
	a.params.Workers.Start(s)
	o := <-s.ran
	if o.clean {
		s.detach()
		servers.Put(s)
	}
	return o.parked, o.err
}

// errEnded means that what a server called has ended its goroutine, as
// runtime.Goexit does.
var errEnded = errors.New("the goroutine was ended by what it called")

// Run implements codec.Job.
func (s *server) Run() {
	o := outcome{err: errEnded}
	defer func() {
		if v := recover(); v != nil {
			o = outcome{err: s.panicked(v)}
		}
		if !o.parked {
			s.c.Failed(o.err)
			o.clean = s.end() && o.clean
		}
		s.ran <- o
	}()
	o.err = s.exchanges()
	o.parked, o.clean = s.parked, s.parked || s.left
}

// end is close for whoever goes on whether or not that panics.
func (s *server) end() (clean bool) {
	if s.params.Guard.Do(stage, func() { clean = s.close() }) != nil {
		_ = s.c.Close()
		return false
	}
	return clean
}

// here has the connection served on the caller's goroutine to its end.
func (a *accepted) here() (err error) {
	s := takeServer()
	s.attach(a)
	defer s.end()
	defer func() {
		if v := recover(); v != nil {
			err = s.panicked(v)
		}
		a.c.Failed(err)
	}()
	return s.exchanges()
}
