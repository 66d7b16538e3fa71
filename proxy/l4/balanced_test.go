package l4

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/balance"
	"github.com/outrigger-mesh/outrigger/discover"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// balanced serves Balanced over endpoints at addrs, and returns where, and the
// balancer.
func balanced(t *testing.T, addrs ...netip.AddrPort) (netip.AddrPort, *balance.Balancer[stack.Dialer]) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	b := balance.New(ctx, balance.Config{Name: "test", DefaultRTT: time.Second, Decay: time.Minute, FailFast: 50 * time.Millisecond, Capacity: 10},
		func(_ context.Context, e discover.Endpoint, _ func()) (stack.Dialer, func() bool) {
			return Dial(here, e.Addr), nil
		})
	set := discover.Set{}
	for _, a := range addrs {
		set.Endpoints = append(set.Endpoints, discover.Endpoint{Addr: a, Weight: 1})
	}
	b.Update(set)
	return serving(t, Forward(Balanced(b)), ServeConfig{}), b
}

// echoing returns the address of a server that echoes.
func echoing(t *testing.T) netip.AddrPort {
	t.Helper()
	return serving(t, func(_ context.Context, c *stack.Conn) error {
		defer c.Close()
		_, err := io.Copy(c, onlyReader{c})
		return err
	}, ServeConfig{})
}

// refusing returns an address where nothing listens.
func refusing(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return addrOf(l.Addr())
}

func TestBalancedSharesByOpenConnections(t *testing.T) {
	addr, b := balanced(t, echoing(t), echoing(t), echoing(t))
	var open []*net.TCPConn
	one := make([]byte, 1)
	for range 30 {
		c := dialed(t, addr)
		c.Write(one)
		if _, err := io.ReadFull(c, one); err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	for _, e := range b.View().Endpoints {
		if e.Pending == 0 {
			t.Errorf("%s has none of 30 open connections", e.Endpoint.Addr)
		}
	}
	for _, c := range open {
		c.Close()
	}
	eventually(t, "no load", func() bool {
		for _, e := range b.View().Endpoints {
			if e.Pending != 0 {
				return false
			}
		}
		return true
	})
}

func TestBalancedTriesAnother(t *testing.T) {
	addr, b := balanced(t, echoing(t), refusing(t))
	for range 20 {
		c := dialed(t, addr)
		c.Write([]byte("x"))
		c.CloseWrite()
		if got, err := io.ReadAll(c); err != nil || string(got) != "x" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	picks := uint64(0)
	for _, e := range b.View().Endpoints {
		picks += e.Picks
	}
	if picks == 20 {
		t.Error("the endpoint that refuses was never picked: this shows nothing")
	}
}

func TestBalancedFails(t *testing.T) {
	for name, endpoints := range map[string][]netip.AddrPort{
		"none":       nil,
		"one":        {refusing(t)},
		"all refuse": {refusing(t), refusing(t), refusing(t)},
	} {
		t.Run(name, func(t *testing.T) {
			addr, b := balanced(t, endpoints...)
			c, err := net.Dial("tcp", addr.String())
			if err == nil { // or else the reset has overtaken the connect
				_, err = c.Read(make([]byte, 1))
				c.Close()
			}
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the client saw %v", err)
			}
			for _, e := range b.View().Endpoints {
				if e.Pending != 0 {
					t.Errorf("%s keeps load", e.Endpoint.Addr)
				}
			}
		})
	}
}

// picks counts what is asked of a balancer that gives a dial that fails with err.
type picks struct {
	n   int
	err error
}

func (p *picks) Pick(context.Context, balance.Hint) (stack.Dialer, balance.Call, error) {
	p.n++
	return func(context.Context, stack.Session) (*stack.Conn, error) { return nil, p.err }, balance.Call{}, nil
}

func TestBalancedTriesOnlyWhatWasUnsent(t *testing.T) {
	for want, err := range map[int]error{1: io.ErrUnexpectedEOF, 2: stack.ErrUnsent} {
		_, c := rawPair(t)
		p := &picks{err: err}
		if got := Forward(Balanced(p))(t.Context(), &stack.Conn{Conn: c}); !errors.Is(got, err) || p.n != want {
			t.Errorf("%v: %d tries, %v", err, p.n, got)
		}
	}
}
