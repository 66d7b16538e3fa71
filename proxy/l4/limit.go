package l4

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// ErrLimit means that as many connections are open as may be.
var ErrLimit = errors.New("too many connections")

// Limit refuses connections while max are open, below all it is given to together.
// It should be met well before the process runs out of descriptors, of which each
// connection may need four. Zero means no limit.
//
// It stands first, so that what is refused costs least.
func Limit(max int) stack.Layer[stack.Handler] {
	var open atomic.Int64
	return func(next stack.Handler) stack.Handler {
		return func(ctx context.Context, c *stack.Conn) error {
			defer open.Add(-1)
			if n := open.Add(1); max > 0 && n > int64(max) {
				return Refuse(c, fmt.Errorf("%w: %d are open", ErrLimit, max))
			}
			return next(ctx, c)
		}
	}
}
