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
	lost    func() bool // somebody waits for a replica, and none can be reached
	wanted  *signal     // raised when lost may have become true
}

// run publishes until ctx is done: once if the address says where the service
// is, again and again if it must be looked up.
func (f *finder) run(ctx context.Context) {
	if ip, ok := static(f.conf.Addr); ok {
		f.publish([]netip.AddrPort{netip.AddrPortFrom(ip, f.conf.Addr.Port)})
		<-ctx.Done()
		return
	}
	hurried := f.conf.Backoff.Start()
	for ctx.Err() == nil {
		if f.pause(ctx, f.once(ctx), hurried) != nil {
			return
		}
	}
}

// once looks the name up and returns how long to wait before the next time, if
// nobody is in a hurry.
func (f *finder) once(ctx context.Context) time.Duration {
	found, err := f.conf.DNS.lookup(ctx, f.conf.Addr, func(record string, ok bool) {
		f.conf.Observe.Resolution(f.conf.Name, record, ok)
	})
	switch {
	case ctx.Err() != nil:
		return 0
	case err != nil:
		f.failed(err)
		return f.conf.DNS.retry(err)
	}
	f.conf.Log.LogAttrs(ctx, slog.LevelDebug, "resolved a control-plane address",
		slog.Any("replicas", found.replicas), slog.Duration("again", found.refresh))
	f.publish(found.replicas)
	return found.refresh
}

// pause waits for d. While somebody waits for a replica and none can be reached,
// it waits for no more than the backoff: what the servers said last, be it that
// there is nothing, is then of no use, however long it may be believed. (The
// reference waits in any case, for 5 s at least.) The backoff keeps that from
// being a flood, and it ends with the first connection.
func (f *finder) pause(ctx context.Context, d time.Duration, hurried *Delays) error {
	if !f.lost() {
		hurried.Reset()
	}
	soonest := min(d, hurried.Next())
	if err := sleep(ctx, soonest); err != nil {
		return err
	}
	rest := time.NewTimer(d - soonest)
	defer rest.Stop()
	for {
		wanted := f.wanted.next() // before looking, so that nothing is missed
		if f.lost() {
			return nil
		}
		select {
		case <-wanted:
		case <-rest.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
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
