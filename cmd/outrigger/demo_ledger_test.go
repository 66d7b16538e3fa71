package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// aReading is one in which everybody counted ten HTTP/1.1 requests, two of each other
// kind and ten connections at each workload, but for what change changes.
func aReading(t *testing.T, change func(string) string) reading {
	t.Helper()
	mesh := &demoMesh{}
	loads := mesh.loads()
	var outbound strings.Builder
	r := reading{mesh: mesh, loads: loads}
	fmt.Fprintf(&outbound, "tcp_open_total{direction=\"outbound\",peer=\"src\",target_addr=\"%s:3306\"} 30\n", dbService)
	for i := range workloads {
		for range 10 {
			loads.web.tally.add(i+1, time.Millisecond, nil)
			loads.db.tally.add(i+1, time.Millisecond, nil)
		}
		for _, one := range append([]*load{loads.shop, loads.feed}, loads.chat...) {
			one.tally.add(i+1, time.Millisecond, nil)
			one.tally.add(i+1, time.Millisecond, nil)
		}
		at := func(name string) string { return fmt.Sprintf("%s:%d", name, i) }
		mesh.workloads[i].appAddrs = appAddrs{web: at("web"), db: at("db"), shop: at("shop"), feed: at("feed"), chat: at("chat")}
		server, client := mutualWith("server_id", workloadName(i+1)), mutualWith("client_id", clientName)
		w := mesh.workloads[i]
		fmt.Fprintf(&outbound, `request_total{%[6]s,direction="outbound",authority="%[3]s",target_addr="%[1]s"} 4
request_total{%[6]s,direction="outbound",authority="%[4]s",target_addr="%[1]s"} 6
response_total{direction="outbound",authority="%[3]s",target_addr="%[1]s",status_code="200",classification="success"} 10
tcp_open_total{%[6]s,direction="outbound",peer="dst",target_addr="%[2]s"} 10
tcp_open_total{direction="outbound",peer="dst",target_addr="%[1]s"} 3
tcp_open_total{direction="outbound",peer="dst",target_addr="%[5]s"} 2
`, w.web, w.db, webService, booksNew, w.shop, server)
		inbound := fmt.Sprintf(`request_total{%[3]s,direction="inbound",target_addr="%[1]s"} 10
request_total{direction="inbound",target_addr="admin"} 99
response_total{direction="inbound",target_addr="%[1]s",classification="success"} 10
tcp_open_total{%[3]s,direction="inbound",peer="src",target_addr="%[2]s"} 10
tcp_open_total{direction="inbound",peer="dst"} 13
`, w.web, w.db, client)
		for _, one := range []struct {
			name, addr string
			n          int
		}{{shopService, w.shop, 2}, {feedService, w.feed, 2}, {chatService, w.chat, 8}} {
			fmt.Fprintf(&outbound, `request_total{%[4]s,direction="outbound",authority="%[1]s",target_addr="%[2]s"} %[3]d
response_total{direction="outbound",authority="%[1]s",target_addr="%[2]s",classification="success"} %[3]d
`, one.name, one.addr, one.n, server)
			inbound += fmt.Sprintf(`request_total{%[3]s,direction="inbound",target_addr="%[1]s"} %[2]d
response_total{direction="inbound",target_addr="%[1]s",classification="success"} %[2]d
`, one.addr, one.n, client)
		}
		r.inbound[i] = samplesOf(t, change(inbound))
		r.apps[i] = appCounts{10, 2, 2, 8, 10}
	}
	r.outbound = samplesOf(t, change(outbound.String()))
	return r
}

// mutualWith are the labels of mutual TLS with name.
func mutualWith(label, name string) string {
	return fmt.Sprintf(`tls="true",%s="%s"`, label, idOf(name))
}

func samplesOf(t *testing.T, text string) samples {
	t.Helper()
	s, err := readSamples([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLedgerAgrees(t *testing.T) {
	l := aReading(t, func(s string) string { return s }).ledger()
	if amiss := l.amiss(); len(amiss) > 0 {
		t.Errorf("amiss: %q", amiss)
	}
	if len(l) != 12 || l[0].client != 30 || l[1].app != 6 || l[3].inbound != 24 || l[4].outbound != 66 || l[5].app != 22 || l[8].inbound != 30 {
		t.Errorf("the ledger is %+v", l)
	}
}

// TestLedgerDisagrees has each of them count one too few.
func TestLedgerDisagrees(t *testing.T) {
	same := func(s string) string { return s }
	replaced := func(from, to string) func(string) string {
		return func(s string) string { return strings.Replace(s, from, to, 1) }
	}
	for name, r := range map[string]reading{
		"outbound requests":    aReading(t, replaced(`target_addr="web:0"} 6`, `target_addr="web:0"} 5`)),
		"outbound failures":    aReading(t, replaced(`classification="success"} 10`, `classification="failure"} 10`)),
		"outbound connections": aReading(t, replaced(`:3306"} 30`, `:3306"} 29`)),
		"connections out":      aReading(t, replaced(`peer="dst",target_addr="db:1"} 10`, `peer="dst",target_addr="db:1"} 11`)),
		"inbound requests":     aReading(t, replaced(`"inbound",target_addr="web:2"} 10`, `"inbound",target_addr="web:2"} 9`)),
		"inbound connections":  aReading(t, replaced(`peer="src",target_addr="db:2"} 10`, `peer="src",target_addr="db:2"} 9`)),
		"outbound carried":     aReading(t, replaced(`svc.cluster.local",target_addr="shop:0"} 2`, `svc.cluster.local",target_addr="shop:0"} 3`)),
		"inbound HTTP/2":       aReading(t, replaced(`"inbound",target_addr="feed:0"} 2`, `"inbound",target_addr="feed:0"} 1`)),
		"inbound gRPC":         aReading(t, replaced(`"inbound",target_addr="chat:0",classification="success"} 8`, `"inbound",target_addr="chat:0",classification="failure"} 8`)),
		"gRPC calls":           func() reading { r := aReading(t, same); r.apps[1].Chat++; return r }(),
		"an application":       func() reading { r := aReading(t, same); r.apps[1].Web--; return r }(),
		"its connections":      func() reading { r := aReading(t, same); r.apps[1].DB++; return r }(),
		"the client":           func() reading { r := aReading(t, same); r.loads.books.tally.add(1, 0, nil); return r }(),
		"the client's failure": func() reading { r := aReading(t, same); r.loads.books.tally.add(0, 0, errors.New("x")); return r }(),
	} {
		amiss := r.ledger().amiss()
		if len(amiss) == 0 {
			t.Errorf("%s: everything agrees", name)
		}
		if err := (&demo{amiss: amiss}).verdict(); err == nil || status(err) != 1 {
			t.Errorf("%s: exit status of %v", name, err)
		}
	}
}

func TestLoadsAmiss(t *testing.T) {
	loads := (&demoMesh{}).loads()
	for range demoLeast {
		for _, one := range loads.all() {
			if one != loads.books {
				one.tally.add(1, time.Millisecond, nil)
			}
		}
	}
	if got := loads.amiss(); len(got) > 0 {
		t.Errorf("amiss: %q", got)
	}
	loads.books.tally.add(0, time.Second, errors.New("a reason"))
	if got := strings.Join(loads.amiss(), "|"); got != "a reason|1 of 1,001 HTTP/1.1 requests failed" {
		t.Errorf("amiss: %q", got)
	}
	if got := strings.Join((&demoMesh{}).loads().amiss(), "|"); !strings.Contains(got, "only 0 opaque TCP requests, not 1,000") || strings.Count(got, "only 0") != 8 {
		t.Errorf("amiss: %q", got)
	}
}

func TestTally(t *testing.T) {
	var y tally
	if y.percentile(99) != 0 || y.now().share(1) != 0 {
		t.Error("of nothing there is something")
	}
	for n := 100; n > 0; n-- {
		y.add(1+n%2, time.Duration(n), nil)
	}
	for range mostErrs + 5 {
		y.add(0, time.Hour, errors.New("x"))
	}
	if y.percentile(50) != 50 || y.percentile(99) != 99 || y.percentile(100) != 100 {
		t.Errorf("percentiles %d, %d, %d", y.percentile(50), y.percentile(99), y.percentile(100))
	}
	if c := y.now(); c.done != 108 || c.failed != 8 || c.share(1) != 0.5 || c.share(3) != 0 || len(y.failures()) != mostErrs {
		t.Errorf("counts %+v, %d failures", c, len(y.failures()))
	}
}
