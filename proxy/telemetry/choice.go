package telemetry

import (
	"maps"
	"sync"
	"sync/atomic"
)

// A choice finds the series of an outcome that is known only at the end. It
// locks only for an outcome that it has not met before.
type choice[K comparable, V value] struct {
	lend func(K) *lease

	usual atomic.Pointer[chosen[K, V]] // the first that was met, and so nearly always the one
	mu    sync.Mutex                   // held to write all
	all   atomic.Pointer[map[K]*chosen[K, V]]
}

// A chosen is the series of one outcome.
type chosen[K comparable, V value] struct {
	key   K
	value V
	lease *lease
}

// of returns the value of k's series.
func (c *choice[K, V]) of(k K) V {
	if u := c.usual.Load(); u != nil && u.key == k {
		return u.value
	}
	if all := c.all.Load(); all != nil {
		if found := (*all)[k]; found != nil {
			return found.value
		}
	}
	return c.add(k).value
}

// add makes k known.
func (c *choice[K, V]) add(k K) *chosen[K, V] {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := make(map[K]*chosen[K, V])
	if all := c.all.Load(); all != nil {
		if found := (*all)[k]; found != nil {
			return found
		}
		maps.Copy(next, *all)
	}
	l := c.lend(k)
	added := &chosen[K, V]{k, l.value.(V), l} // a family has values of one type
	next[k] = added
	c.all.Store(&next)
	c.usual.CompareAndSwap(nil, added)
	return added
}
