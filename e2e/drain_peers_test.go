//go:build soak

package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestSoakDrainPeers has 32 clients of HTTP/1 with 2 ms to think lose what they lose,
// run by run, as other proxies end in the way that each calls graceful: what
// docs/drain.md compares with.
func TestSoakDrainPeers(t *testing.T) {
	const runs = 50
	for _, p := range []struct {
		name   string
		signal syscall.Signal
		start  func(t *testing.T, listen, backend string) *program
	}{
		{"HAProxy, soft-stop", syscall.SIGUSR1, startHAProxy},
		{"nginx, QUIT", syscall.SIGQUIT, startNginx},
		{"nginx, TERM", syscall.SIGTERM, startNginx},
		{"Go, Server.Shutdown", syscall.SIGTERM, startGoProxy},
		{"Outrigger", syscall.SIGTERM, startInbound},
	} {
		t.Run(p.name, func(t *testing.T) {
			var all tally
			for range runs {
				l := &tally{}
				listen := free(t, 1)[0]
				proxy := p.start(t, listen, l.origin(t))
				awaitTCP(t, listen)
				stop := make(chan struct{})
				var clients sync.WaitGroup
				for i := range 32 {
					clients.Go(func() { (&drainClient{tally: l, addr: listen, name: fmt.Sprint(i)}).run(stop) })
				}
				for l.answered.Load() < 2000 {
					<-time.After(time.Millisecond)
				}
				proxy.signal(t, p.signal)
				close(stop)
				clients.Wait()
				proxy.end()
				all.add(l)
			}
			t.Logf("%s, %d runs: %.1f lost on open connections and %.1f on new ones, a run; %s",
				p.name, runs, float64(all.lostOpen.Load())/runs, float64(all.lostFresh.Load())/runs, &all)
		})
	}
}

func startInbound(t *testing.T, listen, backend string) *program {
	t.Helper()
	a := free(t, 3)
	return launch(t, []string{
		"OUTRIGGER_UNMESHED=true", "LINKERD2_PROXY_POLICY_WORKLOAD=drain",
		"LINKERD2_PROXY_DESTINATION_SVC_ADDR=" + a[0], "LINKERD2_PROXY_POLICY_SVC_ADDR=" + a[0],
		"LINKERD2_PROXY_ADMIN_LISTEN_ADDR=" + a[1], "LINKERD2_PROXY_OUTBOUND_LISTEN_ADDR=" + a[2],
		"OUTRIGGER_INBOUND_NAMED=" + listen + "=" + backend,
	}, exe, "proxy")
}

func startHAProxy(t *testing.T, listen, backend string) *program {
	t.Helper()
	return launch(t, nil, needs(t, "haproxy"), "-db", "-q", "-f", written(t, fmt.Sprintf(`global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-keep-alive
  http-reuse always
frontend f
  bind %s
  default_backend b
backend b
  server s %s
`, listen, backend)))
}

func startNginx(t *testing.T, listen, backend string) *program {
	t.Helper()
	dir := t.TempDir()
	return launch(t, nil, needs(t, "nginx"), "-e", dir+"/error", "-c", written(t, fmt.Sprintf(`daemon off; worker_processes 1; error_log %[3]s/error crit; pid %[3]s/pid;
events { worker_connections 1000; }
http { access_log off; keepalive_requests 100000000; keepalive_timeout 300s;
 client_body_temp_path %[3]s/a; proxy_temp_path %[3]s/b; fastcgi_temp_path %[3]s/c; uwsgi_temp_path %[3]s/d; scgi_temp_path %[3]s/e;
 upstream b { server %[2]s; keepalive 1000; keepalive_requests 100000000; }
 server { listen %[1]s; location / { proxy_pass http://b; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; } } }
`, listen, backend, dir)))
}

func startGoProxy(t *testing.T, listen, backend string) *program {
	t.Helper()
	return launch(t, []string{asOther + "=goproxy"}, os.Args[0], listen, backend)
}

func needs(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("SKIPPED, nothing is compared with: %v", err)
	}
	return path
}

func written(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
