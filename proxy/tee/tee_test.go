package tee_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
	"github.com/outrigger-mesh/outrigger/proxy/tee"
)

// block is what is taken of the budget at a time.
const block = 32 << 10

func config(change ...func(*tee.Config)) tee.Config {
	c := tee.Config{Bytes: 64 << 20, MessageBytes: 16 << 20, ConsumerBytes: 16 << 20, Consumers: 4, Running: 10_000, Stall: 10 * time.Second}
	for _, f := range change {
		f(&c)
	}
	return c
}

// newTee returns a Tee whose consumers must all have ended when the test has, and
// have given everything back.
func newTee(tb testing.TB, change ...func(*tee.Config)) *tee.Tee {
	tb.Helper()
	t := tee.New(config(change...))
	tb.Cleanup(func() {
		if err := t.Close(5 * time.Second); err != nil {
			tb.Error(err)
		}
		settled(tb, t)
	})
	return t
}

// settled fails the test if t still holds something.
func settled(tb testing.TB, t *tee.Tee) {
	tb.Helper()
	s := t.Stats()
	if s.BudgetUsed != 0 {
		tb.Errorf("%d bytes are still held", s.BudgetUsed)
	}
	for _, c := range s.Consumers {
		if c.Lag != 0 || c.Running != 0 {
			tb.Errorf("consumer %s: %d bytes behind, %d running", c.Name, c.Lag, c.Running)
		}
	}
}

// chunks is a body of some chunks, which then ends with err.
type chunks struct {
	stack.Body
	rest  [][]byte
	err   error
	size  int64 // -1 if it is not known
	joint bool  // the last chunk comes with the end
}

func content(err error, rest ...string) *chunks {
	b := &chunks{Body: stack.Empty(), err: err, size: -1}
	for _, r := range rest {
		b.rest = append(b.rest, []byte(r))
	}
	return b
}

func (c *chunks) Size() (int64, bool) { return max(0, c.size), c.size >= 0 }

func (c *chunks) Next(context.Context) ([]byte, error) {
	if len(c.rest) == 0 {
		return nil, c.err
	}
	next := c.rest[0]
	c.rest = c.rest[1:]
	if c.joint && len(c.rest) == 0 {
		return next, c.err
	}
	return next, nil
}

func get() *stack.Request { return &stack.Request{Method: "GET", Body: stack.Empty()} }

func ok(b stack.Body) *stack.Response { return &stack.Response{Status: 200, Body: b} }

// readAll reads b as a codec does, and closes it.
func readAll(b stack.Body) (got []byte, err error) {
	for {
		chunk, err := b.Next(context.Background())
		got = append(got, chunk...)
		if err != nil {
			_ = b.Close(nil)
			return got, err
		}
	}
}

// A kept is what a consumer has read.
type kept struct {
	data []byte
	err  error
	end  tee.End
	done chan struct{}
}

// keep returns a consumer that keeps what it reads, and may be asked once it is done.
func keep() (*kept, tee.Consume) {
	k := &kept{done: make(chan struct{})}
	return k, func(ctx context.Context, s *tee.Stream) error {
		defer close(k.done)
		for {
			chunk, err := s.Next(ctx)
			k.data = append(k.data, chunk...)
			if err != nil {
				k.err, k.end = err, s.End()
				return nil
			}
		}
	}
}

// stuck never reads.
func stuck(ctx context.Context, _ *tee.Stream) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

func reasons(t *tee.Tee, name string) map[tee.Reason]int64 {
	for _, c := range t.Stats().Consumers {
		if c.Name == name {
			return c.Detached
		}
	}
	return nil
}

func wantReason(tb testing.TB, t *tee.Tee, name string, why tee.Reason, n int64) {
	tb.Helper()
	if got := reasons(t, name); got[why] != n || n > 0 && len(got) != 1 {
		tb.Errorf("%s was detached: %v; want %d for %v only", name, got, n, why)
	}
}

// TestStates has a content end in each of its ways.
func TestStates(t *testing.T) {
	errCut := errors.New("connection reset by peer")
	grpc := func(r *stack.Response) { r.Header.Add("content-type", "application/grpc+proto") }
	for name, tt := range map[string]struct {
		body  *chunks
		head  func(*stack.Request, *stack.Response)
		read  func(b stack.Body)
		state tee.State
		err   error
		data  string
	}{
		"whole":           {body: content(io.EOF, "he", "llo"), state: tee.Complete, data: "hello"},
		"as long as said": {body: &chunks{Body: stack.Empty(), rest: [][]byte{[]byte("hello")}, err: io.EOF, size: 5, joint: true}, state: tee.Complete, data: "hello"},
		"shorter":         {body: &chunks{Body: stack.Empty(), rest: [][]byte{[]byte("hell")}, err: io.EOF, size: 5}, state: tee.ServerFailed, err: tee.ErrLength, data: "hell"},
		"longer":          {body: &chunks{Body: stack.Empty(), rest: [][]byte{[]byte("hello!")}, err: io.EOF, size: 5}, state: tee.ServerFailed, err: tee.ErrLength, data: "hello!"},
		"of HEAD": {
			body: &chunks{Body: stack.Empty(), err: io.EOF, size: 5}, state: tee.Complete,
			head: func(r *stack.Request, _ *stack.Response) { r.Method = "HEAD" },
		},
		"304": {
			body: &chunks{Body: stack.Empty(), err: io.EOF, size: 5}, state: tee.Complete,
			head: func(_ *stack.Request, r *stack.Response) { r.Status = 304 },
		},
		"to the connection's end": {
			body: content(io.EOF, "hello"), state: tee.Unverified, data: "hello",
			head: func(_ *stack.Request, r *stack.Response) { r.Unframed = true },
		},
		"gRPC without a status": {
			body: content(io.EOF, "hello"), state: tee.ServerFailed, err: tee.ErrNoStatus, data: "hello",
			head: func(_ *stack.Request, r *stack.Response) { grpc(r) },
		},
		"gRPC": {
			body: content(io.EOF, "hello"), state: tee.Complete, data: "hello",
			head: func(_ *stack.Request, r *stack.Response) { grpc(r); r.Body.Trailer().Add("grpc-status", "0") },
		},
		"gRPC of a head only": {
			body: content(io.EOF), state: tee.Complete,
			head: func(_ *stack.Request, r *stack.Response) { grpc(r); r.Header.Add("grpc-status", "5") },
		},
		"failed": {body: content(errCut, "he"), state: tee.ServerFailed, err: errCut, data: "he"},
		"client left": {
			body: content(io.EOF, "he", "llo"), state: tee.ClientAbort, err: errCut, data: "he",
			read: func(b stack.Body) { _, _ = b.Next(context.Background()); _ = b.Close(errCut) },
		},
		"client left without a cause": {
			body: content(io.EOF, "he", "llo"), state: tee.ClientAbort, err: stack.ErrClosed,
			read: func(b stack.Body) { _ = b.Close(nil) },
		},
		"out of time, as its reader has it": {
			body: content(io.EOF, "he", "llo"), state: tee.Timeout, err: context.DeadlineExceeded,
			read: func(b stack.Body) { _ = b.Close(fmt.Errorf("response: %w", context.DeadlineExceeded)) },
		},
		"out of time, as its server has it": {body: content(os.ErrDeadlineExceeded), state: tee.Timeout, err: os.ErrDeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			tees := newTee(t)
			c := tees.Consumer(tee.Options{Name: "test"})
			req, resp := get(), ok(tt.body)
			if tt.head != nil {
				tt.head(req, resp)
			}
			k, consume := keep()
			if err := c.Response(req, resp, consume); err != nil {
				t.Fatal(err)
			}
			if tt.read == nil {
				tt.read = func(b stack.Body) { _, _ = readAll(b) }
			}
			tt.read(resp.Body)
			<-k.done
			if string(k.data) != tt.data || k.end.State != tt.state || !errors.Is(k.end.Err, tt.err) || k.end.Bytes != int64(len(tt.data)) {
				t.Errorf("read %q, ended %+v; want %q, %v, %v", k.data, k.end, tt.data, tt.state, tt.err)
			}
			if (k.err == io.EOF) != (tt.state == tee.Complete) { //nolint:errorlint // the contract is io.EOF itself
				t.Errorf("%v ended with %v", tt.state, k.err)
			}
			if n := tees.Stats().Ends[tt.state]; n != 1 {
				t.Errorf("%d messages are counted as %v", n, tt.state)
			}
			if len(reasons(tees, "test")) != 0 {
				t.Errorf("detached: %v", reasons(tees, "test"))
			}
		})
	}
}

func TestTrailerIsACopy(t *testing.T) {
	tees := newTee(t)
	resp := ok(content(io.EOF, "x"))
	resp.Body.Trailer().Add("x-sum", "1")
	trailer := resp.Body.Trailer()
	k, consume := keep()
	_ = tees.Consumer(tee.Options{Name: "test"}).Response(get(), resp, consume)
	_, _ = readAll(resp.Body)
	trailer.Set("x-sum", "recycled")
	<-k.done
	if got := k.end.Trailer.Get("x-sum"); got != "1" {
		t.Errorf("trailer %q", got)
	}
}

// TestShutdown: what the proxy itself cuts is nobody else's doing.
func TestShutdown(t *testing.T) {
	tees := newTee(t)
	resp := ok(content(io.EOF, "x"))
	k, consume := keep()
	_ = tees.Consumer(tee.Options{Name: "test"}).Response(get(), resp, consume)
	tees.Cut()
	_ = resp.Body.Close(errors.New("use of closed network connection"))
	<-k.done
	if k.end.State != tee.CutShort {
		t.Errorf("ended %+v", k.end)
	}
}

// TestRequestStates: of a request, it is the other side that sends and the other that reads.
func TestRequestStates(t *testing.T) {
	errGone := errors.New("client closed the connection")
	for name, tt := range map[string]struct {
		read  func(b stack.Body)
		err   error
		state tee.State
	}{
		"whole":                   {func(b stack.Body) { _, _ = readAll(b) }, io.EOF, tee.Complete},
		"client failed":           {func(b stack.Body) { _, _ = readAll(b) }, errGone, tee.ClientAbort},
		"client left":             {func(b stack.Body) { _ = b.Close(errGone) }, io.EOF, tee.ClientAbort},
		"answered without a read": {func(b stack.Body) { _ = b.Close(nil) }, io.EOF, tee.ServerFailed},
	} {
		tees := newTee(t)
		r := &stack.Request{Method: "POST", Body: content(tt.err, "hello")}
		k, consume := keep()
		if err := tees.Consumer(tee.Options{Name: "test"}).Request(r, consume); err != nil {
			t.Fatal(err)
		}
		tt.read(r.Body)
		<-k.done
		if k.end.State != tt.state {
			t.Errorf("%s: ended %+v, want %v", name, k.end, tt.state)
		}
	}
}

// TestReasons has consumers misbehave in each way. The client gets what it gets
// without them, and so does a consumer beside them.
func TestReasons(t *testing.T) {
	var parts []string
	for i := range 32 {
		parts = append(parts, strings.Repeat(fmt.Sprintf("%08d", i), 8<<10)) // 64 KiB, of which no two are alike
	}
	var over chan struct{} // closed when the client has all
	for name, tt := range map[string]struct {
		config  func(*tee.Config)
		options tee.Options
		consume tee.Consume
		why     tee.Reason
	}{
		"never reads":           {consume: stuck, options: tee.Options{Bytes: 1 << 20}, why: tee.Overrun},
		"holds all of its part": {consume: stuck, config: func(c *tee.Config) { c.MessageBytes = 1 << 20 }, why: tee.Overrun},
		"holds all there is":    {consume: stuck, config: func(c *tee.Config) { c.Bytes = 1 << 20 }, why: tee.Budget},
		"errs": {consume: func(ctx context.Context, s *tee.Stream) error {
			_, _ = s.Next(ctx)
			return errors.New("disk is full")
		}, why: tee.Failed},
		"errs at once": {consume: func(context.Context, *tee.Stream) error { return errors.New("disk is gone") }, why: tee.Failed},
		"closes":       {consume: func(context.Context, *tee.Stream) error { return nil }, why: tee.Closed},
		"panics":       {consume: func(context.Context, *tee.Stream) error { panic("consumer") }, why: tee.Panicked},
		"panics with a chunk in its hand": {consume: func(ctx context.Context, s *tee.Stream) error {
			if _, err := s.Next(ctx); err == nil {
				panic("consumer")
			}
			return nil
		}, why: tee.Panicked},
		"sticks with a chunk in its hand": {options: tee.Options{Bytes: 512 << 10}, consume: func(ctx context.Context, s *tee.Stream) error {
			chunk, err := s.Next(ctx)
			before := bytes.Clone(chunk)
			<-ctx.Done()
			<-over
			if err == nil && !bytes.Equal(before, chunk) {
				t.Error("the chunk in hand has changed")
			}
			return nil
		}, why: tee.Overrun},
	} {
		t.Run(name, func(t *testing.T) {
			type ended struct {
				name string
				why  tee.Reason
				err  error
			}
			told := make(chan ended, 1)
			over = make(chan struct{})
			change := []func(*tee.Config){func(c *tee.Config) {
				c.Ended = func(consumer string, why tee.Reason, err error) { told <- ended{consumer, why, err} }
			}}
			if tt.config != nil {
				change = append(change, tt.config)
			}
			tees := newTee(t, change...)
			tt.options.Name = "bad"
			bad, good := tees.Consumer(tt.options), tees.Consumer(tee.Options{Name: "good"})
			resp := ok(content(io.EOF, parts...))
			if err := bad.Response(get(), resp, tt.consume); err != nil {
				t.Fatal(err)
			}
			k, consume := keep()
			_ = good.Response(get(), resp, consume)
			want := strings.Join(parts, "")
			var got []byte
			for err := error(nil); err == nil; {
				var chunk []byte
				chunk, err = resp.Body.Next(t.Context())
				got = append(got, chunk...)
				caughtUp(tees)
			}
			close(over)
			_ = resp.Body.Close(nil)
			<-k.done
			if string(got) != want || string(k.data) != want || k.err != io.EOF { //nolint:errorlint // the contract
				t.Errorf("client has %d bytes, the good consumer %d and %v; want %d", len(got), len(k.data), k.err, len(want))
			}
			e := <-told
			if e.name != "bad" || e.why != tt.why {
				t.Errorf("told of %q, %v, %v", e.name, e.why, e.err)
			}
			if tt.why == tee.Panicked && !strings.Contains(e.err.Error(), "tee_test.go") {
				t.Errorf("panic without its stack: %v", e.err)
			}
			wantReason(t, tees, "bad", tt.why, 1)
			wantReason(t, tees, "good", tt.why, 0)
		})
	}
}

// caughtUp waits for the good consumer, whose pace is not what is tried.
func caughtUp(t *tee.Tee) {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		lag := int64(0)
		for _, c := range t.Stats().Consumers {
			if c.Name == "good" {
				lag = c.Lag
			}
		}
		if lag == 0 {
			return
		}
	}
}

// TestRefusals has messages not be shown at all.
func TestRefusals(t *testing.T) {
	for name, tt := range map[string]struct {
		config func(*tee.Config)
		before func(*tee.Tee, *stack.Response)
		why    tee.Reason
	}{
		"tunnel":       {func(*tee.Config) {}, func(_ *tee.Tee, r *stack.Response) { r.Tunnel = true }, tee.Tunnel},
		"one too many": {func(c *tee.Config) { c.Consumers = 1 }, occupy, tee.TooMany},
		"too many in the proxy": {func(c *tee.Config) { c.Running = 1 }, func(tees *tee.Tee, _ *stack.Response) {
			_ = tees.Consumer(tee.Options{Name: "first"}).Response(get(), ok(content(io.EOF)), stuck)
		}, tee.TooMany},
		"being read": {func(*tee.Config) {}, func(tees *tee.Tee, r *stack.Response) {
			occupy(tees, r)
			_, _ = r.Body.Next(context.Background())
		}, tee.Late},
		"at the end": {func(*tee.Config) {}, func(tees *tee.Tee, _ *stack.Response) { _ = tees.Close(0) }, tee.Shutdown},
	} {
		tees := tee.New(config(tt.config))
		resp := ok(content(io.EOF, "hello"))
		tt.before(tees, resp)
		err := tees.Consumer(tee.Options{Name: "test"}).Response(get(), resp, func(context.Context, *tee.Stream) error {
			t.Errorf("%s: consumer runs", name)
			return nil
		})
		var detached *tee.DetachedError
		if !errors.As(err, &detached) || detached.Reason != tt.why {
			t.Errorf("%s: %v, want %v", name, err, tt.why)
		}
		wantReason(t, tees, "test", tt.why, 1)
		_ = resp.Body.Close(nil)
		_ = tees.Close(time.Millisecond)
	}
}

func occupy(tees *tee.Tee, r *stack.Response) {
	_ = tees.Consumer(tee.Options{Name: "first"}).Response(get(), r, stuck)
}

// TestTunnelIsShownToWhoAsks: but it never is whole.
func TestTunnelIsShownToWhoAsks(t *testing.T) {
	tees := newTee(t)
	c := tees.Consumer(tee.Options{Name: "test", Tunnels: true})
	r := &stack.Request{Method: "CONNECT", Body: content(io.EOF, "there")}
	resp := &stack.Response{Status: 200, Tunnel: true, Body: content(io.EOF, "back")}
	there, consumeThere := keep()
	back, consumeBack := keep()
	if err := errors.Join(c.Request(r, consumeThere), c.Response(r, resp, consumeBack)); err != nil {
		t.Fatal(err)
	}
	_, _ = readAll(r.Body)
	_, _ = readAll(resp.Body)
	<-there.done
	<-back.done
	if string(there.data) != "there" || string(back.data) != "back" || there.end.State != tee.Unverified || back.end.State != tee.Unverified {
		t.Errorf("%q %+v, %q %+v", there.data, there.end, back.data, back.end)
	}
}

// TestStalled: who reads nothing of what there is holds it for a while only.
func TestStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tees := newTee(t)
		resp := ok(content(io.EOF, "hello"))
		idle := ok(content(io.EOF))
		_ = tees.Consumer(tee.Options{Name: "stuck"}).Response(get(), resp, stuck)
		k, consume := keep()
		_ = tees.Consumer(tee.Options{Name: "idle"}).Response(get(), idle, consume)
		_, _ = resp.Body.Next(t.Context())
		if got := tees.Stats().BudgetUsed; got != block {
			t.Errorf("%d bytes are held, want %d", got, block)
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		wantReason(t, tees, "stuck", tee.Stalled, 1)
		wantReason(t, tees, "idle", tee.Stalled, 0)
		if got := tees.Stats().BudgetUsed; got != 0 {
			t.Errorf("%d bytes are held", got)
		}
		_, _ = readAll(resp.Body)
		_, _ = readAll(idle.Body)
		<-k.done
	})
}

// TestSlowIsNotStalled: a consumer may be slow, and is shown all.
func TestSlowIsNotStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tees := newTee(t)
		var parts []string
		for range 100 {
			parts = append(parts, strings.Repeat("x", block))
		}
		resp := ok(content(io.EOF, parts...))
		read := 0
		_ = tees.Consumer(tee.Options{Name: "slow"}).Response(get(), resp, func(ctx context.Context, s *tee.Stream) error {
			for {
				chunk, err := s.Next(ctx)
				if read += len(chunk); err != nil {
					return err
				}
				time.Sleep(9 * time.Second)
			}
		})
		_, _ = readAll(resp.Body)
		time.Sleep(time.Hour)
		synctest.Wait()
		if read != 100*block {
			t.Errorf("%d bytes were read: %v", read, reasons(tees, "slow"))
		}
	})
}

// TestIdleHoldsNothing: a thousand watches in which nothing happens leave the
// budget to others.
func TestIdleHoldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tees := newTee(t, func(c *tee.Config) { c.Bytes = 1 << 20 })
		c := tees.Consumer(tee.Options{Name: "test"})
		var all []*stack.Response
		var kepts []*kept
		for range 1000 {
			resp := ok(content(io.EOF, "event", "event"))
			k, consume := keep()
			if err := c.Response(get(), resp, consume); err != nil {
				t.Fatal(err)
			}
			all, kepts = append(all, resp), append(kepts, k)
			_, _ = resp.Body.Next(t.Context())
			synctest.Wait()
		}
		if got := tees.Stats().BudgetUsed; got != 0 {
			t.Errorf("%d bytes are held", got)
		}
		for i, resp := range all {
			_, _ = readAll(resp.Body)
			if <-kepts[i].done; string(kepts[i].data) != "eventevent" {
				t.Fatalf("%q", kepts[i].data)
			}
		}
	})
}

// TestStuckLeaveRoom: those who have stopped reading do not take the budget from
// those who read, and all together stay within it.
func TestStuckLeaveRoom(t *testing.T) {
	const budget = 4 << 20
	tees := newTee(t, func(c *tee.Config) { c.Bytes, c.MessageBytes, c.ConsumerBytes = budget, budget, budget })
	c := tees.Consumer(tee.Options{Name: "stuck"})
	chunk := strings.Repeat("x", 16<<10)
	peak := int64(0)
	for i := range 40 {
		resp := ok(content(io.EOF, slices.Repeat([]string{chunk}, 300)...))
		_ = c.Response(get(), resp, stuck)
		for range 60 + i%2*200 { // every second would take all there is
			if tees.Stats().BudgetUsed > budget-2*block {
				break
			}
			_, _ = resp.Body.Next(t.Context())
			peak = max(peak, tees.Stats().BudgetUsed)
		}
		defer resp.Body.Close(nil)
	}
	if peak > budget {
		t.Errorf("%d bytes were held of %d", peak, budget)
	}
	if left := budget - tees.Stats().BudgetUsed; left < 2*block {
		t.Errorf("%d bytes are left for others", left)
	}
	resp := ok(content(io.EOF, slices.Repeat([]string{chunk}, 10)...))
	k, consume := keep()
	_ = tees.Consumer(tee.Options{Name: "good"}).Response(get(), resp, consume)
	for err := error(nil); err == nil; {
		_, err = resp.Body.Next(t.Context())
		caughtUp(tees)
	}
	if <-k.done; k.err != io.EOF || len(k.data) != 10*len(chunk) { //nolint:errorlint // the contract
		t.Errorf("%d bytes, %v", len(k.data), k.err)
	}
	_ = tees.Close(time.Millisecond) // nobody needs to wait for those who are stuck
}

// TestBudgetIsNotExceeded by messages each of which would need little.
func TestBudgetIsNotExceeded(t *testing.T) {
	tees := newTee(t, func(c *tee.Config) { c.Bytes = 2 * block })
	c := tees.Consumer(tee.Options{Name: "stuck"})
	for range 4 {
		resp := ok(content(io.EOF, strings.Repeat("x", 20<<10)))
		_ = c.Response(get(), resp, stuck)
		_, _ = readAll(resp.Body)
	}
	if used := tees.Stats().BudgetUsed; used != 2*block {
		t.Errorf("%d bytes are held, want %d", used, 2*block)
	}
	wantReason(t, tees, "stuck", tee.Budget, 2)
	_ = tees.Close(time.Millisecond)
}

// TestCloseWaits for what commits, and tells what goes on to stop.
func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tees := tee.New(config())
		c := tees.Consumer(tee.Options{Name: "test"})
		resp := ok(content(io.EOF, "x"))
		committed := false
		_ = c.Response(get(), resp, func(ctx context.Context, s *tee.Stream) error {
			for {
				if _, err := s.Next(ctx); err == io.EOF { //nolint:errorlint // the contract
					disk := time.NewTimer(500 * time.Millisecond)
					defer disk.Stop()
					select {
					case <-disk.C:
						committed = true
					case <-ctx.Done():
					}
					return nil
				}
			}
		})
		_, _ = readAll(resp.Body)
		if err := tees.Close(time.Second); err != nil || !committed {
			t.Errorf("%v, committed %t", err, committed)
		}
		settled(t, tees)

		tees = tee.New(config())
		c = tees.Consumer(tee.Options{Name: "test"})
		var told error
		_ = c.Response(get(), ok(content(io.EOF, "x")), func(ctx context.Context, s *tee.Stream) error {
			_, told = s.Next(ctx)
			return told
		})
		if err := tees.Close(time.Second); err != nil {
			t.Error(err)
		}
		var detached *tee.DetachedError
		if !errors.As(told, &detached) || detached.Reason != tee.Shutdown {
			t.Errorf("told %v", told)
		}
		settled(t, tees)

		tees = tee.New(config())
		release := make(chan struct{})
		_ = tees.Consumer(tee.Options{Name: "test"}).Response(get(), ok(content(io.EOF, "x")), func(context.Context, *tee.Stream) error {
			<-release
			return nil
		})
		if err := tees.Close(time.Second); err == nil {
			t.Error("a consumer that does not end was not told of")
		}
		close(release)
	})
}

// TestNextMayGiveUp: a consumer may wait for as long as it likes, and go on.
func TestNextMayGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tees := newTee(t)
		resp := ok(content(io.EOF, "x"))
		gaveUp := 0
		_ = tees.Consumer(tee.Options{Name: "test"}).Response(get(), resp, func(ctx context.Context, s *tee.Stream) error {
			for {
				short, cancel := context.WithTimeout(ctx, time.Second)
				_, err := s.Next(short)
				cancel()
				if errors.Is(err, context.DeadlineExceeded) {
					gaveUp++
				} else if err != nil {
					return nil //nolint:nilerr // it is the end
				}
			}
		})
		time.Sleep(3500 * time.Millisecond)
		_, _ = readAll(resp.Body)
		synctest.Wait()
		if gaveUp != 3 || len(reasons(tees, "test")) != 0 {
			t.Errorf("gave up %d times, detached %v", gaveUp, reasons(tees, "test"))
		}
	})
}

// FuzzChunks shows a content, cut in any way, to four consumers that read at
// different paces: all get what the client gets.
func FuzzChunks(f *testing.F) {
	f.Add([]byte("hello, world"), uint64(1), false)
	f.Add(bytes.Repeat([]byte("x"), 1000), uint64(7), true)
	f.Fuzz(func(t *testing.T, data []byte, seed uint64, joint bool) {
		if len(data) > 0 { // some are to fill blocks
			data = bytes.Repeat(data, 1+int(seed%200_000)/len(data))
		}
		rnd := rand.New(rand.NewPCG(seed, 1))
		body := &chunks{Body: stack.Empty(), err: io.EOF, size: -1, joint: joint}
		for rest := data; len(rest) > 0; {
			n := 1 + rnd.IntN(min(len(rest), 1<<rnd.IntN(18)))
			body.rest = append(body.rest, rest[:n])
			rest = rest[n:]
		}
		tees := newTee(t)
		resp := ok(body)
		var wait sync.WaitGroup
		for i := range 4 {
			wait.Add(1)
			err := tees.Consumer(tee.Options{Name: fmt.Sprint(i)}).Response(get(), resp, func(ctx context.Context, s *tee.Stream) error {
				defer wait.Done()
				var got []byte
				for {
					chunk, err := s.Next(ctx)
					got = append(got, chunk...)
					if err != nil {
						if err != io.EOF || !bytes.Equal(got, data) { //nolint:errorlint // the contract
							t.Errorf("consumer %d: %d bytes of %d, %v", i, len(got), len(data), err)
						}
						return err
					}
					for range i * len(got) % 7 {
						runtime.Gosched()
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if got, err := readAll(resp.Body); err != io.EOF || !bytes.Equal(got, data) { //nolint:errorlint // the contract
			t.Errorf("client: %d bytes of %d, %v", len(got), len(data), err)
		}
		wait.Wait()
	})
}
