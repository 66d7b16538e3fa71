package h2_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/l7/h2"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A lateServer refuses to be dialled until it is told to listen. Whoever dials it then
// has a connection at once.
type lateServer struct {
	listens atomic.Bool
	dials   atomic.Int32
	conns   sync.WaitGroup

	mu  sync.Mutex
	has []net.Conn
}

func (s *lateServer) dial(ctx context.Context, _ stack.Session) (*stack.Conn, error) {
	s.dials.Add(1)
	if !s.listens.Load() {
		return nil, fmt.Errorf("%w: %w", stack.ErrUnsent, syscall.ECONNREFUSED)
	}
	near, far := net.Pipe()
	s.mu.Lock()
	s.has = append(s.has, far)
	s.mu.Unlock()
	s.conns.Go(func() { _ = h2.Serve(ctx, &stack.Conn{Conn: far}, empty, params()) })
	return &stack.Conn{Conn: near}, nil
}

func empty(context.Context, *stack.Request) (*stack.Response, error) {
	return &stack.Response{Status: 200, Body: stack.Empty()}, nil
}

// leave stops listening, and cuts every connection.
func (s *lateServer) leave() {
	s.listens.Store(false)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.has {
		c.Close()
	}
}

// patient returns a Pool that waits for a second, for three requests, and pauses
// 100 ms between dials, and then always twice as long. It is called within
// synctest.Test.
func patient(t *testing.T) (s *lateServer, pl *h2.Pool, end func()) {
	t.Helper()
	s = &lateServer{}
	ctx, cancel := context.WithCancel(context.Background())
	pl = h2.NewPool(ctx, s.dial, params(func(p *h2.Params) {
		p.Patience = h2.Patience{Time: time.Second, Requests: 3}
		p.Backoff = func() func() time.Duration {
			pause := 50 * time.Millisecond
			return func() time.Duration { pause *= 2; return pause }
		}
	}), nil)
	t.Cleanup(func() {
		cancel()
		s.leave()
		s.conns.Wait()
	})
	return s, pl, cancel
}

// An asked is a request under way.
type asked struct {
	over chan struct{}
	err  error
	took time.Duration
}

func begin(ctx context.Context, pl *h2.Pool) *asked {
	a := &asked{over: make(chan struct{})}
	began := time.Now()
	go func() {
		defer close(a.over)
		resp, err := ask(ctx, pl, "GET", "/x")
		if a.took, a.err = time.Since(began), err; err == nil {
			resp.Body.Close(nil)
		}
	}()
	return a
}

// want fails the test unless the request ends by err after took. Every error that is
// not nil says that nothing was sent.
func (a *asked) want(t *testing.T, err error, took time.Duration) {
	t.Helper()
	<-a.over
	if !errors.Is(a.err, err) || a.took != took || err != nil && !errors.Is(a.err, stack.ErrUnsent) {
		t.Errorf("%v after %v; want %v after %v", a.err, a.took, err, took)
	}
}

func TestPatienceOfRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, pl, _ := patient(t)
		time.AfterFunc(100*time.Millisecond-1, func() { s.listens.Store(true) })
		early := begin(t.Context(), pl)
		elapse(50 * time.Millisecond)
		begin(t.Context(), pl).want(t, nil, 50*time.Millisecond)
		early.want(t, nil, 100*time.Millisecond)
		if n := s.dials.Load(); n != 2 {
			t.Errorf("%d dials", n)
		}
	})
}

// TestPatienceEnds: those who wait share one second, those who come after have none,
// and the dials go on for all who come once there is a connection.
func TestPatienceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, pl, _ := patient(t)
		first := begin(t.Context(), pl)
		elapse(400 * time.Millisecond)
		second := begin(t.Context(), pl)
		first.want(t, h2.ErrFailFast, time.Second)
		second.want(t, h2.ErrFailFast, 600*time.Millisecond)
		for range 2 {
			begin(t.Context(), pl).want(t, h2.ErrUnavailable, 0)
			elapse(time.Second)
		}
		if !errors.Is(first.err, syscall.ECONNREFUSED) || !strings.Contains(first.err.Error(), "connection refused") {
			t.Errorf("%v does not say why", first.err)
		}
		s.listens.Store(true)
		elapse(time.Second) // the dials were at 0, 100, 300, 700, 1500 and 3100 ms
		if n := s.dials.Load(); n != 6 {
			t.Errorf("%d dials, want 6", n)
		}
		begin(t.Context(), pl).want(t, nil, 0)
		s.leave()
		synctest.Wait()
		begin(t.Context(), pl).want(t, h2.ErrFailFast, time.Second) // a new outage has its own second
	})
}

func TestPatienceIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, pl, end := patient(t)
		leaving, leave := context.WithCancel(t.Context())
		gone := begin(leaving, pl)
		var stay [2]*asked
		for i := range stay {
			stay[i] = begin(t.Context(), pl)
		}
		synctest.Wait()
		begin(t.Context(), pl).want(t, h2.ErrQueueFull, 0)
		leave()
		if <-gone.over; !errors.Is(gone.err, context.Canceled) {
			t.Errorf("who left was told %v", gone.err)
		}
		synctest.Wait()
		last := begin(t.Context(), pl) // in its place
		elapse(time.Millisecond)
		end()
		stay[0].want(t, stack.ErrUnsent, time.Millisecond)
		stay[1].want(t, stack.ErrUnsent, time.Millisecond)
		last.want(t, stack.ErrUnsent, time.Millisecond)
	})
}

// TestPatienceWithASlowDial: a dial that hangs is no excuse.
func TestPatienceWithASlowDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		hang := func(ctx context.Context, _ stack.Session) (*stack.Conn, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		pl := h2.NewPool(ctx, hang, params(func(p *h2.Params) {
			p.Patience = h2.Patience{Time: time.Second, Requests: 1}
			p.Backoff = func() func() time.Duration { return func() time.Duration { return time.Second } }
		}), nil)
		begin(t.Context(), pl).want(t, h2.ErrFailFast, time.Second)
		begin(t.Context(), pl).want(t, h2.ErrUnavailable, 0)
	})
}

// TestNoPatience: without it a request fails with the dial.
func TestNoPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		s := &lateServer{}
		pl := h2.NewPool(ctx, s.dial, params(func(p *h2.Params) {
			p.Backoff = func() func() time.Duration { return func() time.Duration { return time.Second } }
		}), nil)
		begin(t.Context(), pl).want(t, syscall.ECONNREFUSED, 0)
		elapse(time.Minute)
		if n := s.dials.Load(); n != 1 {
			t.Errorf("%d dials", n)
		}
	})
}
