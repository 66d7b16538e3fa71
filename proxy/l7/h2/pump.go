package h2

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A pump sends what is not at hand of a request's content, while its answer is
// waited for.
type pump struct {
	st     *clientStream
	x      *stack.Exchange // ends with the pump's use; Next waits by it
	done   chan struct{}
	pulled bool // something was taken beyond what was at hand; read once done
}

func (st *clientStream) startPump() {
	st.pump = &pump{st: st, x: &stack.Exchange{}, done: make(chan struct{})}
	st.c.sched.start(st.pump)
}

// run implements job.
func (p *pump) run() {
	defer close(p.done)
	st := p.st
	err := p.await()
	if err == nil {
		err = p.copy()
	}
	if err == nil {
		return
	}
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.sendErr == nil && !st.sendEnd { // the content's fault, and not the server's
		c.reset(&st.stream, codeOf(err, stack.Cancel))
		st.fail(err)
	}
}

func (p *pump) copy() error {
	s := &p.st.send
	for {
		if err := s.pushAll(p.x); err != nil || s.end {
			return err
		}
		p.pulled = true
		if err := s.pull(p.x); err != nil {
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
		st.wr.wake()
	})
	defer t.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.until(context.Background(), &st.wr, func() bool { return st.goOn || late.Load() || st.sendErr != nil })
}

var errStopped = errors.New("content is not needed any more")

// stop ends p, and waits for its end. It reports whether p has taken something of
// the content.
func (p *pump) stop() (pulled bool) {
	p.x.End(errStopped)
	p.st.wr.wake()
	<-p.done
	return p.pulled
}
