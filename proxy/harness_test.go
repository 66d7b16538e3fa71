package proxy

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/outrigger-mesh/outrigger/control/local"
	"github.com/outrigger-mesh/outrigger/proxy/telemetry"
)

func TestMain(m *testing.M) {
	if os.Getenv(asSidecar) != "" {
		os.Exit(sidecarMain())
	}
	goleak.VerifyTestMain(m)
}

// A controller is a control plane in this process, on loopback.
type controller struct {
	t      testing.TB
	addr   string
	server *local.Server
	stop   func()
}

// startController serves a mesh file's content until the test ends.
func startController(tb testing.TB, yaml string) *controller {
	tb.Helper()
	c := &controller{t: tb, server: local.New(local.Config{})}
	c.set(yaml)
	c.start(freeAddr(tb)) // where it can be started anew: nothing else is given that port
	tb.Cleanup(func() { c.stop() })
	return c
}

func (c *controller) start(addr string) {
	c.t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		c.t.Fatal(err)
	}
	c.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.server.Serve(ctx, l) }()
	c.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			c.t.Error(err)
		}
	})
}

func (c *controller) set(yaml string) {
	c.t.Helper()
	mesh, err := local.Parse([]byte(yaml))
	if err != nil {
		c.t.Fatal(err)
	}
	c.server.Set(mesh)
}

// serviceYAML is one service of a mesh file.
func serviceYAML(name string, opaque bool, endpoints ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "- name: %s\n  port: 80\n  opaque: %t\n  endpoints:\n", name, opaque)
	for _, e := range endpoints {
		fmt.Fprintf(&b, "  - address: %s\n", e)
	}
	return b.String()
}

func meshYAML(services ...string) string { return "services:\n" + strings.Join(services, "") }

// ports are given out from below the range in which the kernel chooses those of
// connections, so that none is taken between here and the sidecar's listen.
var ports atomic.Uint32

const firstPort, lastPort = 12000, 32000

// freeAddr returns a loopback address that nothing listens on. No two calls
// return the same.
func freeAddr(tb testing.TB) string {
	tb.Helper()
	ports.CompareAndSwap(0, 1+rand.Uint32N(lastPort-firstPort)) // packages are tested at the same time
	for range lastPort - firstPort {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", firstPort+ports.Add(1)%(lastPort-firstPort)))
		if err == nil {
			_ = l.Close()
			return l.Addr().String()
		}
	}
	tb.Fatal("no port is free")
	return ""
}

// A sidecar is a proxy in this process.
type sidecar struct {
	t     testing.TB
	admin string
	stop  func()
}

// startSidecar runs a proxy by the environment given, beside what every one needs,
// until the test ends.
func startSidecar(tb testing.TB, control string, env ...string) *sidecar {
	tb.Helper()
	s := &sidecar{t: tb, admin: freeAddr(tb)}
	env = append([]string{
		"OUTRIGGER_UNMESHED=true",
		"LINKERD2_PROXY_DESTINATION_SVC_ADDR=" + control,
		"LINKERD2_PROXY_POLICY_SVC_ADDR=" + control,
		"LINKERD2_PROXY_POLICY_WORKLOAD=test:test",
		"LINKERD2_PROXY_ADMIN_LISTEN_ADDR=" + s.admin,
		"OUTRIGGER_LAME_DUCK=0",
		"OUTRIGGER_DRAIN_IDLE=0",
	}, env...)
	for _, direction := range []string{"INBOUND", "OUTBOUND"} { // the defaults may be others'
		if all := strings.Join(env, " "); !strings.Contains(all, direction+"_NAMED") && !strings.Contains(all, direction+"_LISTEN") {
			env = append(env, "LINKERD2_PROXY_"+direction+"_LISTEN_ADDR="+freeAddr(tb))
		}
	}
	c, _, err := ReadEnv(env)
	if err != nil {
		tb.Fatal(err)
	}
	return s.run(c)
}

func (s *sidecar) run(c Config) *sidecar {
	log, _ := telemetry.Logs("warn", telemetry.PlainLog, testWriter{s.t}, io.Discard)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	ready := make(chan struct{})
	go func() {
		done <- Run(ctx, c, Options{Log: slog.New(log.Handler()), Ready: func() { close(ready) }})
	}()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	})
	s.t.Cleanup(s.stop)
	select {
	case <-ready:
	case err := <-done:
		done <- nil
		s.t.Fatal(err)
	}
	return s
}

// metrics returns what /metrics says.
func (s *sidecar) metrics() string {
	s.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + s.admin + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

// testWriter writes a log to the test's.
type testWriter struct{ testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.Logf("%s", p)
	return len(p), nil
}

// origin is a net/http server that answers with its name.
func origin(tb testing.TB, h http.HandlerFunc) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	tb.Cleanup(func() { _ = s.Close(); <-done })
	return l.Addr().String()
}

// get makes one request on a connection of its own.
func get(tb testing.TB, addr, host string) (int, string, http.Header) {
	tb.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	req, _ := http.NewRequestWithContext(tb.Context(), http.MethodGet, "http://"+addr+"/", nil)
	if host != "" {
		req.Host = host
	}
	resp, err := client.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), resp.Header
}
