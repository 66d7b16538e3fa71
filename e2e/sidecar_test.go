// Package e2e_test runs the program as it is built, from the outside.
package e2e_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// exe is the program, built as `make build` does, for all tests.
var exe string

func TestMain(m *testing.M) {
	if name, ok := os.LookupEnv(asOther); ok {
		os.Exit(others[name](os.Args[1:]))
	}
	os.Exit(run(m))
}

// asOther names, in the environment, the program of others' that this one is to be:
// those that end their process when they fail are run in one of their own.
const asOther = "E2E_AS"

var others = map[string]func(args []string) int{"h2spec": h2specMain, "interop": interopMain, "goproxy": goProxyMain}

// other runs one of them to its end, and returns what it wrote.
func other(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asOther+"="+name)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	exe = filepath.Join(dir, "outrigger")
	cmd := exec.Command("go", "build", "-trimpath", "-pgo=cmd/outrigger/sidecar.pgo", "-o", exe, "./cmd/outrigger")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// A sidecar is the program with a control plane in a file, as the bench rig runs it.
type sidecar struct {
	listen  string // outbound, for the service whose endpoint is the backend
	inbound string // for the backend itself
	admin   string
	cmd     *exec.Cmd
	log     string // where it writes
}

func start(t *testing.T, backend, proto string) *sidecar {
	t.Helper()
	return startAs(t, exe, backend, proto)
}

// startAs is start for another file than the program, which in turn runs that.
func startAs(t *testing.T, bin, backend, proto string) *sidecar {
	t.Helper()
	addrs := free(t, 4)
	dir := t.TempDir()
	s := &sidecar{listen: addrs[0], admin: addrs[2], inbound: addrs[3], log: filepath.Join(dir, "log")}
	log, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s.cmd = exec.Command("bench/outrigger.sh", addrs[0], backend, proto, addrs[1], addrs[2], addrs[3])
	s.cmd.Env = append(os.Environ(), "OUTRIGGER_BIN="+bin, "BENCH_RUN="+dir)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the control plane is stopped with it
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		s.cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(s.log)
			t.Logf("the sidecar wrote:\n%s", text)
		}
	})
	s.ready(t)
	return s
}

// ready waits until the sidecar says that it is.
func (s *sidecar) ready(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); <-tick.C {
		if resp, err := http.Get("http://" + s.admin + "/ready"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
	}
	t.Fatal("the sidecar is not ready")
}

// ports are given out from below the range in which the kernel chooses those of
// connections, so that none is taken before the program listens.
var ports atomic.Uint32

const firstPort, lastPort = 12000, 32000

// free returns addresses at which nobody listens. No two are the same.
func free(t *testing.T, n int) []string {
	t.Helper()
	ports.CompareAndSwap(0, 1+rand.Uint32N(lastPort-firstPort))
	var addrs []string
	for range lastPort - firstPort {
		if len(addrs) == n {
			return addrs
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", firstPort+ports.Add(1)%(lastPort-firstPort)))
		if err == nil {
			_ = l.Close()
			addrs = append(addrs, l.Addr().String())
		}
	}
	t.Fatal("no ports are free")
	return nil
}

// TestHTTP1 sends requests through the program, and sees that the application
// got each, that its metrics say the same, and that SIGTERM ends it in order.
func TestHTTP1(t *testing.T) {
	const requests = 200
	var served atomic.Int64
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, body)
	}))
	defer app.Close()
	s := start(t, app.Listener.Addr().String(), "h1")
	for i := range requests {
		resp, err := http.Post(fmt.Sprintf("http://%s/r%d", s.listen, i), "text/plain", strings.NewReader(strings.Repeat("x", i)))
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if want := fmt.Sprintf("POST /r%d %s", i, strings.Repeat("x", i)); resp.StatusCode != 200 || string(got) != want {
			t.Fatalf("request %d: got %d %q", i, resp.StatusCode, got)
		}
	}
	if n := served.Load(); n != requests {
		t.Errorf("the application served %d requests, not %d", n, requests)
	}
	if n := metric(t, s.admin, "request_total", `direction="outbound"`); n != requests {
		t.Errorf("request_total says %d, not %d", n, requests)
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

// metric adds up a family's samples that have such a label.
func metric(t *testing.T, admin, family, label string) int {
	t.Helper()
	resp, err := http.Get("http://" + admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for line := range strings.Lines(string(text)) {
		var n float64
		if !strings.HasPrefix(line, family+"{") || !strings.Contains(line, label) {
			continue
		}
		if _, err := fmt.Sscan(line[strings.LastIndex(line, " ")+1:], &n); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		sum += int(n)
	}
	return sum
}

// TestOpaque sends bytes both ways, and sees each half close for itself.
func TestOpaque(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				got, _ := io.ReadAll(c) // to the half that the client closes
				fmt.Fprintf(c, "got %d bytes", len(got))
			}()
		}
	}()
	s := start(t, l.Addr().String(), "tcp")
	c, err := net.Dial("tcp", s.listen)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(15 * time.Second))
	if _, err := c.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	c.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(c); err != nil || string(got) != "got 1048576 bytes" {
		t.Errorf("got %q, %v", got, err)
	}
}
