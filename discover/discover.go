// Package discover asks the control plane where a destination's endpoints are,
// and keeps asking. It says nothing of how requests are routed to them (package
// profiles) or shared among them (package balance). Read Set first.
package discover

import (
	"context"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/outrigger-mesh/outrigger/tls"
)

// An Endpoint is one address that serves a destination. It is comparable: two
// are equal if the control plane said the same of them.
type Endpoint struct {
	Addr       netip.AddrPort
	ID         tls.ID // whom it must prove to be; zero means plain text
	ServerName string // the name to ask for in TLS (SNI), which may differ from ID
	Weight     uint32 // its share among its destination's, 10000 being the usual
	Hint       Hint
	// InboundPort is the port of the endpoint's own proxy, to be reached with a
	// transport header; zero if it has none.
	InboundPort uint16
	Authority   string // replaces the request's, for an endpoint behind a gateway
	Zone        Zone
	HTTP2       HTTP2Params
	Labels      Labels
}

// A Key is an endpoint's identity. What else changes of an endpoint leaves its
// latency and its connections as they are.
type Key struct {
	Addr netip.AddrPort
	ID   tls.ID
}

// Key returns e's identity.
func (e Endpoint) Key() Key { return Key{e.Addr, e.ID} }

// SameClient reports whether a client built for e can go on serving o, which
// differs in nothing that the client depends on.
func (e Endpoint) SameClient(o Endpoint) bool {
	return e.Key() == o.Key() && e.Hint == o.Hint && e.InboundPort == o.InboundPort &&
		e.ServerName == o.ServerName && e.Authority == o.Authority && e.HTTP2 == o.HTTP2
}

// A Hint says what the endpoint's own proxy can take.
type Hint uint8

// The hints that the destination service gives.
const (
	Unknown Hint = iota
	HTTP2        // HTTP/1 may be carried over HTTP/2
	Opaque       // bytes only
)

// A Zone says whether an endpoint is in this workload's own zone.
type Zone uint8

// The zones that the destination service tells apart, by its label zone_locality.
const (
	ZoneUnknown Zone = iota
	ZoneLocal
	ZoneRemote
)

// HTTP2Params are the HTTP/2 settings that the control plane wants used with an
// endpoint. Zero means that it did not say.
type HTTP2Params struct {
	StreamWindow, ConnWindow uint32
	AdaptiveWindows          bool
	KeepAliveInterval        time.Duration
	KeepAliveTimeout         time.Duration
	KeepAliveWhileIdle       bool
	MaxFrameSize             uint32
	MaxSendBuffer            uint32
	MaxConcurrentResets      uint32
	InitialMaxSendStreams    uint32
}

// Labels name an endpoint, or a route, in metrics. They are sorted by key and
// comparable; the zero Labels are none.
type Labels string

// NewLabels returns the labels in m.
func NewLabels(m map[string]string) Labels {
	var b strings.Builder
	for i, k := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			b.WriteByte(0)
		}
		b.WriteString(strings.ReplaceAll(k, "\x00", ""))
		b.WriteByte(0)
		b.WriteString(strings.ReplaceAll(m[k], "\x00", ""))
	}
	return Labels(b.String())
}

// All yields each key and value, sorted by key.
func (l Labels) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		rest := string(l)
		for rest != "" {
			var k, v string
			k, rest, _ = strings.Cut(rest, "\x00")
			v, rest, _ = strings.Cut(rest, "\x00")
			if !yield(k, v) {
				return
			}
		}
	}
}

// Get returns the value of key, or "".
func (l Labels) Get(key string) string {
	for k, v := range l.All() {
		if k == key {
			return v
		}
	}
	return ""
}

// A Set is every endpoint of a destination at one moment. Nobody changes a Set
// once it has been yielded.
type Set struct {
	Endpoints []Endpoint // none twice, by Key
	Exists    bool       // false when the control plane knows no such destination
	Stale     bool       // remembered from before; the control plane has not spoken since
}

// A Stream yields the whole Set each time it changes, never a difference. It
// reconnects by itself, and meanwhile the last Set stands; it yields an error,
// and ends, only when the destination is refused from the start or its context is done.
type Stream = iter.Seq2[Set, error]

// A Resolver finds endpoints.
type Resolver interface {
	// Resolve streams the endpoints of destination, which is "name:port" or "ip:port".
	Resolve(ctx context.Context, destination string) Stream
}
