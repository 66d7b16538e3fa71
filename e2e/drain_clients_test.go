package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

// A tally is what clients have sent, and what became of it.
type tally struct {
	requests, answered, told  atomic.Int64 // of HTTP/1; told to leave by an answer
	lostOpen, lostFresh       atomic.Int64 // without an answer, on a connection that had carried one, and that had not
	failed, refused           atomic.Int64 // answered with an error; connections refused
	begun, ended, lostStreams atomic.Int64 // streams of gRPC
	refusedStreams            atomic.Int64 // that no server has seen
	conns, lostConns          atomic.Int64 // opaque
	took                      time.Duration

	executed sync.Map // how often each request of HTTP/1 was, by its path: *atomic.Int64
	got      sync.Map // the paths that were answered
	why      sync.Map // what happened to those that were lost
}

func (l *tally) counts() []*atomic.Int64 {
	return []*atomic.Int64{
		&l.requests, &l.answered, &l.told, &l.lostOpen, &l.lostFresh, &l.failed, &l.refused,
		&l.begun, &l.ended, &l.lostStreams, &l.refusedStreams, &l.conns, &l.lostConns,
	}
}

func (l *tally) add(other *tally) {
	theirs := other.counts()
	for i, n := range l.counts() {
		n.Add(theirs[i].Load())
	}
	l.took += other.took
}

func (l *tally) lost() int64 {
	return l.lostOpen.Load() + l.lostFresh.Load() + l.lostStreams.Load() + l.lostConns.Load()
}

// String says it in one line.
func (l *tally) String() string {
	return fmt.Sprintf("HTTP/1: %d requests, %d answered, %d lost on open connections and %d on new ones, %d answered with an error, %d connections refused, %d told to leave; "+
		"gRPC: %d streams, %d ended, %d lost, %d refused; opaque: %d connections, %d lost; %v",
		l.requests.Load(), l.answered.Load(), l.lostOpen.Load(), l.lostFresh.Load(), l.failed.Load(), l.refused.Load(), l.told.Load(),
		l.begun.Load(), l.ended.Load(), l.lostStreams.Load(), l.refusedStreams.Load(), l.conns.Load(), l.lostConns.Load(), l.took.Round(time.Millisecond))
}

// check compares what clients were answered with what applications did.
func (l *tally) check(t *testing.T) {
	t.Helper()
	l.executed.Range(func(id, n any) bool {
		if times := n.(*atomic.Int64).Load(); times > 1 {
			t.Errorf("%v was executed %d times", id, times)
		}
		return true
	})
	l.got.Range(func(id, _ any) bool {
		if _, ok := l.executed.Load(id); !ok {
			t.Errorf("%v was answered and not executed", id)
		}
		return true
	})
	l.why.Range(func(what, err any) bool {
		t.Logf("%v: %v", what, err)
		return true
	})
}

// progress waits until all kinds of load are under way.
func (l *tally) progress(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-tick.C {
		if l.answered.Load() > 500 && l.begun.Load() >= 64 && l.conns.Load() >= 8 {
			return
		}
	}
	t.Fatalf("the load is not under way: %s", l)
}

// A drainApp is the applications: they answer a request with its path, a message
// with as many bytes as it asks for, and a line with that line.
type drainApp struct{ web, chat, db string }

func newDrainApp(t *testing.T, l *tally) *drainApp {
	t.Helper()
	db, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	go func() {
		for {
			c, err := db.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); _, _ = io.Copy(c, c) }()
		}
	}()
	return &drainApp{web: l.origin(t), chat: interopServer(t), db: db.Addr().String()}
}

// origin notes what it executes.
func (l *tally) origin(t *testing.T) string {
	t.Helper()
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := l.executed.LoadOrStore(r.URL.Path, new(atomic.Int64))
		n.(*atomic.Int64).Add(1)
		fmt.Fprint(w, r.URL.Path)
	})}
	go func() { _ = s.Serve(web) }()
	t.Cleanup(func() { _ = s.Close() })
	return web.Addr().String()
}

// A drainClient sends requests of HTTP/1 on a connection that is kept, until it is
// told to leave, and then on another, until nobody takes one. It tries nothing twice.
type drainClient struct {
	*tally
	addr, name string
	slow       bool // it thinks for up to 3 s, and sees meanwhile whether its connection is closed
	sent       int
}

func (c *drainClient) run(stop <-chan struct{}) {
	ended := time.Time{}
	for {
		select {
		case <-stop:
			stop, ended = nil, time.Now().Add(15*time.Second)
		default:
		}
		if !ended.IsZero() && time.Now().After(ended) { // whom it asks has not ended
			return
		}
		conn, err := net.DialTimeout("tcp", c.addr, 5*time.Second)
		if err != nil {
			c.refused.Add(1)
			return
		}
		c.connection(conn)
		_ = conn.Close()
		<-time.After(2 * time.Millisecond)
	}
}

// connection uses one connection for as long as it may.
func (c *drainClient) connection(conn net.Conn) {
	rd := bufio.NewReader(conn)
	for n := 0; ; n++ {
		c.sent++
		id := fmt.Sprintf("/%s-%d", c.name, c.sent)
		again, err := c.exchange(conn, rd, id)
		if err != nil {
			if n > 0 {
				c.lostOpen.Add(1)
			} else {
				c.lostFresh.Add(1)
			}
			c.why.Store(id, err)
			return
		}
		if !again || !c.think(conn, rd) {
			return
		}
	}
}

// exchange makes one request, and reports whether another may follow.
func (c *drainClient) exchange(conn net.Conn, rd *bufio.Reader, id string) (again bool, err error) {
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	c.requests.Add(1)
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: web\r\n\r\n", id); err != nil {
		return false, err
	}
	resp, err := http.ReadResponse(rd, nil)
	if err != nil {
		return false, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return false, err
	}
	if resp.Close {
		c.told.Add(1)
	}
	switch {
	case resp.StatusCode >= 500: // the next sidecar, or the application, is not there any more
		c.failed.Add(1)
		return false, nil
	case resp.StatusCode != 200 || string(body) != id:
		return false, fmt.Errorf("%d %q", resp.StatusCode, body)
	}
	c.answered.Add(1)
	c.got.Store(id, true)
	return !resp.Close, nil
}

// think lets time go by. It reports whether the connection is open still, if it looks.
func (c *drainClient) think(conn net.Conn, rd *bufio.Reader) bool {
	if !c.slow {
		<-time.After(2 * time.Millisecond)
		return true
	}
	_ = conn.SetReadDeadline(time.Now().Add(rand.N(3 * time.Second)))
	_, err := rd.Peek(1)
	return errors.Is(err, os.ErrDeadlineExceeded)
}

func dialGRPC(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return cc
}

// streams has one stream after another, each of which says a message and hears the
// answer for up to two seconds. It ends when no server is there.
func (l *tally) streams(ctx context.Context, cc *grpc.ClientConn, stop <-chan struct{}) {
	for {
		heard, err := l.stream(ctx, cc)
		switch {
		case err == nil:
			l.ended.Add(1)
		case heard == 0 && (strings.Contains(err.Error(), "refused") || strings.Contains(err.Error(), "in fail-fast")):
			l.refusedStreams.Add(1)
			return
		default:
			l.lostStreams.Add(1)
			l.why.Store(fmt.Sprintf("stream %p", &heard), fmt.Errorf("after %d messages: %w", heard, err))
			return
		}
		select {
		case <-stop: // one more, and it is enough
			return
		default:
		}
	}
}

func (l *tally) stream(ctx context.Context, cc *grpc.ClientConn) (heard int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	s, err := testgrpc.NewTestServiceClient(cc).FullDuplexCall(ctx)
	if err != nil {
		return 0, err
	}
	message := &testgrpc.StreamingOutputCallRequest{ResponseParameters: []*testgrpc.ResponseParameters{{Size: 10}}}
	for until := time.Now().Add(rand.N(2 * time.Second)); heard == 0 || time.Now().Before(until); heard++ {
		if err := s.Send(message); err != nil && !errors.Is(err, io.EOF) {
			return heard, err
		}
		if _, err := s.Recv(); err != nil {
			return heard, err
		}
		if heard == 0 {
			l.begun.Add(1)
		}
		<-time.After(5 * time.Millisecond)
	}
	if err := s.CloseSend(); err != nil {
		return heard, err
	}
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		return heard, fmt.Errorf("at the end: %w", err)
	}
	return heard, nil
}

// opaque says lines and hears them, goes on with that for up to two seconds after
// stop, and leaves in order.
func (l *tally) opaque(addr string, stop <-chan struct{}) {
	c, err := net.Dial("tcp", addr)
	if err == nil {
		l.conns.Add(1)
		err = talk(c.(*net.TCPConn), stop)
		_ = c.Close()
	}
	if err != nil {
		l.lostConns.Add(1)
		l.why.Store(fmt.Sprintf("opaque %p", c), err)
	}
}

func talk(c *net.TCPConn, stop <-chan struct{}) error {
	line := []byte("line\n")
	var until time.Time
	for until.IsZero() || time.Now().Before(until) {
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Write(line); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, make([]byte, len(line))); err != nil {
			return err
		}
		select {
		case <-stop:
			stop, until = nil, time.Now().Add(rand.N(2*time.Second))
		case <-time.After(5 * time.Millisecond):
		}
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	if n, err := io.Copy(io.Discard, c); n > 0 || err != nil {
		return fmt.Errorf("%d bytes too many, %w", n, err)
	}
	return nil
}
