// Package tee shows the contents of messages to consumers that run at their own
// pace, each on its own goroutine: it is what a cache or a tap hangs on. It is not
// for what must hear of a message's end at once, or costs nothing; that is a
// stack.Observer. Read Tee first, then Stream; docs/tee.md is the contract.
package tee

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A Config bounds what consumers may cost.
type Config struct {
	Bytes         int           // held for all consumers together
	MessageBytes  int           // held for all consumers of one message
	ConsumerBytes int           // that one consumer may be behind
	Consumers     int           // of one message
	Running       int           // consumers at once, of all messages
	Stall         time.Duration // for which one may leave unread what there is for it; zero for ever

	// Ended, if it is not nil, is told of each consumer that was detached, once it has
	// returned and on its own goroutine: why, and with what error or panic.
	Ended func(consumer string, why Reason, err error)
}

// A Tee shows messages to consumers, within one budget. A proxy has one. Whatever
// its consumers do, a message's client gets the same bytes at the same time.
type Tee struct {
	config  Config
	budget  budget
	ctx     context.Context //nolint:containedctx // the life of all consumers
	cancel  context.CancelCauseFunc
	counts  counts
	mu      sync.Mutex
	running int
	closed  bool
	idle    chan struct{} // closed when the last consumer returns after Close has begun
}

// New returns a Tee without consumers.
func New(c Config) *Tee {
	t := &Tee{config: c, idle: make(chan struct{})}
	t.budget.limit = int64(c.Bytes)
	t.ctx, t.cancel = context.WithCancelCause(context.Background())
	return t
}

// Options say what a consumer is.
type Options struct {
	Name    string // in the metrics: from the code, never from a message
	Bytes   int    // that it may be behind; Config's, if that is less or this is zero
	Tunnels bool   // it is shown tunnels too, of which no end is Complete
}

// A Consumer is shown the messages that it is attached to. It is made once, when
// its stack is built.
type Consumer struct {
	tee    *Tee
	limit  int64
	opts   Options
	counts *consumerCounts
}

// Consumer returns a consumer of t's.
func (t *Tee) Consumer(o Options) *Consumer {
	limit := t.config.ConsumerBytes
	if o.Bytes > 0 {
		limit = min(limit, o.Bytes)
	}
	return &Consumer{tee: t, limit: int64(limit), opts: o, counts: t.counts.of(o.Name)}
}

// A Consume reads one message's content. It runs on a goroutine of its own, and
// returns when s.Next fails or ctx is done: ctx ends when it is detached, and when
// the proxy does. It may be slow, and it may panic. Its error detaches it, and is
// told to Config.Ended.
//
// Only Next's io.EOF says that the content is whole: nothing may be committed on
// any other error.
type Consume func(ctx context.Context, s *Stream) error

// Response shows resp's content, from its beginning, to consume. It reports why
// not, if not; consume is then not called. Both messages are gone when the content
// has ended: what is needed of their heads is to be cloned before.
func (c *Consumer) Response(r *stack.Request, resp *stack.Response, consume Consume) error {
	if resp.Tunnel && !c.opts.Tunnels {
		return c.refuse(Tunnel)
	}
	f := feedOf(resp.Observers())
	if f == nil {
		f = responseFeed(c.tee, r, resp)
		resp.Observe(f)
		f.body = resp.Body
	}
	return c.start(f, consume)
}

// Request does for r's content what Response does for a response's.
func (c *Consumer) Request(r *stack.Request, consume Consume) error {
	if r.WantsTunnel() && !c.opts.Tunnels {
		return c.refuse(Tunnel)
	}
	f := feedOf(r.Observers())
	if f == nil {
		f = &feed{tee: c.tee, ofRequest: true, unframed: r.WantsTunnel()}
		f.size, f.sized = r.Body.Size()
		r.Observe(f)
		f.body = r.Body
	}
	return c.start(f, consume)
}

// refuse counts a message that is not shown to c.
func (c *Consumer) refuse(why Reason) error {
	c.counts.detached[why].Add(1)
	return &DetachedError{Reason: why}
}

// start runs consume on what f is given from now on.
func (c *Consumer) start(f *feed, consume Consume) error {
	if why := c.tee.enter(); why != attached {
		return c.refuse(why)
	}
	s := &Stream{consumer: c, feed: f, news: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancelCause(c.tee.ctx)
	if why := f.add(s); why != attached {
		s.cancel(nil)
		c.tee.leave()
		return c.refuse(why)
	}
	c.counts.running.Add(1)
	go s.run(consume)
	return nil
}

// run is named, not a literal, so that it has a name in goroutine dumps.
func (s *Stream) run(consume Consume) {
	err := errExit
	defer func() {
		cause := recover()
		if cause != nil {
			err = fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
		}
		s.returned(err, cause != nil)
	}()
	err = consume(s.ctx, s)
}

var errExit = errors.New("goroutine was ended")

// returned tidies up after consume.
func (s *Stream) returned(err error, panicked bool) {
	t := s.consumer.tee
	defer t.leave()
	why := s.finish(err, panicked)
	s.cancel(nil)
	s.consumer.counts.running.Add(-1)
	if why != attached && t.config.Ended != nil {
		t.config.Ended(s.consumer.opts.Name, why, err)
	}
}

// enter counts one consumer more, if one more may run.
func (t *Tee) enter() Reason {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return Shutdown
	case t.running >= t.config.Running:
		return TooMany
	}
	t.running++
	return attached
}

func (t *Tee) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running--
	if t.closed && t.running == 0 {
		close(t.idle)
	}
}

// Cut says that the proxy is about to cut what is under way: from now on what does
// not come whole ended by ErrShutdown.
func (t *Tee) Cut() { t.budget.cut.Store(true) }

// ErrShutdown is why consumers are stopped at the proxy's end.
var ErrShutdown = errors.New("proxy is shutting down")

// Close shows nothing more to anyone. It gives the consumers grace to end, then ends
// their contexts, and waits as long again. It returns an error if some go on.
func (t *Tee) Close(grace time.Duration) error {
	if t.beginClose() {
		return nil
	}
	defer t.cancel(ErrShutdown)
	if t.waitIdle(grace) {
		return nil
	}
	t.cancel(ErrShutdown)
	if t.waitIdle(grace) {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Errorf("tee: %d consumers have not ended within %v of being told to", t.running, grace)
}

// beginClose reports whether there is nobody to wait for.
func (t *Tee) beginClose() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.closed = true
		if t.running == 0 {
			close(t.idle)
		}
	}
	return t.running == 0
}

func (t *Tee) waitIdle(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-t.idle:
		return true
	case <-timer.C:
		return false
	}
}
