package local

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestServeEnds(t *testing.T) {
	r := serve(t, example)
	s := r.get(t, "plain:8080")
	recv(t, s)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := New(Config{}).Serve(ctx, l); err != nil {
		t.Errorf("Serve with a context that is done: %v", err)
	}
	if _, err := l.Accept(); err == nil {
		t.Error("the listener is still open")
	}
	if err := New(Config{}).Serve(t.Context(), l); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("Serve on a closed listener: %v, want an error with its address", err)
	}
}

// A client that does not read is given the newest state, not every one since.
func TestSlowReader(t *testing.T) {
	r := serve(t, "services: []")
	big := func(weight uint32, endpoints int) *Mesh {
		s := &service{host: host{"web", 80}}
		for i := range endpoints {
			addr := netip.AddrFrom4([4]byte{10, 0, byte(i / 256), byte(i)})
			s.endpoints = append(s.endpoints, workload{addr: netip.AddrPortFrom(addr, 80), weight: weight})
		}
		return newMesh([]*service{s})
	}
	const rounds = 100
	r.Set(big(1, 1))
	s := r.get(t, "web")
	recv(t, s)
	for i := range uint32(rounds) {
		r.Set(big(i+2, 400))
	}
	messages := 0
	for last := uint32(0); last != rounds+1; messages++ {
		u := recv(t, s)
		for _, a := range u.GetAdd().GetAddrs() {
			last = a.GetWeight()
		}
	}
	if messages >= rounds {
		t.Errorf("%d messages for %d changes, want fewer", messages, rounds)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	r := start(t, Config{Mesh: mesh(t, example), MaxStreams: 1})
	first := r.get(t, "plain:8080")
	recv(t, first)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := r.policies.Get(ctx, byAuthority("plain:8080"))
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a stream too many: %v, want it to wait", err)
	}
}
