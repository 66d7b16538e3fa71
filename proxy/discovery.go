package proxy

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/outrigger-mesh/outrigger/control"
	"github.com/outrigger-mesh/outrigger/guard"
	"github.com/outrigger-mesh/outrigger/profiles"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A discovery is what one destination's profile was made into. One goroutine
// updates it; requests find their way through its routers meanwhile.
type discovery struct {
	http         *backends[stack.Service]
	opaque       *backends[stack.Dialer]
	routes1      *profiles.Router[stack.Service] // for HTTP/1
	routes2      *profiles.Router[stack.Service] // for HTTP/2
	opaqueRoutes *profiles.Router[stack.Dialer]
	profile      *profiles.Profile // whose routes are being built
}

// update makes p what requests and connections go by from now on. A destination
// that has become opaque keeps its routes for the requests of the connections
// that were accepted before.
func (d *discovery) update(p *profiles.Profile) {
	d.profile = p
	if p.Protocol != profiles.Opaque || len(p.HTTP1)+len(p.HTTP2) > 0 {
		d.routes1.Update(p.HTTP1)
		d.routes2.Update(p.HTTP2)
		d.http.sweep()
	}
	if p.Protocol != profiles.HTTP1 || len(p.Opaque) > 0 {
		d.opaqueRoutes.Update(p.Opaque)
		d.opaque.sweep()
	}
}

// discover applies the first profile of t before it returns, and each later one
// as it comes, until ctx ends. If the control plane is silent, and nothing is
// remembered of t, an address that may have no profile is gone to as it is.
func (o *outbound) discover(ctx context.Context, t profiles.Target, apply func(*profiles.Profile)) error {
	first, cancel := context.WithTimeoutCause(ctx, o.Config.Outbound.DiscoverTimeout, errUndiscovered)
	defer cancel()
	var once updates
	err := control.Follow(first, o.watcher("profile"), o.Profiles.Watch(ctx, t), func(p *profiles.Profile) {
		guard.Point("profile applied")
		once.apply(p, apply)
	}, func(err error) {
		if ctx.Err() == nil {
			o.Log.Warn("profile ended, the last one stands", "destination", nameOf(t), "err", err)
		}
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errUndiscovered) && !o.Profiles.Profiled(t):
		p, err := profiles.Fallback(t)
		if err == nil {
			once.fallBack(p, apply)
		}
		return err
	case errors.Is(err, errUndiscovered):
		return fmt.Errorf("destination %s: %w within %v%s", nameOf(t), err, o.Config.Outbound.DiscoverTimeout, o.outage())
	default:
		return fmt.Errorf("destination %s: %w", nameOf(t), err)
	}
}

// watcher says how what the control plane says is followed.
func (o *outbound) watcher(stage string) control.Watcher {
	return control.Watcher{Stage: stage + " update", Guard: o.guard, Backoff: o.Config.Control.Destination.Connect.Backoff}
}

// updates are a destination's profiles, applied one at a time: the control plane
// may speak just as it is given up.
type updates struct {
	mu    sync.Mutex
	heard bool
}

func (u *updates) apply(p *profiles.Profile, apply func(*profiles.Profile)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.heard = true
	apply(p)
}

// fallBack applies p unless the control plane has spoken.
func (u *updates) fallBack(p *profiles.Profile, apply func(*profiles.Profile)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.heard {
		apply(p)
	}
}

// outage says what is known of why the control plane does not answer.
func (o *outbound) outage() string {
	for _, c := range []*control.Client{o.Destination, o.Policy} {
		if c == nil {
			continue
		}
		if err := c.Outage(); err != nil {
			return ": " + err.Error()
		}
	}
	return ""
}
