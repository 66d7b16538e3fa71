package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A mutualRow is how much of one protocol passed in mutual TLS between those who
// were to speak: the client's sidecar as itself, and at each address the sidecar of
// the workload that is there. The client's count is of all, in whatever way.
type mutualRow struct {
	ledgerRow
	clients, servers []string // all whom the sidecars met, by their short names
}

// mutual has a row for each protocol. The counts are those of the sidecars on both
// sides: of the client's, by whom it had a server prove to be; of the workloads', by
// whom the client proved to be.
func (r reading) mutual() []mutualRow {
	var all []mutualRow
	for _, t := range r.loads.tiers() {
		all = append(all, r.mutualOf(ledgerRow{what: t.what + " requests", client: sumOf(t.loads...).done}, t.addr, "request_total", "", ""))
	}
	conns := ledgerRow{what: opaque + " connections", client: r.loads.of(opaque).done}
	return append(all, r.mutualOf(conns, func(w demoWorkload) string { return w.db }, "tcp_open_total", "dst", "src"))
}

// mutualOf counts in a metric what passed to addr of every workload. The peers are
// the label of that name, "" if the metric has none.
func (r reading) mutualOf(row ledgerRow, addr func(demoWorkload) string, metric, outPeer, inPeer string) mutualRow {
	row.app = uncounted
	clients, servers := make(map[string]bool), make(map[string]bool)
	for i, w := range r.mesh.workloads {
		out := []string{"direction", "outbound", "peer", outPeer, "target_addr", addr(w)}
		in := []string{"direction", "inbound", "peer", inPeer, "target_addr", addr(w)}
		r.outbound.collect(servers, "server_id", metric, out...)
		r.inbound[i].collect(clients, "client_id", metric, in...)
		row.outbound += r.outbound.sum(metric, append(out, "tls", "true", "server_id", idOf(workloadName(i+1)))...)
		row.inbound += r.inbound[i].sum(metric, append(in, "tls", "true", "client_id", idOf(clientName))...)
	}
	return mutualRow{row, shortNames(clients), shortNames(servers)}
}

// shortNames are in their order. Who proved nothing is called nobody.
func shortNames(ids map[string]bool) []string {
	var all []string
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		if id == "" {
			id = "nobody"
		}
		all = append(all, strings.TrimSuffix(id, idSuffix))
	}
	return all
}

func (r mutualRow) between() string {
	return strings.Join(r.clients, " ") + " → " + strings.Join(r.servers, " ")
}

// amiss says what did not pass in mutual TLS between those who were to speak.
func (r mutualRow) amiss() []string {
	if r.agrees() {
		return nil
	}
	return []string{fmt.Sprintf("of %s %s, mutual TLS as expected had %s by the outbound sidecar, and %s by the inbound sidecars; seen was %s",
		number(r.client), r.what, number(r.outbound), number(r.inbound), r.between())}
}

// renderMutual is the part of the table that says who spoke to whom.
func renderMutual(ink ink, rows []mutualRow) string {
	var b strings.Builder
	fmt.Fprintln(&b, ink.bold(fmt.Sprintf("%-29s %-41s %9s %9s", "in mutual TLS", "client → servers", "outbound", "inbound")))
	for _, r := range rows {
		verdict := ink.good("all")
		if !r.agrees() {
			verdict = ink.bad("NOT ALL")
		}
		fmt.Fprintf(&b, "%-29s %-41s %9s %9s  %s\n", r.what, r.between(), number(r.outbound), number(r.inbound), verdict)
	}
	fmt.Fprintf(&b, "client stands for %s, and so on.\n", idOf(clientName))
	return b.String()
}
