package local

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/linkerd/linkerd2-proxy-api/go/destination"

	"github.com/outrigger-mesh/outrigger/control"
)

// The proxy's own client outlives this control plane, and is told the whole set
// again by the next one.
func TestRestartUnderOurClient(t *testing.T) {
	begin := func(addr, file string) (at string, stop func()) {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		s := New(Config{Mesh: mesh(t, file)})
		ctx, cancel := context.WithCancel(context.Background())
		var done sync.WaitGroup
		done.Go(func() { _ = s.Serve(ctx, l) })
		stop = sync.OnceFunc(func() { cancel(); done.Wait() })
		t.Cleanup(stop)
		return l.Addr().String(), stop
	}
	at, stop := begin("127.0.0.1:0", web("1"))
	addr, err := control.ParseAddr(at)
	if err != nil {
		t.Fatal(err)
	}
	c, err := control.Dial(t.Context(), control.Config{
		Name: "destination", Addr: addr, Connect: time.Second,
		Backoff: control.Backoff{Min: 5 * time.Millisecond, Max: 50 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	open := func(path string) func(context.Context) (interface {
		Recv() (*destination.Update, error)
	}, error) {
		return func(ctx context.Context) (interface {
			Recv() (*destination.Update, error)
		}, error,
		) {
			return destination.NewDestinationClient(c).Get(ctx, &destination.GetDestination{Path: path})
		}
	}
	for _, err := range control.Watch(soon(t), c, "none", open("none")) {
		if !control.Unknown(err) {
			t.Errorf("an unknown name: %v, want what control calls unknown", err)
		}
		break
	}
	want := "+127.0.0.1:1"
	for m, err := range control.Watch(soon(t), c, "web", open("web")) {
		if err != nil {
			t.Fatal(err)
		}
		if got := told(t, m.M); got != want || !m.First {
			t.Errorf("told %s, first %v, want %s first", got, m.First, want)
		}
		if want == "+127.0.0.1:2" {
			return
		}
		stop()
		want = "+127.0.0.1:2"
		begin(at, web("2"))
	}
	t.Error("the watch ended")
}
