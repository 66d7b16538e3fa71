package main

import (
	"fmt"
	"strings"
)

// picture shows what is where.
func (m *demoMesh) picture() string {
	w := m.workloads
	at := func(addr string) string { return fmt.Sprintf("%-6s", ":"+portOf(addr)) }
	lines := []string{
		"",
		"  client ──→ its sidecar ──┬──→ sidecar 1 " + at(w[0].in) + " ──→ application 1 " + at(w[0].web) + "   control plane " + at(m.control),
		"             web   " + at(m.web) + "  ├──→ sidecar 2 " + at(w[1].in) + " ──→ application 2 " + at(w[1].web) + "   admin page    " + at(m.admin),
		"             books " + at(m.books) + "  └──→ sidecar 3 " + at(w[2].in) + " ──→ application 3 " + at(w[2].web),
		m.doors("shop", m.shop, func(w demoWorkload) string { return w.shop }, "HTTP/1.1"),
		m.doors("feed", m.feed, func(w demoWorkload) string { return w.feed }, "HTTP/2"),
		m.doors("chat", m.chat, func(w demoWorkload) string { return w.chat }, "gRPC"),
		m.doors("db", m.db, func(w demoWorkload) string { return w.db }, "not HTTP"),
		"",
		"Sidecars speak mutual TLS to each other; each has one port for all that its application serves.",
		fmt.Sprintf("An application takes %s for a request.", appWork),
		"",
	}
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.Join(lines, "\n")
}

// movedText says which ports are not the usual ones, in lines of a readable length.
func (m *demoMesh) movedText() string {
	const width = 90
	if len(m.moved) == 0 {
		return ""
	}
	text := "\n\nThe next free ports stand in for those that were taken:"
	line := text
	for _, one := range m.moved {
		if len(line)+len(one) > width {
			line = " "
			text += "\n "
		}
		line += " " + one
		text += " " + one
	}
	return text
}

// doors is the line of a service that has ports of its own.
func (m *demoMesh) doors(name, addr string, of func(demoWorkload) string, speaks string) string {
	return fmt.Sprintf("             %-5s :%-5s                                 %s   %s", name, portOf(addr), m.ports(of), speaks)
}

// ports lists one port of each workload.
func (m *demoMesh) ports(of func(demoWorkload) string) string {
	var all []string
	for _, w := range m.workloads {
		all = append(all, ":"+portOf(of(w)))
	}
	return strings.Join(all, " ")
}

// invitation says what can be done with a mesh that is up.
func (m *demoMesh) invitation(file string) string {
	var b strings.Builder
	b.WriteString("\nThe mesh stays up until Ctrl-C. In another terminal:\n\n")
	host, port := hostOf(m.db), portOf(m.db)
	delay := fmt.Sprintf("curl -X POST '%s%s?d=", m.workloads[2].web, delayPath)
	for _, line := range []struct{ command, meaning string }{
		{"curl " + m.web, "web: one of its applications answers"},
		{"curl " + m.books, "books: its two versions answer by weight"},
		{"curl " + m.shop, "shop: HTTP/1.1 that is carried in HTTP/2"},
		{"curl --http2-prior-knowledge " + m.feed, "feed: HTTP/2"},
		{"printf hi | nc -N " + host + " " + port, "db: what you send comes back"},
		{"curl " + m.admin + "/metrics", "what the client's sidecar counts"},
		{"curl -s " + m.admin + "/metrics | grep server_id", "whom it has proved to be: tls=\"true\""},
		{"", "the other sidecars: " + m.ports(func(w demoWorkload) string { return w.admin })},
		{delay + "300ms'", "application 3 is slow …"},
		{delay + "0s'", "… and fast again"},
	} {
		fmt.Fprintf(&b, "  %-52s%s\n", line.command, line.meaning)
	}
	fmt.Fprintf(&b, "\nThe mesh file may be changed, and is applied at once: turn the split's weights, or\ntake an endpoint out. Tokens, trust anchor and the logs are beside it.\n\n  %s\n", file)
	return strings.TrimSuffix(b.String(), "\n")
}
