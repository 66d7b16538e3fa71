package discover

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	pb "github.com/linkerd/linkerd2-proxy-api/go/destination"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/outrigger-mesh/outrigger/control"
)

// An event is a message or a refusal; after it the stream rests for a second of
// the test's own time.
type event struct {
	u     *pb.Update
	first bool
	err   error
}

// scripted returns Destinations whose control plane says events, and then
// nothing more until it is left.
func scripted(c Config, events ...event) *Destinations {
	c.Log, c.MaxEndpoints = discard(), 100
	d := New(c)
	d.watch = func(ctx context.Context, _ string) updates {
		return func(yield func(control.Message[*pb.Update], error) bool) {
			for _, e := range events {
				if !yield(control.Message[*pb.Update]{M: e.u, First: e.first}, e.err) {
					return
				}
				select {
				case <-time.After(time.Second):
				case <-ctx.Done():
					return
				}
			}
			<-ctx.Done()
		}
	}
	return d
}

// collect reads a stream for a minute.
func collect(t *testing.T, r Resolver) (sets []string, last error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for set, err := range r.Resolve(ctx, "web:80") {
		if err != nil {
			return sets, err
		}
		s := show(set)
		if set.Stale {
			s += " stale"
		}
		sets = append(sets, s)
	}
	return sets, nil
}

func TestResolve(t *testing.T) {
	notFound := status.Error(codes.NotFound, "no such service")
	for name, tc := range map[string]struct {
		events []event
		want   []string
		err    error // how the stream ends
	}{
		"silence": {nil, nil, context.DeadlineExceeded},
		"changes": {
			[]event{{add(1), true, nil}, {add(2), false, nil}, {add(2), true, nil}},
			[]string{"1", "1 2", "2"},
			context.DeadlineExceeded,
		},
		"not found is believed, and may be found later": {
			[]event{{nil, false, notFound}, {nil, false, notFound}, {add(1), true, nil}, {nil, false, notFound}},
			[]string{"gone", "1", "gone"},
			context.DeadlineExceeded,
		},
		"refusal": {
			[]event{{nil, false, status.Error(codes.InvalidArgument, "no")}, {add(1), true, nil}},
			nil,
			status.Error(codes.InvalidArgument, "no"),
		},
		"what was answered once stands when it is refused, and may be answered again": {
			[]event{{add(1), true, nil}, {nil, false, status.Error(codes.InvalidArgument, "no")}, {add(2), true, nil}},
			[]string{"1", "2"},
			context.DeadlineExceeded,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got, err := collect(t, scripted(Config{}, tc.events...))
				if !slices.Equal(got, tc.want) || !errors.Is(err, tc.err) {
					t.Errorf("got %q, %v, want %q, %v", got, err, tc.want, tc.err)
				}
			})
		})
	}
}

func TestResolveStopsWhenItsReaderLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range scripted(Config{}, event{add(1), true, nil}).Resolve(t.Context(), "web:80") {
			break
		}
		// synctest fails if a goroutine is left.
	})
}

// A consumer that is busy finds the newest set, and none in between.
func TestResolveSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := scripted(Config{}, event{add(1), true, nil}, event{add(2), false, nil}, event{remove(1), false, nil}, event{add(3), false, nil})
		var got []string
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for set, err := range d.Resolve(ctx, "web:80") {
			if err == nil {
				got = append(got, show(set))
				time.Sleep(10 * time.Second)
			}
		}
		if want := []string{"1", "2 3"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestResolveSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := scripted(Config{Settle: 1600 * time.Millisecond}, event{add(1), true, nil}, event{add(2), false, nil}, event{add(3), false, nil}, event{add(4), false, nil})
		got, _ := collect(t, d)
		if want := []string{"1", "1 2", "1 2 3 4"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestUndotted(t *testing.T) {
	for in, want := range map[string]string{"web.svc.:80": "web.svc:80", "web.svc:80": "web.svc:80", "10.0.0.1:80": "10.0.0.1:80"} {
		if got := undotted(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

// A plane answers Destination.Get over a real connection: each stream gets add,
// and then whatever change holds.
type plane struct {
	pb.UnimplementedDestinationServer
	asked   chan *pb.GetDestination
	streams atomic.Uint32
	err     error
}

func (p *plane) Get(ask *pb.GetDestination, s grpc.ServerStreamingServer[pb.Update]) error {
	p.asked <- ask
	if p.err != nil {
		return p.err
	}
	if err := s.Send(add(p.streams.Add(1))); err != nil {
		return err
	}
	<-s.Context().Done()
	return nil
}

// serve runs p on a loopback address until stop.
func serve(t *testing.T, p *plane, addr string) (at string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	pb.RegisterDestinationServer(g, p)
	done := make(chan struct{})
	go func() { defer close(done); g.Serve(l) }()
	return l.Addr().String(), func() { g.Stop(); <-done }
}

func dial(t *testing.T, at string) *control.Client {
	t.Helper()
	addr, err := control.ParseAddr(at)
	if err != nil {
		t.Fatal(err)
	}
	c, err := control.Dial(t.Context(), control.Config{
		Name: "destination", Addr: addr, Connect: time.Second,
		Backoff: control.Backoff{Min: time.Millisecond, Max: 20 * time.Millisecond},
		Log:     slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Over real connections: the question is as the API wants it, the set stands
// while the control plane is away, and what it says when it is back replaces it.
func TestResolveOverGRPC(t *testing.T) {
	p := &plane{asked: make(chan *pb.GetDestination, 100)}
	at, stop := serve(t, p, "127.0.0.1:0")
	d := New(Config{Client: dial(t, at), Context: "token", MaxEndpoints: 10, Log: discard()})

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	n := 0
	for set, err := range d.Resolve(ctx, "web.ns.svc.cluster.local.:80") {
		if err != nil {
			t.Fatal(err)
		}
		n++
		if got := show(set); got != strconv.Itoa(n) {
			t.Fatalf("set %d is %q, want that of the newest stream alone", n, got)
		}
		if n == 3 {
			break
		}
		stop()
		_, stop = serve(t, p, at)
	}
	stop()
	ask := <-p.asked
	if ask.GetPath() != "web.ns.svc.cluster.local:80" || ask.GetContextToken() != "token" || ask.GetScheme() != "" {
		t.Errorf("asked %v", ask)
	}
}

func TestResolveRefusedOverGRPC(t *testing.T) {
	p := &plane{asked: make(chan *pb.GetDestination, 100), err: status.Error(codes.InvalidArgument, "no name")}
	at, stop := serve(t, p, "127.0.0.1:0")
	defer stop()
	d := New(Config{Client: dial(t, at), MaxEndpoints: 10, Log: discard()})
	for set, err := range d.Resolve(t.Context(), "10.0.0.1:80") {
		if !control.Refused(err) {
			t.Errorf("got %v, %v, want a refusal", set, err)
		}
	}
}
