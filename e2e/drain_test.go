package e2e_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestDrain ends sidecars under load by SIGTERM, and sees that no client loses what
// it has begun. TestSoakDrain does so fifty times.
func TestDrain(t *testing.T) { drains(t, 2) }

func drains(t *testing.T, runs int) {
	t.Helper()
	for _, which := range []string{"inbound", "outbound", "both"} {
		t.Run(which, func(t *testing.T) {
			var all tally
			for range runs {
				all.add(drainOnce(t, which))
			}
			t.Logf("SIGTERM to %s, %d runs: %s", which, runs, &all)
			if all.lost() > 0 {
				t.Errorf("%d were lost", all.lost())
			}
		})
	}
}

// A rig is a mesh of two sidecars, and the applications behind them.
type rig struct {
	control, inbound, outbound *program
	web, chat, db              string // where clients connect
}

// drainOnce ends a sidecar, or both, at a moment that nobody has chosen.
func drainOnce(t *testing.T, which string) *tally {
	t.Helper()
	l := &tally{}
	app := newDrainApp(t, l)
	r := startRig(t, app, which == "inbound")
	stop := make(chan struct{})
	clients := r.load(t, l, stop)
	l.progress(t)
	<-time.After(rand.N(300 * time.Millisecond))
	var ended []*program
	if which != "outbound" {
		ended = append(ended, r.inbound)
	}
	if which != "inbound" {
		ended = append(ended, r.outbound)
	}
	began := time.Now()
	for _, p := range ended {
		p.signal(t, syscall.SIGTERM)
	}
	close(stop)
	clients.Wait()
	for _, p := range ended {
		p.ends(t, 0, 30*time.Second)
		p.says(t, "received SIGTERM, starting shutdown", "INFO", "drained source=SIGTERM")
	}
	l.took += time.Since(began)
	l.check(t)
	for _, p := range []*program{r.inbound, r.outbound, r.control} {
		p.end()
	}
	return l
}

// load begins what 32 clients of HTTP/1 with 2 ms to think, 8 that think longer, 64
// streams of gRPC on four connections, and 8 opaque connections do.
func (r *rig) load(t *testing.T, l *tally, stop <-chan struct{}) *sync.WaitGroup {
	t.Helper()
	clients := new(sync.WaitGroup)
	for i := range 32 {
		clients.Go(func() { (&drainClient{tally: l, addr: r.web, name: fmt.Sprintf("fast-%d", i)}).run(stop) })
	}
	for i := range 8 {
		clients.Go(func() {
			(&drainClient{tally: l, addr: r.web, name: fmt.Sprintf("slow-%d", i), slow: true}).run(stop)
		})
	}
	for range 4 {
		cc := dialGRPC(t, r.chat)
		for range 16 {
			clients.Go(func() { l.streams(t.Context(), cc, stop) })
		}
	}
	for range 8 {
		clients.Go(func() { l.opaque(r.db, stop) })
	}
	return clients
}

// startRig starts a control plane and two sidecars. Clients reach the applications
// by the inbound one alone if direct, or else by both.
func startRig(t *testing.T, app *drainApp, direct bool) *rig {
	t.Helper()
	a := free(t, 11)
	control, in, out := a[0], a[1:4], a[4:7]
	mesh := filepath.Join(t.TempDir(), "mesh.yaml")
	if err := os.WriteFile(mesh, []byte(fmt.Sprintf(`services:
- {name: web.demo.svc.cluster.local, port: 80, endpoints: [{address: %q}]}
- {name: chat.demo.svc.cluster.local, port: 80, endpoints: [{address: %q, protocol: h2}]}
- {name: db.demo.svc.cluster.local, port: 80, opaque: true, endpoints: [{address: %q}]}
`, in[0], in[1], in[2])), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &rig{control: launch(t, nil, exe, "control", "--file", mesh, "--listen", control)}
	awaitTCP(t, control)
	sidecar := func(admin string, env ...string) *program {
		p := launch(t, append([]string{
			"OUTRIGGER_UNMESHED=true", "LINKERD2_PROXY_POLICY_WORKLOAD=drain",
			"LINKERD2_PROXY_DESTINATION_SVC_ADDR=" + control, "LINKERD2_PROXY_POLICY_SVC_ADDR=" + control,
			"LINKERD2_PROXY_ADMIN_LISTEN_ADDR=" + admin, "LINKERD2_PROXY_SHUTDOWN_GRACE_PERIOD=20s",
			// So that a busy machine is not what is tried.
			"LINKERD2_PROXY_INBOUND_CONNECT_TIMEOUT=5s", "LINKERD2_PROXY_OUTBOUND_CONNECT_TIMEOUT=5s",
		}, env...), exe, "proxy")
		return p
	}
	r.inbound = sidecar(a[7], "LINKERD2_PROXY_OUTBOUND_LISTEN_ADDR="+a[9], fmt.Sprintf("OUTRIGGER_INBOUND_NAMED=%s=%s,%s=%s,%s=%s", in[0], app.web, in[1], app.chat, in[2], app.db))
	r.outbound = sidecar(a[8], "LINKERD2_PROXY_INBOUND_LISTEN_ADDR="+a[10], fmt.Sprintf("OUTRIGGER_OUTBOUND_NAMED=%s=web.demo.svc.cluster.local:80,%s=chat.demo.svc.cluster.local:80,%s=db.demo.svc.cluster.local:80", out[0], out[1], out[2]))
	r.web, r.chat, r.db = out[0], out[1], out[2]
	if direct {
		r.web, r.chat, r.db = in[0], in[1], in[2]
	}
	for _, addr := range append(in, out...) {
		awaitTCP(t, addr)
	}
	return r
}

// A program is a process, and what it writes.
type program struct {
	cmd  *exec.Cmd
	done chan error
	out  bytes.Buffer // once done has told
	end  func()
}

func launch(t *testing.T, env []string, args ...string) *program {
	t.Helper()
	p := &program{cmd: exec.Command(args[0], args[1:]...), done: make(chan error, 1)}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waited := make(chan struct{})
	go func() { p.done <- p.cmd.Wait(); close(waited) }()
	p.end = func() { _ = p.cmd.Process.Kill(); <-waited }
	t.Cleanup(func() {
		p.end()
		if t.Failed() {
			t.Logf("%v wrote:\n%s", args, p.out.String())
		}
	})
	return p
}

func (p *program) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// ends waits for the program to end, with that status.
func (p *program) ends(t *testing.T, status int, within time.Duration) {
	t.Helper()
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case <-p.done:
		if got := p.cmd.ProcessState.ExitCode(); got != status {
			t.Errorf("it ended with %v; want exit status %d", p.cmd.ProcessState, status)
		}
	case <-late.C:
		t.Errorf("it has not ended within %v", within)
		p.end()
	}
}

// says fails the test unless the program, which has ended, has written all these.
func (p *program) says(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(p.out.String(), text) {
			t.Errorf("its log lacks %q", text)
		}
	}
}

// awaitTCP waits until somebody listens at addr.
func awaitTCP(t *testing.T, addr string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); <-tick.C {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return
		}
	}
	t.Fatalf("nobody listens at %s", addr)
}
