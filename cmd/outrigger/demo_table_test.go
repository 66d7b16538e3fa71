package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

func someResults() []result {
	return []result{
		{"web", http1, counts{done: 1234567, by: [workloads]int{500000, 400000, 334567}}, 20400 * time.Microsecond, 1234 * time.Millisecond},
		{"shop", carried, counts{done: 20000, failed: 1, by: [workloads]int{2000, 17999, 0}}, 20 * time.Millisecond, 40 * time.Millisecond},
		{"db", opaque, counts{}, 0, 0},
	}
}

func TestTable(t *testing.T) {
	books := ledger{
		{http1 + " requests", 1254567, 1254567, 1254566, 1254567},
		{"  of workload 1", 502000, 502000, 502000, 502000},
		{http1 + " successes", 1254566, 1254566, 1254566, uncounted},
	}
	servers := []string{"workload-1", "workload-2", "workload-3"}
	seen := &account{books, []mutualRow{
		{ledgerRow{http1 + " requests", 1254567, 1254567, 1254567, uncounted}, []string{clientName}, servers},
		{ledgerRow{carried + " requests", 1254567, 1254567, 1254000, uncounted}, []string{"nobody", clientName}, servers},
	}, "a line"}
	const want = `
                                                                           answered by workload
protocol             service   requests  failed  success       p50        p99       1    2    3
HTTP/1.1             web      1,234,567       0  100.00%   20.4 ms  1234.0 ms     41%  32%  27%
HTTP/1.1 over HTTP/2 shop        20,000       1   99.99%   20.0 ms    40.0 ms     10%  90%   0%
opaque TCP           db               0       0    0.00%    0.0 ms     0.0 ms      0%   0%   0%

a line

in mutual TLS                 client → servers                           outbound   inbound
HTTP/1.1 requests             client → workload-1 workload-2 workload-3 1,254,567 1,254,567  all
HTTP/1.1 over HTTP/2 requests nobody client → workload-1 workload-2 workload-3 1,254,567 1,254,000  NOT ALL
client stands for client.demo.serviceaccount.identity.linkerd.cluster.local, and so on.

counted by                       client  outbound sidecar  inbound sidecars  applications
HTTP/1.1 requests             1,254,567         1,254,567         1,254,566     1,254,567  DISAGREE
  of workload 1                 502,000           502,000           502,000       502,000  agree
HTTP/1.1 successes            1,254,566         1,254,566         1,254,566             –  agree

Not all was as it should be:
- HTTP/1.1 requests disagree: client 1,254,567, outbound sidecar 1,254,567, inbound sidecars 1,254,566, applications 1,254,567
- of 1,254,567 HTTP/1.1 over HTTP/2 requests, mutual TLS as expected had 1,254,567 by the outbound sidecar, and 1,254,000 by the inbound sidecars; seen was nobody client → workload-1 workload-2 workload-3`
	got := renderTable(ink{}, someResults(), seen, seen.amiss())
	if got != want {
		t.Errorf("got%s\nwant%s", got, want)
	}
	if !strings.HasSuffix(renderTable(ink{}, nil, &account{}, nil), "\nEvery request succeeded, each in mutual TLS, and all counts agree.") {
		t.Error("nothing is amiss, and it does not say so")
	}
}

// TestColor sees that color adds nothing but itself.
func TestColor(t *testing.T) {
	books := ledger{{"requests", 1, 1, 2, 1}}
	seen := &account{books: books}
	plain := renderTable(ink{}, someResults(), seen, seen.amiss())
	colored := renderTable(ink{true}, someResults(), seen, seen.amiss())
	if !strings.Contains(colored, "\x1b[1;31mDISAGREE\x1b[0m") {
		t.Errorf("no alarm in %q", colored)
	}
	if got := strings.NewReplacer("\x1b[0m", "", "\x1b[1m", "", "\x1b[32m", "", "\x1b[1;31m", "").Replace(colored); got != plain {
		t.Errorf("without its color it is\n%s\nand not\n%s", got, plain)
	}
	file, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if inkFor(file).on || inkFor(&strings.Builder{}).on {
		t.Error("a file is colored")
	}
}

func TestScenes(t *testing.T) {
	v := view{
		web:   counts{done: 1000, by: [workloads]int{500, 490, 10}},
		books: counts{done: 200, failed: 2, by: [workloads]int{180, 18, 0}},
	}
	const want = `                                                                         web by workload      books
  time  while requests run …                            requests failed      1    2    3    v1   v2
 12.3s  application 3 takes 80ms longer                    1,200      2    50%  49%   1%   91%   9%`
	if got := sceneHead(ink{}) + "\n" + sceneRow(ink{}, 12340*time.Millisecond, "application 3 takes 80ms longer", v, v); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestTexts sees that what a terminal of 100 columns shows is not wrapped, and
// that every port is told.
func TestTexts(t *testing.T) {
	m, err := pickMesh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text := m.movedText() + m.picture() + m.invitation("/some/where/mesh.yaml")
	for range 30 {
		m.moved = append(m.moved, "14141→14151")
	}
	text += m.movedText()
	for line := range strings.Lines(text) {
		if line = strings.TrimSuffix(line, "\n"); len([]rune(line)) > 100 || strings.HasSuffix(line, " ") {
			t.Errorf("a line has %d columns: %q", len([]rune(line)), line)
		}
	}
	addrs := []string{m.control, m.admin, m.web, m.books, m.shop, m.feed, m.chat, m.db}
	for _, w := range m.workloads {
		addrs = append(addrs, w.admin, w.in, w.web, w.shop, w.feed, w.chat, w.db)
	}
	for _, a := range addrs {
		if !strings.Contains(text, portOf(a)) {
			t.Errorf("port %s is not told", portOf(a))
		}
	}
}
