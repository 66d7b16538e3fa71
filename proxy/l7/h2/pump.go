package h2

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outrigger-mesh/outrigger/guard"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A pump sends what is not at hand of a request's content, while its answer is
// waited for.
type pump struct {
	st     *clientStream
	x      stack.Exchange // ends with the pump's use; Next waits by it
	done   sync.WaitGroup
	pulled bool // something was taken beyond what was at hand; read once done, or over
	over   bool // all is sent; guarded by the connection's mu
}

func (st *clientStream) startPump() {
	st.pump = &pump{st: st}
	st.pump.done.Add(1)
	st.c.sched.Workers.Start(st.pump)
}

// Run implements codec.Job.
func (p *pump) Run() {
	defer p.done.Done()
	defer p.caught()
	err := p.await()
	if err == nil {
		err = p.copy()
	}
	if err == nil {
		p.release()
		return
	}
	p.failed(err)
}

// failed ends the stream, since its content broke off.
func (p *pump) failed(err error) {
	st := p.st
	c := st.c
	c.mu.Lock()
	defer c.unlock()
	if st.sendErr == nil && !st.sendEnd { // the content's fault, and not the server's
		c.reset(&st.stream, codeOf(err, stack.Cancel))
		st.fail(err)
	}
}

// release closes the content, as outgoing.release does; once it need not be sent again.
func (p *pump) release() {
	st := p.st
	st.c.mu.Lock()
	p.over = true
	needless := p.pulled || st.answered
	st.c.mu.Unlock() // nothing between can panic
	if needless && st.req.Version != stack.HTTP2 {
		_ = st.req.Body.Close(nil)
	}
}

func (p *pump) copy() error {
	s := &p.st.send
	guard.Point("http2 content")
	for {
		if err := s.pushAll(&p.x); err != nil || s.end {
			return err
		}
		p.pulled = true
		if err := s.pull(&p.x); err != nil {
			return err
		}
	}
}

// await waits until a server asks for a content that is held back for it, or seems
// not to know that it should.
func (p *pump) await() error {
	st := p.st
	if !waitsFor100(st.req) {
		return nil
	}
	c := st.c
	var late atomic.Bool
	t := time.AfterFunc(c.params.Continue, func() {
		late.Store(true)
		st.nudge()
	})
	defer t.Stop()
	c.mu.Lock()
	defer c.unlock()
	return c.until(context.Background(), &st.wr, func() bool { return st.goOn || late.Load() || st.sendErr != nil })
}

// nudge has whoever sends look again.
func (st *stream) nudge() {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	st.wr.wake()
}

var errStopped = errors.New("content is not needed any more")

// stop ends p, and waits for its end. It reports whether p has taken something of
// the content.
func (p *pump) stop() (pulled bool) {
	p.x.End(errStopped)
	p.st.nudge()
	p.done.Wait()
	return p.pulled
}
