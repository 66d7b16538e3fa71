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

// balanced returns the ledger once it agrees, or as it is after a while: a
// sidecar's count may come a moment after the answer that it counts.
func (d *demo) balanced(ctx context.Context) ledger {
	ctx, stop := context.WithTimeout(ctx, demoSettle)
	defer stop()
	var last ledger
	for {
		r, err := d.read(ctx)
		switch {
		case err == nil:
			if last = r.ledger(); len(last.amiss()) == 0 {
				return last
			}
		case last == nil && ctx.Err() != nil:
			d.amiss = append(d.amiss, fmt.Sprintf("the counts could not be read: %v", err))
			return nil
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
		text, err := fetch(ctx, w.http, countsPath)
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

// ledger compares the counts of requests, of their successes, and of connections,
// in all and for each workload.
func (r reading) ledger() ledger {
	web, db := r.loads.of(http1), r.loads.of(opaque)
	requests := ledgerRow{what: http1 + " requests", client: web.done, outbound: r.outbound.sum("request_total", "direction", "outbound")}
	good := ledgerRow{
		what: http1 + " successes", client: web.done - web.failed, app: uncounted,
		outbound: r.outbound.sum("response_total", "direction", "outbound", "classification", "success"),
	}
	conns := ledgerRow{
		what: opaque + " connections", client: db.done,
		outbound: r.outbound.sum("tcp_open_total", "direction", "outbound", "peer", "src", "target_addr", net.JoinHostPort(dbService, "3306")),
	}
	var perWeb, perDB ledger
	for i := range r.mesh.workloads {
		h, t := r.requestsTo(i, web), r.connsTo(i, db)
		perWeb, perDB = append(perWeb, h), append(perDB, t)
		requests.inbound, requests.app = requests.inbound+h.inbound, requests.app+h.app
		conns.inbound, conns.app = conns.inbound+t.inbound, conns.app+t.app
		good.inbound += r.inbound[i].sum("response_total", "direction", "inbound", "target_addr", r.mesh.workloads[i].http, "classification", "success")
	}
	all := append(ledger{requests}, perWeb...)
	all = append(all, good, conns)
	return append(all, perDB...)
}

func (r reading) requestsTo(i int, c counts) ledgerRow {
	w := r.mesh.workloads[i]
	return ledgerRow{
		what:     fmt.Sprintf("  of workload %d", i+1),
		client:   c.by[i],
		outbound: r.outbound.sum("request_total", "direction", "outbound", "target_addr", w.inHTTP),
		inbound:  r.inbound[i].sum("request_total", "direction", "inbound", "target_addr", w.http),
		app:      int(r.apps[i].HTTP),
	}
}

func (r reading) connsTo(i int, c counts) ledgerRow {
	w := r.mesh.workloads[i]
	return ledgerRow{
		what:     fmt.Sprintf("  of workload %d", i+1),
		client:   c.by[i],
		outbound: r.outbound.sum("tcp_open_total", "direction", "outbound", "peer", "dst", "target_addr", w.inTCP),
		inbound:  r.inbound[i].sum("tcp_open_total", "direction", "inbound", "peer", "src", "target_addr", w.tcp),
		app:      int(r.apps[i].TCP),
	}
}
