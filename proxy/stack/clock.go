package stack

import (
	"context"
	"time"
)

// epoch is from when on Clock counts.
var epoch = time.Now() //nolint:gochecknoglobals // a constant of the process

// Clock returns the time since a moment that is the same for all who ask. To read
// it costs half of what time.Now does.
func Clock() time.Duration { return time.Since(epoch) }

// Now is Clock for whoever measures an exchange, in its Service or in an Observer of
// its response: those who ask at the same stage get the same reading. A stage ends
// with Waiting, or with a codec that has waited.
func Now(ctx context.Context) time.Duration {
	x, ok := ctx.(*Exchange)
	if !ok {
		return Clock()
	}
	if x.now == 0 {
		x.now = Clock()
	}
	return x.now
}

// Came says, by Clock, when what the exchange goes on with has come. A codec calls
// it; zero means that it does not know.
func (x *Exchange) Came(now time.Duration) { x.now = now }
