package proxy

import (
	"fmt"
	"net/netip"

	"github.com/outrigger-mesh/outrigger/profiles"
)

// A socketVar is one address that this proxy is to listen on, and who said so.
type socketVar struct {
	name string // of the variable
	addr netip.AddrPort
}

// listeners are all that c would have opened.
func (r *envReader) listeners(c *Config) []socketVar {
	outbound := linkerd + "OUTBOUND_LISTEN_ADDR"
	if r.isSet(outbound + "S") {
		outbound += "S"
	}
	var all []socketVar
	for _, a := range c.Outbound.Listen {
		all = append(all, socketVar{outbound, a})
	}
	for _, n := range c.Outbound.Named {
		all = append(all, socketVar{outrigger + "OUTBOUND_NAMED", n.Listen})
	}
	for _, a := range c.Inbound.Listen {
		all = append(all, socketVar{linkerd + "INBOUND_LISTEN_ADDR", a})
	}
	for _, n := range c.Inbound.Named {
		all = append(all, socketVar{outrigger + "INBOUND_NAMED", n.Listen})
	}
	return append(all, socketVar{linkerd + "ADMIN_LISTEN_ADDR", c.Admin.Listen})
}

// listen settles which listeners are opened, and refuses those that cannot be
// opened beside each other or whose connections would come back to them.
func (r *envReader) listen(c *Config) {
	if len(c.Inbound.Named) > 0 && !r.isSet(linkerd+"INBOUND_LISTEN_ADDR") {
		c.Inbound.Listen = nil
	}
	if len(c.Outbound.Named) > 0 && !r.isSet(linkerd+"OUTBOUND_LISTEN_ADDR", linkerd+"OUTBOUND_LISTEN_ADDRS") {
		c.Outbound.Listen = nil
	}
	all := r.listeners(c)
	for i, a := range all {
		for _, b := range all[:i] {
			if overlap(a.addr, b.addr) {
				r.beside(a, b)
			}
		}
	}
	for _, n := range c.Inbound.Named {
		r.inboundTarget(n.Target, all)
	}
}

// beside refuses a, or b if a is but a default.
func (r *envReader) beside(a, b socketVar) {
	if !r.isSet(a.name) {
		a, b = b, a
	}
	r.refuse(a.name, fmt.Errorf("%v cannot be listened on beside %v of %s", a.addr, b.addr, b.name))
}

// inboundTarget refuses targets that inbound cannot connect to: it has no names,
// and its own listeners would send it round in circles.
func (r *envReader) inboundTarget(t profiles.Target, all []socketVar) {
	name := outrigger + "INBOUND_NAMED"
	if t.Name != "" {
		r.refuse(name, fmt.Errorf("the target %s is a name: inbound connects to addresses", quoted(t.Name)))
		return
	}
	for _, l := range all {
		if overlap(t.Addr, l.addr) {
			r.refuse(name, fmt.Errorf("the target %v is this proxy's own, by %s", t.Addr, l.name))
		}
	}
}

// overlap reports whether two sockets cannot listen on a and b, port 0 apart,
// which is any port that is free.
func overlap(a, b netip.AddrPort) bool {
	if a.Port() != b.Port() || a.Port() == 0 || !a.IsValid() || !b.IsValid() {
		return false
	}
	x, y := a.Addr().Unmap(), b.Addr().Unmap()
	return x == y || x.BitLen() == y.BitLen() && (x.IsUnspecified() || y.IsUnspecified())
}
