package telemetry

import (
	"context"
	"errors"
	"sync/atomic"
	"syscall"

	dto "github.com/prometheus/client_model/go"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// conns is what is counted of the connections to or from one peer.
type conns struct {
	opened atomic.Uint64
	now    atomic.Int64
	meter  stack.Meter
}

func (c *conns) open() bool { return c.now.Load() > 0 }

func (c *conns) progress() uint64 {
	return c.opened.Load() + c.read() + c.written()
}

func (c *conns) read() uint64    { return uint64(max(0, c.meter.Read.Load())) }
func (c *conns) written() uint64 { return uint64(max(0, c.meter.Written.Load())) }

func connFamily() *family {
	count := func(name, help string, of func(*conns) uint64) view {
		return view{name, help, dto.MetricType_COUNTER, func(v value, m *dto.Metric) {
			m.Counter = &dto.Counter{Value: proto.Float64(float64(of(v.(*conns))))}
		}}
	}
	return &family{fresh: func() value { return new(conns) }, views: []view{
		count("tcp_open_total", "Connections that have been opened.", func(c *conns) uint64 { return c.opened.Load() }),
		{"tcp_open_connections", "Connections that are open now.", dto.MetricType_GAUGE, func(v value, m *dto.Metric) {
			m.Gauge = &dto.Gauge{Value: proto.Float64(float64(v.(*conns).now.Load()))}
		}},
		count("tcp_read_bytes_total", "Bytes that have been read from the peer.", (*conns).read),
		count("tcp_write_bytes_total", "Bytes that have been written to the peer.", (*conns).written),
	}}
}

func closedFamily() *family {
	return &family{fresh: newCounter, views: []view{
		counterView("tcp_close_total", "Connections that have been closed, by the system's error if there was one."),
	}}
}

// connCounts are the series of one peer at one place of a stack.
type connCounts struct {
	lease  *lease // on conns
	conns  *conns
	closed choice[string, *counter] // by errno
}

func (m *Metrics) connCounts(l Labels) *connCounts {
	c := &connCounts{lease: m.conns.lend(key{first: l}, m.now())}
	c.conns = c.lease.value.(*conns) // a family has values of one type
	c.closed.lend = func(errno string) *lease {
		return m.closed.lend(key{l, Label("errno", errno)}, m.now())
	}
	return c
}

// opened counts conn from now until its Close. What is read from or written to
// it until then is counted as it happens.
func (c *connCounts) opened(conn *stack.Conn) {
	c.conns.opened.Add(1)
	c.conns.now.Add(1)
	conn.Meter = &c.conns.meter
	before := conn.OnClose
	conn.OnClose = func(err error) {
		c.conns.now.Add(-1)
		c.closed.of(errno(err)).add()
		if before != nil {
			before(err)
		}
	}
}

// Accepted counts the connections that clients opened, as tcp_open_total and its
// siblings with peer="src". It stands below detection and authorization: what
// fails those is not counted. The bytes that were peeked before count as read.
func (m *Metrics) Accepted(l Labels) stack.Layer[stack.Handler] {
	c := m.connCounts(l.withPeer("src"))
	return func(next stack.Handler) stack.Handler {
		return func(ctx context.Context, conn *stack.Conn) error {
			c.opened(conn)
			if peeked, err := conn.Peek(0); err == nil {
				conn.CountRead(len(peeked))
			}
			return next(ctx, conn)
		}
	}
}

// Dialed counts the connections that the proxy opened, as tcp_open_total and its
// siblings with peer="dst".
func (m *Metrics) Dialed(l Labels) func(stack.Dialer) stack.Dialer {
	c := m.connCounts(l.withPeer("dst"))
	return func(dial stack.Dialer) stack.Dialer {
		return func(ctx context.Context, s stack.Session) (*stack.Conn, error) {
			conn, err := dial(ctx, s)
			if err == nil {
				c.opened(conn)
			}
			return conn, err
		}
	}
}

// errno returns the name of the system's error in err, or "".
func errno(err error) string {
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		return unix.ErrnoName(number)
	}
	return ""
}
