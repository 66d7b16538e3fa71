package proxy

import (
	"context"
	"time"

	"github.com/outrigger-mesh/outrigger/profiles"
)

// backends keeps what serves each backend of one destination. It outlives a change
// of routes, and with it the backend's latencies and connections. What no route
// names any more is dropped after a while: a request that found its route before
// the change may still be about to use it.
//
// One goroutine calls its methods.
type backends[S any] struct {
	ctx    context.Context //nolint:containedctx // the destination's life
	linger time.Duration
	build  func(context.Context, profiles.Backend) (S, func() bool)
	held   map[profiles.Backend]*backend[S]
}

type backend[S any] struct {
	serve S
	ready func() bool
	named bool // by the routes being built
	end   context.CancelFunc
}

func newBackends[S any](ctx context.Context, linger time.Duration, build func(context.Context, profiles.Backend) (S, func() bool)) *backends[S] {
	return &backends[S]{ctx: ctx, linger: linger, build: build, held: make(map[profiles.Backend]*backend[S])}
}

// of returns what serves b, and how to see whether that can take work.
func (bs *backends[S]) of(b profiles.Backend) (S, func() bool) {
	held := bs.held[b]
	if held == nil {
		ctx, end := context.WithCancel(bs.ctx) // sweep ends it, or bs.ctx does
		held = &backend[S]{end: end}
		built := false
		defer func() {
			if !built { // a panic passes, and what is half built goes
				end()
			}
		}()
		held.serve, held.ready = bs.build(ctx, b)
		built = true
		bs.held[b] = held
	}
	held.named = true
	return held.serve, held.ready
}

// sweep forgets the backends that the routes built since the last sweep have not
// named.
func (bs *backends[S]) sweep() {
	for b, held := range bs.held {
		if !held.named {
			delete(bs.held, b)
			time.AfterFunc(bs.linger, held.end)
		}
		held.named = false
	}
}
