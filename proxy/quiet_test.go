package proxy

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
)

// A logged is what was logged.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// TestEndsQuietly ends a sidecar in the middle of its work, which is no cause to
// warn of anything: least of all of what the control plane seems to say then.
func TestEndsQuietly(t *testing.T) {
	l := newLedger()
	c := startController(t, meshYAML(serviceYAML(webHost, false, serveHTTP1(t, l, "web").addr)))
	admin, addr := freeAddr(t), freeAddr(t)
	config, _, err := ReadEnv([]string{
		"OUTRIGGER_UNMESHED=true", "OUTRIGGER_LAME_DUCK=0", "OUTRIGGER_DRAIN_IDLE=0", "OUTRIGGER_OUTBOUND_NAMED=" + addr + "=" + webHost + ":80",
		"LINKERD2_PROXY_DESTINATION_SVC_ADDR=" + c.addr, "LINKERD2_PROXY_POLICY_SVC_ADDR=" + c.addr,
		"LINKERD2_PROXY_POLICY_WORKLOAD=test:test", "LINKERD2_PROXY_ADMIN_LISTEN_ADDR=" + admin,
		"LINKERD2_PROXY_INBOUND_LISTEN_ADDR=" + freeAddr(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	log := new(logged)
	goroutines, files := held(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done, ready := make(chan error), make(chan struct{})
	go func() {
		done <- Run(ctx, config, Options{
			Log:   slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn})),
			Ready: func() { close(ready) },
		})
	}()
	<-ready
	if got := send(t, addr, asking); got.status != 200 {
		t.Errorf("%+v", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	returns(t, "after the sidecar has ended", goroutines, files) // so that all has been logged
	log.mu.Lock()
	defer log.mu.Unlock()
	if log.text.Len() > 0 {
		t.Errorf("logged at the end:\n%s", log.text.String())
	}
}
