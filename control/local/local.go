// Package local is a control plane in one file, for one machine: it answers the
// questions that a proxy asks of Linkerd's destination and policy controllers
// from a YAML file, as they would, and certifies identities by tokens from another.
// It is not a controller of anything: it watches nothing but its file, and checks
// no health. Read Mesh for
// what the file says, then Server.
package local

import (
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// A Mesh is what one file says. It comes from Parse or Load and never changes.
type Mesh struct {
	services  map[host]*service           // by name and port
	addresses map[netip.AddrPort]*service // by own address and port
	names     map[string]*service         // by name: the first with it
	ips       map[netip.Addr]*service     // by own address: the first with it
	endpoints map[netip.AddrPort]member
	identity  *section // nil if nobody is certified
}

// Services returns each service's name and port, "web.demo.svc.cluster.local:80",
// sorted.
func (m *Mesh) Services() []string {
	var all []string
	for h := range m.services {
		all = append(all, h.String())
	}
	slices.Sort(all)
	return all
}

// A host is what a service is called in the file: a DNS name in lower case,
// without a final dot, and a port.
type host struct {
	name string
	port uint16
}

// A service is one entry of the file.
type service struct {
	host
	line      int
	ownIP     netip.Addr // the "clusterIP" of the file; zero if it has none
	opaque    bool
	endpoints []workload // none twice, by address
	profile   profile
}

// A workload is one endpoint of a service.
type workload struct {
	addr     netip.AddrPort
	weight   uint32
	protocol protocol
	labels   map[string]string

	identity    identity
	serverName  string // the name to ask for in TLS, if there is an identity
	inboundPort uint16 // its sidecar's; zero if it is not to be reached by that
}

// A member is a workload as part of a service.
type member struct {
	*workload
	of *service
}

// A protocol is the hint that an endpoint gives.
type protocol uint8

const (
	unknown protocol = iota
	http2
	opaque
)

// A profile is a service's ServiceProfile; zero if it has none.
type profile struct {
	given     bool
	routes    []route
	overrides []override
}

// A route is a ServiceProfile's: requests that match are counted under its name.
type route struct {
	name      string
	condition condition
}

// A condition is a ServiceProfile's RequestMatch. All that is given must hold.
type condition struct {
	method    string // "" means any
	pathRegex string // "" means any
	all, any  []condition
	not       *condition
}

// An override sends a share of a service's requests elsewhere.
type override struct {
	host
	line   int
	weight uint32
}

// kubernetes returns the name and namespace of a service that is called as
// Kubernetes would: NAME.NS.svc and a domain.
func (h host) kubernetes() (name, namespace string, ok bool) {
	labels := strings.SplitN(h.name, ".", 4)
	if len(labels) < 3 || labels[2] != "svc" {
		return "", "", false
	}
	return labels[0], labels[1], true
}

// newMesh indexes services, among which there is no contradiction.
func newMesh(services []*service) *Mesh {
	m := &Mesh{
		services:  make(map[host]*service),
		addresses: make(map[netip.AddrPort]*service),
		names:     make(map[string]*service),
		ips:       make(map[netip.Addr]*service),
		endpoints: make(map[netip.AddrPort]member),
	}
	for _, s := range services {
		m.services[s.host] = s
		putFirst(m.names, s.name, s)
		if s.ownIP.IsValid() {
			m.addresses[netip.AddrPortFrom(s.ownIP, s.port)] = s
			putFirst(m.ips, s.ownIP, s)
		}
		for e := range s.all() {
			putFirst(m.endpoints, e.addr, e)
		}
	}
	return m
}

func putFirst[K comparable, V any](m map[K]V, k K, v V) {
	if _, taken := m[k]; !taken {
		m[k] = v
	}
}

// all yields the endpoints of s, in the file's order; none if s is nil.
func (s *service) all() iter.Seq[member] {
	return func(yield func(member) bool) {
		if s == nil {
			return
		}
		for i := range s.endpoints {
			if !yield(member{&s.endpoints[i], s}) {
				return
			}
		}
	}
}

// hint is what is said of the endpoint's protocol: an opaque port's is opaque,
// whatever its workload could take.
func (e member) hint() protocol {
	if e.of.opaque {
		return opaque
	}
	return e.protocol
}

// labelsByItself are e's labels where no service's stand beside them: with the
// namespace that those would have said.
func (e member) labelsByItself() map[string]string {
	_, namespace, ok := e.of.kubernetes()
	if _, own := e.labels["namespace"]; own || !ok {
		return e.labels
	}
	labels := map[string]string{"namespace": namespace}
	maps.Copy(labels, e.labels)
	return labels
}
