package h1

import (
	"sync"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// An interrupter makes a read that waits fail, by a deadline that has passed. One
// that comes when no read waits any more does nothing: whoever ends a context
// does not know what the connection is used for by then.
type interrupter struct {
	c *stack.Conn

	mu    sync.Mutex
	armed bool // a read waits
	hit   bool // and has been interrupted
}

// Interrupt implements stack.Interrupter.
func (i *interrupter) Interrupt() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.armed {
		i.hit = true
		_ = i.c.SetReadDeadline(longAgo())
	}
}

func (i *interrupter) arm() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.armed = true
}

// disarm reports whether there was an interruption, and takes its deadline back.
func (i *interrupter) disarm() (hit bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	hit, i.armed, i.hit = i.hit, false, false
	if hit {
		_ = i.c.SetReadDeadline(time.Time{})
	}
	return hit
}

func longAgo() time.Time { return time.Unix(1, 0) }
