package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/l4"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// Asked is why a sidecar ends, if somebody asked for it, as the cause of a context's
// end: a signal's name, or what was asked of the admin port.
type Asked string

// Error says it as linkerd2-proxy does.
func (a Asked) Error() string { return "received " + string(a) }

// Is reports that a context which ended so was canceled.
func (a Asked) Is(err error) bool { return err == context.Canceled }

// A drain is how a session ends: docs/drain.md has its steps.
type drain struct {
	*Proxy
	inbound, outbound half

	cut, over       chan struct{} // closed to cut what is open; closed once nothing is
	running, silent sync.WaitGroup

	mu    sync.Mutex // guards what follows
	began time.Time
	asked string
	held  map[*stack.Conn]work // when the drain began
	lost  map[*stack.Conn]work // when it was cut
}

// A half is one direction's connections, and whether they are accepted still.
type half struct {
	accepting context.Context
	stop      context.CancelFunc
	conns     l4.Conns
}

func newDrain(ctx context.Context, p *Proxy) *drain {
	d := &drain{Proxy: p, cut: make(chan struct{}), over: make(chan struct{})}
	for _, h := range []*half{&d.inbound, &d.outbound} {
		h.accepting, h.stop = context.WithCancel(context.WithoutCancel(ctx))
	}
	return d
}

// run waits for ctx, and then drains, step by step.
func (d *drain) run(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-d.over:
		return
	}
	d.begin(context.Cause(ctx))
	defer d.report()
	if pause(d.over, d.Config.Drain.LameDuck) {
		return
	}
	d.close(&d.inbound)
	if pause(d.over, d.Config.Drain.Grace) {
		return
	}
	d.Log.Warn("grace period is over, connections are cut", "grace", d.Config.Drain.Grace)
	d.mu.Lock()
	d.lost = d.works()
	d.mu.Unlock()
	d.Tee.Cut() // ahead of it, so that nobody takes it for a client's doing
	close(d.cut)
	<-d.over
}

// begin asks all clients to leave, in whatever way there is.
func (d *drain) begin(why error) {
	source := "stop"
	if asked, ok := errors.AsType[Asked](why); ok {
		source = string(asked)
	}
	d.mu.Lock()
	d.began, d.asked, d.held = time.Now(), source, d.works()
	held := tallyOf(d.held)
	d.mu.Unlock()
	d.Log.Info(fmt.Sprintf("received %s, starting shutdown", source))
	d.Log.Info("draining", "source", source, "lame duck", d.Config.Drain.LameDuck, "grace", d.Config.Drain.Grace, held.group("held"))
	d.leaving.Store(true)
	for _, c := range d.conns() {
		if h := c.Holder(); h != nil {
			h.Leave()
		}
	}
}

// close has h accept no more. A connection on which nothing has come that says what
// it is, and nothing does soon, is closed as one that idles: its client has opened
// it for later, or not at all.
func (d *drain) close(h *half) {
	h.stop()
	d.silent.Go(func() {
		d.mu.Lock()
		rest := time.Until(d.began.Add(d.Config.Drain.Idle))
		d.mu.Unlock()
		if pause(d.over, max(rest, min(d.Config.Drain.LameDuck, d.Config.Drain.Idle))) {
			return
		}
		for _, c := range h.conns.All() {
			if c.Holder() == nil && !spoken(c) {
				_ = c.Close()
			}
		}
	})
}

// spoken reports whether something of c's is unread.
func spoken(c *stack.Conn) bool {
	p, ok := c.Conn.(interface{ PeerClosed() bool })
	return !ok || p.PeerClosed()
}

// end frees what d holds, once all is over.
func (d *drain) end() {
	close(d.over)
	d.running.Wait() // first: it may add to the other
	d.silent.Wait()
	d.inbound.stop()
	d.outbound.stop()
}

func (d *drain) conns() []*stack.Conn {
	return append(d.inbound.conns.All(), d.outbound.conns.All()...)
}

// A work is what one connection has in hand.
type work struct {
	kind stack.Kind
	n    int
}

func (d *drain) works() map[*stack.Conn]work {
	all := make(map[*stack.Conn]work)
	for _, c := range d.conns() {
		w := work{}
		if h := c.Holder(); h != nil {
			w.kind, w.n = h.InHand()
		}
		all[c] = w
	}
	return all
}

// report says how it went, once all is over.
func (d *drain) report() {
	d.mu.Lock()
	defer d.mu.Unlock()
	lost := tallyOf(d.lost)
	crossed := d.crossed.Load()
	level := slog.LevelInfo
	attrs := []slog.Attr{
		slog.String("source", d.asked), slog.Duration("took", time.Since(d.began)),
		tallyOf(d.held).group("held"), d.finished().group("drained"), lost.group("cut"),
		slog.Int64("crossed", crossed),
	}
	if lost.work() > 0 || crossed > 0 {
		level = slog.LevelWarn
		attrs = append(attrs, slog.Any("peers", peersOf(d.lost)))
	}
	d.Log.LogAttrs(context.Background(), level, "drained", attrs...)
}

// finished is what was in hand when the drain began, less what was cut of it.
func (d *drain) finished() tally {
	done := make(map[*stack.Conn]work, len(d.held))
	for c, w := range d.held {
		cut, open := d.lost[c]
		switch {
		case !open:
		case cut.n >= w.n:
			continue
		default:
			w.n -= cut.n
		}
		done[c] = w
	}
	return tallyOf(done)
}

// abandoned says what is lost by an end at once.
func (d *drain) abandoned(why string) {
	lost := d.works()
	d.Log.LogAttrs(context.Background(), slog.LevelWarn, "received "+why+" again, exiting at once",
		tallyOf(lost).group("cut"), slog.Any("peers", peersOf(lost)))
}

// A tally is what connections have in hand, by what it is.
type tally struct{ connections, requests, tunnels, streams, opaque int }

func tallyOf(all map[*stack.Conn]work) tally {
	t := tally{connections: len(all)}
	for _, w := range all {
		switch w.kind {
		case stack.HTTP1Work:
			t.requests += w.n
		case stack.HTTP1Tunnel:
			t.tunnels += w.n
		case stack.HTTP2Work:
			t.streams += w.n
		case stack.OpaqueWork:
			t.opaque += w.n
		case stack.Unknown:
		}
	}
	return t
}

// work is how much there is, beside connections that idle.
func (t tally) work() int { return t.requests + t.tunnels + t.streams + t.opaque }

func (t tally) group(name string) slog.Attr {
	return slog.Group(name, "connections", t.connections, "requests", t.requests, "tunnels", t.tunnels, "streams", t.streams, "opaque", t.opaque)
}

// maxPeers is how many clients of what was cut are named.
const maxPeers = 8

// peersOf names the clients of what is in hand, and where they meant to go.
func peersOf(all map[*stack.Conn]work) []string {
	var names []string
	more := 0
	for c, w := range all {
		switch {
		case w.n == 0:
		case len(names) == maxPeers:
			more++
		default:
			names = append(names, fmt.Sprintf("%s to %s", c.Client, destinationOf(c)))
		}
	}
	if more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return names
}

// destinationOf is where c's client meant to go; if that has no address, where it is
// connected.
func destinationOf(c *stack.Conn) string {
	if c.OrigDst.IsValid() || c.Conn == nil {
		return c.OrigDst.String()
	}
	return c.LocalAddr().String()
}

// pause waits for d, or until over. It reports whether it was the latter.
func pause(over <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-over:
		return true
	case <-t.C:
		return false
	}
}
