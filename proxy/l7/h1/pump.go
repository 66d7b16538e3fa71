package h1

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/outrigger-mesh/outrigger/guard"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A pump writes a request's content while its answer is waited for.
type pump struct {
	c      *conn
	cancel context.CancelCauseFunc
	done   chan struct{}
	goOn   chan struct{} // closed when a content that waits for 100 may go
	once   sync.Once
	err    error // why the content could not be had
	whole  bool  // the content went whole
}

func startPump(ctx context.Context, c *conn) *pump {
	ctx, cancel := context.WithCancelCause(ctx)
	p := &pump{c: c, cancel: cancel, done: make(chan struct{}), goOn: make(chan struct{})}
	go p.run(ctx, c.req)
	return p
}

func (p *pump) run(ctx context.Context, r *stack.Request) {
	defer close(p.done)
	defer func() {
		if v := recover(); v != nil {
			p.panicked(r, v)
		}
	}()
	if waitsFor100(r) && !p.await(ctx) {
		return
	}
	err := p.copy(ctx, r)
	if err == nil {
		p.whole = true
		_ = r.Body.Close(nil)
		if r.WantsTunnel() {
			_ = p.c.c.CloseWrite()
		}
		return
	}
	if p.c.out.err == nil { // not the server's doing
		p.err = err
		_ = p.c.c.Close()
	}
	if r.WantsTunnel() {
		_ = p.c.c.Close()
		_ = r.Body.Close(err)
	}
}

// panicked ends the exchange, since its content broke off.
func (p *pump) panicked(r *stack.Request, v any) {
	g := p.c.pool.params.Guard
	err := g.Caught("http1 content", v, "server", p.c.c.RemoteAddr())
	p.err = err
	_ = g.Do("http1 content", func() {
		_ = p.c.c.Close()
		if r.WantsTunnel() {
			_ = r.Body.Close(err)
		}
	})
}

// waitsFor100 reports whether r's content is to be sent only once it is asked for.
func waitsFor100(r *stack.Request) bool {
	return r.Version != stack.HTTP10 && r.Header.Has("expect") && !r.WantsTunnel()
}

// await waits until the server asks for the content, or seems not to know that
// it should.
func (p *pump) await(ctx context.Context) bool {
	t := time.NewTimer(p.c.pool.params.Continue)
	defer t.Stop()
	select {
	case <-p.goOn:
	case <-t.C:
	case <-ctx.Done():
		return false
	}
	return ctx.Err() == nil
}

func (p *pump) copy(ctx context.Context, r *stack.Request) error {
	o := &p.c.out
	guard.Point("http1 content")
	for {
		if !r.Body.AtHand() {
			if err := o.flush(); err != nil {
				return err
			}
		}
		chunk, err := r.Body.Next(ctx)
		if werr := o.data(chunk); werr != nil {
			return werr
		}
		if err == io.EOF { //nolint:errorlint // the contract is io.EOF itself
			break
		}
		if err != nil {
			return err
		}
	}
	if err := o.end(r.Body.Trailer()); err != nil {
		return err
	}
	return o.flush()
}

// proceed lets a content that waits for 100 go.
func (p *pump) proceed() {
	if p != nil {
		p.once.Do(func() { close(p.goOn) })
	}
}

// stop ends p, and returns why the content could not be had, if it could not. A
// write that the server does not take is given up: it has answered already.
func (p *pump) stop(cause error) error {
	if p == nil {
		return nil
	}
	select {
	case <-p.done:
	default:
		p.cancel(cause)
		_ = p.c.c.SetWriteDeadline(longAgo())
		<-p.done
		_ = p.c.c.SetWriteDeadline(time.Time{})
	}
	p.cancel(cause)
	if errors.Is(p.err, cause) {
		return nil
	}
	return p.err
}
