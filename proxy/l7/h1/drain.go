package h1

import (
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// leaving reports whether clients are asked to open another connection.
func (p *Params) leaving() bool { return p.Leaving != nil && p.Leaving() }

// drain makes the next response, if there is still one, the last. A client that has
// not been told by then is left a while in which to ask.
func (a *accepted) drain() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.draining.Store(true)
	if a.idle && !a.kicked { // else it is about to idle anew
		a.limitIdle()
	}
}

// limitIdle ends an idle wait after Params.Quiet, if the connection drains. The
// caller holds mu.
func (a *accepted) limitIdle() {
	if a.since.IsZero() {
		a.since = time.Now()
	}
	if a.draining.Load() && !a.came { // else what came is yet to be read
		_ = a.c.SetReadDeadline(a.since.Add(a.params.Quiet))
	}
}

// late looks for a request that came as its wait was ended. If there is none it
// closes the connection's half, and waits for the client's: then it is known
// whether one crossed the close.
func (a *accepted) late() (came bool) {
	if !a.draining.Load() {
		return false
	}
	conn, _ := a.c.Conn.(interface{ PeerClosed() bool })
	if a.came = conn != nil && conn.PeerClosed(); a.came {
		return true
	}
	if conn == nil || a.params.Crossed == nil {
		return false
	}
	_ = a.c.CloseWrite()
	_ = a.c.SetReadDeadline(time.Now().Add(a.params.DrainTime))
	if n, _ := a.c.Read(make([]byte, 1)); n > 0 {
		a.params.Crossed(a.c)
	}
	return false
}

// InHand implements stack.Holder.
func (a *accepted) InHand() (stack.Kind, int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.tunnelled.Load():
		return stack.HTTP1Tunnel, 1
	case a.idle:
		return stack.HTTP1Work, 0
	default:
		return stack.HTTP1Work, 1
	}
}

// Leave implements stack.Holder. An idle client is told with its next answer, as all
// are (see Params.Leaving), for which it has Params.Quiet from now on.
func (a *accepted) Leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.idle && a.since.IsZero() {
		a.since = time.Now()
	}
}
