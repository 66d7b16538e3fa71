package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Limits bound what the port's clients can take.
type Limits struct {
	HeadRead  time.Duration // from a request's first byte to the end of its head
	Read      time.Duration // to the end of its content
	Write     time.Duration // from there to the end of the response
	Idle      time.Duration // between requests of one connection
	Grace     time.Duration // for what is in hand when ctx ends
	HeadBytes int
	Conns     int // more than these are not held: an idle one is closed for the new one, or else the new one
}

// Serve serves connections from l, by h, until ctx is done. Then it closes l, and
// what is idle, and returns once what is in hand is answered, or after
// limits.Grace. What net/http complains of is logged at debug level: most of it
// is what clients did wrong.
func Serve(ctx context.Context, l net.Listener, h http.Handler, limits Limits, logger *slog.Logger) error {
	conns := &tracker{most: limits.Conns, idle: make(map[net.Conn]struct{})}
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: limits.HeadRead,
		ReadTimeout:       limits.Read,
		WriteTimeout:      limits.Write,
		IdleTimeout:       limits.Idle,
		MaxHeaderBytes:    limits.HeadBytes,
		ConnState:         conns.changed,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	ended := make(chan error, 1) // so that the goroutine can end before anybody looks
	stop := context.AfterFunc(ctx, func() { ended <- shutDown(context.WithoutCancel(ctx), s, limits.Grace) })
	err := s.Serve(l)
	if stop() { // nobody asked for it
		_ = s.Close()
		return fmt.Errorf("admin port %s: %w", l.Addr(), err)
	}
	return <-ended
}

// shutDown waits for what is in hand, and cuts off what is still there after grace.
func shutDown(ctx context.Context, s *http.Server, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	err := s.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.Close()
	}
	if err != nil {
		return fmt.Errorf("admin port: %w", err)
	}
	return nil
}

// A tracker bounds the number of connections. Those on which nobody asks for
// anything make way for new ones, so that whoever leaves many open cannot make
// the kubelet's probes fail.
type tracker struct {
	most int

	mu   sync.Mutex
	open int
	idle map[net.Conn]struct{} // no request is in hand, or none has come yet
}

// changed is net/http's ConnState.
func (t *tracker) changed(c net.Conn, state http.ConnState) {
	if victim := t.note(c, state); victim != nil {
		_ = victim.Close()
	}
}

// note returns the connection to close for c, if there is one too many.
func (t *tracker) note(c net.Conn, state http.ConnState) (victim net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.idle, c)
	switch state {
	case http.StateNew:
		if t.open++; t.open > t.most {
			victim = t.victim(c)
		}
		t.idle[c] = struct{}{}
	case http.StateIdle:
		t.idle[c] = struct{}{}
	case http.StateClosed, http.StateHijacked:
		t.open--
	case http.StateActive:
	}
	return victim
}

// victim returns an idle connection, or c if there is none.
func (t *tracker) victim(c net.Conn) net.Conn {
	for idle := range t.idle {
		delete(t.idle, idle) // not to be chosen again
		return idle
	}
	return c
}
