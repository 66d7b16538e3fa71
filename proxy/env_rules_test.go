package proxy

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/control"
)

// TestJoined has the rules that join several variables refuse what they forbid.
// The last pair is that of the variable to be named.
func TestJoined(t *testing.T) {
	const backoff = "LINKERD2_PROXY_OUTBOUND_CONNECT_EXP_BACKOFF_"
	const doubled = "LINKERD2_PROXY_LINKERD2_PROXY_IDENTITY_SPIRE_EXP_BACKOFF_"
	for _, pairs := range [][]string{
		{backoff + "MIN=1s"},
		{backoff + "MAX=1s"},
		{backoff + "JITTER=1"},
		{backoff + "JITTER=1", backoff + "MIN=1s"},
		{backoff + "MIN=2s", backoff + "MAX=1s"},
		{backoff + "MIN=0", backoff + "MAX=0"},
		{backoff + "MIN=1s", backoff + "MAX=2s", backoff + "JITTER=100.5"},
		{doubled + "MIN=1s"},
		{"LINKERD2_PROXY_IDENTITY_SPIRE_EXP_BACKOFF_MIN=1s"},
		{"LINKERD2_PROXY_CONTROL_STREAM_INITIAL_TIMEOUT=2s", "LINKERD2_PROXY_CONTROL_STREAM_IDLE_TIMEOUT=1s"},
		{"LINKERD2_PROXY_CONTROL_STREAM_INITIAL_TIMEOUT=2s", "LINKERD2_PROXY_CONTROL_STREAM_LIFETIME=1s"},
		{"LINKERD2_PROXY_CONTROL_STREAM_IDLE_TIMEOUT=2s", "LINKERD2_PROXY_CONTROL_STREAM_LIFETIME=1s"},
		{"LINKERD2_PROXY_DNS_MAX_TTL=1s", "LINKERD2_PROXY_DNS_MIN_TTL=2s"},
		{"LINKERD2_PROXY_INBOUND_SERVER_HTTP2_MAX_FRAME_SIZE=16383"},
		{"LINKERD2_PROXY_INBOUND_SERVER_HTTP2_INITIAL_STREAM_WINDOW_SIZE=2147483648"},
		{"LINKERD2_PROXY_HTTP2_INITIAL_STREAM_WINDOW_SIZE=2147483648"},
		{"OUTRIGGER_HTTP_HEAD_BYTES=1023"},
		{"OUTRIGGER_HTTP_HEAD_BYTES=16777217"},
		{"LINKERD2_PROXY_IDENTITY_SVC_NAME=a.b"}, // without its address
		{"LINKERD2_PROXY_TRACE_COLLECTOR_SVC_NAME=a.b"},
		{"LINKERD2_PROXY_DESTINATION_SVC_ADDR", "LINKERD2_PROXY_DESTINATION_SVC_NAME=a.b"},
	} {
		named, _, _ := strings.Cut(pairs[len(pairs)-1], "=")
		_, _, err := ReadEnv(leastWith(pairs...))
		if !errors.Is(err, ErrBadVariable) || !strings.Contains(err.Error(), named) {
			t.Errorf("%v: got %v, want an error that names %s", pairs, err, named)
		}
	}
}

// TestJoinedOnce has a bad value complained of once, not again by the rules
// that it breaks by being bad.
func TestJoinedOnce(t *testing.T) {
	for _, pairs := range [][]string{
		{"LINKERD2_PROXY_INBOUND_CONNECT_EXP_BACKOFF_MIN=x", "LINKERD2_PROXY_INBOUND_CONNECT_EXP_BACKOFF_MAX=1s"},
		{"LINKERD2_PROXY_INBOUND_CONNECT_EXP_BACKOFF_MIN=1s", "LINKERD2_PROXY_INBOUND_CONNECT_EXP_BACKOFF_MAX=x"},
		{"LINKERD2_PROXY_DESTINATION_SVC_ADDR=x"},
		{"OUTRIGGER_UNMESHED=yes"},
		{"LINKERD2_PROXY_INBOUND_DEFAULT_POLICY=x"},
		{"LINKERD2_PROXY_INBOUND_LISTEN_ADDR=x"},
		{"LINKERD2_PROXY_ADMIN_LISTEN_ADDR=x", "LINKERD2_PROXY_INBOUND_LISTEN_ADDR=127.0.0.1:1"},
	} {
		_, _, err := ReadEnv(leastWith(pairs...))
		var env *EnvError
		if !errors.As(err, &env) || len(env.Mistakes) != 1 {
			t.Errorf("%v: got %v, want one mistake", pairs, err)
		}
	}
}

func TestBackoff(t *testing.T) {
	const in, out = "LINKERD2_PROXY_INBOUND_CONNECT_EXP_BACKOFF_", "LINKERD2_PROXY_OUTBOUND_CONNECT_EXP_BACKOFF_"
	c, _ := mustRead(t, leastWith(in+"MIN=0", in+"MAX=2s", out+"MIN=1s", out+"MAX=1s", out+"JITTER=0.5"))
	if want := (control.Backoff{Max: 2 * time.Second}); c.Inbound.Connect.Backoff != want {
		t.Errorf("inbound %+v, want %+v: no jitter unless it is set too", c.Inbound.Connect.Backoff, want)
	}
	if want := (control.Backoff{Min: time.Second, Max: time.Second, Jitter: 0.5}); c.Outbound.Connect.Backoff != want {
		t.Errorf("outbound %+v, want %+v", c.Outbound.Connect.Backoff, want)
	}
	if c.Control.Destination.Connect != c.Inbound.Connect {
		t.Error("a loopback controller is to be connected to as inbound does")
	}
}

func TestLimitsUnset(t *testing.T) {
	c, _ := mustRead(t, leastWith("LINKERD2_PROXY_CONTROL_STREAM_INITIAL_TIMEOUT=3s",
		"LINKERD2_PROXY_CONTROL_STREAM_IDLE_TIMEOUT=", "LINKERD2_PROXY_CONTROL_STREAM_LIFETIME=3s"))
	if want := (control.Limits{Initial: 3 * time.Second, Lifetime: 3 * time.Second}); c.Control.Limits != want {
		t.Errorf("got %+v, want %+v", c.Control.Limits, want)
	}
}

// TestHalves drops what only counts together with something else.
func TestHalves(t *testing.T) {
	const p = "LINKERD2_PROXY_INBOUND_SERVER_HTTP2_"
	c, warnings := mustRead(t, leastWith(p+"INITIAL_STREAM_WINDOW_SIZE=1", p+"KEEP_ALIVE_INTERVAL=1s", p+"MAX_HEADER_LIST_SIZE=20000"))
	h := c.Inbound.HTTP2
	if h.StreamWindow != 65535 || h.ConnWindow != 1<<20 || h.KeepAliveInterval != 0 || h.MaxHeaderListSize != 20000 {
		t.Errorf("got %+v", h)
	}
	if !slices.Contains(warnings, Warning{p + "KEEP_ALIVE_INTERVAL", "does not count without " + p + "KEEP_ALIVE_TIMEOUT"}) {
		t.Errorf("no warning of half a setting in %v", warnings)
	}
	c, _ = mustRead(t, leastWith(p+"INITIAL_STREAM_WINDOW_SIZE=1", p+"INITIAL_CONNECTION_WINDOW_SIZE=2",
		p+"KEEP_ALIVE_INTERVAL=1s", p+"KEEP_ALIVE_TIMEOUT=2s", "OUTRIGGER_HTTP_HEAD_BYTES=2048"))
	want := HTTP2Server{
		StreamWindow: 1, ConnWindow: 2, KeepAliveInterval: time.Second, KeepAliveTimeout: 2 * time.Second,
		MaxStreams: 1000, MaxFrameSize: 16384, MaxHeaderListSize: 2048, MaxSendBuffer: 400 << 10,
	}
	if c.Inbound.HTTP2 != want || c.HTTP.HeadBytes != 2048 {
		t.Errorf("got %+v, want %+v", c.Inbound.HTTP2, want)
	}
}

func TestAsked(t *testing.T) {
	c, _ := mustRead(t, leastWith("LINKERD2_PROXY_OUTBOUND_HTTP_QUEUE_CAPACITY=10000"))
	if !c.Outbound.HTTPQueue.Asked || c.Outbound.TCPQueue.Asked || c.Inbound.HTTPQueue.Asked {
		t.Errorf("got %+v, %+v, %+v: want the one that is set", c.Outbound.HTTPQueue, c.Outbound.TCPQueue, c.Inbound.HTTPQueue)
	}
}

// TestIdentity has an incomplete identity complained of part by part.
func TestIdentity(t *testing.T) {
	const id = "LINKERD2_PROXY_IDENTITY_"
	full := []string{
		"OUTRIGGER_UNMESHED", id + "DIR=/d", id + "TRUST_ANCHORS=x", id + "TOKEN_FILE=/t", id + "LOCAL_NAME=web.demo",
		id + "SVC_ADDR=localhost.:8080",
	}
	with := func(pairs ...string) []string { return leastWith(append(slices.Clone(full), pairs...)...) }
	for _, c := range []struct {
		env  []string
		want string
	}{
		{with(id + "DIR"), id + "DIR must be set"},
		{with(id + "DIR="), id + "DIR must be set"},
		{with(id + "TOKEN_FILE"), id + "TOKEN_FILE must be set"},
		{with(id + "TRUST_ANCHORS"), id + "TRUST_ANCHORS must be set"},
		{with(id + "SVC_ADDR"), id + "SVC_ADDR must be set"},
		{with(id + "SVC_ADDR=identity:8080"), id + "SVC_NAME must be set with it"},
		{with("LINKERD2_PROXY_POLICY_SVC_ADDR=policy:8090"), "LINKERD2_PROXY_POLICY_SVC_NAME must be set with it"},
		{with(id + "LOCAL_NAME"), id + "SERVER_ID must be set"},
		{with(id+"LOCAL_NAME", id+"SERVER_ID=a.b", id+"SERVER_NAME=a.c"), ErrIdentityNames.Error()},
		{with(id + "SPIRE_WORKLOAD_API_ADDRESS=unix:/s"), "spiffe:// identities alone"},
		{with(id + "SPIRE_SOCKET=unix:/s"), "spiffe:// identities alone"},
	} {
		if _, _, err := ReadEnv(c.env); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	complete := [][]string{
		with(),
		with(id+"LOCAL_NAME", id+"SERVER_ID=a.b", id+"SERVER_NAME=a.b"),
		with(id+"TRUST_ANCHORS", "OUTRIGGER_IDENTITY_TRUST_ANCHORS_FILE=/a"),
		with(id+"LOCAL_NAME", id+"SERVER_ID=spiffe://a/b", id+"SERVER_NAME=a.b", id+"SPIRE_WORKLOAD_API_ADDRESS=unix:/s",
			id+"DIR", id+"TOKEN_FILE", id+"SVC_ADDR"),
	}
	for _, env := range complete {
		if c, _, err := ReadEnv(env); err != nil || c.Identity.ServerID == "" || c.Identity.ServerName == "" {
			t.Errorf("%v: got %v, and %+v", env, err, c.Identity)
		}
	}
}

func TestDeprecated(t *testing.T) {
	_, warnings := mustRead(t, leastWith("LINKERD2_PROXY_IDENTITY_SPIRE_SOCKET=/s"))
	if !warned(warnings, "LINKERD2_PROXY_IDENTITY_SPIRE_SOCKET") {
		t.Error("no warning of a deprecated name")
	}
}

// TestLongValues keeps what is shown of a value short and on one line.
func TestLongValues(t *testing.T) {
	_, _, err := ReadEnv(leastWith("LINKERD2_PROXY_POLICY_SVC_ADDR=" + strings.Repeat("\x1b\n", 50000)))
	if err == nil || len(err.Error()) > 10000 || strings.ContainsAny(err.Error(), "\x1b") {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}
