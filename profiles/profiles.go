// Package profiles asks the control plane how requests to a destination are to
// be treated, and chooses the route for each. ServiceProfiles and outbound
// policies become one model here. It does not find endpoints (package discover)
// or decide who may call this workload (package policy), and of a request it
// reads the head alone. Read Profile first.
package profiles

import (
	"context"
	"iter"
	"net"
	"net/netip"
	"strconv"
)

// A Target is the key of a destination: by address when a connection was
// redirected, by name for named listeners.
type Target struct {
	Addr netip.AddrPort // zero if Name is set
	Name string         // without a trailing dot, lower case
	Port uint16         // of Name
}

// String returns "ip:port" or "name:port", as the control plane is asked.
func (t Target) String() string {
	if t.Name == "" {
		return t.Addr.String()
	}
	return net.JoinHostPort(t.Name, strconv.Itoa(int(t.Port)))
}

// port returns the target's port, whichever kind it is.
func (t Target) port() uint16 {
	if t.Name == "" {
		return t.Addr.Port()
	}
	return t.Port
}

// A Profile is all that the control plane says of one destination: its
// ServiceProfile and its outbound policy, joined by the rule of which of both
// routes. Nobody changes a Profile once it has been yielded.
type Profile struct {
	Name     string   // "fqn:port" as the control plane knows it, or ""
	Source   Source   // what routes
	Parent   Meta     // what the routes hang on
	Protocol Protocol // how a connection is served
	HTTP1    []Route  // routes for HTTP/1 requests
	HTTP2    []Route  // routes for HTTP/2 requests; GRPC's too
	Opaque   []Route  // routes for connections that are not HTTP; at most one
	TLS      []Route  // routes for connections by SNI, if Protocol is TLS
	Accrual  Accrual  // when an endpoint's breaker trips, for HTTP
	Budget   Budget   // shared by all routes that retry by it
	Stale    bool     // remembered from before; the control plane has not spoken since

	// Problems say what of the control plane's answer was invalid and is
	// therefore refused or left out. They are bounded, and safe to log.
	Problems []string
}

// A Source says which of the control plane's answers routes a destination.
type Source uint8

// The sources, in the words of metrics and of /explain.
const (
	FromPolicy   Source = iota // an outbound policy
	FromProfile                // a ServiceProfile with routes or overrides, or one that only names
	FromEndpoint               // neither: the profile names one endpoint
	FromFallback               // neither: the original destination
)

// String returns the source in a word.
func (s Source) String() string {
	return name(s, "policy", "profile", "endpoint", "fallback")
}

// A Protocol says how a destination's connections are served.
type Protocol uint8

// The protocols that an outbound policy can name.
const (
	Detect Protocol = iota
	HTTP1
	HTTP2
	GRPC
	Opaque
	TLS
)

// String returns the protocol as metrics name it.
func (p Protocol) String() string {
	return name(p, "detect", "http/1", "http/2", "grpc", "opaque", "tls")
}

// Meta names a resource of the control plane in metrics and in errors. A default
// one, which no user made, has the kind "default" and only a name.
type Meta struct {
	Group, Kind, Namespace, Name, Section string
	Port                                  uint16
}

// Default returns the Meta of what no user made.
func Default(name string) Meta { return Meta{Kind: "default", Name: name} }

// String returns "default.name" or "kind.namespace.name:port".
func (m Meta) String() string {
	s := m.Kind + "."
	if m.Namespace != "" {
		s += m.Namespace + "."
	}
	s += m.Name
	if m.Port != 0 {
		s += ":" + strconv.Itoa(int(m.Port))
	}
	return s
}

// A Stream yields the profile each time it changes, as a discover.Stream yields a Set.
type Stream = iter.Seq2[*Profile, error]

// A Watcher finds profiles. Daemon is the one in use.
type Watcher interface {
	Watch(ctx context.Context, t Target) Stream
}

// name returns the word for a value of an enumeration.
func name[E ~uint8](e E, words ...string) string {
	if int(e) < len(words) {
		return words[e]
	}
	return "unknown(" + strconv.Itoa(int(e)) + ")"
}
