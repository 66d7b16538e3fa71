package proxy

import (
	"fmt"

	"github.com/outrigger-mesh/outrigger/control"
)

// settle applies the rules that join several variables, and refuses what they
// forbid.
func (r *envReader) settle(c *Config) {
	r.listen(c)
	r.queues(c)
	r.backoffs(c)
	r.http2(c)
	r.limits(&c.Control)
	r.required(c)
	r.services(c)
	r.identity(c)
	r.security(c)
	r.inClear(c)
}

// queues notes which capacities were asked for, and what ingress mode implies.
func (r *envReader) queues(c *Config) {
	c.Inbound.HTTPQueue.Asked = r.isSet(linkerd + "INBOUND_HTTP_QUEUE_CAPACITY")
	c.Outbound.HTTPQueue.Asked = r.isSet(linkerd + "OUTBOUND_HTTP_QUEUE_CAPACITY")
	c.Outbound.TCPQueue.Asked = r.isSet(linkerd + "OUTBOUND_TCP_QUEUE_CAPACITY")
	if !r.isSet(linkerd + "OUTBOUND_DISABLE_INFORMATIONAL_HEADERS") {
		c.QuietErrors = c.Ingress
	}
}

// backoffs checks the backoffs, of which a minimum and a maximum go together.
func (r *envReader) backoffs(c *Config) {
	r.backoff(&c.Inbound.Connect.Backoff, linkerd+"INBOUND_CONNECT_EXP_BACKOFF")
	r.backoff(&c.Outbound.Connect.Backoff, linkerd+"OUTBOUND_CONNECT_EXP_BACKOFF")
	spire := linkerd + "IDENTITY_SPIRE_EXP_BACKOFF"
	if r.isSet(linkerd+spire+"_MIN", linkerd+spire+"_MAX", linkerd+spire+"_JITTER") {
		spire = linkerd + spire
	}
	r.backoff(&c.Identity.SpireBackoff, spire)
}

func (r *envReader) backoff(b *control.Backoff, name string) {
	low, high, jitter := r.isSet(name+"_MIN"), r.isSet(name+"_MAX"), r.isSet(name+"_JITTER")
	switch {
	case low != high, jitter && !low:
		for _, end := range []string{"_MIN", "_MAX", "_JITTER"} {
			if r.isSet(name + end) {
				r.refuse(name+end, fmt.Errorf("%s_MIN and %s_MAX go together", name, name))
			}
		}
		return
	case !low:
		return
	case !jitter:
		b.Jitter = 0
	}
	if err := b.Validate(); err != nil && !r.refused[name+"_MIN"] && !r.refused[name+"_MAX"] {
		r.refuse(name+"_MAX", err)
	}
}

// http2 drops halves of settings that only count together.
func (r *envReader) http2(c *Config) {
	for _, d := range []struct {
		name string
		*HTTP2Server
	}{{"INBOUND", &c.Inbound.HTTP2}, {"OUTBOUND", &c.Outbound.HTTP2}} {
		prefix := linkerd + d.name + "_SERVER_HTTP2_"
		if r.half(prefix+"INITIAL_STREAM_WINDOW_SIZE", prefix+"INITIAL_CONNECTION_WINDOW_SIZE") {
			d.StreamWindow, d.ConnWindow = http2StreamWindow, http2ConnWindow
		}
		if r.half(prefix+"KEEP_ALIVE_INTERVAL", prefix+"KEEP_ALIVE_TIMEOUT") {
			d.KeepAliveInterval, d.KeepAliveTimeout = 0, 0
		}
		if !r.isSet(prefix + "MAX_HEADER_LIST_SIZE") {
			d.MaxHeaderListSize = uint32(c.HTTP.HeadBytes) // at most 16 MiB, by its grammar
		}
	}
}

// half reports whether just one of a and b is set, and warns of it.
func (r *envReader) half(a, b string) bool {
	switch {
	case r.isSet(a) == r.isSet(b):
		return false
	case r.isSet(b):
		a, b = b, a
	}
	r.warn(a, "does not count without "+b)
	return true
}

// limits checks that a watch's limits are in order. Zero is no limit.
func (r *envReader) limits(c *Control) {
	type limit struct {
		name string
		ns   int64
	}
	var last limit
	for _, l := range []limit{
		{linkerd + "CONTROL_STREAM_INITIAL_TIMEOUT", int64(c.Limits.Initial)},
		{linkerd + "CONTROL_STREAM_IDLE_TIMEOUT", int64(c.Limits.Idle)},
		{linkerd + "CONTROL_STREAM_LIFETIME", int64(c.Limits.Lifetime)},
	} {
		if l.ns == 0 {
			continue
		}
		if l.ns < last.ns {
			r.refuse(l.name, fmt.Errorf("it is shorter than %s", last.name))
		}
		last = l
	}
	if c.DNSMinTTL != 0 && c.DNSMaxTTL != 0 && c.DNSMinTTL > c.DNSMaxTTL {
		r.refuse(linkerd+"DNS_MIN_TTL", fmt.Errorf("it is longer than %sDNS_MAX_TTL", linkerd))
	}
}
