package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/control/local"
)

// demoProcess is this program as "outrigger demo", with what it writes.
func demoProcess(t *testing.T, args ...string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED, as -short says: the demonstration is not run")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// A process ends at a data race, and that ends the demonstration. What would
	// configure a sidecar of the user's must not reach those of the demonstration.
	cmd := exec.CommandContext(t.Context(), exe, append([]string{"demo"}, args...)...)
	cmd.Env = append(os.Environ(), asProgram+"=1", "GORACE=halt_on_error=1", "LINKERD2_PROXY_IDENTITY_DISABLED=x",
		"TMPDIR="+t.TempDir()) // where one that is killed leaves its logs
	cmd.WaitDelay = time.Minute
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewReader(out)
}

func TestDemoOnce(t *testing.T) {
	cmd, out := demoProcess(t, "--once")
	text, _ := io.ReadAll(out)
	t.Logf("it wrote:\n%s", text)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the demonstration failed: %v", err)
	}
	for _, want := range []string{
		`(?m)^HTTP/1\.1 +web +[\d,]+ +0 +100\.00% `,
		`(?m)^HTTP/1\.1 +books +[\d,]+ +0 +100\.00% `,
		`(?m)^HTTP/1\.1 over HTTP/2 shop +\d,\d{3} +0 +100\.00% `,
		`(?m)^HTTP/2 +feed +\d,\d{3} +0 +100\.00% `,
		`(?m)^gRPC unary +chat +\d,\d{3} +0 +100\.00% `,
		`(?m)^gRPC server stream +chat +\d,\d{3} +0 +100\.00% `,
		`(?m)^gRPC client stream +chat +\d,\d{3} +0 +100\.00% `,
		`(?m)^gRPC bidirectional +chat +\d,\d{3} +0 +100\.00% `,
		`(?m)^opaque TCP +db +\d,\d{3} +0 +100\.00% `,
		`(?m)^HTTP/1\.1 over HTTP/2 requests( +[\d,]+,\d{3}){4} +agree$`,
		`(?m)^HTTP/2 requests( +[\d,]+,\d{3}){4} +agree$`,
		`(?m)^gRPC requests( +[\d,]+,\d{3}){4} +agree$`,
		`carry it in HTTP/2: [\d,]+ requests on \d connections\.`,
		`(?m)^HTTP/1\.1 requests( +[\d,]+,\d{3}){4} +agree$`,
		`(?m)^opaque TCP connections( +[\d,]+,\d{3}){4} +agree$`,
		`takes 1 out of all but books +[\d,]+ +0 +0% `,
		`(?m)^HTTP/1\.1 requests +client → workload-1 workload-2 workload-3( +[\d,]+,\d{3}){2}  all$`,
		`(?m)^HTTP/1\.1 over HTTP/2 requests +client → workload-1 workload-2 workload-3( +[\d,]+,\d{3}){2}  all$`,
		`(?m)^HTTP/2 requests +client → workload-1 workload-2 workload-3( +[\d,]+,\d{3}){2}  all$`,
		`(?m)^gRPC requests +client → workload-1 workload-2 workload-3( +[\d,]+,\d{3}){2}  all$`,
		`(?m)^opaque TCP connections +client → workload-1 workload-2 workload-3( +[\d,]+,\d{3}){2}  all$`,
		`Every request succeeded, each in mutual TLS, and all counts agree\.\n$`,
	} {
		if !regexp.MustCompile(want).Match(text) {
			t.Errorf("it wrote nothing that matches %s", want)
		}
	}
	for line := range strings.Lines(string(text)) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 100 {
			t.Errorf("a line has %d columns: %q", n, line)
		}
	}
}

// awaitAdmin reads until the demonstration has said where the client's admin page
// is, and returns its address.
func awaitAdmin(t *testing.T, out *bufio.Reader) string {
	t.Helper()
	admin := regexp.MustCompile(`admin page +:(\d+)`)
	for {
		line, err := out.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if m := admin.FindStringSubmatch(line); m != nil {
			return net.JoinHostPort("127.0.0.1", m[1])
		}
	}
}

// awaitSilence waits until nobody listens at addr.
func awaitSilence(t *testing.T, addr string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-tick.C {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		_ = c.Close()
	}
	t.Errorf("a sidecar still listens at %s", addr)
}

func TestDemoInterrupted(t *testing.T) {
	cmd, out := demoProcess(t)
	admin := awaitAdmin(t, out)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(out)
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("it ended with %v", err)
	}
	if !strings.HasSuffix(string(text), "outrigger: demo: interrupted\n") {
		t.Errorf("it wrote %s", text)
	}
	if c, err := net.Dial("tcp", admin); err == nil {
		_ = c.Close()
		t.Error("a sidecar outlives the demonstration")
	}
}

func TestDemoKilled(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: only Linux ends processes with their parent")
	}
	cmd, out := demoProcess(t)
	admin := awaitAdmin(t, out)
	_ = cmd.Process.Kill()
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait()
	awaitSilence(t, admin)
}

func TestVerdict(t *testing.T) {
	if err := (&demo{}).verdict(); err != nil {
		t.Errorf("nothing is amiss, and yet %v", err)
	}
	err := (&demo{amiss: ledger{{"requests", 10, 10, 9, 10}}.amiss()}).verdict()
	if err == nil || status(err) != 1 {
		t.Errorf("counts disagree, and yet %v", err)
	}
}

func TestMeshYAML(t *testing.T) {
	m, err := pickMesh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	endpoints := func() int {
		t.Helper()
		mesh, err := local.Parse([]byte(m.yaml()))
		if err != nil {
			t.Fatalf("%v in\n%s", err, m.yaml())
		}
		if n := len(mesh.Services()); n != 8 {
			t.Errorf("%d services, want 8", n)
		}
		return strings.Count(m.yaml(), "address:")
	}
	if n := endpoints(); n != 17 {
		t.Errorf("%d endpoints, want 17", n)
	}
	if n := strings.Count(m.yaml(), "inboundPort: "); n != 17 || strings.Count(m.yaml(), idSuffix) != n {
		t.Errorf("%d endpoints in mutual TLS, want all", n)
	}
	if n := strings.Count(m.yaml(), "protocol: h2"); n != 9 {
		t.Errorf("%d endpoints whose sidecars take HTTP/2, want those of shop, feed and chat", n)
	}
	m.away = 1
	if n := endpoints(); n != 12 {
		t.Errorf("with one away, %d endpoints, want 12", n)
	}
}

func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().(*net.TCPAddr).Port
	p := &portPicker{}
	defer p.close()
	first, second := p.pick(t.Context(), taken), p.pick(t.Context(), taken)
	if p.err != nil || first == l.Addr().String() || first == second {
		t.Errorf("picked %s and %s beside %s, %v", first, second, l.Addr(), p.err)
	}
	if len(p.moved) != 2 || !strings.HasSuffix(first, portOf(l.Addr().String())[len(portOf(l.Addr().String()))-1:]) {
		t.Errorf("moved: %q; the last digit of %s", p.moved, first)
	}
	if p.pick(t.Context(), 70000); p.err == nil {
		t.Error("there is no port 70000")
	}
}

func TestPause(t *testing.T) {
	if err := pause(t.Context(), time.Millisecond); err != nil {
		t.Error(err)
	}
	ctx, stop := context.WithCancelCause(t.Context())
	stop(errAmiss)
	if err := pause(ctx, time.Hour); err != errAmiss { //nolint:errorlint // it is that very error
		t.Errorf("got %v", err)
	}
}
