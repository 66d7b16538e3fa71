package tee

import (
	"sync"
	"sync/atomic"
)

// counts are what a Tee has counted.
type counts struct {
	ends [states]atomic.Int64

	mu        sync.Mutex
	consumers []*consumerCounts
}

// consumerCounts are those of all consumers of one name.
type consumerCounts struct {
	name     string
	bytes    atomic.Int64 // read
	lag      atomic.Int64 // to be read
	running  atomic.Int64
	detached [reasons]atomic.Int64
}

// of returns the counts of the consumers of that name.
func (c *counts) of(name string) *consumerCounts {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range c.consumers {
		if of.name == name {
			return of
		}
	}
	of := &consumerCounts{name: name}
	c.consumers = append(c.consumers, of)
	return of
}

// Stats are a Tee's counts at one moment.
type Stats struct {
	BudgetUsed int64           // bytes
	Ends       map[State]int64 // of messages that were shown to anyone
	Consumers  []ConsumerStats
}

// ConsumerStats are those of one name.
type ConsumerStats struct {
	Name     string
	Bytes    int64            // that it has read
	Lag      int64            // bytes that it has yet to read
	Running  int64            // messages that it is reading
	Detached map[Reason]int64 // and those that it was not attached to
}

// Stats returns what t has counted.
func (t *Tee) Stats() Stats {
	s := Stats{BudgetUsed: t.budget.used.Load(), Ends: make(map[State]int64)}
	for state := range states {
		s.Ends[state] = t.counts.ends[state].Load()
	}
	t.counts.mu.Lock()
	defer t.counts.mu.Unlock()
	for _, c := range t.counts.consumers {
		of := ConsumerStats{Name: c.name, Bytes: c.bytes.Load(), Lag: c.lag.Load(), Running: c.running.Load(), Detached: make(map[Reason]int64)}
		for why := attached + 1; why < reasons; why++ {
			if n := c.detached[why].Load(); n > 0 {
				of.Detached[why] = n
			}
		}
		s.Consumers = append(s.Consumers, of)
	}
	return s
}
