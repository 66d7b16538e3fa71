package telemetry

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"

	"github.com/outrigger-mesh/outrigger/discover"
	"github.com/outrigger-mesh/outrigger/proxy/tee"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// exposed returns the lines of /metrics whose name begins with one of those
// prefixes, without comments.
func exposed(t *testing.T, m *Metrics, prefixes ...string) []string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(scrape(t, m, nil)) {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(line, p) }) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func scrape(t *testing.T, m *Metrics, header http.Header) string {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header = header
	w := httptest.NewRecorder()
	m.Handler(1).ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	var body io.Reader = w.Body
	if w.Header().Get("Content-Encoding") == "gzip" {
		var err error
		if body, err = gzip.NewReader(body); err != nil {
			t.Fatal(err)
		}
	}
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func equalLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// busy returns Metrics of which every family has a series.
func busy(t *testing.T) *Metrics {
	t.Helper()
	m := New(Options{RetainIdle: time.Minute, MaxSeries: 10, Build: Build{Version: "1.2.3"}})
	l := Outbound.Labels().Prefixed("dst_", discover.NewLabels(map[string]string{
		"pod": "web-1", "zone": "a", "bad-key": "a\"b\\c\nd,e", "0": "\xff", "": "x",
	}))
	for _, layer := range []func(Labels){
		func(l Labels) { ask(t, m.Requests(l), request("x"), response(200, "y"), nil) },
		func(l Labels) { ask(t, m.RouteRequests(l), request("x"), response(200, "y"), nil) },
		func(l Labels) { ask(t, m.RouteTries(l), request("x"), response(200, "y"), nil) },
	} {
		layer(l)
	}
	passed(t, m, l)
	m.Panic("test")
	m.Tee(func() tee.Stats {
		return tee.Stats{
			BudgetUsed: 32768, Ends: map[tee.State]int64{tee.Complete: 7, tee.ServerFailed: 2},
			Consumers: []tee.ConsumerStats{{Name: "cache", Bytes: 100, Lag: 5, Running: 1, Detached: map[tee.Reason]int64{tee.Overrun: 3}}},
		}
	})
	m.Protocols(Labels{}).Count(ProtocolOpaque)
	m.Detection(Inbound, Label("srv_name", "web")).Observe(DetectedHTTP1, time.Millisecond)
	m.Detection(Outbound, Label("parent_name", "web")).Observe(DetectTimeout, time.Second)
	return m
}

func TestExpositionIsClean(t *testing.T) {
	m := busy(t)
	text := scrape(t, m, nil)
	for name, pattern := range map[string]string{
		"double comma": `,,[a-z}]`, "end mark": `# EOF`, "empty label name": `[{,]=`,
	} {
		if found := regexp.MustCompile(pattern).FindString(text); found != "" {
			t.Errorf("%s: %q", name, found)
		}
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"request_total", "response_total", "response_latency_ms", "route_request_total", "route_response_total",
		"route_response_latency_ms", "route_actual_request_total", "route_actual_response_total", "tcp_open_total",
		"tcp_open_connections", "tcp_read_bytes_total", "tcp_write_bytes_total", "tcp_close_total",
		"process_start_time_seconds", "process_uptime_seconds_total", "process_clock_time_seconds",
		"process_threads", "process_open_fds", "process_cpu_seconds_total", "proxy_build_info", "outrigger_panics_total",
		"inbound_tcp_detect_http_duration_seconds", "outbound_tcp_detect_http_results_total",
		"outbound_tcp_protocol_connections_total", "go_goroutines",
		"outrigger_tee_bytes_total", "outrigger_tee_detached_total", "outrigger_tee_lag_bytes", "outrigger_tee_consumers",
		"outrigger_tee_terminal_total", "outrigger_tee_budget_used_bytes",
	} {
		if families[name] == nil {
			t.Errorf("no family %s", name)
		}
	}
	if families["outbound_http_errors_total"] != nil || families["outrigger_metrics_overflow_total"] != nil {
		t.Error("a family without series is shown")
	}
	for _, l := range families["request_total"].GetMetric()[0].GetLabel() {
		if l.GetName() == "dst_bad_key" && l.GetValue() != "a\"b\\c\nd,e" {
			t.Errorf("value came back as %q", l.GetValue())
		}
	}
}

func TestTee(t *testing.T) {
	text := scrape(t, busy(t), nil)
	for _, line := range []string{
		`outrigger_tee_bytes_total{consumer="cache"} 100`,
		`outrigger_tee_detached_total{consumer="cache",reason="overrun"} 3`,
		`outrigger_tee_lag_bytes{consumer="cache"} 5`,
		`outrigger_tee_consumers{consumer="cache"} 1`,
		`outrigger_tee_terminal_total{state="complete"} 7`,
		`outrigger_tee_terminal_total{state="upstream_error"} 2`,
		`outrigger_tee_budget_used_bytes 32768`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
}

// TestLint allows only what Linkerd named before there was a lint.
func TestLint(t *testing.T) {
	problems, err := testutil.GatherAndLint(busy(t))
	if err != nil {
		t.Fatal(err)
	}
	allowed := []string{"response_latency_ms", "route_response_latency_ms"} // milliseconds, not seconds
	for _, p := range problems {
		if !slices.Contains(allowed, p.Metric) {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestHandlerCompresses(t *testing.T) {
	m := busy(t)
	for _, accept := range []string{"gzip", "deflate, gzip", "gzip,deflate", "brotli,gzip,deflate"} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Header.Set("Accept-Encoding", accept)
		m.Handler(1).ServeHTTP(w, r)
		if got := w.Header().Get("Content-Encoding"); got != "gzip" {
			t.Errorf("%q: content-encoding %q", accept, got)
		}
		if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, "text/plain") {
			t.Errorf("content-type %q", got)
		}
	}
	if !strings.Contains(scrape(t, m, http.Header{"Accept-Encoding": {"gzip"}}), "request_total{") {
		t.Error("compressed text lacks request_total")
	}
}

func TestIdleSeriesVanish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(Options{RetainIdle: time.Minute})
		live := m.Requests(Label("stack", "live"))
		ask(t, live, request(""), response(200, ""), nil)
		ask(t, m.Requests(Label("stack", "gone")), request(""), response(200, ""), nil)
		series := func() []string {
			runtime.GC()
			runtime.GC()
			return exposed(t, m, "request_total", "response_total")
		}
		if got := series(); len(got) != 4 {
			t.Fatalf("before: %q", got)
		}
		time.Sleep(59 * time.Second)
		if got := series(); len(got) != 4 {
			t.Fatalf("too soon: %q", got)
		}
		time.Sleep(time.Second)
		equalLines(t, series(),
			`request_total{stack="live"} 1`,
			`response_total{stack="live",status_code="200",classification="success",grpc_status="",error=""} 1`)

		again := m.Requests(Label("stack", "gone"))
		ask(t, again, request(""), response(200, ""), nil)
		ask(t, live, request(""), response(200, ""), nil)
		if got := exposed(t, m, "request_total"); !slices.Equal(got, []string{`request_total{stack="gone"} 1`, `request_total{stack="live"} 2`}) {
			t.Errorf("after: %q", got)
		}
		runtime.KeepAlive(live)
		runtime.KeepAlive(again)
	})
}

func TestIdleSeriesOfOpenConnectionStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(Options{RetainIdle: time.Minute})
		conn, other := pipe(t)
		opened, err := m.Dialed(Outbound.Labels())(dialer(conn, nil))(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			runtime.GC()
			time.Sleep(time.Hour)
			equalLines(t, exposed(t, m, "tcp_open_"),
				`tcp_open_connections{direction="outbound",peer="dst"} 1`,
				`tcp_open_total{direction="outbound",peer="dst"} 1`)
		}
		opened.Close()
		other.Close()
	})
}

func TestOverflow(t *testing.T) {
	m := New(Options{RetainIdle: time.Hour, MaxSeries: 2})
	for _, name := range []string{"a", "b", "c", "d"} {
		layer := m.Requests(Label("host", name))
		ask(t, layer, request(""), response(200, ""), nil)
		ask(t, layer, request(""), response(200, ""), nil)
	}
	equalLines(t, exposed(t, m, "request_total", "outrigger_metrics"),
		`outrigger_metrics_overflow_total{family="request_total"} 2`,
		`outrigger_metrics_overflow_total{family="response_latency_ms"} 2`,
		`outrigger_metrics_overflow_total{family="response_total"} 2`,
		`request_total{host="a"} 2`, `request_total{host="b"} 2`, `request_total{overflow="true"} 4`)
}

func TestOverflowMakesRoomWithoutScrapes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(Options{RetainIdle: time.Minute, MaxSeries: 1})
		for _, name := range []string{"a", "b", "c"} {
			ask(t, m.Requests(Label("host", name)), request(""), response(200, ""), nil)
			runtime.GC()
			runtime.GC()
			time.Sleep(time.Minute + 1)
		}
		// The first sweep, for b, sees that a has changed; the second, for c, drops it.
		equalLines(t, exposed(t, m, "request_total"), `request_total{host="c"} 1`, `request_total{overflow="true"} 1`)
	})
}

// TestOverflowBoundsMemory is what a client could do if a label were its to choose.
func TestOverflowBoundsMemory(t *testing.T) {
	m := New(Options{RetainIdle: time.Hour, MaxSeries: 1000})
	heap := func() uint64 {
		runtime.GC()
		runtime.GC() // the second frees what the first took from pools
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	before := heap()
	for i := range 20_000 {
		ask(t, m.Requests(Label("authority", fmt.Sprintf("host-%d.example.com", i))), request(""), response(200, ""), nil)
	}
	if grown := int64(heap()) - int64(before); grown > 2<<20 {
		t.Errorf("heap has grown by %d KiB", grown>>10)
	}
	if got := len(exposed(t, m, "request_total")); got != 1001 {
		t.Errorf("%d series, want 1001", got)
	}
}

func TestThreads(t *testing.T) {
	stat := "1 (a) b) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 9 0 23 1 2"
	if n, ok := threads([]byte(stat)); !ok || n != 9 {
		t.Errorf("got %d, %v", n, ok)
	}
	for _, bad := range []string{"", ")", "1 (a) S 0", "1 (a) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 x 0"} {
		if n, ok := threads([]byte(bad)); ok {
			t.Errorf("%q gave %d", bad, n)
		}
	}
}
