package proxy

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/outrigger-mesh/outrigger/control"
	"github.com/outrigger-mesh/outrigger/proxy/l4"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
	"github.com/outrigger-mesh/outrigger/tls"
)

// certify gives p its identity, and has its certificate kept fresh until ctx is done.
// Without one, on purpose, it does nothing.
func (p *Proxy) certify(ctx context.Context) error {
	id := &p.Config.Identity
	if p.Config.Unmeshed {
		return nil
	}
	anchors, err := p.anchors()
	if err != nil {
		return fmt.Errorf("identity: trust anchors: %w", err)
	}
	if p.Identity, err = tls.NewStore(tls.ID(id.ServerID), id.ServerName, anchors); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	p.Metrics.Identity(p.Identity)
	if id.TrustAnchorsFile != "" {
		p.keepers.Go(func() { p.Identity.FollowAnchors(ctx, id.TrustAnchorsFile, id.AnchorsPoll, p.Log) })
	}
	if id.SpireAddr != "" {
		p.keepers.Go(func() { p.spire(ctx) })
		return nil
	}
	key, err := tls.OpenKey(id.Dir, id.ServerName)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	p.keepers.Go(func() { p.certifier(key).Run(ctx) })
	return nil
}

// anchors reads who vouches for others, from the file that is followed if there is one.
func (p *Proxy) anchors() (*tls.Anchors, error) {
	id := &p.Config.Identity
	if id.TrustAnchorsFile != "" {
		return tls.ReadAnchors(id.TrustAnchorsFile, p.Log)
	}
	anchors, skipped, err := tls.ParseAnchors([]byte(id.TrustAnchors))
	for _, why := range skipped {
		p.Log.Warn("a trust anchor is passed over", "err", why)
	}
	return anchors, err
}

// certifier asks Linkerd's identity service.
func (p *Proxy) certifier(key *tls.Key) *tls.Certifier {
	id := &p.Config.Identity
	return &tls.Certifier{
		Store:      p.Identity,
		Key:        key,
		TokenFile:  id.TokenFile,
		Certify:    control.Certify(p.controlConfig("identity", id.Service)),
		MinRefresh: id.MinRefresh, MaxRefresh: id.MaxRefresh,
		Retry:   id.Retry,
		Timeout: id.Timeout,
		Log:     p.Log,
	}
}

func (p *Proxy) spire(ctx context.Context) {
	id := &p.Config.Identity
	s := control.Spire{Addr: id.SpireAddr, Store: p.Identity, Backoff: id.SpireBackoff, Log: p.Log}
	if err := s.Run(ctx); err != nil {
		p.Log.Error("there will be no further certificate", "err", err)
	}
}

// awaitIdentity waits until this workload is certified, or ctx is done: before, its
// listeners accept nothing. It reports whether it is.
func (p *Proxy) awaitIdentity(ctx context.Context) bool {
	if p.Identity == nil {
		return true
	}
	again := time.NewTicker(p.Config.Identity.Reminder)
	defer again.Stop()
	for {
		select {
		case <-p.Identity.Certified():
			return true
		case <-again.C:
			p.Log.Warn("Waiting for identity to be initialized...", "id", string(p.Identity.Local()))
		case <-ctx.Done():
			return false
		}
	}
}

// ready reports whether the proxy is to be sent work, and what is to be said of that.
// It is once it has been certified, even if its certificate has run out since; and not
// any more once it drains, though it takes what comes for a while.
func (p *Proxy) ready() (ok bool, why string) {
	if p.leaving.Load() {
		return false, "draining"
	}
	if p.Identity == nil {
		return true, ""
	}
	if err := p.Identity.Err(); err != nil {
		why = err.Error()
	}
	select {
	case <-p.Identity.Certified():
		return true, why
	default:
		return false, why
	}
}

// handshake ends the TLS of clients. alpn is what must be agreed on, or "".
func (p *Proxy) handshake(alpn string) l4.Handshake {
	return func(ctx context.Context, c *stack.Conn) (net.Conn, tls.ID, string, error) {
		t, err := p.Identity.Server(ctx, c, tls.ServerParams{ALPN: alpn, RequireClient: alpn != ""})
		if err != nil {
			return nil, "", "", err
		}
		return t, t.Peer(), t.ALPN(), nil
	}
}
