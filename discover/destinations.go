package discover

import (
	"context"
	"iter"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	pb "github.com/linkerd/linkerd2-proxy-api/go/destination"

	"github.com/outrigger-mesh/outrigger/control"
	"github.com/outrigger-mesh/outrigger/guard"
)

// A Config says how Destinations asks.
type Config struct {
	Client  *control.Client // of the destination service
	Context string          // the token that goes with each question (LINKERD2_PROXY_DESTINATION_CONTEXT)

	// Local are this pod's own addresses (LINKERD2_PROXY_INBOUND_IPS).
	// Endpoints there are reached in the clear.
	Local []netip.Addr

	// MaxEndpoints bounds a destination, and must be positive. What comes beyond
	// it is left out, and logged once.
	MaxEndpoints int

	// Settle is the least time between two sets of one stream. Changes that come
	// faster are taken together, since each set of a large destination costs a
	// copy here and more in what is done with it. Zero means none.
	Settle time.Duration

	Log *slog.Logger // nil means none

	// A panic while an answer is read costs that answer: the question is asked again
	// after a pause of Backoff, and the last set stands. Guard is told; it may be nil.
	Guard   *guard.Guard
	Backoff control.Backoff
}

// Destinations resolves by the control plane's service Destination.Get.
type Destinations struct {
	config Config
	watch  func(ctx context.Context, destination string) updates
}

type updates = iter.Seq2[control.Message[*pb.Update], error]

// New returns Destinations that ask as c says.
func New(c Config) *Destinations {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	d := &Destinations{config: c}
	d.watch = d.get
	return d
}

// get asks for destination, again and again.
func (d *Destinations) get(ctx context.Context, destination string) updates {
	api := pb.NewDestinationClient(d.config.Client)
	ask := &pb.GetDestination{Path: undotted(destination), ContextToken: d.config.Context}
	return control.Watch(ctx, d.config.Client, "endpoints of "+destination,
		func(ctx context.Context) (interface{ Recv() (*pb.Update, error) }, error) { return api.Get(ctx, ask) })
}

// undotted strips the dot that ends an absolute name.
func undotted(destination string) string {
	host, port, ok := strings.Cut(destination, ".:")
	if !ok {
		return destination
	}
	return host + ":" + port
}

// Resolve implements Resolver. Destinations are not shared: each call asks the
// control plane on a stream of its own.
func (d *Destinations) Resolve(ctx context.Context, destination string) Stream {
	return func(yield func(Set, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		f := newFold(d.config.MaxEndpoints, d.config.Local, d.config.Log.With("destination", destination))
		var reader sync.WaitGroup
		reader.Go(func() { f.fail(d.keepReading(ctx, destination, f)) })
		defer reader.Wait()
		defer cancel()

		for {
			select {
			case <-f.ready:
			case <-ctx.Done():
				yield(Set{}, context.Cause(ctx))
				return
			}
			set, changed, err := f.take()
			if err != nil {
				yield(Set{}, err)
				return
			}
			if !changed {
				continue
			}
			if !yield(set, nil) {
				return
			}
			d.settle(ctx)
		}
	}
}

func (d *Destinations) settle(ctx context.Context) {
	if d.config.Settle <= 0 {
		return
	}
	t := time.NewTimer(d.config.Settle)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// keepReading is read, begun anew if it panics.
func (d *Destinations) keepReading(ctx context.Context, destination string, f *fold) error {
	return d.config.Guard.Keep(ctx, "endpoints reader", d.config.Backoff.Start().Wait, func() error {
		return d.read(ctx, destination, f)
	})
}

// read applies what the control plane says of destination to f, until it is
// refused or ctx is done. It goes on reading while the consumer is busy: a
// control plane ends the streams of slow readers. A refusal of what was answered
// before says nothing of it: that stands, and is asked for again.
func (d *Destinations) read(ctx context.Context, destination string, f *fold) error {
	known := false
	for m, err := range d.watch(ctx, destination) {
		switch {
		case err == nil:
			guard.Point("endpoints received")
			f.apply(m.M, m.First)
			known = true
		case control.Unknown(err):
			f.unknown()
			known = true
		case known && control.Refused(err):
			d.config.Log.Debug("the control plane refuses what it answered before, which stands", "destination", destination, "error", err)
		default:
			return err
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return control.ErrEnded
}
