package control

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/linkerd/linkerd2-proxy-api/go/destination"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A fake is a Destination service that does what get says.
type fake struct {
	destination.UnimplementedDestinationServer
	get func(*destination.GetDestination, grpc.ServerStreamingServer[destination.Update]) error
}

func (f *fake) Get(r *destination.GetDestination, s grpc.ServerStreamingServer[destination.Update]) error {
	return f.get(r, s)
}

// say sends n updates, whose weights count from 1, and then waits for the client
// to leave.
func say(n int) func(*destination.GetDestination, grpc.ServerStreamingServer[destination.Update]) error {
	return func(_ *destination.GetDestination, s grpc.ServerStreamingServer[destination.Update]) error {
		for i := range n {
			if err := s.Send(update(uint32(i + 1))); err != nil {
				return err
			}
		}
		<-s.Context().Done()
		return nil
	}
}

func update(weight uint32) *destination.Update {
	return &destination.Update{Update: &destination.Update_Add{Add: &destination.WeightedAddrSet{
		Addrs: []*destination.WeightedAddr{{Weight: weight}},
	}}}
}

func weight(u *destination.Update) uint32 { return u.GetAdd().GetAddrs()[0].GetWeight() }

// serve runs f on addr, "127.0.0.1:0" for any port, until the returned function
// is called or the test ends.
func serve(t *testing.T, addr string, f *fake) (at string, stop func()) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	destination.RegisterDestinationServer(server, f)
	var done sync.WaitGroup
	done.Go(func() { _ = server.Serve(l) })
	stop = sync.OnceFunc(func() { server.Stop(); done.Wait() })
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

func config(t *testing.T, addr string) Config {
	t.Helper()
	a, err := ParseAddr(addr)
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Name: "destination", Addr: a, Plaintext: true, Connect: time.Second,
		Backoff: Backoff{Min: 5 * time.Millisecond, Max: 50 * time.Millisecond},
	}
}

func dial(t *testing.T, conf Config) *Client {
	t.Helper()
	c, err := Dial(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return c
}

// get opens streams for Watch.
func get(c *Client) func(context.Context) (interface {
	Recv() (*destination.Update, error)
}, error) {
	return func(ctx context.Context) (interface {
		Recv() (*destination.Update, error)
	}, error,
	) {
		return destination.NewDestinationClient(c).Get(ctx, &destination.GetDestination{Path: "web:80"})
	}
}

// soon is a context for what should happen at once.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// A logbook keeps log lines for a test to look at.
type logbook struct {
	mu    sync.Mutex
	lines strings.Builder
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.String()
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// A tally is an Observer.
type tally struct {
	mu   sync.Mutex
	seen map[string]int
}

func (c *tally) count(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen = make(map[string]int)
	}
	c.seen[what]++
}

func (c *tally) of(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen[what]
}

func (c *tally) Resolution(_, record string, ok bool) { c.count(fmt.Sprintf("%s %v", record, ok)) }
func (c *tally) Request(string, string)               { c.count("request") }
func (c *tally) Response(_, _ string, code uint32, _ time.Duration) {
	c.count(fmt.Sprintf("response %d", code))
}

// garbage answers every connection to addr with what is not HTTP/2.
func garbage(t *testing.T, addr string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("HTTP/1.0 400 Bad Request\r\n\r\n"))
			conn.Close()
		}
	})
	t.Cleanup(func() { l.Close(); done.Wait() })
}
