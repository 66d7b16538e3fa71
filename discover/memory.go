package discover

import (
	"container/list"
	"context"
	"sync"

	"github.com/outrigger-mesh/outrigger/control"
)

// A Memory keeps the last values of a bounded number of keys. The key that has
// not been used for longest is forgotten first. Goroutines may share a Memory.
type Memory[K comparable, V any] struct {
	limit int

	mu    sync.Mutex
	order list.List // of memo[K, V], the last used in front
	memos map[K]*list.Element
}

type memo[K comparable, V any] struct {
	key   K
	value V
}

// NewMemory returns a Memory of at most limit values. If limit is not positive
// it remembers nothing.
func NewMemory[K comparable, V any](limit int) *Memory[K, V] {
	return &Memory[K, V]{limit: limit, memos: map[K]*list.Element{}}
}

// Keep remembers value as the newest of key.
func (m *Memory[K, V]) Keep(key K, value V) {
	if m.limit <= 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.memos[key]; ok {
		e.Value = memo[K, V]{key, value}
		m.order.MoveToFront(e)
		return
	}
	m.memos[key] = m.order.PushFront(memo[K, V]{key, value})
	if m.order.Len() > m.limit {
		m.remove(m.order.Back())
	}
}

// Recall returns the value that was kept for key last, if it is remembered.
func (m *Memory[K, V]) Recall(key K) (value V, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.memos[key]
	if !ok {
		return value, false
	}
	m.order.MoveToFront(e)
	return e.Value.(memo[K, V]).value, true
}

// Forget drops what is remembered of key.
func (m *Memory[K, V]) Forget(key K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.memos[key]; ok {
		m.remove(e)
	}
}

func (m *Memory[K, V]) remove(e *list.Element) {
	delete(m.memos, m.order.Remove(e).(memo[K, V]).key)
}

// Remembering returns a Resolver that keeps the last sets of up to limit
// destinations. One that was resolved before yields its last set at once, marked
// stale, and then what r has to say. A destination that the control plane
// refused, or does not know any more, is not remembered.
func Remembering(r Resolver, limit int) Resolver {
	return &remembering{next: r, sets: NewMemory[string, Set](limit)}
}

type remembering struct {
	next Resolver
	sets *Memory[string, Set]
}

func (r *remembering) Resolve(ctx context.Context, destination string) Stream {
	return func(yield func(Set, error) bool) {
		if last, ok := r.sets.Recall(destination); ok {
			last.Stale = true
			if !yield(last, nil) {
				return
			}
		}
		for set, err := range r.next.Resolve(ctx, destination) {
			r.note(destination, set, err)
			if !yield(set, err) {
				return
			}
		}
	}
}

func (r *remembering) note(destination string, set Set, err error) {
	switch {
	case err == nil && set.Exists:
		r.sets.Keep(destination, set)
	case err == nil, control.Refused(err):
		r.sets.Forget(destination)
	}
}
