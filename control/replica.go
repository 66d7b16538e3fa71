package control

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
)

// errNotReady means that nothing was sent, since there is no connection.
var errNotReady = errors.New("no connection is ready")

// A replica is a connection to one process of a service. It is opened by its
// first use, and mends itself from then on.
type replica struct {
	addr    string
	conn    *grpc.ClientConn
	failure atomic.Pointer[error] // the last attempt to connect; its dialler writes it
	wire    atomic.Pointer[net.TCPConn]
	stop    context.CancelFunc // ends whoever attends it

	pause  time.Duration // from one connection to the next, at least
	dialed atomic.Int64  // when its connection came about, in ns since 1970
}

// openReplica prepares the connection to addr, which is "ip:port".
func openReplica(conf Config, addr string) (*replica, error) {
	r := &replica{addr: addr, pause: conf.Backoff.Max}
	connect := conf.connect()
	dial := func(ctx context.Context, addr string) (net.Conn, error) {
		if !r.rested() {
			return nil, r.tired() // a stream that is sent again, as grpc-go does by itself, would have it connect
		}
		var conn net.Conn
		var err error
		if lost := conf.Guard.Do(stage, func() { conn, err = connect(ctx, addr) }); lost != nil { // grpc-go's goroutine is not ours
			err = lost
		}
		r.failure.Store(&err)
		if wire := wireOf(conn); wire != nil {
			r.wire.Store(wire)
			r.dialed.Store(time.Now().UnixNano())
		}
		return conn, err
	}
	var err error
	r.conn, err = grpc.NewClient("passthrough:///"+addr, append(dialOptions(conf), grpc.WithContextDialer(dial))...)
	if err != nil {
		return nil, fmt.Errorf("replica %s: %w", addr, err)
	}
	return r, nil
}

// wireOf returns the connection below TLS, if there is any.
func wireOf(conn net.Conn) *net.TCPConn {
	if within, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = within.NetConn()
	}
	wire, _ := conn.(*net.TCPConn)
	return wire
}

// dialOptions leave to us what we decide: which replica, when again, for how long.
func dialOptions(conf Config) []grpc.DialOption {
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithAuthority(conf.Addr.authority()),
		grpc.WithNoProxy(),              // HTTPS_PROXY is the workload's
		grpc.WithDisableServiceConfig(), // no DNS TXT lookups
		grpc.WithDisableRetry(),
		grpc.WithIdleTimeout(0), // a silent stream is the usual state
		grpc.WithMaxHeaderListSize(maxHead),
		grpc.WithConnectParams(grpc.ConnectParams{
			MinConnectTimeout: conf.Connect,
			Backoff: backoff.Config{
				BaseDelay:  conf.Backoff.Min,
				MaxDelay:   conf.Backoff.Max,
				Multiplier: 2,
				Jitter:     min(conf.Backoff.Jitter, 1), // grpc-go takes away as well as adds
			},
		}),
	}
	if w := conf.Windows.Stream; w > 0 {
		options = append(options, grpc.WithStaticStreamWindowSize(window(w)))
	}
	if w := conf.Windows.Connection; w > 0 {
		options = append(options, grpc.WithStaticConnWindowSize(window(w)))
	}
	return options
}

// maxHead bounds an answer's headers and trailers, in which a status says why.
const maxHead = 64 << 10

func window(size uint32) int32 {
	return int32(min(size, math.MaxInt32)) // RFC 9113, section 6.9.1
}

// endpoint is r as go-kit's Endpoint: its request is a call. It fails with
// errNotReady, and has begun to connect, if there is no connection.
func (r *replica) endpoint(ctx context.Context, request any) (any, error) {
	work, ok := request.(call)
	if !ok {
		return nil, fmt.Errorf("replica %s cannot do a %T", r.addr, request)
	}
	switch state := r.conn.GetState(); state { //nolint:exhaustive // the rest are on their way to these
	case connectivity.Ready:
		return work(ctx, r)
	case connectivity.Idle:
		if r.rested() {
			r.conn.Connect()
		}
	}
	return nil, errNotReady
}

// rested reports whether r may be connected to: grpc-go backs off from connections
// that fail, but would open one after the other to a server that takes each and
// ends it.
func (r *replica) rested() bool {
	return time.Since(time.Unix(0, r.dialed.Load())) >= r.pause
}

func (r *replica) tired() error {
	err := fmt.Errorf("%s ended a connection within %v", r.addr, r.pause)
	r.failure.Store(&err)
	return err
}

// cause says why r cannot be connected to.
func (r *replica) cause() error {
	if err := r.failure.Load(); err != nil && *err != nil {
		return *err
	}
	return fmt.Errorf("%s took the connection but does not speak HTTP/2", r.addr)
}

// doubt closes r's connection if the other side does not even acknowledge what was
// sent, since a new one is then likelier to be answered: the system repeats ever
// more seldom, so that a controller that was cut off for a minute would not hear
// of it for most of another. It reports whether to look again.
func (r *replica) doubt() bool {
	wire := r.wire.Load()
	if wire == nil {
		return false
	}
	repeated := unheard(wire)
	if repeated >= enoughRepeats {
		_ = wire.Close()
		return false
	}
	return repeated > 0
}

// enoughRepeats is how often the system must have sent the same in vain; after a
// second it has done so twice.
const enoughRepeats = 2

// Close implements io.Closer for go-kit, which calls it when the replica is no
// longer among those found. Its streams end, and are opened again elsewhere.
func (r *replica) Close() error {
	err := r.conn.Close()
	r.stop()
	return err
}
