package h2_test

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/l7/h2"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A grammar makes frames of a fuzzer's bytes: most are as they should be, so that what
// is not meets a connection that is in use.
type grammar struct {
	*script
	in []byte
}

func (g *grammar) byte() byte {
	if len(g.in) == 0 {
		return 0
	}
	b := g.in[0]
	g.in = g.in[1:]
	return b
}

func (g *grammar) take(n int) []byte {
	n = min(n, len(g.in))
	p := g.in[:n]
	g.in = g.in[n:]
	return p
}

// id is mostly one of few streams.
func (g *grammar) id() uint32 {
	if b := g.byte(); b < 240 {
		return uint32(b%16)*2 + 1
	}
	return uint32(g.byte())
}

// flags are mostly right, for one whose right ones those are.
func (g *grammar) flags(right uint8) uint8 {
	if b := g.byte(); b > 230 {
		return g.byte()
	}
	return right
}

// fuzzedFields are what heads are made of; the first are those that requests begin with.
func fuzzedFields() []string {
	return []string{
		":method", "POST", ":method", "CONNECT", ":scheme", "http", ":authority", "a", ":authority", "u@b", ":path", "/", ":path", "x",
		":status", "200", ":status", "103", ":protocol", "x", "host", "a", "host", "b", "content-length", "3", "content-length", "0",
		"te", "trailers", "te", "x", "connection", "close", "transfer-encoding", "chunked", "X", "y", "x", " y", "x", "a\nb", "", "z",
		"x-end", "1", "l5d-client-id", "x", "expect", "100-continue", "l5d-orig-proto", "HTTP/1.1", "x", strings.Repeat("~", 500),
	}
}

// head returns fields: good ones, and then some of the fuzzer's choice.
func (g *grammar) head(good ...string) []byte {
	all := fuzzedFields()
	f := good
	if g.byte() > 240 {
		f = nil
	}
	for range g.byte() % 4 {
		i := int(g.byte()) % (len(all) / 2)
		f = append(f, all[2*i], all[2*i+1])
	}
	if g.byte() > 250 {
		f = append(f, "x-"+string(g.take(4)), string(g.take(8)))
	}
	b := g.block(f...)
	if g.byte() > 252 {
		b = append(b, g.take(6)...)
	}
	return b
}

// next appends one frame, or some that belong together.
func (g *grammar) next(good ...string) {
	id := g.id()
	switch g.byte() % 16 {
	case 0, 1, 2:
		g.frame(tHeaders, g.flags(fEndHead), id, g.head(good...)...)
	case 3, 4:
		g.frame(tHeaders, g.flags(fWhole), id, g.head(good...)...)
	case 5:
		b := g.head(good...)
		n := len(b) / 2
		g.frame(tHeaders, g.flags(fEnd), id, b[:n]...).frame(tContinuation, g.flags(fWhole), id, b[n:]...)
	case 6:
		g.frame(tHeaders, g.flags(fEndHead), id, g.head()...) // a trailer, perhaps
	case 7, 8:
		g.frame(tData, g.flags(0), id, g.grown()...)
	case 9:
		g.frame(tData, g.flags(fEnd), id, g.grown()...)
	case 10:
		g.frame(tReset, 0, id, 0, 0, 0, g.byte())
	case 11:
		g.frame(tWindowUpdate, 0, id*uint32(g.byte()%2), g.byte()&1, 0, g.byte(), g.byte())
	case 12:
		g.frame(tSettings, g.flags(0), 0, 0, g.byte()%8, 0, g.byte()%4, g.byte(), g.byte())
	case 13:
		g.frame(tPing, g.flags(0), 0, make([]byte, 8)...)
	case 14:
		g.frame(tGoAway, 0, 0, 0, 0, 0, g.byte(), 0, 0, 0, g.byte())
	default:
		p := g.take(int(g.byte() % 32))
		g.long(len(p)+int(g.byte()>>6), g.byte(), g.byte(), id, p...)
	}
}

func (g *grammar) grown() []byte {
	b := g.byte()
	if b > 200 {
		return make([]byte, int(b-200)*250)
	}
	return g.take(int(b % 8))
}

// pieces writes p in pieces of the fuzzer's choice.
func pieces(nc net.Conn, p []byte, piece int) {
	for len(p) > 0 {
		n := min(len(p), piece)
		if _, err := nc.Write(p[:n]); err != nil {
			return
		}
		p = p[n:]
	}
}

// fuzzed is how long one input may take. It is far more than any needs.
const fuzzed = 20 * time.Second

func seeds(f *testing.F) {
	f.Helper()
	f.Add([]byte{}, 7)
	for i := range byte(16) { // each kind of frame, twice, on two streams
		f.Add([]byte{0, i, 0, 0, 0, 0, 0, 0, 0, 1, i, 3, 1, 2, 3, 4, 5, 6}, 1000)
		f.Add(bytes.Repeat([]byte{0, 3, 0, 0, 0, 0, 0, 0, i, 0, 3, 'a', 'b', 'c', 0, 9, 0, 0}, 4), int(i)+1)
		f.Add(bytes.Repeat([]byte{i, 0, 250, i, 255, 3, i, 251, 253, 1, 2, 3}, 8), 64)
	}
}

// FuzzServe sends frames to a server: it answers or ends, and its Service sees nothing
// that is malformed.
func FuzzServe(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, in []byte, piece int) {
		if len(in) > 4<<10 {
			return
		}
		w := &witness{}
		near, far := net.Pipe()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		ended := make(chan error, 1)
		go func() {
			ended <- h2.Serve(ctx, &stack.Conn{Conn: far}, w.serve, params(func(p *h2.Params) { p.MaxStreams, p.DrainTime = 8, time.Millisecond }))
		}()
		g := &grammar{newScript(), in}
		g.hello()
		for len(g.in) > 0 {
			g.next(target()...)
		}
		p := newPeer(t, near)
		read := make(chan struct{})
		go func() {
			defer close(read)
			for p.err == nil {
				p.next()
			}
		}()
		_ = near.SetWriteDeadline(time.Now().Add(fuzzed))
		pieces(near, g.script.take(), max(1, piece&0xfff))
		near.Close()
		timeout := time.NewTimer(fuzzed)
		defer timeout.Stop()
		select {
		case <-ended:
		case <-timeout.C:
			t.Fatal("Serve does not return")
		}
		<-read
		if _, bad := w.seen(); len(bad) > 0 {
			t.Errorf("the service saw %q", bad)
		}
	})
}

// FuzzPool has a server answer requests with frames: each ends, and what is answered
// is well-formed.
func FuzzPool(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, in []byte, piece int) {
		if len(in) > 4<<10 {
			return
		}
		near, far := net.Pipe()
		ctx, cancel := context.WithCancel(context.Background())
		dials := 0
		dial := func(context.Context, stack.Session) (*stack.Conn, error) {
			if dials++; dials > 1 {
				return nil, net.ErrClosed
			}
			return &stack.Conn{Conn: far}, nil
		}
		pl := h2.NewPool(ctx, dial, params(func(p *h2.Params) { p.DrainTime = time.Millisecond }), nil)
		p := newPeer(t, near)
		read, wrote := make(chan struct{}), make(chan struct{})
		begun := make(chan struct{})
		go func() {
			defer close(read)
			preface := make([]byte, 24)
			_, _ = near.Read(preface)
			for p.err == nil {
				n := len(p.order)
				if p.next(); n < 3 && len(p.order) == 3 {
					close(begun)
				}
			}
			if len(p.order) < 3 {
				close(begun)
			}
		}()
		go func() {
			defer close(wrote)
			<-begun
			g := &grammar{newScript(), in}
			g.frame(tSettings, 0, 0)
			for len(g.in) > 0 {
				g.next(":status", "200")
			}
			_ = near.SetWriteDeadline(time.Now().Add(fuzzed))
			pieces(near, g.script.take(), max(1, piece&0xfff))
			near.Close()
		}()
		over := make(chan struct{}, 3)
		for range 3 {
			go func() {
				defer func() { over <- struct{}{} }()
				resp, err := ask(ctx, pl, "GET", "/x")
				if err != nil {
					return
				}
				if bad := malformedResponse(resp); len(bad) > 0 {
					t.Errorf("the service saw %q", bad)
				}
				want := resp.Header.Get("content-length")
				n, err := readAll(ctx, resp.Body)
				if err == nil && want != "" && want != "0" && resp.Status == 200 && n == 0 {
					t.Errorf("no content where %s bytes are declared", want)
				}
				_ = resp.Body.Close(err)
			}()
		}
		timeout := time.NewTimer(fuzzed)
		defer timeout.Stop()
		for range 3 {
			select {
			case <-over:
			case <-timeout.C:
				t.Fatal("a request does not end")
			}
		}
		cancel()
		<-wrote
		<-read
	})
}

// malformedResponse says what of a response no Service must see.
func malformedResponse(resp *stack.Response) (bad []string) {
	r := &stack.Request{Method: "GET", Scheme: "http", Path: "/", Header: resp.Header.Clone()}
	r.Header.Del("host") // which means nothing here
	bad = malformed(r)
	if resp.Status < 200 || resp.Status > 999 {
		bad = append(bad, "status")
	}
	return bad
}
