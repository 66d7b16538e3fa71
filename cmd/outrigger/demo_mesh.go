package main

import (
	"fmt"
	"strings"
)

// The services of the demonstration. Requests to books are shared between its two
// versions. The endpoints of shop, feed and chat have the hint that their sidecars
// take HTTP/2: shop is sent HTTP/1.1 that is carried in it, feed HTTP/2, chat gRPC.
const (
	webService   = "web.demo.svc.cluster.local"
	booksService = "books.demo.svc.cluster.local"
	booksOld     = "books-v1.demo.svc.cluster.local"
	booksNew     = "books-v2.demo.svc.cluster.local"
	shopService  = "shop.demo.svc.cluster.local"
	feedService  = "feed.demo.svc.cluster.local"
	chatService  = "chat.demo.svc.cluster.local"
	dbService    = "db.demo.svc.cluster.local"
)

// workloads is how many applications there are. They are numbered from 1.
const workloads = 3

// The workloads that serve the versions of books.
const (
	oldWorkload = 1
	newWorkload = 2
)

// A demoMesh is what is where, and what the mesh file says of it. All addresses
// are "127.0.0.1:port".
type demoMesh struct {
	control                          string
	admin                            string // of the client's sidecar
	web, books, db, shop, feed, chat string // its listeners, one for each service
	workloads                        [workloads]demoWorkload
	moved                            []string // which ports are not the usual ones

	oldWeight, newWeight int // of the versions of books
	away                 int // the workload that serves nothing but books; 0 if none is away
}

// A demoWorkload is one application and its sidecar.
type demoWorkload struct {
	appAddrs
	in    string // where its sidecar takes, in mutual TLS, what is meant for any of these
	admin string
}

// controlName is the control plane's process.
const controlName = "control"

// A program is one process of the demonstration.
type program struct {
	name  string
	args  []string
	env   []string
	ready probe
}

// servers are the processes that need no other.
func (m *demoMesh) servers(file string) []program {
	all := []program{{
		name:  controlName,
		args:  []string{"control", "--file", file, "--listen", m.control},
		ready: probe{addr: m.control},
	}}
	for i, w := range m.workloads {
		all = append(all, program{
			name: fmt.Sprintf("application-%d", i+1),
			args: []string{
				"demo-app", "--number", fmt.Sprint(i + 1),
				"--web", w.web, "--shop", w.shop, "--feed", w.feed, "--chat", w.chat, "--db", w.db,
			},
			ready: probe{addr: w.web, path: countsPath},
		})
	}
	return all
}

// sidecars are the processes that stand between the client and the applications.
func (m *demoMesh) sidecars(ids identities) []program {
	all := []program{m.sidecar(ids, clientName, m.admin,
		"LINKERD2_PROXY_INBOUND_LISTEN_ADDR=127.0.0.1:0", // nobody calls the client
		fmt.Sprintf("OUTRIGGER_OUTBOUND_NAMED=%s=%s:80,%s=%s:80,%s=%s:3306,%s=%s:80,%s=%s:80,%s=%s:80",
			m.web, webService, m.books, booksService, m.db, dbService, m.shop, shopService, m.feed, feedService, m.chat, chatService),
	)}
	for i, w := range m.workloads {
		all = append(all, m.sidecar(ids, workloadName(i+1), w.admin,
			"LINKERD2_PROXY_OUTBOUND_LISTEN_ADDR=127.0.0.1:0", // the applications call nobody
			"LINKERD2_PROXY_INBOUND_LISTEN_ADDR="+w.in,
			"LINKERD2_PROXY_INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION="+portOf(w.db),
		))
	}
	return all
}

func (m *demoMesh) sidecar(ids identities, name, admin string, env ...string) program {
	return program{
		name: "sidecar-" + name,
		args: []string{"proxy"},
		env: append(append(env, ids.env(name, m.control)...),
			"OUTRIGGER_LAME_DUCK=0", "OUTRIGGER_DRAIN_IDLE=0", // nobody comes any more when this ends
			"LINKERD2_PROXY_LOG=warn,outrigger=info",
			"LINKERD2_PROXY_ADMIN_LISTEN_ADDR="+admin,
			"LINKERD2_PROXY_DESTINATION_SVC_ADDR="+m.control,
			"LINKERD2_PROXY_POLICY_SVC_ADDR="+m.control,
			"LINKERD2_PROXY_POLICY_WORKLOAD=demo:"+name,
			"LINKERD2_PROXY_DESTINATION_CONTEXT=demo:"+name,
			"LINKERD2_PROXY_INBOUND_DEFAULT_POLICY=all-unauthenticated",
			"LINKERD2_PROXY_INBOUND_CONNECT_TIMEOUT=5s", // this machine may be busy
			"LINKERD2_PROXY_OUTBOUND_CONNECT_TIMEOUT=5s",
		),
		ready: probe{addr: admin, path: "/ready"},
	}
}

// yaml is the mesh file.
func (m *demoMesh) yaml() string {
	var b strings.Builder
	b.WriteString("# The mesh of outrigger demo. What is changed here is applied at once.\n" + identitySection + "services:\n")
	web := func(w demoWorkload) string { return w.web }
	m.service(&b, webService, 80, "", web, 1, 2, 3)
	m.service(&b, booksOld, 80, "", web, oldWorkload)
	m.service(&b, booksNew, 80, "", web, newWorkload)
	fmt.Fprintf(&b, `- name: %s
  port: 80
  profile:
    overrides: # requests to %[1]s are shared by weight
    - {authority: "%[2]s:80", weight: %[3]d}
    - {authority: "%[4]s:80", weight: %[5]d}
`, booksService, booksOld, m.oldWeight, booksNew, m.newWeight)
	m.service(&b, shopService, 80, "h2", func(w demoWorkload) string { return w.shop }, 1, 2, 3)
	m.service(&b, feedService, 80, "h2", func(w demoWorkload) string { return w.feed }, 1, 2, 3)
	m.service(&b, chatService, 80, "h2", func(w demoWorkload) string { return w.chat }, 1, 2, 3)
	m.service(&b, dbService, 3306, "opaque", func(w demoWorkload) string { return w.db }, 1, 2, 3)
	return b.String()
}

// service writes one service, whose endpoints have a hint unless it is empty.
func (m *demoMesh) service(b *strings.Builder, name string, port int, hint string, at func(demoWorkload) string, of ...int) {
	fmt.Fprintf(b, "- name: %s\n  port: %d\n", name, port)
	if hint == "opaque" {
		b.WriteString("  opaque: true # not HTTP\n")
	}
	b.WriteString("  endpoints:\n")
	for _, n := range of {
		if n == m.away && len(of) > 1 { // a version of books has nobody else
			continue
		}
		w, name := m.workloads[n-1], workloadName(n)
		fmt.Fprintf(b, "  - address: %s\n    inboundPort: %s\n    identity: %s\n    labels: {pod: %s}\n", at(w), portOf(w.in), idOf(name), name)
		if hint == "h2" {
			b.WriteString("    protocol: h2 # its sidecar takes HTTP/2, in which HTTP/1 is carried too\n")
		}
	}
}
