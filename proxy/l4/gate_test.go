package l4

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// holding serves each connection until its client ends it, or it is asked to leave.
func holding(ctx context.Context, c *stack.Conn) error {
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	if _, err := c.Write([]byte("a")); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, c)
	return err
}

// greeted reports what a connection to addr comes to: nil if it is served.
func greeted(t *testing.T, addr netip.AddrPort) (*net.TCPConn, error) {
	t.Helper()
	c, err := new(net.Dialer).DialTCP(t.Context(), "tcp", netip.AddrPort{}, addr)
	if err != nil { // the reset may overtake the connect
		return nil, err
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	_, err = io.ReadFull(c, make([]byte, 1))
	return c, err
}

func serveOK(t *testing.T, addr netip.AddrPort) *net.TCPConn {
	t.Helper()
	c, err := greeted(t, addr)
	if err != nil {
		t.Fatalf("a connection for which there is room: %v", err)
	}
	return c
}

// TestGateWaits admits who waits once another has left, and refuses who waits in
// vain.
func TestGateWaits(t *testing.T) {
	told := make(chan bool, 9)
	g := NewGate(GateConfig{Conns: 2, Patience: 300 * time.Millisecond, Age: time.Hour, Full: func(full bool) { told <- full }})
	addr := serving(t, holding, ServeConfig{Gate: g})
	first, _ := serveOK(t, addr), serveOK(t, addr)
	third := make(chan error)
	go func() { _, err := greeted(t, addr); third <- err }()
	if !<-told || !g.IsFull() {
		t.Error("nobody was told that the gate is full")
	}
	first.Close()
	if err := <-third; err != nil {
		t.Errorf("one has left, and who waits gets %v", err)
	}
	if _, err := greeted(t, addr); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("nobody leaves, and who waits gets %v; want a reset", err)
	}
	if n, _ := g.Refused(); n != 1 {
		t.Errorf("%d were counted as refused, want 1", n)
	}
	if <-told {
		t.Error("it was told twice that the gate is full")
	}
	eventually(t, "the gate has room", func() bool { return !g.IsFull() })
}

// TestGateEvicts asks the oldest to leave for others.
func TestGateEvicts(t *testing.T) {
	g := NewGate(GateConfig{Conns: 2, Patience: patience})
	addr := serving(t, holding, ServeConfig{Gate: g})
	old := serveOK(t, addr)
	serveOK(t, addr)
	serveOK(t, addr)
	if _, err := old.Read(make([]byte, 1)); err == nil {
		t.Error("the oldest is still there")
	}
	if g.Evicted() == 0 {
		t.Error("nobody was counted as asked to leave")
	}
}

// TestGateOfMemory refuses at once while there is none, and asks again whether there
// is.
func TestGateOfMemory(t *testing.T) {
	var spare atomic.Int64
	spare.Store(1)
	var g *Gate
	g = NewGate(GateConfig{Patience: time.Hour, More: func() { g.Spare(spare.Load()) }})
	g.Spare(0)
	addr := serving(t, holding, ServeConfig{Gate: g})
	c := serveOK(t, addr) // for which there is, once it was asked
	spare.Store(0)
	g.Spare(0)
	for range 2 {
		if _, err := greeted(t, addr); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("without memory: %v, want a reset", err)
		}
	}
	if _, n := g.Refused(); n != 2 || g.IsFull() {
		t.Errorf("%d were counted as refused, want 2; full: %v", n, g.IsFull())
	}
	c.Close()
	eventually(t, "the first has left", func() bool { return g.Open() == 0 })
	spare.Store(1)
	serveOK(t, addr)
}

// TestGateKeepsDescriptors refuses a connection whose number is kept for others, and
// a dial.
func TestGateKeepsDescriptors(t *testing.T) {
	g := NewGate(GateConfig{Data: 3, Patience: time.Hour, Age: time.Hour})
	addr := serving(t, holding, ServeConfig{Gate: g})
	if _, err := greeted(t, addr); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection: %v, want a reset", err)
	}
	_, err := Dial(DialConfig{AllowLoopback: true, Data: 3}, addr)(t.Context(), stack.NoSession)
	if !errors.Is(err, ErrDescriptors) || !errors.Is(err, stack.ErrExhausted) || !errors.Is(err, stack.ErrUnsent) {
		t.Errorf("a dial: %v", err)
	}
}
