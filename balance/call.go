package balance

import (
	"sync/atomic"
	"time"

	"github.com/outrigger-mesh/outrigger/discover"
)

// An Outcome is how a piece of work ended.
type Outcome struct {
	Status     int           // HTTP's; zero if there was no response
	GRPC       int           // gRPC's; -1 if there was none
	RetryAfter time.Duration // what the server asked for; zero if it did not
	Err        error         // why there is no answer, or not all of it
}

// A Call is one piece of work that a Pick has given to an endpoint. It is a
// value that allocates nothing: keep it in one place, and do not copy it once it
// has been used. Its methods may be called by several at once. The zero Call is
// of no endpoint, and does nothing.
type Call struct {
	of    *discover.Endpoint
	load  *load
	now   func() time.Duration
	start time.Duration // by now
	done  uint32        // sampled and ended; atomic
}

const (
	sampled uint32 = 1 << iota
	ended
)

// Endpoint returns which endpoint has the work, as it was when picked.
func (c *Call) Endpoint() discover.Endpoint {
	if c.of == nil {
		return discover.Endpoint{}
	}
	return *c.of
}

// First says that the first of the response's data has come, which ends the
// round trip. Only its first call counts, and only before End.
func (c *Call) First() { c.FirstAt(0) }

// FirstAt is First for who has just read the balancer's clock; zero means that it is
// to be read.
func (c *Call) FirstAt(now time.Duration) {
	if c.load == nil || atomic.OrUint32(&c.done, sampled)&sampled != 0 {
		return
	}
	if now == 0 {
		now = c.now()
	}
	c.load.sample(now-c.start, now)
}

// End says that the work is over, which takes it out of the endpoint's load: for
// a request, that its response has been read to the end or given up. If First
// was not called the round trip ends here, and if there is an error too, then it
// can raise the endpoint's estimate but not lower it. Only its first call counts.
func (c *Call) End(o Outcome) {
	if c.load == nil {
		return
	}
	before := atomic.OrUint32(&c.done, sampled|ended)
	if before&ended != 0 {
		return
	}
	if before&sampled == 0 {
		c.sample(o.Err)
	}
	c.load.ended.Add(1)
}

func (c *Call) sample(err error) {
	now := c.now()
	if err != nil {
		c.load.failed(now-c.start, now)
		return
	}
	c.load.sample(now-c.start, now)
}
