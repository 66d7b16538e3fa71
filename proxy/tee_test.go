package proxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/profiles"
	"github.com/outrigger-mesh/outrigger/proxy/l7"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
	"github.com/outrigger-mesh/outrigger/proxy/tee"
	"github.com/outrigger-mesh/outrigger/proxy/telemetry"
)

// counting returns a proxy that counts, and what it logs.
func counting() (*Proxy, *strings.Builder) {
	var log strings.Builder
	return &Proxy{
		Log:     slog.New(slog.NewTextHandler(&log, nil)),
		Metrics: telemetry.New(telemetry.Options{RetainIdle: time.Minute}),
	}, &log
}

func (p *Proxy) scraped() string {
	w := httptest.NewRecorder()
	p.Metrics.Handler(1).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

// badObserver panics at the end of what it observes.
type badObserver struct{}

func (badObserver) Data([]byte) {}
func (badObserver) End(error)   { panic("bad observer") }

// TestObserverPanics harm no message, and are counted and logged with their stack.
func TestObserverPanics(t *testing.T) {
	p, log := counting()
	out := &outbound{Proxy: p, shed: l7.NewInFlight(1).Shed}
	svc := out.request(profiles.Target{}, &profiles.Profile{}, func(_ context.Context, r *stack.Request) (*stack.Response, error) {
		resp := &stack.Response{Version: stack.HTTP11, Status: 200, Body: stack.Bytes([]byte("hello"))}
		r.Observe(badObserver{})
		resp.Observe(badObserver{})
		return resp, nil
	})
	r, _ := asked(stack.HTTP11, false)
	resp, err := svc(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close(nil)
	if chunk, err := resp.Body.Next(t.Context()); string(chunk) != "hello" || err != io.EOF { //nolint:errorlint // the contract is io.EOF itself
		t.Errorf("%q, %v", chunk, err)
	}
	_ = resp.Body.Close(nil)
	if line := `outrigger_panics_total{stage="observer"} 2`; !strings.Contains(p.scraped(), line) {
		t.Errorf("no line %s", line)
	}
	if text := log.String(); strings.Count(text, "level=ERROR") != 2 || !strings.Contains(text, "bad observer") || !strings.Contains(text, "badObserver.End") {
		t.Errorf("logged %s", text)
	}
}

// TestConsumerPanics: so are a consumer's.
func TestConsumerPanics(t *testing.T) {
	p, log := counting()
	c, _, err := ReadEnv([]string{"OUTRIGGER_UNMESHED=true", "LINKERD2_PROXY_DESTINATION_SVC_ADDR=127.0.0.1:1", "LINKERD2_PROXY_POLICY_SVC_ADDR=127.0.0.1:1", "LINKERD2_PROXY_POLICY_WORKLOAD=test:test"})
	if err != nil {
		t.Fatal(err)
	}
	tees := p.newTee(&c.Tee)
	for _, consume := range []tee.Consume{
		func(context.Context, *tee.Stream) error { panic("bad consumer") },
		func(context.Context, *tee.Stream) error { return errors.New("disk is full") },
	} {
		resp := &stack.Response{Status: 200, Body: stack.Empty()}
		if err := tees.Consumer(tee.Options{Name: "test"}).Response(&stack.Request{Method: "GET", Body: stack.Empty()}, resp, consume); err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close(nil)
	}
	if err := tees.Close(patience); err != nil {
		t.Fatal(err)
	}
	text := p.scraped()
	for _, line := range []string{
		`outrigger_panics_total{stage="consumer"} 1`,
		`outrigger_tee_detached_total{consumer="test",reason="panic"} 1`,
		`outrigger_tee_detached_total{consumer="test",reason="error"} 1`,
		`outrigger_tee_terminal_total{state="client_abort"} 2`,
	} {
		if !strings.Contains(text, line) {
			t.Errorf("no line %s", line)
		}
	}
	if text := log.String(); strings.Count(text, "level=ERROR") != 1 || !strings.Contains(text, "bad consumer") {
		t.Errorf("logged %s", text)
	}
}

// TestTeeMetricsAreServed by a sidecar as it is run.
func TestTeeMetricsAreServed(t *testing.T) {
	s := startSidecar(t, startController(t, meshYAML()).addr)
	defer s.stop()
	if text := s.metrics(); !strings.Contains(text, "outrigger_tee_budget_used_bytes 0") {
		t.Errorf("no outrigger_tee_budget_used_bytes in %s", text)
	}
}
