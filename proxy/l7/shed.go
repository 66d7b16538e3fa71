package l7

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// Why a request is shed.
var (
	// ErrShed means that the proxy has as many requests in flight as it may.
	ErrShed = errors.New("too many requests in flight")
	// ErrMemory means that there is no memory for another.
	ErrMemory = errors.New("the proxy is short of memory")
)

// An InFlight bounds how many requests are in flight, each to its response's end.
// Stacks that are to be bounded together are given the same one.
type InFlight struct {
	max    int64
	flying atomic.Int64
	most   atomic.Int64 // max, or less if memory is limited
	more   func()       // looks whether there is memory for more; or nil
	shed   atomic.Uint64
}

// NewInFlight returns one that has room for max requests.
func NewInFlight(max int) *InFlight {
	s := &InFlight{max: int64(max)}
	s.most.Store(s.max)
	return s
}

// Shed is a layer that fails requests at once while there is no room. It costs a
// request one addition and one load.
func (s *InFlight) Shed(next stack.Service) stack.Service {
	return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
		observed := false
		defer func() { // also if a panic passes
			if !observed {
				s.flying.Add(-1)
			}
		}()
		if n := s.flying.Add(1); n > s.most.Load() && !s.room(n) {
			return nil, s.refuse(n)
		}
		resp, err := next(ctx, r)
		if err != nil {
			return nil, err
		}
		stack.Hold(ctx, resp) // it may be a layer's own
		resp.Observe(s)
		observed = true
		return resp, nil
	}
}

// room is asked beyond what there was said to be room for.
func (s *InFlight) room(n int64) bool {
	if n > s.max || s.more == nil {
		return false
	}
	s.more()
	return n <= s.most.Load()
}

func (s *InFlight) refuse(n int64) error {
	if n > s.max {
		return ErrShed
	}
	s.shed.Add(1)
	return ErrMemory
}

// Spare says for how many requests there is memory beside those that are in
// flight, until it is said again. None: not even for those that come when others
// have ended.
func (s *InFlight) Spare(n int64) {
	if n > 0 {
		n += s.flying.Load()
	}
	s.most.Store(min(n, s.max))
}

// Ask has more called when there is no room by what Spare said, so that it says it
// again. It is called before anything is served.
func (s *InFlight) Ask(more func()) { s.more = more }

// Flying is how many requests are in flight.
func (s *InFlight) Flying() int64 { return s.flying.Load() }

// Shorted is how many requests were shed for want of memory.
func (s *InFlight) Shorted() uint64 { return s.shed.Load() }

// Data implements stack.Observer.
func (s *InFlight) Data([]byte) {}

// End implements stack.Observer.
func (s *InFlight) End(error) { s.flying.Add(-1) }
