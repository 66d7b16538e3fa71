package main

import (
	"fmt"
	"strings"
)

// The services of the demonstration. Requests to books are shared between its two
// versions.
const (
	webService   = "web.demo.svc.cluster.local"
	booksService = "books.demo.svc.cluster.local"
	booksOld     = "books-v1.demo.svc.cluster.local"
	booksNew     = "books-v2.demo.svc.cluster.local"
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
	control        string
	admin          string // of the client's sidecar
	web, books, db string // its listeners, one for each service
	workloads      [workloads]demoWorkload
	moved          []string // which ports are not the usual ones

	oldWeight, newWeight int // of the versions of books
	away                 int // the workload that serves neither web nor db; 0 if none is away
}

// A demoWorkload is one application and its sidecar.
type demoWorkload struct {
	http, tcp     string // where the application listens
	inHTTP, inTCP string // where the sidecar takes what is meant for it
	admin         string
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
			name:  fmt.Sprintf("application-%d", i+1),
			args:  []string{"demo-app", "--number", fmt.Sprint(i + 1), "--http", w.http, "--tcp", w.tcp},
			ready: probe{addr: w.http, path: countsPath},
		})
	}
	return all
}

// sidecars are the processes that stand between the client and the applications.
func (m *demoMesh) sidecars() []program {
	all := []program{m.sidecar("client", m.admin,
		"LINKERD2_PROXY_INBOUND_LISTEN_ADDR=127.0.0.1:0", // nobody calls the client
		fmt.Sprintf("OUTRIGGER_OUTBOUND_NAMED=%s=%s:80,%s=%s:80,%s=%s:3306",
			m.web, webService, m.books, booksService, m.db, dbService),
	)}
	for i, w := range m.workloads {
		all = append(all, m.sidecar(fmt.Sprintf("workload-%d", i+1), w.admin,
			"LINKERD2_PROXY_OUTBOUND_LISTEN_ADDR=127.0.0.1:0", // the applications call nobody
			fmt.Sprintf("OUTRIGGER_INBOUND_NAMED=%s=%s,%s=%s", w.inHTTP, w.http, w.inTCP, w.tcp),
			"LINKERD2_PROXY_INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION="+portOf(w.tcp),
		))
	}
	return all
}

func (m *demoMesh) sidecar(name, admin string, env ...string) program {
	return program{
		name: "sidecar-" + name,
		args: []string{"proxy"},
		env: append(env,
			"OUTRIGGER_UNMESHED=true", // until identity is built
			"OUTRIGGER_LAME_DUCK=0",   // nobody comes any more when this ends
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
	b.WriteString("# The mesh of outrigger demo. What is changed here is applied at once.\nservices:\n")
	all := func(w demoWorkload) string { return w.inHTTP }
	m.service(&b, webService, 80, all, 1, 2, 3)
	m.service(&b, booksOld, 80, all, oldWorkload)
	m.service(&b, booksNew, 80, all, newWorkload)
	fmt.Fprintf(&b, `- name: %s
  port: 80
  profile:
    overrides: # requests to %[1]s are shared by weight
    - {authority: "%[2]s:80", weight: %[3]d}
    - {authority: "%[4]s:80", weight: %[5]d}
`, booksService, booksOld, m.oldWeight, booksNew, m.newWeight)
	m.service(&b, dbService, 3306, func(w demoWorkload) string { return w.inTCP }, 1, 2, 3)
	return b.String()
}

func (m *demoMesh) service(b *strings.Builder, name string, port int, addr func(demoWorkload) string, of ...int) {
	fmt.Fprintf(b, "- name: %s\n  port: %d\n", name, port)
	if name == dbService {
		b.WriteString("  opaque: true # not HTTP\n")
	}
	b.WriteString("  endpoints:\n")
	for _, n := range of {
		if n == m.away && len(of) > 1 { // a version of books has nobody else
			continue
		}
		fmt.Fprintf(b, "  - address: %s\n    labels: {pod: workload-%d}\n", addr(m.workloads[n-1]), n)
	}
}
