package proxy

import (
	"context"
	"sync"
	"time"
)

// A shared keeps one V for each K while anyone uses it, and for idle after
// that. A V is built with a context that ends when it is dropped.
type shared[K comparable, V any] struct {
	idle time.Duration

	mu   sync.Mutex
	held map[K]*entry[V]
}

type entry[V any] struct {
	ready chan struct{} // closed when value and err are set
	value V
	err   error

	users int
	timer *time.Timer // set while users is zero
	drop  context.CancelFunc
}

// get returns k's value, built if need be, and a function to call when it is no
// longer used.
func (s *shared[K, V]) get(ctx context.Context, k K, build func(context.Context, K) (V, error)) (V, func(), error) {
	e := s.entry(ctx, k, build)
	release := sync.OnceFunc(func() { s.release(k, e) })
	select {
	case <-e.ready:
		if e.err != nil {
			release()
		}
		return e.value, release, e.err
	case <-ctx.Done():
		release()
		var none V
		return none, nil, context.Cause(ctx)
	}
}

func (s *shared[K, V]) entry(ctx context.Context, k K, build func(context.Context, K) (V, error)) *entry[V] {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.held[k]
	if e == nil {
		own, drop := context.WithCancel(context.WithoutCancel(ctx)) //nolint:gosec // release drops it
		e = &entry[V]{ready: make(chan struct{}), drop: drop}
		if s.held == nil {
			s.held = make(map[K]*entry[V])
		}
		s.held[k] = e
		go func() {
			defer close(e.ready)
			if e.value, e.err = build(own, k); e.err != nil {
				s.forget(k, e) // so that the next user tries again
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

func (s *shared[K, V]) release(k K, e *entry[V]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.users--; e.users > 0 || s.held[k] != e {
		return
	}
	e.timer = time.AfterFunc(s.idle, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if e.users == 0 {
			s.drop(k, e)
		}
	})
}

func (s *shared[K, V]) forget(k K, e *entry[V]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(k, e)
}

// drop is called with mu held.
func (s *shared[K, V]) drop(k K, e *entry[V]) {
	if s.held[k] == e {
		delete(s.held, k)
	}
	e.drop()
}

// close drops everything, whoever uses it.
func (s *shared[K, V]) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, e := range s.held {
		if e.timer != nil {
			e.timer.Stop()
		}
		s.drop(k, e)
	}
}
