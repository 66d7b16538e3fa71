package e2e_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"
)

// held is a sidecar with an opaque connection in hand that does not end by itself.
func held(t *testing.T, env ...string) (p *program, admin string, client net.Conn) {
	t.Helper()
	app := newDrainApp(t, &tally{})
	a := free(t, 4)
	p = launch(t, append([]string{
		"OUTRIGGER_UNMESHED=true", "LINKERD2_PROXY_POLICY_WORKLOAD=drain",
		"LINKERD2_PROXY_DESTINATION_SVC_ADDR=" + a[0], "LINKERD2_PROXY_POLICY_SVC_ADDR=" + a[0],
		"LINKERD2_PROXY_ADMIN_LISTEN_ADDR=" + a[1], "LINKERD2_PROXY_OUTBOUND_LISTEN_ADDR=" + a[2],
		"OUTRIGGER_INBOUND_NAMED=" + a[3] + "=" + app.db,
	}, env...), exe, "proxy")
	awaitTCP(t, a[3])
	client, err := net.Dial("tcp", a[3])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if err := echoed(client); err != nil {
		t.Fatal(err)
	}
	return p, a[1], client
}

func echoed(c net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, "line\n"); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, len("line\n")))
	return err
}

// status asks the admin port, on a connection of its own.
func status(t *testing.T, method, admin, path string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+admin+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// TestSecondSignal ends a sidecar that drains, at once. Until then its admin port
// answers, and says that it drains.
func TestSecondSignal(t *testing.T) {
	p, admin, client := held(t, "OUTRIGGER_LAME_DUCK=50ms")
	p.signal(t, syscall.SIGTERM)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		if status(t, "GET", admin, "/ready") == 503 {
			break
		}
		<-tick.C
	}
	for path, want := range map[string]int{"/ready": 503, "/live": 200, "/metrics": 200} {
		if got := status(t, "GET", admin, path); got != want {
			t.Errorf("%s while draining: %d, want %d", path, got, want)
		}
	}
	if err := echoed(client); err != nil {
		t.Errorf("while draining: %v", err)
	}
	p.signal(t, syscall.SIGINT)
	p.ends(t, 1, time.Second)
	p.says(t, "WARN outrigger: received SIGINT again, exiting at once cut.connections=1", "cut.opaque=1", client.LocalAddr().String()+" to ")
}

// TestGraceEnds cuts what has not ended in time, and says what that was.
func TestGraceEnds(t *testing.T) {
	p, admin, client := held(t, "OUTRIGGER_LAME_DUCK=0", "LINKERD2_PROXY_SHUTDOWN_GRACE_PERIOD=300ms", "LINKERD2_PROXY_SHUTDOWN_ENDPOINT_ENABLED=true")
	if got := status(t, "POST", admin, "/shutdown"); got != 200 {
		t.Errorf("POST /shutdown: %d", got)
	}
	p.ends(t, 0, 5*time.Second)
	p.says(t, "INFO outrigger: received POST /shutdown, starting shutdown", `WARN outrigger: drained source="POST /shutdown"`,
		"held.opaque=1", "drained.opaque=0", "cut.opaque=1", fmt.Sprintf("%v to ", client.LocalAddr()))
}

// TestKilled starts a sidecar anew after SIGKILL: it is ready at once.
func TestKilled(t *testing.T) {
	r := startRig(t, newDrainApp(t, &tally{}), false)
	r.outbound.signal(t, syscall.SIGKILL)
	r.outbound.ends(t, -1, 5*time.Second)
	began := time.Now()
	launch(t, r.outbound.cmd.Env, exe, "proxy")
	awaitTCP(t, r.web)
	took := time.Since(began)
	t.Logf("it is ready after %v", took.Round(time.Millisecond))
	c, err := net.Dial("tcp", r.web)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := askOne(c, "/"); err != nil {
		t.Error(err)
	}
	if took > 3*time.Second { // 300 ms on a machine that does nothing else
		t.Errorf("it took %v", took)
	}
}
