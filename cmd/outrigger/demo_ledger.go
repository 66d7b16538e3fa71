package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
)

// A ledger compares what the client, the sidecars and the applications counted.
type ledger []ledgerRow

// A ledgerRow is one thing that all of them counted.
type ledgerRow struct {
	what                           string
	client, outbound, inbound, app int // uncounted by who cannot tell
}

// uncounted is in place of what one of them does not count.
const uncounted = -1

// agrees reports whether all that counted counted the same.
func (r ledgerRow) agrees() bool {
	for _, n := range []int{r.outbound, r.inbound, r.app} {
		if n != uncounted && n != r.client {
			return false
		}
	}
	return true
}

// plus adds up what was counted; r keeps its name.
func (r ledgerRow) plus(other ledgerRow) ledgerRow {
	r.client, r.outbound, r.inbound, r.app = r.client+other.client, r.outbound+other.outbound, r.inbound+other.inbound, r.app+other.app
	return r
}

// amiss says where l disagrees.
func (l ledger) amiss() []string {
	var all []string
	for _, r := range l {
		if !r.agrees() {
			all = append(all, fmt.Sprintf("%s disagree: client %s, outbound sidecar %s, inbound sidecars %s, applications %s",
				r.what, number(r.client), number(r.outbound), number(r.inbound), number(r.app)))
		}
	}
	return all
}

// A reading is what each counted, at one moment.
type reading struct {
	loads    demoLoads
	mesh     *demoMesh
	outbound samples
	inbound  [workloads]samples
	apps     [workloads]appCounts
}

// An account is what a reading amounts to.
type account struct {
	books  ledger
	mutual []mutualRow
	shared string
}

func (r reading) account() *account { return &account{r.ledger(), r.mutual(), r.shared()} }

// amiss says what in a should be otherwise.
func (a *account) amiss() []string {
	all := a.books.amiss()
	for _, r := range a.mutual {
		all = append(all, r.amiss()...)
	}
	return all
}

// balanced returns an account in which nothing is amiss, or what there is after a
// while: a sidecar's count may come a moment after the answer that it counts.
func (d *demo) balanced(ctx context.Context) (last *account) {
	ctx, stop := context.WithTimeout(ctx, demoSettle)
	defer stop()
	for {
		r, err := d.read(ctx)
		switch {
		case err == nil:
			if last = r.account(); len(last.amiss()) == 0 {
				return last
			}
		case last == nil && ctx.Err() != nil:
			d.amiss = append(d.amiss, fmt.Sprintf("the counts could not be read: %v", err))
			return &account{}
		}
		if pause(ctx, demoTick) != nil && last != nil {
			return last
		}
	}
}

// read asks each for its counts.
func (d *demo) read(ctx context.Context) (reading, error) {
	r := reading{loads: d.loads, mesh: d.mesh}
	var err error
	if r.outbound, err = scrape(ctx, d.mesh.admin); err != nil {
		return r, err
	}
	for i, w := range d.mesh.workloads {
		if r.inbound[i], err = scrape(ctx, w.admin); err != nil {
			return r, err
		}
		text, err := fetch(ctx, w.web, countsPath)
		if err != nil {
			return r, err
		}
		if err := json.Unmarshal(text, &r.apps[i]); err != nil {
			return r, fmt.Errorf("application %d: %w", i+1, err)
		}
	}
	return r, nil
}

func scrape(ctx context.Context, admin string) (samples, error) {
	page, err := fetch(ctx, admin, "/metrics")
	if err != nil {
		return nil, err
	}
	s, err := readSamples(page)
	if err != nil {
		return nil, fmt.Errorf("metrics of %s: %w", admin, err)
	}
	return s, nil
}

// A tier is the services that have one port of an application: their loads, by which
// authorities the client's sidecar counts them, and what the application counts at it.
type tier struct {
	what        string
	loads       []*load
	authorities []string
	addr        func(demoWorkload) string
	app         func(appCounts) int64
}

func (l demoLoads) tiers() []tier {
	return []tier{
		{http1, []*load{l.web, l.books}, []string{webService, booksOld, booksNew}, func(w demoWorkload) string { return w.web }, func(c appCounts) int64 { return c.Web }},
		{carried, []*load{l.shop}, []string{shopService}, func(w demoWorkload) string { return w.shop }, func(c appCounts) int64 { return c.Shop }},
		{http2, []*load{l.feed}, []string{feedService}, func(w demoWorkload) string { return w.feed }, func(c appCounts) int64 { return c.Feed }},
		{grpcAll, l.chat, []string{chatService}, func(w demoWorkload) string { return w.chat }, func(c appCounts) int64 { return c.Chat }},
	}
}

// ledger compares the counts of requests, of their successes, and of connections,
// in all and for each workload.
func (r reading) ledger() ledger {
	var all ledger
	good := ledgerRow{what: "  successes of these", app: uncounted}
	var per [workloads]ledgerRow
	for i := range per {
		per[i].what = fmt.Sprintf("  of workload %d", i+1)
	}
	for _, t := range r.loads.tiers() {
		row := r.requests(t)
		for i := range per {
			one := r.requestsTo(i, t)
			per[i] = per[i].plus(one)
			row.inbound, row.app = row.inbound+one.inbound, row.app+one.app
			good.inbound += r.inbound[i].sum("response_total", "direction", "inbound", "target_addr", t.addr(r.mesh.workloads[i]), "classification", "success")
		}
		for _, name := range t.authorities {
			good.outbound += r.outbound.sum("response_total", "direction", "outbound", "authority", name, "classification", "success")
		}
		c := sumOf(t.loads...)
		good.client += c.done - c.failed
		all = append(all, row)
	}
	all = append(append(all, good), per[:]...)
	return append(all, r.conns()...)
}

// requests compares the requests of one tier, but for what each workload counts.
func (r reading) requests(t tier) ledgerRow {
	row := ledgerRow{what: t.what + " requests", client: sumOf(t.loads...).done}
	for _, name := range t.authorities {
		row.outbound += r.outbound.sum("request_total", "direction", "outbound", "authority", name)
	}
	return row
}

func (r reading) requestsTo(i int, t tier) ledgerRow {
	at := t.addr(r.mesh.workloads[i])
	return ledgerRow{
		client:   sumOf(t.loads...).by[i],
		outbound: r.outbound.sum("request_total", "direction", "outbound", "target_addr", at),
		inbound:  r.inbound[i].sum("request_total", "direction", "inbound", "target_addr", at),
		app:      int(t.app(r.apps[i])),
	}
}

// conns compares connections that are not HTTP.
func (r reading) conns() ledger {
	c := r.loads.of(opaque)
	sum := ledgerRow{
		what: opaque + " connections", client: c.done,
		outbound: r.outbound.sum("tcp_open_total", "direction", "outbound", "peer", "src", "target_addr", net.JoinHostPort(dbService, "3306")),
	}
	var per ledger
	for i, w := range r.mesh.workloads {
		one := ledgerRow{
			what:     fmt.Sprintf("  of workload %d", i+1),
			client:   c.by[i],
			outbound: r.outbound.sum("tcp_open_total", "direction", "outbound", "peer", "dst", "target_addr", w.db),
			inbound:  r.inbound[i].sum("tcp_open_total", "direction", "inbound", "peer", "src", "target_addr", w.db),
			app:      int(r.apps[i].DB),
		}
		sum.inbound, sum.app = sum.inbound+one.inbound, sum.app+one.app
		per = append(per, one)
	}
	return append(ledger{sum}, per...)
}

// shared says by how few connections the sidecars carried HTTP/1.1 in HTTP/2.
func (r reading) shared() string {
	conns := 0
	for _, w := range r.mesh.workloads {
		conns += r.outbound.sum("tcp_open_total", "direction", "outbound", "peer", "dst", "target_addr", w.shop)
	}
	return fmt.Sprintf("shop is sent HTTP/1.1, and its applications take nothing else; the hint h2 on its endpoints has\nthe sidecars carry it in HTTP/2: %s requests on %s connections.",
		number(sumOf(r.loads.shop).done), number(conns))
}
