package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/go-kit/kit/endpoint"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/outrigger-mesh/outrigger/guard"
)

// A Config says where a control-plane service is and how it is spoken to.
type Config struct {
	Name string // "destination", "policy" or "identity", for logs and metrics
	Addr Addr
	// TLS says who the service must prove to be. An address on loopback is spoken
	// to in the clear all the same.
	TLS *TLS
	// Plaintext allows an address that is not loopback to be spoken to without
	// TLS. Whether that may be is decided where the environment is read.
	Plaintext bool
	Connect   time.Duration // limit of one attempt to connect; not zero
	// FailFast bounds how long a call waits for a replica that is ready; the call
	// then fails with Unavailable. Zero means as long as its context allows. The
	// reference has 30 s.
	FailFast time.Duration
	Backoff  Backoff // between attempts to connect, to resolve and to open a stream
	Limits   Limits  // of streams; off if Addr is loopback
	TCP      TCP
	Windows  Windows
	DNS      *Resolver    // nil means the system's servers
	Log      *slog.Logger // nil means none
	Observe  Observer     // nil means none
	Guard    *guard.Guard // is told of panics; nil means that they are logged only
}

// Windows are HTTP/2's initial flow-control windows in bytes. Zero means
// grpc-go's own, which adapt; it takes none below 64 KiB.
type Windows struct{ Stream, Connection uint32 }

// validate names the first thing that is wrong with c.
func (c Config) validate() error {
	switch {
	case c.Addr.Host == "" || c.Addr.Port == 0:
		return errors.New("there is no address")
	case !c.Addr.Loopback() && !c.Plaintext && c.TLS == nil:
		return errors.New("only a loopback address may be spoken to without TLS")
	case c.Connect <= 0:
		return fmt.Errorf("connect timeout %v is not positive", c.Connect)
	case c.FailFast < 0:
		return fmt.Errorf("failfast timeout %v is negative", c.FailFast)
	}
	return errors.Join(c.validateTLS(), c.Backoff.Validate(), c.Limits.validate())
}

func (c Config) withDefaults() Config {
	if c.DNS == nil {
		c.DNS = new(Resolver)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Observe == nil {
		c.Observe = unobserved{}
	}
	if c.Addr.Loopback() {
		c.Limits, c.TLS = Limits{}, nil
	}
	c.Log = c.Log.With("client", c.Name, "addr", c.Addr.String())
	return c
}

// A Client speaks to one control-plane service through any of its replicas. It is
// a grpc.ClientConnInterface, so that the generated clients take it. A call goes
// to the replicas in turn, passing over those that cannot be reached, and waits
// while none can.
//
// Several goroutines may use a Client at once.
type Client struct {
	conf     Config
	replicas *replicas
	waiting  atomic.Int32 // calls that wait for a replica
	wanted   signal       // raised when a call begins to wait
	outage   outage
	unary    endpoint.Endpoint // of *question
	ctx      context.Context   //nolint:containedctx // the life that Dial was given, which every call also ends with
	cancel   context.CancelFunc
	closed   chan struct{}
}

// Dial returns a Client that lives until ctx is done or Close is called. It
// connects when it is first used; an error means that c is wrong.
func Dial(ctx context.Context, c Config) (*Client, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("control plane %s (%s): %w", c.Name, c.Addr, err)
	}
	c = c.withDefaults()
	ctx, cancel := context.WithCancel(ctx)
	client := &Client{conf: c, ctx: ctx, cancel: cancel, closed: make(chan struct{}), outage: outage{log: c.Log}}
	client.unary = endpoint.Chain(client.named, client.counted)(client.ask)
	client.replicas = newReplicas(ctx, c, func(addr string) (*replica, error) { return openReplica(c, addr) }, client.turned)
	go client.run(ctx)
	return client, nil
}

// Close ends every call and stream, and returns when nothing of c runs any more.
func (c *Client) Close() error {
	c.cancel()
	<-c.closed
	return nil
}

// whenClosed calls f once c is closed, unless the returned function comes first.
func (c *Client) whenClosed(f func()) (stop func() bool) { return context.AfterFunc(c.ctx, f) }

// Outage returns why the control plane cannot be reached, or nil if nothing says
// that it cannot.
func (c *Client) Outage() error { return c.outage.cause() }

func (c *Client) run(ctx context.Context) {
	defer close(c.closed)
	defer c.replicas.close()
	f := finder{conf: c.conf, publish: c.found, failed: c.notFound, lost: c.lost, wanted: &c.wanted}
	c.keep(ctx, func() { f.run(ctx) })
}

// stage is where what panics in a Client's goroutines is caught.
const stage = "control client"

// keep runs f, and again after a pause when it panics, until ctx is done.
func (c *Client) keep(ctx context.Context, f func()) {
	_ = c.conf.Guard.Keep(ctx, stage, c.conf.Backoff.Start().Wait, func() error {
		f()
		return nil
	})
}

func (c *Client) found(addrs []netip.AddrPort) { c.replicas.set(addrs) }

// lost reports whether a call waits in vain.
func (c *Client) lost() bool { return c.waiting.Load() > 0 && c.replicas.ready.Load() == 0 }

func (c *Client) notFound(err error) {
	if c.replicas.ready.Load() == 0 {
		c.outage.begin(err)
	}
}

// turned notes what a replica's new state means for the whole service.
func (c *Client) turned(r *replica, state connectivity.State) {
	switch {
	case state == connectivity.Ready:
		c.outage.end()
	case state == connectivity.TransientFailure && c.replicas.ready.Load() == 0:
		c.outage.begin(r.cause())
	}
}

// do makes the call on a replica that is ready, and waits for one if need be.
func (c *Client) do(ctx context.Context, work call) (any, error) {
	if err := c.admit(ctx); err != nil {
		return nil, err
	}
	v, err := c.replicas.try(ctx, work)
	if !errors.Is(err, errNotReady) {
		return v, err
	}
	c.waiting.Add(1)
	defer c.waiting.Add(-1)
	var failFast <-chan time.Time
	if c.conf.FailFast > 0 {
		timer := time.NewTimer(c.conf.FailFast)
		defer timer.Stop()
		failFast = timer.C
	}
	again := time.NewTicker(max(c.conf.Backoff.Max/2, time.Millisecond))
	defer again.Stop()
	for {
		changed := c.replicas.changed.next() // before trying, so that no change is missed
		if v, err = c.replicas.try(ctx, work); !errors.Is(err, errNotReady) {
			return v, err
		}
		c.wanted.raise()
		select {
		case <-changed:
		case <-again.C: // a state that lasted too briefly is not told, and a replica's rest ends by itself
		case <-ctx.Done():
			return nil, c.unreachable(status.FromContextError(ctx.Err()).Code())
		case <-c.ctx.Done():
			return nil, c.unreachable(codes.Canceled)
		case <-failFast:
			return nil, c.unreachable(codes.Unavailable)
		}
	}
}

func (c *Client) unreachable(code codes.Code) error {
	return status.Errorf(code, "no replica of %s is ready: %v", c.conf.Addr, c.Outage())
}

// NewStream implements grpc.ClientConnInterface. The stream obeys c's Limits.
func (c *Client) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	v, err := c.do(ctx, func(ctx context.Context, r *replica) (any, error) {
		return c.open(ctx, r, desc, method, opts)
	})
	if err != nil {
		return nil, err
	}
	return v.(*stream), nil //nolint:forcetypeassert // it is what open returned
}
