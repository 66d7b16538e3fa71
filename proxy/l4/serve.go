package l4

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outrigger-mesh/outrigger/guard"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// The pause after an accept that failed: there is no descriptor or no memory, and
// the next would fail as well.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = time.Second
)

// maxPanics is how often accept may panic in a row before the process is better started
// anew: it takes some seconds.
const maxPanics = 10

// maxIdle is how many goroutines wait for a connection to serve.
const maxIdle = 32

// A ServeConfig says who is told of what happens to connections. Its zero value
// tells the default logger.
type ServeConfig struct {
	Log *slog.Logger
	// Guard is told of each connection that was lost to a panic, and that the listener
	// is down while accepting panics again and again. It may be nil.
	Guard *guard.Guard
	// Cut, if not nil, closes the connections that are open when it is closed, and
	// those that are accepted later.
	Cut <-chan struct{}
	// Conns, if not nil, has the connections that are open.
	Conns *Conns
	// Gate, if not nil, bounds the connections of all servers that share it.
	Gate *Gate
}

// Serve gives each connection that l accepts to h, in a goroutine of its own. A
// panic in h costs that connection and no more.
//
// When ctx is done, Serve accepts what has connected by then, closes l and waits
// until every h has returned. h is given ctx, by which it knows that it is to finish. (To tell handlers earlier,
// while still accepting, let h be a function that gives them another context; to
// end them earlier, close Cut.) Serve also returns if l is closed, with an error
// that wraps net.ErrClosed.
func Serve(ctx context.Context, l net.Listener, h stack.Handler, cfg ServeConfig) error {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	s := &server{
		ServeConfig: cfg, listener: l, handler: h,
		next: make(chan admitted), open: make(map[*stack.Conn]*cohort),
	}
	if s.Gate != nil {
		s.Gate.add(s)
		defer s.Gate.remove(s)
	}
	stop := cfg.Guard.AfterDone(ctx, stageAccept, func() { beginClose(l) })
	defer stop()
	defer cfg.Conns.add(s)()
	over := make(chan struct{})
	var cutter sync.WaitGroup
	cutter.Go(func() { s.cutWhen(over) })
	err := s.accept(ctx)
	if ctx.Err() != nil {
		_ = l.Close()
	}
	cfg.Guard.Up(s.name())
	close(s.next)
	s.handlers.Wait()
	s.disband()
	close(over)
	cutter.Wait()
	return err
}

// A server is one run of Serve.
type server struct {
	ServeConfig
	listener net.Listener
	handler  stack.Handler
	handlers sync.WaitGroup
	next     chan admitted // to the goroutines that wait for one; closed after the last
	idle     atomic.Int32  // how many do, or are about to
	refusals int           // in a row; the accepting goroutine's own

	mu      sync.Mutex              // guards what follows
	open    map[*stack.Conn]*cohort // nil without a Gate
	cohorts list.List               // of *cohort, the oldest first
	cut     bool
}

// An admitted is a connection, and the context that it is served with.
type admitted struct {
	ctx context.Context //nolint:containedctx // it is one of many connections', and no call's
	*stack.Conn
}

// Where panics are caught.
const (
	stageAccept     = "accept"
	stageConnection = "connection"
)

// name is the listener's, for those who ask what is down.
func (s *server) name() string { return "listener " + s.listener.Addr().String() }

// accept accepts until ctx is done and nobody waits any more, or the listener is closed.
// A panic costs the connection in hand, if there is one.
func (s *server) accept(ctx context.Context) error {
	pause, panics := time.Duration(0), 0
	for any, calls := false, 1; ; {
		err := s.acceptOne(ctx)
		var lost *guard.Error
		switch {
		case err == nil:
			if panics > 0 {
				s.Guard.Up(s.name())
			}
			pause, panics, any = 0, 0, true
			continue
		case any && calls < lastCalls && isLastCall(ctx, err):
			any, calls = false, calls+1
			beginClose(s.listener)
			continue
		case ctx.Err() != nil:
			return nil //nolint:nilerr // that the listener was closed is what ctx asked for
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept: %w", err)
		case errors.As(err, &lost):
			if panics++; panics >= maxPanics {
				s.Guard.Down(s.name(), "it cannot accept: "+lost.Error())
			}
		case pause == 0: // once, however long it lasts
			s.Log.Warn("cannot accept connections", "listener", s.listener.Addr(), "err", err)
		}
		pause = min(max(2*pause, firstPause), lastPause)
		sleep(ctx, pause)
	}
}

// isLastCall reports whether err is the end of a call for those who have connected
// before ctx was done.
func isLastCall(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded)
}

// acceptOne accepts a connection, and has it served.
func (s *server) acceptOne(ctx context.Context) (err error) {
	var c net.Conn
	defer func() {
		if v := recover(); v != nil {
			err = s.Guard.Caught(stageAccept, v, "listener", s.listener.Addr())
			if c != nil {
				_ = c.Close()
			}
		}
	}()
	if c, err = s.listener.Accept(); err != nil {
		return err
	}
	guard.Point("accept")
	if c := (&stack.Conn{Conn: c, Client: addrOf(c.RemoteAddr())}); s.admit(ctx, c) {
		s.start(admitted{s.join(ctx, c), c})
	}
	return nil
}

// start serves c in a goroutine, which may be one that has served another: its
// stack has grown to what a handler needs, which costs more than all else of a
// goroutine.
func (s *server) start(c admitted) {
	select {
	case s.next <- c:
	default:
		s.handlers.Go(func() { s.work(c) })
	}
}

// work serves c, and then what start gives it, until there is no more to come or
// enough others wait for it.
func (s *server) work(c admitted) {
	for ok := true; ok; {
		s.serve(c.ctx, c.Conn)
		if s.idle.Add(1) <= maxIdle {
			c, ok = <-s.next
		} else {
			ok = false
		}
		s.idle.Add(-1)
	}
}

// serve serves one connection.
func (s *server) serve(ctx context.Context, c *stack.Conn) {
	s.enter(c)
	defer s.leave(c)
	defer func() {
		if v := recover(); v != nil {
			s.panicked(c, v)
		}
	}()
	err := s.handler(ctx, c)
	if s.Log.Enabled(ctx, slog.LevelDebug) {
		s.closed(ctx, c, err)
	}
}

// closed logs that c was. Its frame is large, and no part of what every connection
// has on its stack.
//
//go:noinline
func (s *server) closed(ctx context.Context, c *stack.Conn, err error) {
	s.Log.DebugContext(ctx, "connection closed", "client", c.Client, "server", c.OrigDst, "err", err)
}

func (s *server) panicked(c *stack.Conn, v any) {
	err := s.Guard.Caught(stageConnection, v, "client", c.Client, "server", c.OrigDst)
	_ = s.Guard.Do(stageConnection, func() { _ = Refuse(c, err) })
}

func (s *server) enter(c *stack.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut {
		abort(c)
	}
	if _, joined := s.open[c]; !joined {
		s.open[c] = nil
	}
}

func (s *server) leave(c *stack.Conn) {
	s.mu.Lock()
	s.part(s.open[c])
	delete(s.open, c)
	s.mu.Unlock()
	if s.Gate != nil {
		s.Gate.leave()
	}
}

// cutWhen closes what is open, when it is told to.
func (s *server) cutWhen(over <-chan struct{}) {
	select {
	case <-over:
		return
	case <-s.Cut:
	}
	s.mu.Lock()
	s.cut = true
	open := make([]*stack.Conn, 0, len(s.open))
	for c := range s.open {
		open = append(open, c)
	}
	s.mu.Unlock()
	for _, c := range open { // without the lock, since Close calls what others have hung on it
		_ = s.Guard.Do(stageConnection, func() { abort(c) })
	}
}

// sleep sleeps for d, or until ctx is done.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
