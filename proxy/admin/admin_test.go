package admin

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/outrigger-mesh/outrigger/proxy/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func limits() Limits {
	return Limits{
		HeadRead: 10 * time.Second, Read: 10 * time.Second, Write: 10 * time.Second, Idle: 10 * time.Second,
		Grace: 10 * time.Second, HeadBytes: 4096, Conns: 16,
	}
}

// port is a served port, on loopback.
type port struct {
	addr   string
	filter *telemetry.Filter
	ended  func() error // ends it, and returns what Serve returned
	end    context.CancelFunc
	log    *bytes.Buffer
}

func serve(t *testing.T, o Options, lim Limits) *port {
	t.Helper()
	p := &port{log: new(bytes.Buffer)}
	var log *slog.Logger
	log, p.filter = telemetry.Logs("info", telemetry.PlainLog, p.log, p.log)
	if o.Ready == nil {
		o.Ready = func() (bool, string) { return true, "" }
	}
	if o.Metrics == nil {
		o.Metrics = telemetry.New(telemetry.Options{RetainIdle: time.Minute}).Handler(2)
	}
	o.Filter, o.FilterBytes, o.Log, o.PodName = p.filter, 64, log, "web-1"
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	p.end = cancel
	result := make(chan error, 1)
	go func() { result <- Serve(ctx, l, Handler(o), lim, log) }()
	p.ended = sync.OnceValue(func() error { return <-result })
	t.Cleanup(func() {
		cancel()
		if err := p.ended(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// client is one that keeps nothing open after the test.
func client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

// ask sends one request, with fields "Name: value" (Host among them).
func ask(t *testing.T, p *port, method, path, content string, fields ...string) (int, string, http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+p.addr+path, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		if name == "Host" {
			r.Host = value
		} else {
			r.Header.Set(name, value)
		}
	}
	resp, err := client(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body), resp.Header
}

func TestPaths(t *testing.T) {
	p := serve(t, Options{}, limits())
	for _, test := range []struct {
		method, path string
		fields       []string
		status       int
		body         string // begins with
	}{
		{"GET", "/live", nil, 200, "live\n"},
		{"POST", "/live", nil, 200, "live\n"},
		{"GET", "/live?x=y", nil, 200, "live\n"},
		{"GET", "/ready", nil, 200, "ready\n"},
		{"GET", "/ready", []string{"Host: anybody.example.com"}, 200, "ready\n"},
		{"GET", "/metrics", nil, 200, "# HELP go_gc"},
		{"GET", "/", nil, 200, "Outrigger"},
		{"GET", "//live", nil, 404, ""},
		{"GET", "/live/", nil, 404, ""},
		{"GET", "/env.json", nil, 404, ""},
		{"GET", "/debug/pprof/", nil, 404, ""},
		{"GET", "/../live", nil, 404, ""},
		{"POST", "/shutdown", nil, 404, "shutdown endpoint is not enabled\n"},
		{"GET", "/shutdown", nil, 405, ""},
		{"DELETE", "/proxy-log-level", nil, 405, ""},
	} {
		status, body, header := ask(t, p, test.method, test.path, "", test.fields...)
		if status != test.status || !strings.HasPrefix(body, test.body) || test.body == "" && body != "" {
			t.Errorf("%s %s: %d %q", test.method, test.path, status, body)
		}
		if ct := header.Get("Content-Type"); body != "" && !strings.HasPrefix(ct, "text/plain") {
			t.Errorf("%s %s: content-type %q", test.method, test.path, ct)
		}
	}
	if _, _, h := ask(t, p, "GET", "/shutdown", ""); !slices.Equal(h["Allow"], []string{"POST"}) {
		t.Errorf("allow %q", h["Allow"])
	}
	if _, _, h := ask(t, p, "POST", "/proxy-log-level", ""); !slices.Equal(h["Allow"], []string{"GET", "PUT"}) {
		t.Errorf("allow %q", h["Allow"])
	}
}

func TestReady(t *testing.T) {
	for _, test := range []struct {
		ok     bool
		why    string
		status int
		body   string
	}{
		{true, "", 200, "ready\n"},
		{true, "certificate expired", 200, "ready\ncertificate expired\n"},
		{false, "", 503, "not ready\n"},
		{false, "no identity", 503, "not ready\nno identity\n"},
	} {
		p := serve(t, Options{Ready: func() (bool, string) { return test.ok, test.why }}, limits())
		if status, body, _ := ask(t, p, "GET", "/ready", ""); status != test.status || body != test.body {
			t.Errorf("%v %q: %d %q", test.ok, test.why, status, body)
		}
	}
}

func TestShutdownEndsGracefully(t *testing.T) {
	var p *port
	p = serve(t, Options{Shutdown: func() { p.end() }}, limits())
	if status, body, _ := ask(t, p, "POST", "/shutdown", ""); status != 200 || body != "shutdown\n" {
		t.Errorf("%d %q", status, body)
	}
	if err := p.ended(); err != nil {
		t.Error(err)
	}
	if open(t, p.addr) {
		t.Error("the port is still open")
	}
}

// open reports whether a connection can be opened.
func open(t *testing.T, addr string) bool {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err == nil {
		c.Close()
	}
	return err == nil
}

// TestWhoMayChange has requests that must change nothing, and some that may.
func TestWhoMayChange(t *testing.T) {
	for _, test := range []struct {
		name, client, host string
		fields             []string
		status             int
	}{
		{"v4", "127.0.0.1:5", "localhost:4191", nil, 200},
		{"any loopback", "127.9.9.9:5", "10.1.2.3:4191", nil, 200},
		{"v6", "[::1]:5", "[::1]:4191", nil, 200},
		{"v4 mapped", "[::ffff:127.0.0.1]:5", "[::1]", nil, 200},
		{"pod name", "127.0.0.1:5", "WEB-1:4191", nil, 200},
		{"no port", "127.0.0.1:5", "Localhost", nil, 200},
		{"other", "10.0.0.1:5", "localhost", nil, 403},
		{"other v6", "[2001:db8::1]:5", "localhost", nil, 403},
		{"other mapped", "[::ffff:10.0.0.1]:5", "localhost", nil, 403},
		{"nonsense", "x", "localhost", nil, 403},
		{"forwarded", "10.0.0.1:5", "localhost", []string{"X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1"}, 403},
		{"rebound name", "127.0.0.1:5", "evil.example.com:4191", nil, 403},
		{"name with localhost", "127.0.0.1:5", "localhost.example.com", nil, 403},
		{"name with address", "127.0.0.1:5", "127.0.0.1.example.com", nil, 403},
		{"no host", "127.0.0.1:5", "", nil, 403},
		{"origin", "127.0.0.1:5", "localhost", []string{"Origin: http://evil.example.com"}, 403},
		{"empty origin", "127.0.0.1:5", "localhost", []string{"Origin: "}, 403},
		{"fetch", "127.0.0.1:5", "localhost", []string{"Sec-Fetch-Site: same-origin"}, 403},
		{"fetch mode", "127.0.0.1:5", "localhost", []string{"sec-fetch-mode: no-cors"}, 403},
	} {
		t.Run(test.name, func(t *testing.T) {
			began := 0
			filter, _ := telemetry.NewFilter("info")
			h := Handler(Options{
				Metrics: http.NotFoundHandler(), Shutdown: func() { began++ }, PodName: "web-1",
				Filter: filter, FilterBytes: 64, Log: slog.New(slog.DiscardHandler),
			})
			for _, r := range []*http.Request{
				httptest.NewRequest("POST", "/shutdown", nil),
				httptest.NewRequest("PUT", "/proxy-log-level", strings.NewReader("debug")),
				httptest.NewRequest("GET", "/proxy-log-level", nil),
			} {
				r.RemoteAddr, r.Host = test.client, test.host
				for _, f := range test.fields {
					name, value, _ := strings.Cut(f, ": ")
					r.Header.Set(name, value)
				}
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if allowed := w.Code/100 == 2; allowed != (test.status == 200) {
					t.Errorf("%s %s: %d %q", r.Method, r.URL.Path, w.Code, w.Body)
				}
			}
			if changed := began > 0 || filter.String() != "info"; changed != (test.status == 200) {
				t.Errorf("shutdowns %d, filter %q", began, filter)
			}
		})
	}
}

func TestLogLevel(t *testing.T) {
	p := serve(t, Options{}, limits())
	if status, body, _ := ask(t, p, "GET", "/proxy-log-level", ""); status != 200 || body != "info" {
		t.Errorf("%d %q", status, body)
	}
	if status, body, _ := ask(t, p, "PUT", "/proxy-log-level", "warn,linkerd=debug\n"); status != 204 || body != "" {
		t.Errorf("%d %q", status, body)
	}
	if status, body, _ := ask(t, p, "PUT", "/proxy-log-level", "warn,linkerd=loud"); status != 400 || !strings.Contains(body, `"loud" is no level`) {
		t.Errorf("%d %q", status, body)
	}
	if status, _, _ := ask(t, p, "PUT", "/proxy-log-level", strings.Repeat("a", 65)); status != 400 {
		t.Errorf("too long: %d", status)
	}
	if got := p.filter.String(); got != "warn,linkerd=debug" {
		t.Errorf("filter is %q", got)
	}
	if got := p.log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `set new log level filter="warn,linkerd=debug"`) {
		t.Errorf("logged %q", got)
	}
}

func TestLogLevelWhenOff(t *testing.T) {
	h := Handler(Options{Metrics: http.NotFoundHandler()})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/proxy-log-level", nil))
	if w.Code != 404 {
		t.Errorf("status %d", w.Code)
	}
}

// TestGrace has a scrape in hand as the port ends, which is answered or cut off.
func TestGrace(t *testing.T) {
	for _, test := range []struct {
		grace time.Duration
		whole bool
	}{{10 * time.Second, true}, {time.Millisecond, false}} {
		lim := limits()
		lim.Grace = test.grace
		begun, release := make(chan bool), make(chan bool)
		p := serve(t, Options{Metrics: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(begun)
			select {
			case <-release:
			case <-r.Context().Done():
			}
			fmt.Fprint(w, "done")
		})}, lim)
		got := make(chan string, 1)
		go func() {
			body := ""
			r, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+p.addr+"/metrics", nil)
			if resp, err := new(http.Transport).RoundTrip(r); err == nil {
				content, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				body = string(content)
			}
			got <- body
		}()
		<-begun
		p.end()
		for open(t, p.addr) { // until the end has begun
		}
		if test.whole {
			close(release)
		}
		if err := p.ended(); err != nil {
			t.Error(err)
		}
		if body := <-got; (body == "done") != test.whole {
			t.Errorf("grace %v: %q", test.grace, body)
		}
	}
}

// TestListenerFails has Serve say so.
func TestListenerFails(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	h := http.NotFoundHandler()
	if err := Serve(t.Context(), l, h, limits(), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("error %v", err)
	}
}

// TestConnsAreBounded leaves connections open, some after a request, some
// without any: the port stays reachable, and the number small.
func TestConnsAreBounded(t *testing.T) {
	lim := limits()
	lim.Conns = 4
	p := serve(t, Options{}, lim)
	var conns []net.Conn
	for i := range 12 {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		conns = append(conns, c)
		if i%2 == 0 {
			continue
		}
		fmt.Fprint(c, "GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		resp.Body.Close()
	}
	closed := 0
	for _, c := range conns[:len(conns)-1] {
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); err != nil && !isTimeout(err) {
			closed++
		}
	}
	if closed < 8 {
		t.Errorf("%d of 12 are closed, want 8", closed)
	}
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error) //nolint:errorlint // as net.Conn returns it
	return ok && timeout.Timeout()
}

// TestSlowHead has a client that never ends its head.
func TestSlowHead(t *testing.T) {
	lim := limits()
	lim.HeadRead = 10 * time.Millisecond
	p := serve(t, Options{}, lim)
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "GET /live HTTP/1.1\r\n")
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.ReadAll(c); err != nil {
		t.Errorf("the port did not close it: %v", err)
	}
}

func TestHugeHead(t *testing.T) {
	p := serve(t, Options{}, limits())
	if status, _, _ := ask(t, p, "GET", "/live", "", "X-Long: "+strings.Repeat("x", 16<<10)); status != 431 {
		t.Errorf("status %d", status)
	}
}
