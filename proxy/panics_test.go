//go:build faults

package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/guard"
)

// panicking has the stages of this process panic, one at a time. Which there are it learns
// from those that come by, so that none need be listed.
type panicking struct {
	mu    sync.Mutex
	seen  map[string]int
	left  map[string]int // how often those that are to panic still are
	fired map[string]int
}

func (f *panicking) at(stage string) {
	f.mu.Lock()
	f.seen[stage]++
	evil := f.left[stage] > 0
	if evil {
		f.left[stage]--
		f.fired[stage]++
	}
	f.mu.Unlock()
	if evil {
		panic("evil at " + stage)
	}
}

// arm has each of stages panic the next n times that it is come by, and no other.
func (f *panicking) arm(stages []string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left, f.fired = map[string]int{}, map[string]int{}
	for _, s := range stages {
		f.left[s] = n
	}
}

// state returns how often each armed stage has panicked, and how often they still are to.
func (f *panicking) state() (fired map[string]int, left int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.left {
		left += n
	}
	return maps.Clone(f.fired), left
}

// stages returns all that were seen.
func (f *panicking) stages() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.seen))
}

// A faultedMesh is two sidecars under load, of which each stage is to panic.
type faultedMesh struct {
	t          *testing.T
	faults     *panicking
	control    *controller
	in         [2]string // where the server's sidecar listens for HTTP
	inTCP      string
	web, tcp   string // where the client's sidecar listens
	sidecars   [2]*sidecar
	turn       int
	count      int // panics so far
	done, lost atomic.Int64
	why        atomic.Pointer[error] // of one that was lost
}

const tcpHost = "tcp.test.svc.cluster.local"

func startFaulted(t *testing.T) *faultedMesh {
	t.Helper()
	f := &panicking{seen: map[string]int{}}
	guard.SetFault(f.at)
	t.Cleanup(func() { guard.SetFault(nil) })
	m := &faultedMesh{t: t, faults: f, in: [2]string{freeAddr(t), freeAddr(t)}, inTCP: freeAddr(t), web: freeAddr(t), tcp: freeAddr(t)}
	app, echo := both(t), replier(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
	m.control = startController(t, m.yaml())
	m.sidecars[0] = startSidecar(t, m.control.addr, append(patientDials(), "LINKERD2_PROXY_LOG=off",
		"OUTRIGGER_INBOUND_NAMED="+m.in[0]+"="+app+","+m.in[1]+"="+app+","+m.inTCP+"="+echo)...)
	m.sidecars[1] = startSidecar(t, m.control.addr, append(patientDials(),
		"OUTRIGGER_OUTBOUND_NAMED="+m.web+"="+webHost+":80,"+m.tcp+"="+tcpHost+":80")...)
	return m
}

// yaml is the mesh, which is another each time.
func (m *faultedMesh) yaml() string {
	m.turn++
	idle := fmt.Sprintf("  - address: 127.0.0.1:%d\n    weight: 0\n", 1+m.turn%7) // which is given nothing to do
	return meshYAML(serviceYAML(webHost, false, m.in[:]...)+idle, serviceYAML(tcpHost, true, m.inTCP)+idle)
}

// both is an application of HTTP/1 and HTTP/2 that answers with what it is sent.
func both(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := &http.Server{ReadHeaderTimeout: time.Minute, Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.Header.Get("content-type") == "application/grpc" {
			w.Header().Set("content-type", "application/grpc")
			w.Header().Set("trailer", "grpc-status")
			defer w.Header().Set("grpc-status", "0")
		}
		_, _ = w.Write(b)
	})}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	tb.Cleanup(func() { _ = s.Close(); <-done })
	return l.Addr().String()
}

// A faultedClient does one kind of work.
type faultedClient struct {
	name string
	work func(context.Context) error
	done func()
}

// clients returns one for each kind of work.
func (m *faultedMesh) clients() []faultedClient {
	var all []faultedClient
	for _, name := range []string{"HTTP/1", "HTTP/2", "gRPC"} {
		tr := &http.Transport{Protocols: new(http.Protocols)}
		tr.Protocols.SetHTTP1(name == "HTTP/1")
		tr.Protocols.SetUnencryptedHTTP2(name != "HTTP/1")
		n := 0
		all = append(all, faultedClient{name, func(ctx context.Context) error {
			if n++; n%8 == 0 {
				tr.CloseIdleConnections() // so that connections begin and end, too
			}
			return m.request(ctx, tr, name == "gRPC", n%4 == 1)
		}, tr.CloseIdleConnections})
	}
	return append(all, faultedClient{"TCP", m.echo, func() {}})
}

func (m *faultedMesh) request(ctx context.Context, tr *http.Transport, grpc, slow bool) error {
	sent := bytes.Repeat([]byte("x"), 5_000)
	var body io.Reader = bytes.NewReader(sent)
	if slow {
		body = io.MultiReader(bytes.NewReader(sent[:1]), &pausing{}, bytes.NewReader(sent[1:])) // of no known length
	}
	r, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+m.web+"/", body)
	r.Host = webHost
	if grpc {
		r.Header.Set("content-type", "application/grpc")
	}
	resp, err := tr.RoundTrip(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != 200:
		return fmt.Errorf("answered %d: %v", resp.StatusCode, resp.Header)
	case grpc && resp.Trailer.Get("grpc-status") != "0":
		return fmt.Errorf("gRPC ended with %v, %v", resp.Trailer, resp.Header)
	case !bytes.Equal(got, sent):
		return fmt.Errorf("got %d bytes back", len(got))
	}
	return nil
}

// pausing is a content's reader that is a moment late, once.
type pausing struct{}

func (*pausing) Read([]byte) (int, error) {
	t := time.NewTimer(2 * time.Millisecond)
	<-t.C
	return 0, io.EOF
}

func (m *faultedMesh) echo(ctx context.Context) error {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", m.tcp)
	if err != nil {
		return err
	}
	defer c.Close()
	if d, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(d)
	}
	sent := bytes.Repeat([]byte("\x00\x01"), 5000)
	if _, err = c.Write(sent); err != nil {
		return err
	}
	_ = c.(*net.TCPConn).CloseWrite()
	got, err := io.ReadAll(c)
	if err == nil && !bytes.Equal(got, sent) {
		err = fmt.Errorf("got %d bytes back", len(got))
	}
	return err
}

// load runs n clients of each kind until it is stopped.
func (m *faultedMesh) load(n int) (stop func()) {
	ctx, cancel := context.WithCancel(m.t.Context())
	var all sync.WaitGroup
	for range n {
		for _, c := range m.clients() {
			all.Go(func() {
				defer c.done()
				pace := time.NewTicker(4 * time.Millisecond) // so that what is tried beside it has its turn
				defer pace.Stop()
				for ; ctx.Err() == nil; <-pace.C {
					err := m.once(c)
					if m.done.Add(1); err != nil {
						m.lost.Add(1)
						m.why.Store(&err)
					}
				}
			})
		}
	}
	return func() { cancel(); all.Wait() }
}

// once does one piece of work, and fails if that hangs.
func (m *faultedMesh) once(c faultedClient) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	err := c.work(ctx)
	if ctx.Err() != nil {
		fired, _ := m.faults.state()
		m.t.Errorf("%s hangs, with panics: %v", c.name, fired)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", c.name, err)
	}
	return err
}

// plain wants work of each kind to be done, soon if not at once: what a panic has cost
// may have to be built anew.
func (m *faultedMesh) plain(stage string) {
	m.t.Helper()
	for _, c := range m.clients() {
		var err error
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
			if err = m.once(c); err == nil {
				break
			}
			c.done()
		}
		c.done()
		if err != nil {
			m.t.Errorf("%s does not work after %q has panicked: %v", c.name, stage, err)
		}
	}
}

var panicCount = regexp.MustCompile(`(?m)^outrigger_panics_total\{stage="([^"]*)"\} (\d+)`)

// counted returns what both sidecars have counted.
func (m *faultedMesh) counted() (total int, by map[string]int) {
	m.t.Helper()
	by = map[string]int{}
	for _, s := range m.sidecars {
		for _, match := range panicCount.FindAllStringSubmatch(s.metrics(), -1) {
			n, _ := strconv.Atoi(match[2])
			by[match[1]] += n
			total += n
		}
	}
	return total, by
}

// stir has the control plane say something new, and operators look.
func (m *faultedMesh) stir() {
	m.control.set(m.yaml())
	for _, s := range m.sidecars {
		for _, path := range []string{"/metrics", "/live"} {
			if resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + s.admin + path); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		}
	}
}

// panicAt has each of stages panic n times under load, and looks at what that has cost.
func (m *faultedMesh) panicAt(stages []string, n int, wait time.Duration) {
	m.t.Helper()
	before, lost := m.count, m.lost.Load()
	m.faults.arm(stages, n)
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for start := time.Now(); time.Since(start) < wait; <-pace.C {
		if time.Since(start) > wait/20 { // there is one that the load does not come by
			m.stir()
		}
		if _, left := m.faults.state(); left == 0 {
			break
		}
	}
	fired, _ := m.faults.state()
	m.faults.arm(nil, 0)
	m.plain(fmt.Sprint(stages))
	for after := m.done.Load() + 16; m.done.Load() < after; <-pace.C { // what met a panic has come back by then
	}
	count, by := m.counted()
	m.count = count
	total, most := 0, int64(0)
	for _, stage := range stages {
		if fired[stage] == 0 {
			m.t.Logf("%s: was not met again", stage)
		}
		total += fired[stage]
		most += costOf(stage, fired[stage])
	}
	if m.count-before < total {
		m.t.Errorf("%q: panicked %d times, and %d were counted: %v", stages, total, m.count-before, by)
	}
	if cost := m.lost.Load() - lost; cost > most {
		m.t.Errorf("%q: %d panics cost %d pieces of work, and at most %d are right; one: %v", stages, total, cost, most, *m.why.Load())
	}
	m.live(stages)
}

// live wants both sidecars to say that they are.
func (m *faultedMesh) live(stages []string) {
	m.t.Helper()
	for i, s := range m.sidecars {
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + s.admin + "/live")
		if err != nil || resp.StatusCode != 200 {
			m.t.Errorf("%q: sidecar %d is not live: %v, %v", stages, i, resp, err)
		} else {
			_ = resp.Body.Close()
		}
	}
}

// loadEach is how many clients of each kind there are.
const loadEach = 2

// costOf is how many pieces of work the panics may cost: a layer's one each, since those
// run for one request, or one connection, which has one request in HTTP/1. HTTP/2's
// connections are shared by all its streams.
func costOf(stage string, fired int) int64 {
	switch {
	case strings.HasPrefix(stage, "layer ") && strings.Contains(stage, "l7."):
		return int64(fired)
	default:
		return int64(fired) * 4 * loadEach
	}
}

// runFaults has each stage that can be seen panic n times, so many of them at once.
func runFaults(t *testing.T, n, atOnce int, wait time.Duration) {
	t.Helper()
	_ = origin(t, nil) // so that what the runtime opens for its poller is open
	goroutines, files := held(t)
	t.Run("mesh", func(t *testing.T) {
		m := startFaulted(t)
		stop := m.load(loadEach)
		m.plain("nothing")
		for range 8 {
			m.stir()
			m.plain("nothing")
		}
		if m.lost.Load() > 0 {
			t.Fatalf("without a panic: %v", *m.why.Load())
		}
		stages := m.faults.stages()
		if len(stages) < 30 {
			t.Fatalf("only %d stages were seen: %q", len(stages), stages)
		}
		for some := range slices.Chunk(stages, atOnce) {
			m.panicAt(some, n, wait)
		}
		stop()
		t.Logf("%d stages, %d pieces of work, of which %d were lost", len(stages), m.done.Load(), m.lost.Load())
		_, by := m.counted()
		t.Logf("counted: %v", by)
		for _, c := range m.clients() { // with nobody else about, nothing is lost
			if err := m.once(c); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("after all: %v", err)
			}
			c.done()
		}
	})
	for range 3 {
		runtime.GC() // pipes that are kept close when they are collected
	}
	returns(t, "after all stages have panicked", goroutines, files)
}

// TestPanics has every stage of two sidecars panic in turn, under load: the process
// lives, the counter counts, nothing else is lost, and all works as before.
func TestPanics(t *testing.T) { runFaults(t, 1, 8, time.Second) }
