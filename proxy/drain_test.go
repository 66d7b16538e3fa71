package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// draining tells s to end, and returns what is closed when it has.
func (s *sidecar) draining() <-chan struct{} {
	over := make(chan struct{})
	go func() { defer close(over); s.stop() }()
	return over
}

// wantOver fails the test unless a sidecar ends in time.
func wantOver(tb testing.TB, over <-chan struct{}, within time.Duration) {
	tb.Helper()
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case <-over:
	case <-late.C:
		tb.Fatalf("the sidecar has not ended within %v", within)
	}
}

// TestDrainUnderLoad ends both sidecars of a pair while clients send. Each client
// is told to leave with a whole answer, and none loses one.
func TestDrainUnderLoad(t *testing.T) {
	for _, which := range []string{"outbound", "inbound"} {
		t.Run(which, func(t *testing.T) {
			l := newLedger()
			app := serveHTTP1(t, l, "web")
			p := startPair(t, app.addr, false, "OUTRIGGER_LAME_DUCK=1s", "LINKERD2_PROXY_SHUTDOWN_GRACE_PERIOD=20s")
			addr, s := p.addr, p.outbound
			if which == "inbound" { // whose clients' sidecars see to it that no client is told
				addr, s = p.in, p.inbound
			}
			var clients sync.WaitGroup
			for i := range 16 {
				c := &loadClient{load: &load{ledger: l, name: "web"}, addr: addr, host: webHost, name: fmt.Sprintf("client-%d", i)}
				clients.Go(func() { c.untilTold(t) })
			}
			l.progress(t, 200)
			idle := dial(t, addr)
			if got, err := ask(idle); err != nil || got.Close {
				t.Fatalf("%+v, %v", got, err)
			}
			over := s.draining()
			clients.Wait()
			if n, err := io.Copy(io.Discard, idle); n > 0 || err != nil {
				t.Errorf("the idle connection ended with %d bytes, %v; want it closed in order", n, err)
			}
			wantOver(t, over, 10*time.Second)
			l.check(t)
		})
	}
}

// untilTold sends on one connection until it is told to leave.
func (c *loadClient) untilTold(tb testing.TB) {
	tb.Helper()
	conn := dial(tb, c.addr)
	c.conn, c.r = conn, bufio.NewReader(conn)
	for again := true; again; {
		c.sent++
		id := fmt.Sprintf("%s-%d", c.name, c.sent)
		c.send(id)
		var err error
		if again, err = c.exchange(id); err != nil {
			c.lose(id, err)
			return
		}
		c.answer(id)
	}
}

// ask makes a request of a connection that is left open.
func ask(c net.Conn) (*http.Response, error) {
	if _, err := io.WriteString(c, asking); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp, err
}

// TestDrainFinishes ends a sidecar that has requests and an opaque connection in
// hand: it waits for them, as long as its grace lasts.
func TestDrainFinishes(t *testing.T) {
	arrived, leave := make(chan struct{}), make(chan struct{})
	app := origin(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-leave
		fmt.Fprint(w, "whole")
	})
	p := startPair(t, app, false, "LINKERD2_PROXY_SHUTDOWN_GRACE_PERIOD=20s")
	replies := make(chan reply)
	for range 4 {
		go func() {
			got, err := trySend(p.addr, asking)
			if err != nil {
				t.Error(err)
			}
			replies <- got
		}()
		<-arrived
	}
	over := p.outbound.draining()
	refused(t, p.addr)
	select {
	case <-over:
		t.Error("the sidecar has ended with requests in hand")
	default:
	}
	close(leave)
	for range 4 {
		if got := <-replies; got.status != 200 || got.body != "whole" || !got.close {
			t.Errorf("%+v; want a whole answer, the last", got)
		}
	}
	wantOver(t, over, 10*time.Second)
}

// refused waits until nothing is accepted at addr any more.
func refused(tb testing.TB, addr string) {
	tb.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		c, err := net.DialTimeout("tcp", addr, 100*time.Millisecond) // what connects as a listener closes tries again after a second
		if errors.Is(err, syscall.ECONNREFUSED) {
			return
		}
		if err == nil {
			_ = c.Close()
		}
	}
	tb.Fatalf("%s accepts still", addr)
}

// TestDrainIsCut ends a sidecar with work in hand that does not end by itself.
func TestDrainIsCut(t *testing.T) {
	lines := serveLines(t, newLedger(), "db")
	stuck := make(chan struct{})
	app := origin(t, func(_ http.ResponseWriter, r *http.Request) { stuck <- struct{}{}; <-r.Context().Done() })
	web, db := freeAddr(t), freeAddr(t)
	c := startController(t, meshYAML(serviceYAML(webHost, false, app), serviceYAML("db.demo.svc.cluster.local", true, lines.addr)))
	s := startSidecar(t, c.addr, "OUTRIGGER_OUTBOUND_NAMED="+web+"="+webHost+":80,"+db+"=db.demo.svc.cluster.local:80",
		"LINKERD2_PROXY_SHUTDOWN_GRACE_PERIOD=2s")
	request, opaque := dial(t, web), dial(t, db)
	_, _ = io.WriteString(request, asking)
	<-stuck
	say := func(line string) error {
		_, err := io.WriteString(opaque, line)
		if err == nil {
			_, err = io.ReadFull(opaque, make([]byte, len(line)))
		}
		return err
	}
	if err := say("before\n"); err != nil {
		t.Fatal(err)
	}
	over := s.draining()
	refused(t, web)
	if err := say("while draining\n"); err != nil {
		t.Error(err)
	}
	wantOver(t, over, 10*time.Second)
	for name, c := range map[string]net.Conn{"request": request, "opaque": opaque} {
		if n, err := io.Copy(io.Discard, c); n > 0 || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %d bytes, %v; want a reset", name, n, err)
		}
	}
}

// TestShutdown ends a sidecar by its admin port.
func TestShutdown(t *testing.T) {
	s := startSidecar(t, startController(t, "services: []").addr, "LINKERD2_PROXY_SHUTDOWN_ENDPOINT_ENABLED=true")
	if got := send(t, s.admin, "POST /shutdown HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"); got.status != 200 {
		t.Errorf("%+v", got)
	}
	refused(t, s.admin)
}

// TestDrainClosesSilent ends a sidecar that has a connection of which nobody knows
// what it is: nothing has come on it.
func TestDrainClosesSilent(t *testing.T) {
	app := origin(t, func(http.ResponseWriter, *http.Request) {})
	p := startPair(t, app, false, "LINKERD2_PROXY_SHUTDOWN_GRACE_PERIOD=20s")
	silent := dial(t, p.addr)
	if _, err := trySend(p.addr, asking); err != nil { // so that the other was accepted before
		t.Fatal(err)
	}
	over := p.outbound.draining()
	if n, err := io.Copy(io.Discard, silent); n > 0 || err != nil {
		t.Errorf("%d bytes, %v; want the end", n, err)
	}
	wantOver(t, over, 5*time.Second)
}

// heldAs is a connection's Holder that has that much in hand.
type heldAs work

func (h heldAs) InHand() (stack.Kind, int) { return h.kind, h.n }
func (h heldAs) Leave()                    {}

// TestDrainTally adds up what was in hand, and what of it was finished.
func TestDrainTally(t *testing.T) {
	idle, busy, streams, opaque, tunnel, silent := new(stack.Conn), new(stack.Conn), new(stack.Conn), new(stack.Conn), new(stack.Conn), new(stack.Conn)
	d := &drain{
		held: map[*stack.Conn]work{
			idle: {stack.HTTP1Work, 0}, busy: {stack.HTTP1Work, 1}, streams: {stack.HTTP2Work, 16},
			opaque: {stack.OpaqueWork, 1}, tunnel: {stack.HTTP1Tunnel, 1}, silent: {},
		},
		lost: map[*stack.Conn]work{streams: {stack.HTTP2Work, 3}, opaque: {stack.OpaqueWork, 1}, new(stack.Conn): {stack.HTTP1Work, 1}},
	}
	if got, want := tallyOf(d.held), (tally{6, 1, 1, 16, 1}); got != want {
		t.Errorf("held %+v, want %+v", got, want)
	}
	if got, want := tallyOf(d.lost), (tally{3, 1, 0, 3, 1}); got != want {
		t.Errorf("cut %+v, want %+v", got, want)
	}
	if got, want := d.finished(), (tally{5, 1, 1, 13, 0}); got != want {
		t.Errorf("finished %+v, want %+v", got, want)
	}
	many := make(map[*stack.Conn]work)
	for range 100 {
		many[new(stack.Conn)] = work{stack.OpaqueWork, 1}
	}
	if got := peersOf(many); len(got) != maxPeers+1 || got[maxPeers] != "92 more" {
		t.Errorf("named %q", got)
	}
	c := new(stack.Conn)
	c.HeldBy(heldAs{stack.HTTP2Work, 2})
	if kind, n := c.Holder().InHand(); kind != stack.HTTP2Work || n != 2 {
		t.Errorf("it holds %d of %d", n, kind)
	}
}
