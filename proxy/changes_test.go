package proxy

import (
	"fmt"
	"strings"
	"testing"
)

// A service is one of a mesh file, with what may change of it.
type service struct {
	name      string // in namespace demo
	opaque    bool
	endpoints []*application
	overrides map[string]int // weights, by service
	routes    []string       // paths
}

func (s service) host() string { return s.name + ".demo.svc.cluster.local" }

func (s service) yaml() string {
	var b strings.Builder
	fmt.Fprintf(&b, "- name: %s\n  port: 80\n  opaque: %t\n  endpoints:\n", s.host(), s.opaque)
	for _, e := range s.endpoints {
		fmt.Fprintf(&b, "  - {address: %s, labels: {pod: %s}}\n", e.addr, e.name)
	}
	if len(s.overrides)+len(s.routes) > 0 {
		b.WriteString("  profile:\n    overrides:\n")
		for name, weight := range s.overrides {
			fmt.Fprintf(&b, "    - {authority: %s, weight: %d}\n", service{name: name}.host(), weight)
		}
		b.WriteString("    routes:\n")
		for _, path := range s.routes {
			fmt.Fprintf(&b, "    - {name: %q, condition: {pathRegex: %q}}\n", path, path)
		}
	}
	return b.String()
}

// A changing mesh is one whose services are changed while they are used.
type changing struct {
	*ledger
	control *controller
	sidecar *sidecar
	web     service // HTTP
	next    service // what web is shared with
	db      service // opaque
	webAddr string  // of their named listeners
	dbAddr  string
	started int // applications, since the start
}

// serve gives the mesh as it is now to the control plane.
func (c *changing) serve() { c.control.set(meshYAML(c.web.yaml(), c.next.yaml(), c.db.yaml())) }

func startChanging(t *testing.T) *changing {
	t.Helper()
	c := &changing{ledger: newLedger(), webAddr: freeAddr(t), dbAddr: freeAddr(t)}
	c.web = service{name: "web", endpoints: []*application{serveHTTP1(t, c.ledger, "web-1"), serveHTTP1(t, c.ledger, "web-2")}}
	c.next = service{name: "next", endpoints: []*application{serveHTTP1(t, c.ledger, "next-1")}}
	c.db = service{name: "db", opaque: true, endpoints: []*application{serveLines(t, c.ledger, "db-1"), serveLines(t, c.ledger, "db-2")}}
	c.control = startController(t, meshYAML(c.web.yaml(), c.next.yaml(), c.db.yaml()))
	c.sidecar = startSidecar(t, c.control.addr,
		"OUTRIGGER_OUTBOUND_NAMED="+c.webAddr+"="+c.web.host()+":80,"+c.dbAddr+"="+c.db.host()+":80")
	return c
}

// startLoads runs clients of both services until the function that it returns is
// called, which checks what became of all they sent.
func (c *changing) startLoads(t *testing.T) (finish func()) {
	t.Helper()
	web := startLoad(t, c.ledger, "web", c.webAddr, c.web.host(), 16)
	db := startLoad(t, c.ledger, "db", c.dbAddr, "", 4)
	return func() {
		t.Helper()
		web.stop()
		db.stop()
		c.check(t)
	}
}

// TestChangesUnderLoad makes each kind of change while requests and connections
// run. None may be lost, and none executed twice.
func TestChangesUnderLoad(t *testing.T) { changes(t, 1) }

func changes(t *testing.T, rounds int) {
	t.Helper()
	c := startChanging(t)
	finish := c.startLoads(t)
	c.takesPart(t, 30, "web-1", "web-2", "db-1", "db-2")
	for range rounds {
		c.endpoints(t)
		c.shares(t)
		c.routes(t)
		c.flips(t)
	}
	finish()
}

// endpoints adds, removes and replaces endpoints. What is removed goes on with
// what it has, but takes no new connections.
func (c *changing) endpoints(t *testing.T) {
	t.Helper()
	added, addedDB := serveHTTP1(t, c.ledger, c.fresh("web")), serveLines(t, c.ledger, c.fresh("db"))
	c.web.endpoints = append(c.web.endpoints, added)
	c.db.endpoints = append(c.db.endpoints, addedDB)
	c.serve()
	c.takesPart(t, 30, added.name, addedDB.name)

	gone, goneDB := c.web.endpoints[0], c.db.endpoints[0]
	c.web.endpoints, c.db.endpoints = c.web.endpoints[1:], c.db.endpoints[1:]
	c.serve()
	gone.retire(t)
	goneDB.retire(t)
	c.leaves(t, 150, gone.name)

	replaced := c.web.endpoints
	c.web.endpoints = []*application{serveHTTP1(t, c.ledger, c.fresh("web")), serveHTTP1(t, c.ledger, c.fresh("web"))}
	c.serve()
	for _, a := range replaced {
		a.retire(t)
	}
	c.leaves(t, 150, replaced[0].name, replaced[1].name)
	c.takesPart(t, 30, c.web.endpoints[0].name, c.web.endpoints[1].name)
}

// shares gives web's requests to next, in part and for a while.
func (c *changing) shares(t *testing.T) {
	t.Helper()
	next := c.next.endpoints[0].name
	for _, weights := range [][2]int{{90, 10}, {10, 90}, {0, 1}} {
		c.web.overrides = map[string]int{"web": weights[0], "next": weights[1]}
		c.serve()
		c.takesPart(t, 20, next)
		want := float64(weights[1]) / float64(weights[0]+weights[1])
		c.share(t, next, want-0.1, want+0.1)
	}
	c.web.overrides = nil
	c.serve()
	c.leaves(t, 150, next)
}

// share waits until of the last 200 requests the share that who executed
// is within bounds.
func (c *changing) share(t *testing.T, who string, low, high float64) {
	t.Helper()
	var all, his int // when the window began
	c.until(t, fmt.Sprintf("%s has a share from %.2f to %.2f", who, low, high), func() bool {
		web := c.executed
		for name, n := range c.by {
			if strings.HasPrefix(name, "db") {
				web -= n
			}
		}
		if web-all < 200 {
			return false
		}
		share := float64(c.by[who]-his) / float64(web-all)
		all, his = web, c.by[who]
		return low <= share && share <= high
	})
}

// routes changes which routes there are, whose requests all go to one backend.
func (c *changing) routes(t *testing.T) {
	t.Helper()
	for _, paths := range [][]string{{"/web"}, {"/web", "/other"}, {"/other"}, nil} {
		c.web.routes = paths
		c.serve()
		c.progress(t, 100)
	}
	if m := c.sidecar.metrics(); !strings.Contains(m, `rt_route="/web"`) {
		t.Error("no request was counted as the route's")
	}
}

// flips has web carried as bytes for a while. Requests of the connections that
// were accepted before are treated as HTTP still.
func (c *changing) flips(t *testing.T) {
	t.Helper()
	to := c.web.endpoints[0].name
	c.web.opaque = true
	c.serve()
	c.takesPart(t, 20, to+"/bytes")
	c.web.opaque = false
	c.serve()
	c.takesPart(t, 20, to)
	c.leaves(t, 150, to+"/bytes")
}

// fresh returns a name that no application of a service had before.
func (c *changing) fresh(service string) string {
	c.started++
	return fmt.Sprintf("%s-%d", service, 10+c.started)
}

// TestOneEndpointIsDown has an endpoint that refuses connections beside one that
// does not: what reached nobody is given to the other.
func TestOneEndpointIsDown(t *testing.T) {
	l := newLedger()
	web, db := serveHTTP1(t, l, "web"), serveLines(t, l, "db")
	webAddr, dbAddr := freeAddr(t), freeAddr(t)
	c := startController(t, meshYAML(
		serviceYAML(webHost, false, freeAddr(t), web.addr), serviceYAML("db.demo.svc.cluster.local", true, freeAddr(t), db.addr)))
	startSidecar(t, c.addr, "OUTRIGGER_OUTBOUND_NAMED="+webAddr+"="+webHost+":80,"+dbAddr+"=db.demo.svc.cluster.local:80")
	requests, lines := startLoad(t, l, "web", webAddr, webHost, 8), startLoad(t, l, "db", dbAddr, "", 8)
	l.takesPart(t, 300, "web", "db")
	requests.stop()
	lines.stop()
	l.check(t)
}
