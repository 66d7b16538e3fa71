package local

import (
	"math"
	"net/netip"
	"regexp"

	"go.yaml.in/yaml/v3"
)

// defaultWeight is what the destination controller gives every endpoint.
const defaultWeight = 10000

func (r *reader) endpoints(n *yaml.Node) []workload {
	var all []workload
	lines := make(map[netip.AddrPort]int)
	r.each(n, "endpoints", func(n *yaml.Node) {
		w := r.endpoint(n)
		if first, taken := lines[w.addr]; taken && w.addr.IsValid() {
			r.fail(n, "endpoint %s is in line %d already", w.addr, first)
			return
		}
		lines[w.addr] = n.Line
		all = append(all, w)
	})
	return all
}

func (r *reader) endpoint(n *yaml.Node) workload {
	w := workload{weight: defaultWeight}
	r.fields(n, "an endpoint", map[string]func(*yaml.Node){
		"address":     func(n *yaml.Node) { w.addr = r.address(n) },
		"weight":      func(n *yaml.Node) { w.weight = r.weight(n) },
		"protocol":    func(n *yaml.Node) { w.protocol = r.protocol(n) },
		"labels":      func(n *yaml.Node) { w.labels = r.labels(n) },
		"identity":    func(n *yaml.Node) { w.identity = r.identity(n) },
		"serverName":  func(n *yaml.Node) { w.serverName = r.serverName(n) },
		"inboundPort": func(n *yaml.Node) { w.inboundPort = uint16(r.number(n, "inboundPort", 1, math.MaxUint16)) },
	}, "address")
	r.meshed(n, &w)
	return w
}

// meshed checks what an endpoint with a sidecar has. A DNS name is asked for by
// itself.
func (r *reader) meshed(n *yaml.Node, w *workload) {
	switch given := w.identity.text != ""; {
	case !given && has(n, "identity"): // it is a mistake already
	case !given && w.serverName != "":
		r.fail(n, "an endpoint with a serverName has no identity")
	case !given && w.inboundPort != 0:
		r.fail(n, "an endpoint with an inboundPort has no identity")
	case w.identity.isURI && !has(n, "serverName"):
		r.fail(n, "an endpoint whose identity is a URI has no serverName")
	case w.serverName == "":
		w.serverName = w.identity.text
	}
}

func (r *reader) serverName(n *yaml.Node) string {
	text, ok := r.text(n, "serverName")
	if !ok {
		return ""
	}
	name, err := parseName(text)
	if err != nil {
		r.fail(n, "serverName %q: %v", text, err)
	}
	return name
}

func (r *reader) address(n *yaml.Node) netip.AddrPort {
	text, ok := r.text(n, "address")
	if !ok {
		return netip.AddrPort{}
	}
	addr, err := netip.ParseAddrPort(text)
	if err != nil || addr.Port() == 0 || !reachable(addr.Addr()) {
		r.fail(n, "address %q is not ip:port of one host, with a port from 1 to 65535", text)
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}

func (r *reader) weight(n *yaml.Node) uint32 {
	return uint32(r.number(n, "weight", 0, math.MaxUint32))
}

func (r *reader) protocol(n *yaml.Node) protocol {
	text, ok := r.text(n, "protocol")
	switch {
	case !ok:
	case text == "h2":
		return http2
	case text == "opaque":
		return opaque
	default:
		r.fail(n, "protocol %q is neither h2 nor opaque", text)
	}
	return unknown
}

// labels reads names and values of metric labels, so the names must be fit for
// that.
func (r *reader) labels(n *yaml.Node) map[string]string {
	if isNull(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		r.fail(n, "labels is %s, not a mapping of keys to values", kind(n))
		return nil
	}
	valid := regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
	all := make(map[string]string)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		value, ok := r.text(n.Content[i+1], "label "+kind(key))
		switch _, twice := all[key.Value]; {
		case !ok:
		case key.Kind != yaml.ScalarNode || !valid.MatchString(key.Value):
			r.fail(key, "label %s is not letters, digits and underscores, the first not a digit", kind(key))
		case twice:
			r.fail(key, "label %q is there twice", key.Value)
		default:
			all[key.Value] = value
		}
	}
	return all
}
