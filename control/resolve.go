package control

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"time"
)

// A finder keeps the set of a service's replicas up to date. It has one writer,
// run; what it finds goes to publish, whole each time, and is never empty.
type finder struct {
	conf    Config
	publish func([]netip.AddrPort)
	failed  func(error) // a lookup failed; what was published stands
}

// run publishes until ctx is done: once if the address says where the service
// is, again and again if it must be looked up.
func (f *finder) run(ctx context.Context) {
	if ip, ok := static(f.conf.Addr); ok {
		f.publish([]netip.AddrPort{netip.AddrPortFrom(ip, f.conf.Addr.Port)})
		<-ctx.Done()
		return
	}
	delays := f.conf.Backoff.Start()
	for ctx.Err() == nil {
		if sleep(ctx, f.once(ctx, delays)) != nil {
			return
		}
	}
}

// once looks the name up and returns how long to wait before the next time.
func (f *finder) once(ctx context.Context, delays *Delays) time.Duration {
	found, err := f.conf.DNS.lookup(ctx, f.conf.Addr, func(record string, ok bool) {
		f.conf.Observe.Resolution(f.conf.Name, record, ok)
	})
	switch {
	case ctx.Err() != nil:
		return 0
	case err != nil:
		f.failed(err)
		if held, ok := f.conf.DNS.retry(err); ok {
			return held
		}
		return delays.Next()
	}
	delays.Reset()
	f.conf.Log.LogAttrs(ctx, slog.LevelDebug, "resolved a control-plane address",
		slog.Any("replicas", found.replicas), slog.Duration("again", found.refresh))
	f.publish(found.replicas)
	return found.refresh
}

// static returns the one address that a means without a lookup. RFC 6761,
// section 6.3, has "localhost" never asked for.
func static(a Addr) (netip.Addr, bool) {
	if ip, ok := a.ip(); ok {
		return ip, true
	}
	if strings.EqualFold(strings.TrimSuffix(a.Host, "."), "localhost") {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), true
	}
	return netip.Addr{}, false
}
