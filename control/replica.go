package control

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync/atomic"

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
	stop    context.CancelFunc    // ends whoever attends it
}

// openReplica prepares the connection to addr, which is "ip:port".
func openReplica(conf Config, addr string) (*replica, error) {
	r := &replica{addr: addr}
	dialer := conf.TCP.dialer(conf.Connect)
	dial := func(ctx context.Context, addr string) (net.Conn, error) {
		var conn net.Conn
		var err error
		if lost := conf.Guard.Do(stage, func() { conn, err = dialer.DialContext(ctx, "tcp", addr) }); lost != nil { // grpc-go's goroutine is not ours
			err = lost
		}
		r.failure.Store(&err)
		return conn, err
	}
	var err error
	r.conn, err = grpc.NewClient("passthrough:///"+addr, append(dialOptions(conf), grpc.WithContextDialer(dial))...)
	if err != nil {
		return nil, fmt.Errorf("replica %s: %w", addr, err)
	}
	return r, nil
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
		r.conn.Connect()
	}
	return nil, errNotReady
}

// cause says why r cannot be connected to.
func (r *replica) cause() error {
	if err := r.failure.Load(); err != nil && *err != nil {
		return *err
	}
	return fmt.Errorf("%s took the connection but does not speak HTTP/2", r.addr)
}

// Close implements io.Closer for go-kit, which calls it when the replica is no
// longer among those found. Its streams end, and are opened again elsewhere.
func (r *replica) Close() error {
	err := r.conn.Close()
	r.stop()
	return err
}
