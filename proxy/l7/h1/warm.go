package h1

import (
	"github.com/outrigger-mesh/outrigger/proxy/stack"
	"github.com/outrigger-mesh/outrigger/proxy/warm"
)

// warmer returns what has the processor fetch side, which is one side of c, and
// what c is made of. It looks into neither, since that would be to wait for them.
func warmer[T any](side *T, c *stack.Conn) func() {
	below, ok := c.Conn.(interface{ Warm() })
	if !ok {
		return func() {}
	}
	return func() {
		warm.Object(side)
		warm.Object(c)
		below.Warm()
	}
}
