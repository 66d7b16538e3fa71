package proxy

import (
	"context"
	"sync"
	"time"

	"github.com/outrigger-mesh/outrigger/guard"
)

// A shared keeps one V for each K while anyone uses it, and for idle after
// that. A V is built with a context that ends when it is dropped.
type shared[K comparable, V any] struct {
	idle  time.Duration
	guard *guard.Guard

	mu   sync.Mutex
	held map[K]*entry[K, V]
}

// stageBuild is where what panics while a stack is built, or goes, is caught.
const stageBuild = "build"

type entry[K comparable, V any] struct {
	key   K
	ready chan struct{} // closed when value and err are set
	value V
	err   error

	users int
	timer *time.Timer // set while users is zero
	drop  context.CancelFunc
}

// get returns k's value, built if need be, and a function to call once it is no
// longer used; it is nil with an error.
func (s *shared[K, V]) get(ctx context.Context, k K, build func(context.Context, K) (V, error)) (V, func(), error) {
	e := s.entry(ctx, k, build)
	err := e.await(ctx)
	if err != nil {
		s.release(e)
		var none V
		return none, nil, err
	}
	return e.value, func() { s.release(e) }, nil
}

// await waits until e is built, and returns why it could not be.
func (e *entry[K, V]) await(ctx context.Context) error {
	select {
	case <-e.ready:
		return e.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *shared[K, V]) entry(ctx context.Context, k K, build func(context.Context, K) (V, error)) *entry[K, V] {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.held[k]
	if e == nil {
		own, drop := context.WithCancel(context.WithoutCancel(ctx)) //nolint:gosec // release drops it
		e = &entry[K, V]{key: k, ready: make(chan struct{}), drop: drop}
		if s.held == nil {
			s.held = make(map[K]*entry[K, V])
		}
		s.held[k] = e
		go func() {
			defer close(e.ready)
			if lost := s.guard.Do(stageBuild, func() { e.value, e.err = build(own, k) }); lost != nil {
				e.err = lost
			}
			if e.err != nil {
				s.forget(e) // so that the next user tries again
			}
		}()
	}
	if e.timer != nil {
		e.timer.Stop()
		e.timer = nil
	}
	e.users++
	return e
}

func (s *shared[K, V]) release(e *entry[K, V]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.users--; e.users > 0 || s.held[e.key] != e {
		return
	}
	e.timer = time.AfterFunc(s.idle, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if e.users == 0 {
			s.drop(e)
		}
	})
}

func (s *shared[K, V]) forget(e *entry[K, V]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(e)
}

// drop is called with mu held.
func (s *shared[K, V]) drop(e *entry[K, V]) {
	if s.held[e.key] == e {
		delete(s.held, e.key)
	}
	e.drop()
}

// close drops everything, whoever uses it.
func (s *shared[K, V]) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.held {
		if e.timer != nil {
			e.timer.Stop()
		}
		s.drop(e)
	}
}
