package h1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/guard"
	"github.com/outrigger-mesh/outrigger/proxy/l4"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A parkable connection tells when it is parked.
type parkable struct {
	*l4.Conn
	parks chan struct{}
}

func (p parkable) WaitReadable() error {
	select {
	case p.parks <- struct{}{}:
	default:
	}
	return p.Conn.WaitReadable()
}

// A parking is one connection that Serve has, its client, and what becomes of both.
type parking struct {
	t      *testing.T
	client *net.TCPConn
	rd     *bufio.Reader
	parks  chan struct{}
	drain  context.CancelFunc
	ended  chan error // what Serve returned, or panicked with
}

func startParking(t *testing.T, svc stack.Service, p Params) *parking {
	t.Helper()
	ctx, drain := context.WithCancel(context.Background())
	t.Cleanup(drain)
	k := &parking{t: t, parks: make(chan struct{}, 1), drain: drain, ended: make(chan error, 1)}
	k.client = dial(t, listen(t, func(c *net.TCPConn) {
		defer func() {
			if v := recover(); v != nil {
				k.ended <- fmt.Errorf("panic: %v", v)
			}
		}()
		k.ended <- Serve(ctx, &stack.Conn{Conn: parkable{raw(c).(*l4.Conn), k.parks}}, svc, &p)
	}))
	k.rd = bufio.NewReader(k.client)
	k.parked()
	return k
}

// parked waits until the connection is.
func (k *parking) parked() {
	k.t.Helper()
	wait(k.t, k.parks, "the connection to be parked")
}

func (k *parking) say(text string) {
	k.t.Helper()
	if _, err := io.WriteString(k.client, text); err != nil {
		k.t.Fatal(err)
	}
}

// answer reads one answer, and returns its content.
func (k *parking) answer() (content string, resp *http.Response) {
	k.t.Helper()
	resp, err := http.ReadResponse(k.rd, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		k.t.Fatal(err)
	}
	return string(b), resp
}

// end waits until Serve has ended.
func (k *parking) end() error {
	k.t.Helper()
	select {
	case err := <-k.ended:
		return err
	case <-time.After(10 * time.Second):
		k.t.Fatal("timed out waiting for Serve's end")
		return nil
	}
}

func post(content string) string {
	return fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(content), content)
}

// TestParked: whatever comes on a connection that is parked is served as ever.
func TestParked(t *testing.T) {
	k := startParking(t, echoing, testParams())
	for i := range 3 {
		k.say(post(fmt.Sprint(i)) + post("piped"))
		for _, want := range []string{fmt.Sprint(i), "piped"} {
			if got, _ := k.answer(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		k.parked()
	}
	request := post("in pieces")
	k.say(request[:20])
	pause(50 * time.Millisecond) // in which one that idled would be parked
	k.say(request[20:])
	if got, _ := k.answer(); got != "in pieces" {
		t.Errorf("got %q of a request in two pieces", got)
	}
	k.parked()
	_ = k.client.Close()
	if err := k.end(); err != nil {
		t.Errorf("after the client has closed: %v", err)
	}
}

// TestParkedRemembersEmptyLines: they are counted across parking.
func TestParkedRemembersEmptyLines(t *testing.T) {
	k := startParking(t, echoing, testParams())
	for range maxEmptyLines {
		k.say("\r\n")
		k.parked()
	}
	k.say("\r\n")
	if _, resp := k.answer(); resp.StatusCode != 400 {
		t.Errorf("an empty line too many: %d", resp.StatusCode)
	}
	_ = k.client.Close()
	_ = k.end()
}

// TestParkedDrains: a connection that is parked, or about to be, is closed when it
// is to be drained.
func TestParkedDrains(t *testing.T) {
	for i := range 40 {
		k := startParking(t, echoing, testParams())
		k.say(post("x"))
		k.answer()
		pause(time.Duration(i%8) * time.Millisecond / 2)
		k.drain()
		if err := k.end(); err != nil {
			t.Errorf("round %d: %v", i, err)
		}
		if _, err := k.rd.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("round %d: %v, want the regular end", i, err)
		}
	}
}

// TestParkedLeaving: one that is parked is left alone until its next request.
func TestParkedLeaving(t *testing.T) {
	var leaving atomic.Bool
	p := testParams()
	p.Leaving = leaving.Load
	k := startParking(t, echoing, p)
	k.say(post("x"))
	if _, resp := k.answer(); resp.Close {
		t.Error("told to leave too early")
	}
	k.parked()
	leaving.Store(true)
	k.say(post("x"))
	if _, resp := k.answer(); !resp.Close {
		t.Error("not told to leave")
	}
	if err := k.end(); err != nil {
		t.Error(err)
	}
}

// TestParkedWatches: that the client leaves is seen on a connection that was parked.
func TestParkedWatches(t *testing.T) {
	gone := make(chan error, 1)
	k := startParking(t, func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
		if r.Path == "/slow" {
			_ = r.Body.Close(nil) // as a client does that has sent all of it
			<-ctx.Done()
			gone <- ctx.Err()
			return nil, ctx.Err()
		}
		return echoing(ctx, r)
	}, testParams())
	k.say(post("x"))
	k.answer()
	k.parked()
	k.say("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	pause(30 * time.Millisecond)
	_ = k.client.Close()
	if err := <-gone; !errors.Is(err, ErrClientGone) {
		t.Errorf("%v, want that the client has left", err)
	}
	_ = k.end()
}

// TestPanicStaysWithItsConnection: its client is answered, its connection closed, and
// whoever called Serve goes on, though it happens on a worker.
func TestPanicStaysWithItsConnection(t *testing.T) {
	p := testParams()
	var counted atomic.Int32
	p.Guard = &guard.Guard{Log: slog.New(slog.DiscardHandler), Count: func(string) { counted.Add(1) }}
	k := startParking(t, func(context.Context, *stack.Request) (*stack.Response, error) { panic("evil") }, p)
	k.say(post("x"))
	_, resp := k.answer()
	if resp.StatusCode != 500 || !resp.Close {
		t.Errorf("answered %d, close %t", resp.StatusCode, resp.Close)
	}
	var lost *guard.Error
	if err := k.end(); !errors.As(err, &lost) || !strings.Contains(lost.Value, "evil") || counted.Load() != 1 {
		t.Errorf("%v, counted %d, want the panic", err, counted.Load())
	}
}

// TestParkingLosesNothing sends requests about when their connection is parked.
func TestParkingLosesNothing(t *testing.T) {
	p := testParams()
	p.ClientWatch = 4 * time.Millisecond
	addr := serve(t, echoing, p, raw)
	var clients sync.WaitGroup
	for i := range 16 {
		clients.Go(func() {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			rd := bufio.NewReader(c)
			for j := range 200 {
				want := fmt.Sprintf("%d of %d", j, i)
				request := post(want)
				cut := rand.IntN(len(request))
				_, _ = io.WriteString(c, request[:cut])
				if j%4 == 0 {
					pause(time.Duration(rand.IntN(1000)) * time.Microsecond)
				}
				_, _ = io.WriteString(c, request[cut:])
				resp, err := http.ReadResponse(rd, nil)
				if err != nil {
					t.Errorf("%s: %v", want, err)
					return
				}
				if got, err := io.ReadAll(resp.Body); err != nil || string(got) != want {
					t.Errorf("got %q, %v; want %q", got, err, want)
					return
				}
				pause(p.ClientWatch - 500*time.Microsecond + time.Duration(rand.IntN(1500))*time.Microsecond)
			}
		})
	}
	clients.Wait()
}

// pause lets time go by, for what a program on the other side of a socket does.
func pause(d time.Duration) { <-time.After(d) }
