package control

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/linkerd/linkerd2-proxy-api/go/destination"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/outrigger-mesh/outrigger/tls"
)

// first opens one stream and returns its first message.
func first(ctx context.Context, c *Client) (*destination.Update, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := destination.NewDestinationClient(c).Get(ctx, &destination.GetDestination{Path: "web:80"})
	if err != nil {
		return nil, err
	}
	return s.Recv()
}

func TestDialRefuses(t *testing.T) {
	good := config(t, "127.0.0.1:1")
	remote, plain := config(t, "10.0.0.1:1"), config(t, "10.0.0.1:1")
	remote.Plaintext = false
	for name, change := range map[string]func(*Config){
		"no address":       func(c *Config) { c.Addr = Addr{} },
		"remote, no TLS":   func(c *Config) { *c = remote },
		"TLS and none":     func(c *Config) { c.TLS = &TLS{Store: new(tls.Store), Server: "x"} },
		"TLS with nobody":  func(c *Config) { c.Plaintext, c.TLS = false, &TLS{Store: new(tls.Store)} },
		"TLS by nothing":   func(c *Config) { c.Plaintext, c.TLS = false, &TLS{Server: "x"} },
		"no timeout":       func(c *Config) { c.Connect = 0 },
		"negative wait":    func(c *Config) { c.FailFast = -1 },
		"bad backoff":      func(c *Config) { c.Backoff = Backoff{} },
		"limits disorder":  func(c *Config) { c.Limits = Limits{Initial: 2, Idle: 1} },
		"limits disorder2": func(c *Config) { c.Limits = Limits{Initial: 2, Lifetime: 1} },
		"limits negative":  func(c *Config) { c.Limits = Limits{Idle: -1} },
	} {
		conf := good
		change(&conf)
		if c, err := Dial(t.Context(), conf); err == nil {
			t.Errorf("%s: no error", name)
			c.Close()
		}
	}
	dial(t, plain)
}

func TestClientAuthority(t *testing.T) {
	got := make(chan string, 1)
	addr, _ := serve(t, "127.0.0.1:0", &fake{get: func(_ *destination.GetDestination, s grpc.ServerStreamingServer[destination.Update]) error {
		md, _ := metadata.FromIncomingContext(s.Context())
		got <- strings.Join(md.Get(":authority"), " ")
		return s.Send(update(1))
	}})
	_, port, _ := net.SplitHostPort(addr)
	c := dial(t, config(t, "localhost.:"+port))
	if _, err := first(soon(t), c); err != nil {
		t.Fatal(err)
	}
	if a := <-got; a != "localhost:"+port {
		t.Errorf("authority %q, want the name without its final dot", a)
	}
}

func TestClientFindsRestartedController(t *testing.T) {
	addr, stop := serve(t, "127.0.0.1:0", &fake{get: say(1)})
	var log logbook
	conf := config(t, addr)
	conf.Log = log.logger()
	c := dial(t, conf)
	if _, err := first(soon(t), c); err != nil {
		t.Fatal(err)
	}
	stop()
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	for short.Err() == nil {
		_, err := first(short, c)
		if err == nil {
			t.Fatal("a controller that is gone answered")
		}
	}
	if c.Outage() == nil {
		t.Error("no outage is told of")
	}
	serve(t, addr, &fake{get: say(1)})
	if _, err := first(soon(t), c); err != nil {
		t.Fatal(err)
	}
	if err := c.Outage(); err != nil {
		t.Errorf("an outage is told of after its end: %v", err)
	}
	if n := strings.Count(log.String(), "cannot be reached"); n != 1 {
		t.Errorf("the outage was logged %d times, want once:\n%s", n, &log)
	}
	if !strings.Contains(log.String(), "connection refused") && !strings.Contains(log.String(), "ended a connection within") {
		t.Errorf("the log has no cause:\n%s", &log)
	}
}

func TestClientWaitsNoLongerThanAsked(t *testing.T) {
	conf := config(t, "127.0.0.1:1")
	conf.FailFast = 50 * time.Millisecond
	c := dial(t, conf)
	_, err := first(soon(t), c)
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("after failfast: %v, want Unavailable with the address", err)
	}
	short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := first(short, c); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("after the context: %v, want DeadlineExceeded", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := first(soon(t), c); status.Code(err) != codes.Canceled {
		t.Errorf("after Close: %v, want Canceled", err)
	}
}

func TestClientPassesOverDeadReplicas(t *testing.T) {
	addr, _ := serve(t, "127.0.0.1:0", &fake{get: say(1)})
	c := dial(t, config(t, addr))
	if _, err := first(soon(t), c); err != nil { // by then the only address has been published
		t.Fatal(err)
	}
	c.found([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("127.0.0.2:1"), netip.MustParseAddrPort(addr)})
	for range 20 {
		if _, err := first(soon(t), c); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Outage(); err != nil {
		t.Errorf("outage %v, want none while a replica answers", err)
	}
}

func TestClientSharesReplicas(t *testing.T) {
	var replicas []netip.AddrPort
	var mu sync.Mutex
	seen := make(map[int]int)
	for i := range 3 {
		addr, _ := serve(t, "127.0.0.1:0", &fake{get: func(_ *destination.GetDestination, s grpc.ServerStreamingServer[destination.Update]) error {
			mu.Lock()
			defer mu.Unlock()
			seen[i]++
			return s.Send(update(1))
		}})
		replicas = append(replicas, netip.MustParseAddrPort(addr))
	}
	c := dial(t, config(t, replicas[0].String()))
	ctx := soon(t)
	if _, err := first(ctx, c); err != nil { // by then the only address has been published
		t.Fatal(err)
	}
	c.found(replicas)
	eventually(t, "every replica is ready", func() bool { // each is dialled when its turn comes
		_, err := first(ctx, c)
		return err == nil && c.replicas.ready.Load() == 3
	})
	mu.Lock()
	clear(seen)
	mu.Unlock()
	for range 30 {
		if _, err := first(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if seen[0] != 10 || seen[1] != 10 || seen[2] != 10 {
		t.Errorf("calls by replica: %v, want 10 each", seen)
	}
}

func TestClientFollowsDNS(t *testing.T) {
	here, stop := serve(t, "127.0.0.1:0", &fake{get: say(1)})
	_, port, _ := net.SplitHostPort(here)
	z := &zone{records: map[string][]string{"A dst.l5d.": {"dst.l5d. 0 A 127.0.0.1"}}}
	conf := config(t, "dst.l5d.:"+port)
	conf.DNS = &Resolver{Path: "none", Servers: []string{nameServer(t, z)}, Floor: 5 * time.Millisecond}
	var seen tally
	conf.Observe = &seen
	c := dial(t, conf)
	if _, err := first(soon(t), c); err != nil {
		t.Fatal(err)
	}

	z.set("A dst.l5d.") // the name is gone; its last replicas stand
	failures := seen.of("A/AAAA false")
	eventually(t, "a lookup fails", func() bool { return seen.of("A/AAAA false") > failures+1 })
	if _, err := first(soon(t), c); err != nil {
		t.Fatalf("after a failed lookup: %v, want the last replica to stand", err)
	}

	stop()
	there, _ := serve(t, "127.0.0.2:0", &fake{get: say(1)})
	label := strings.NewReplacer(".", "-").Replace(netip.MustParseAddrPort(there).Addr().String())
	_, port, _ = net.SplitHostPort(there)
	z.set("SRV dst.l5d.", "dst.l5d. 0 SRV 0 0 "+port+" "+label+".dst.l5d.")
	eventually(t, "the moved replica answers", func() bool { _, err := first(soon(t), c); return err == nil })
	if seen.of("SRV true") == 0 || seen.of("SRV false") == 0 || seen.of("A/AAAA true") == 0 {
		t.Errorf("resolutions counted: %v", seen.seen)
	}
}

// eventually waits for what has no event to wait for.
func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ctx := soon(t); !happened(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("it never came about that %s", what)
		}
	}
}

func TestClientSurvivesUnknownName(t *testing.T) {
	conf := config(t, "dst.l5d.:1")
	conf.DNS = &Resolver{Path: "none", Servers: []string{nameServer(t, &zone{})}}
	conf.FailFast = 30 * time.Millisecond
	c := dial(t, conf)
	_, err := first(soon(t), c)
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "no AAAA records") {
		t.Errorf("a name without replicas: %v, want Unavailable with the lookup's failure", err)
	}
}

func TestClientInvoke(t *testing.T) {
	addr, _ := serve(t, "127.0.0.1:0", &fake{get: say(1)})
	conf := config(t, addr)
	var seen tally
	conf.Observe = &seen
	c := dial(t, conf)
	err := c.Invoke(soon(t), "/io.linkerd.proxy.outbound.OutboundPolicies/Get", new(destination.GetDestination), new(destination.Update))
	if !Unknown(err) || !strings.Contains(err.Error(), "controller "+addr) {
		t.Errorf("a service that is not there: %v, want Unimplemented that names the controller", err)
	}
	if seen.of("request") != 1 || seen.of("response 12") != 1 {
		t.Errorf("counted %v", seen.seen)
	}
}

func TestStreamLimits(t *testing.T) {
	const short, long = 50 * time.Millisecond, time.Minute
	for _, test := range []struct {
		name   string
		says   int
		limits Limits
		want   error
	}{
		{"initial", 0, Limits{Initial: short}, status.Error(codes.DeadlineExceeded, "initial item not received within timeout")},
		{"idle for initial", 0, Limits{Idle: short}, status.Error(codes.DeadlineExceeded, "initial item not received within timeout")},
		{"idle", 2, Limits{Initial: short, Idle: short}, io.EOF},
		{"lifetime", 1, Limits{Initial: short, Lifetime: 2 * short}, io.EOF},
		{"initial is over with the first message", 1, Limits{Initial: short}, context.DeadlineExceeded},
		{"none", 0, Limits{Initial: long}, context.DeadlineExceeded},
	} {
		t.Run(test.name, func(t *testing.T) {
			addr, _ := serve(t, "127.0.0.1:0", &fake{get: say(test.says)})
			_, port, _ := net.SplitHostPort(addr)
			conf := config(t, "localhost:"+port) // without the final dot, so that it has limits
			conf.Limits = test.limits
			c := dial(t, conf)
			ctx, cancel := context.WithCancel(t.Context()) // not a deadline, which the server would be told of
			defer cancel()
			defer time.AfterFunc(400*time.Millisecond, cancel).Stop()
			s, err := destination.NewDestinationClient(c).Get(ctx, new(destination.GetDestination))
			if err != nil {
				t.Fatal(err)
			}
			for range test.says {
				if _, err := s.Recv(); err != nil {
					t.Fatal(err)
				}
			}
			_, err = s.Recv()
			if errors.Is(test.want, context.DeadlineExceeded) {
				if ctx.Err() == nil {
					t.Errorf("ended with %v before its context", err)
				}
				return
			}
			if !errors.Is(err, test.want) && status.Convert(err).Message() != status.Convert(test.want).Message() {
				t.Errorf("ended with %v, want %v", err, test.want)
			}
		})
	}
}

func TestLimitsAreOffOnLoopback(t *testing.T) {
	conf := config(t, "127.0.0.1:1")
	conf.Limits = Limits{Initial: 1, Idle: 1, Lifetime: 1}
	if got := dial(t, conf).conf.Limits; got != (Limits{}) {
		t.Errorf("limits %+v, want none", got)
	}
	conf.Addr.Host = "192.0.2.1"
	if got := dial(t, conf).conf.Limits; got != conf.Limits {
		t.Errorf("limits %+v, want those given", got)
	}
}

func TestTCPSettings(t *testing.T) {
	addr, _ := serve(t, "127.0.0.1:0", &fake{get: say(1)})
	conf := config(t, addr)
	conf.TCP = TCP{KeepAlive: 10 * time.Second, UserTimeout: 30 * time.Second}
	conf.Windows = Windows{Stream: 65535, Connection: 1 << 20}
	if _, err := first(soon(t), dial(t, conf)); err != nil {
		t.Fatal(err)
	}
}
