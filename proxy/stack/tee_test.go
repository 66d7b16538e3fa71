package stack_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// chunks is a body of some chunks, which then fails with err.
type chunks struct {
	stack.Body
	rest []string
	err  error
}

func body(err error, rest ...string) *chunks { return &chunks{stack.Empty(), rest, err} }

func (c *chunks) Next(context.Context) ([]byte, error) {
	if len(c.rest) == 0 {
		return nil, c.err
	}
	next := c.rest[0]
	c.rest = c.rest[1:]
	return []byte(next), nil
}

type record struct {
	data strings.Builder
	ends []error
}

func (r *record) Data(chunk []byte) { r.data.Write(chunk) }
func (r *record) End(err error)     { r.ends = append(r.ends, err) }

func readAll(ctx context.Context, b stack.Body) error {
	for {
		if _, err := b.Next(ctx); err != nil {
			return err
		}
	}
}

func TestTee(t *testing.T) {
	errReset := errors.New("reset")
	for name, tt := range map[string]struct {
		body stack.Body
		read func(context.Context, stack.Body)
		data string
		end  error
	}{
		"read to the end": {
			body(io.EOF, "he", "llo"), func(ctx context.Context, b stack.Body) { readAll(ctx, b); b.Close(nil) }, "hello", nil,
		},
		"end with the last chunk": {
			stack.Bytes([]byte("hello")), func(ctx context.Context, b stack.Body) { b.Next(ctx) }, "hello", nil,
		},
		"failed": {
			body(errReset, "he"), func(ctx context.Context, b stack.Body) { readAll(ctx, b); b.Close(nil) }, "he", errReset,
		},
		"closed half way": {
			body(io.EOF, "he", "llo"), func(ctx context.Context, b stack.Body) { b.Next(ctx); b.Close(nil) }, "he", stack.ErrClosed,
		},
		"closed with a cause": {
			body(io.EOF, "he", "llo"), func(ctx context.Context, b stack.Body) { b.Next(ctx); b.Close(errReset) }, "he", errReset,
		},
		"closed and again": {
			body(io.EOF, "hello"), func(_ context.Context, b stack.Body) { b.Close(nil); b.Close(errReset) }, "", stack.ErrClosed,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var a, b record
			resp := &stack.Response{Status: 200, Body: tt.body}
			resp.Observe(&a)
			once := resp.Body
			resp.Observe(&b)
			if resp.Body != once {
				t.Error("the second Tee wrapped the first")
			}
			tt.read(t.Context(), resp.Body)
			for _, r := range []*record{&a, &b} {
				if r.data.String() != tt.data || len(r.ends) != 1 || !errors.Is(r.ends[0], tt.end) {
					t.Errorf("saw %q, ended %v; want %q, ended once with %v", r.data.String(), r.ends, tt.data, tt.end)
				}
			}
		})
	}
}

func TestTeeHidesNothingOfTheBody(t *testing.T) {
	resp := &stack.Response{Status: 200, Body: stack.Bytes([]byte("hello"))}
	resp.Body.Trailer().Add("grpc-status", "0")
	resp.Observe(stack.OnEnd(func(error) {}))
	if n, known := resp.Body.Size(); n != 5 || !known {
		t.Errorf("size = %d, %t; want 5, true", n, known)
	}
	if s := resp.Body.Trailer().Get("grpc-status"); s != "0" {
		t.Errorf("trailer = %q, want 0", s)
	}
	if !resp.Body.AtHand() {
		t.Error("content at hand seems not to be")
	}
}

// TestTeeOfATunnelGoesOnToItsEnd: WebSockets must stay visible to load, drain and metrics.
func TestTeeOfATunnelGoesOnToItsEnd(t *testing.T) {
	var r record
	resp := &stack.Response{Status: 101, Tunnel: true, Body: body(io.EOF, "bytes")}
	resp.Observe(&r)
	if len(r.ends) != 0 {
		t.Fatal("the tunnel's observer ended before the tunnel")
	}
	_ = readAll(t.Context(), resp.Body)
	if r.data.String() != "bytes" || len(r.ends) != 1 {
		t.Errorf("saw %q, ended %v", r.data.String(), r.ends)
	}
}

// TestTeeDetachesAnObserverThatPanics: an observer cannot fail the client.
func TestTeeDetachesAnObserverThatPanics(t *testing.T) {
	var r record
	resp := &stack.Response{Status: 200, Body: body(io.EOF, "he", "llo")}
	calls := 0
	resp.Observe(panics{&calls})
	resp.Observe(&r)
	if err := readAll(t.Context(), resp.Body); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if calls != 1 || r.data.String() != "hello" || len(r.ends) != 1 {
		t.Errorf("panicking observer called %d times; the other saw %q, %v", calls, r.data.String(), r.ends)
	}
}

type panics struct{ calls *int }

func (p panics) Data([]byte) { *p.calls++; panic("observer") }
func (p panics) End(error)   { *p.calls++ }

// TestTeeOfAStoppedNext: a Next that its context stopped may be called again,
// so it is not the end.
func TestTeeOfAStoppedNext(t *testing.T) {
	var r record
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	resp := &stack.Response{Status: 200, Body: body(context.Canceled)}
	resp.Observe(&r)
	if _, err := resp.Body.Next(ctx); !errors.Is(err, context.Canceled) || len(r.ends) != 0 {
		t.Fatalf("%v, ended %v", err, r.ends)
	}
	_ = resp.Body.Close(errors.New("reset"))
	if len(r.ends) != 1 {
		t.Errorf("ended %v", r.ends)
	}
}

// TestPanicIsTold with its cause, also of an observer that a wrapper came before.
func TestPanicIsTold(t *testing.T) {
	for _, wrapped := range []bool{false, true} {
		var told []any
		resp := &stack.Response{Status: 200, Body: body(io.EOF, "he", "llo")}
		if wrapped {
			resp.Observe(stack.OnEnd(func(error) {}))
			resp.Body = struct{ stack.Body }{resp.Body}
		}
		resp.Observe(panics{new(int)})
		resp.Observe(stack.OnEnd(func(error) { panic("at the end") }))
		resp.OnPanic(func(cause any) { told = append(told, cause) })
		_ = readAll(t.Context(), resp.Body)
		if len(told) != 2 || told[0] != "observer" || told[1] != "at the end" {
			t.Errorf("wrapped %t: told %v", wrapped, told)
		}
	}
	r := &stack.Request{Body: body(io.EOF, "he")}
	told := 0
	r.OnPanic(func(any) { told++ })
	r = r.Clone()
	r.Observe(panics{new(int)})
	if _ = readAll(t.Context(), r.Body); told != 1 {
		t.Errorf("of a request, told %d times", told)
	}
}

// TestLeaver is told that it was the reader who ended the body, and only then.
func TestLeaver(t *testing.T) {
	for name, tt := range map[string]struct {
		read func(stack.Body)
		left int
	}{
		"read to the end": {func(b stack.Body) { _ = readAll(t.Context(), b); _ = b.Close(nil) }, 0},
		"left":            {func(b stack.Body) { _ = b.Close(nil); _ = b.Close(nil) }, 1},
	} {
		l := &leaver{}
		resp := &stack.Response{Status: 200, Body: body(io.EOF, "he", "llo")}
		resp.Observe(l)
		tt.read(resp.Body)
		if l.left != tt.left || l.leftAtEnd != tt.left || len(l.ends) != 1 {
			t.Errorf("%s: left %d times, %d ahead of the end; ended %v", name, l.left, l.leftAtEnd, l.ends)
		}
	}
}

type leaver struct {
	record

	left, leftAtEnd int
}

func (l *leaver) Left()         { l.left++ }
func (l *leaver) End(err error) { l.leftAtEnd = l.left; l.record.End(err) }

// TestObservers are found by who shares one among several.
func TestObservers(t *testing.T) {
	resp := &stack.Response{Status: 200, Body: body(io.EOF)}
	if len(resp.Observers()) != 0 {
		t.Error("observers of a body that nobody observes")
	}
	l := &leaver{}
	resp.Observe(stack.OnEnd(func(error) {}))
	resp.Observe(l)
	if all := resp.Observers(); len(all) != 2 || all[1] != stack.Observer(l) {
		t.Errorf("%v", all)
	}
	r := &stack.Request{Body: body(io.EOF)}
	if r.Observe(l); len(r.Observers()) != 1 {
		t.Errorf("%v", r.Observers())
	}
}
