package h2_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/l7/h2"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// TestWindows has a body that nobody reads: its sender is stopped at the stream's
// window, several at the connection's, and credit comes only by reading.
func TestWindows(t *testing.T) {
	read := make(chan struct{})
	svc := func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
		if r.Path == "/hold" {
			<-read
		}
		n, err := readAll(ctx, r.Body)
		resp := &stack.Response{Status: 200, Body: stack.Empty()}
		resp.Header.Add("x-size", fmt.Sprint(n))
		return resp, err
	}
	p := connect(t, serve(t, svc, params(func(p *h2.Params) { p.StreamWindow = 100_000; p.ConnWindow = 250_000 })))
	p.send()
	p.until("SETTINGS", func() bool { return p.windows[0] > 0 })
	if p.settings[4] != 100_000 || p.windows[0] != 250_000-65535 {
		t.Errorf("told windows %v, %v", p.settings, p.windows)
	}
	for _, id := range []uint32{1, 3} {
		p.headers(id, fWhole, append(hold(), "x", "y")...)
		for range 10 {
			p.frame(tData, 0, id, make([]byte, 10_000)...)
		}
	}
	p.sync()
	if p.windows[0] != 250_000-65535 || p.windows[1] != 0 {
		t.Errorf("credit %v for what nobody has read", p.windows)
	}
	p.post(5) // the connection has room for 50,000 more, and those are read
	for range 5 {
		p.frame(tData, 0, 5, make([]byte, 10_000)...)
	}
	p.data(5, fEnd, "")
	p.send()
	if got := p.status(5); got != "200" || p.fields[5]["x-size"] != "50000" {
		t.Errorf("the stream beside: %s, %v", got, p.fields[5])
	}
	close(read)
	p.until("credit", func() bool { return p.windows[1] >= 75_000 && p.windows[0] >= 250_000-65535+180_000 })
	p.data(1, fEnd, "").data(3, fEnd, "")
	p.send()
	if a, b := p.status(1), p.status(3); a != "200" || b != "200" {
		t.Errorf("answers %s, %s", a, b)
	}
}

// TestConnectionWindow goes over the connection's window by streams each within
// theirs.
func TestConnectionWindow(t *testing.T) {
	p := connect(t, serve(t, (&witness{}).serve, params(func(p *h2.Params) { p.ConnWindow = 65535 })))
	for id := uint32(1); id < 9; id += 2 {
		p.headers(id, fWhole, hold()...).frame(tData, 0, id, make([]byte, 16384)...)
	}
	p.data(7, 0, "x")
	p.send()
	p.drain()
	if len(p.goAways) != 1 || p.goAways[0].code != stack.FlowControlError {
		t.Errorf("got %s", p)
	}
}

// TestPeersWindows changes what a client takes, under a response: it is obeyed to the
// byte, also below zero.
func TestPeersWindows(t *testing.T) {
	svc := func(context.Context, *stack.Request) (*stack.Response, error) {
		return &stack.Response{Status: 200, Body: stack.Bytes(make([]byte, 200_000))}, nil
	}
	p := connect(t, serve(t, svc, params()))
	p.setting(4, 1000)
	p.get(1)
	p.send()
	p.until("a window", func() bool { return p.size[1] >= 1000 })
	p.setting(4, 10).window(1, 500) // 490 below zero, and then 10 above
	p.send()
	p.sync()
	p.until("ten bytes", func() bool { return p.size[1] >= 1000 })
	if p.size[1] != 1000 {
		t.Errorf("%d bytes within a window of 1000", p.size[1])
	}
	p.window(1, 500)
	p.send()
	p.sync()
	p.until("more", func() bool { return p.size[1] >= 1010 })
	if p.size[1] != 1010 {
		t.Errorf("%d bytes, want 1010", p.size[1])
	}
	p.setting(4, 1<<20)
	p.send()
	p.until("the connection's window", func() bool { return p.size[1] >= 65535 })
	p.sync()
	if p.size[1] != 65535 {
		t.Errorf("%d bytes within a connection's window of 65535", p.size[1])
	}
	p.window(0, 1<<20)
	p.send()
	if got := p.status(1); got != "200" || p.size[1] != 200_000 {
		t.Errorf("%s, %d bytes", got, p.size[1])
	}
}

// TestMaxStreams refuses what is over the limit, and takes more when there is room.
func TestMaxStreams(t *testing.T) {
	p := connect(t, serve(t, (&witness{}).serve, params(func(p *h2.Params) { p.MaxStreams = 3 })))
	for id := uint32(1); id < 7; id += 2 {
		p.headers(id, fEndHead, hold()...)
	}
	p.get(7)
	p.send()
	if got := p.status(7); got != "reset REFUSED_STREAM" || p.settings[3] != 3 {
		t.Errorf("the fourth: %s, told %v", got, p.settings)
	}
	p.reset(1, stack.Cancel)
	got := ""
	for id := uint32(9); id < 2000 && got != "200"; id += 2 { // until its work has heard of it
		p.get(id)
		p.send()
		got = p.status(id)
	}
	if got != "200" {
		t.Errorf("a further one: %s", got)
	}
}

// TestLimits goes over each limit in time.
func TestLimits(t *testing.T) {
	for name, tt := range map[string]struct {
		pieces []string
		want   stack.ErrCode
	}{
		"a preface that is dribbled":       {[]string{"PRI * ", "HTTP/2.0"}, stack.SettingsTimeout},
		"no SETTINGS":                      {[]string{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}, stack.SettingsTimeout},
		"a header block that does not end": {[]string{string(newScript().hello().take()), string(newScript().frame(tHeaders, fEnd, 1, 0x82).take())}, stack.SettingsTimeout},
		"a HEADERS frame that is dribbled": {[]string{string(newScript().hello().take()), "\x00\x00\x05\x01\x05\x00", "\x00\x00\x01\x82"}, stack.SettingsTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				ended := make(chan error, 1)
				began := time.Now()
				go func() { ended <- h2.Serve(t.Context(), &stack.Conn{Conn: far}, (&witness{}).serve, params()) }()
				p := newPeer(t, near)
				go func() {
					for _, piece := range tt.pieces {
						_, _ = near.Write([]byte(piece))
						time.Sleep(2 * time.Second)
					}
				}()
				for p.err == nil {
					p.next()
				}
				near.Close()
				if err := <-ended; err == nil || len(p.goAways) != 1 || p.goAways[0].code != tt.want {
					t.Errorf("%v, and told %v", err, p.goAways)
				}
				if took := time.Since(began); took < 5*time.Second || took > 8*time.Second {
					t.Errorf("after %v, want 5 s from its beginning", took)
				}
			})
		})
	}
}

// TestDrain stops a server: streams that there are finish, and none is begun after the
// second GOAWAY, nor does what comes on such a one harm the others.
func TestDrain(t *testing.T) {
	goOn := make(chan struct{})
	svc := func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
		if r.Path == "/hold" {
			<-goOn
		}
		return &stack.Response{Status: 200, Body: stack.Empty()}, ctx.Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	p, ended := serveOne(ctx, t, svc, params(func(p *h2.Params) { p.DrainTime = realWait }), asSocket)
	p.hello()
	p.headers(1, fEndHead, hold()...)
	p.sync()
	cancel()
	p.until("the first GOAWAY and PING", func() bool { return len(p.goAways) == 1 && len(p.pings) == 1 })
	p.get(3)
	p.send()
	if got := p.status(3); got != "200" || p.goAways[0] != (goneAway{1<<31 - 1, stack.NoError, ""}) {
		t.Errorf("between the two: %s, %v", got, p.goAways)
	}
	p.frame(tPing, fAck, 0, p.pings[0].Data[:]...)
	p.send()
	p.until("the second GOAWAY", func() bool { return len(p.goAways) == 2 })
	if p.goAways[1] != (goneAway{3, stack.NoError, ""}) {
		t.Errorf("second GOAWAY %v", p.goAways[1])
	}
	p.post(5).data(5, 0, "x").window(5, 1).data(5, fEnd, "y").reset(5, stack.Cancel)
	p.sync()
	close(goOn)
	if got := p.status(1); got != "200" || p.over(5) {
		t.Errorf("the held one: %s; %s", got, p)
	}
	p.drain()
	p.nc.Close()
	if err := <-ended; err != nil {
		t.Errorf("Serve returns %v", err)
	}
}

// TestLeaving asks a client to leave as soon as it says something.
func TestLeaving(t *testing.T) {
	p, ended := serveOne(t.Context(), t, (&witness{}).serve, params(func(p *h2.Params) { p.Leaving = func() bool { return true } }), asSocket)
	p.hello()
	p.get(1)
	p.send()
	p.until("both GOAWAYs", func() bool { return len(p.goAways) == 2 && p.over(1) })
	p.drain()
	p.nc.Close()
	if err := <-ended; err != nil || p.heads[1][0] != "200" {
		t.Errorf("%v, %s", err, p)
	}
}

// TestKeepAlive pings a silent peer only while there is a stream, unless told, and
// ends a connection whose peer does not answer.
func TestKeepAlive(t *testing.T) {
	for _, tt := range []struct {
		name                     string
		stream, whileIdle, reply bool
		pings                    int
		ends                     bool
	}{
		{"idle", false, false, true, 0, false},
		{"idle, and asked for", false, true, true, 5, false},
		{"with a stream", true, false, true, 5, false},
		{"without an answer", true, false, false, 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				ended := make(chan error, 1)
				go func() {
					ended <- h2.Serve(context.Background(), &stack.Conn{Conn: far}, (&witness{}).serve, params(func(p *h2.Params) {
						p.KeepAliveInterval, p.KeepAliveTimeout, p.KeepAliveWhileIdle = 10*time.Second, 3*time.Second, tt.whileIdle
					}))
				}()
				p := newPeer(t, near)
				over := make(chan struct{})
				go func() {
					defer close(over)
					for p.err == nil {
						n := len(p.pings)
						if p.next(); len(p.pings) > n && tt.reply {
							_, _ = near.Write(newScript().frame(tPing, fAck, 0, p.pings[n].Data[:]...).take())
						}
					}
				}()
				s := newScript().hello()
				if tt.stream {
					s.headers(1, fWhole, hold()...)
				}
				_, _ = near.Write(s.take())
				time.Sleep(105 * time.Second)
				synctest.Wait()
				select {
				case err := <-ended:
					if !tt.ends || !errors.Is(err, h2.ErrKeepAlive) {
						t.Errorf("ended by %v", err)
					}
					ended <- err
				default:
					if tt.ends {
						t.Error("goes on")
					}
				}
				near.Close()
				<-over
				<-ended
				if len(p.pings) < tt.pings || tt.pings == 0 && len(p.pings) > 0 || tt.ends && len(p.pings) != tt.pings {
					t.Errorf("%d pings, want %d", len(p.pings), tt.pings)
				}
			})
		})
	}
}

// TestResetsPass has each side give up with a code, which the other sees.
func TestResetsPass(t *testing.T) {
	seen := make(chan string, 1)
	s := answers(t, func(p *peer, _ int) {
		p.frame(tSettings, 0, 0)
		p.send()
		for n := 1; ; n++ {
			id, ok := p.begun(n)
			if !ok {
				return
			}
			if strings.HasSuffix(p.heads[id][0], "/give-up") {
				p.headers(id, fWhole, ":status", "200").reset(id, stack.InadequateSecurity)
				p.send()
				continue
			}
			p.receive(func() bool { return p.over(id) })
			seen <- p.resets[id].String()
		}
	})
	p := connect(t, serve(t, pool(t, s.addr.String(), params()).Do, params()))
	p.headers(1, fEndHead, ":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/give-up")
	p.send()
	p.until("a reset", func() bool { return p.over(1) })
	if p.resets[1] != stack.InadequateSecurity || p.ended[1] {
		t.Errorf("the client sees %s", p)
	}
	p.post(3)
	p.sync()
	p.reset(3, stack.EnhanceYourCalm)
	p.send()
	if got := <-seen; got != "ENHANCE_YOUR_CALM" && got != "NO_ERROR" {
		t.Errorf("the server sees %s", got)
	}
}

// TestExchangeEnds has a client reset its stream, or leave: the Service is told.
func TestExchangeEnds(t *testing.T) {
	for name, leave := range map[string]func(p *peer){
		"reset": func(p *peer) { p.reset(1, stack.Cancel); p.send() },
		"close": func(p *peer) { p.nc.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			began, why := make(chan struct{}), make(chan error, 1)
			p := connect(t, serve(t, func(ctx context.Context, _ *stack.Request) (*stack.Response, error) {
				close(began)
				<-ctx.Done()
				why <- context.Cause(ctx)
				return nil, context.Cause(ctx)
			}, params()))
			p.get(1)
			p.send()
			<-began
			leave(p)
			if err := <-why; err == nil {
				t.Error("ended without a cause")
			}
		})
	}
}

// TestThrough has net/http's client and server speak through both sides of ours:
// interim responses, 100 (Continue), and trailers alone.
func TestThrough(t *testing.T) {
	at := serve(t, pool(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/alone" {
			w.Header().Set("grpc-status", "5")
			return
		}
		w.Header().Set("link", "x")
		w.WriteHeader(103)
		_, _ = io.Copy(w, r.Body)
	}), params()).Do, params())
	s := connect(t, at)
	s.headers(1, fWhole, append(target(), "expect", "100-continue")...)
	s.send()
	s.until("100", func() bool { return len(s.heads[1]) >= 2 })
	s.data(1, fEnd, "content")
	s.send()
	if s.status(1); fmt.Sprint(s.heads[1]) != "[103 100 200]" || s.content[1] != "content" {
		t.Errorf("got %s, %q", s, s.content[1])
	}
	s.headers(3, fEndHead, ":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/alone")
	s.send()
	if s.status(3); len(s.heads[3]) != 1 || s.fields[3]["grpc-status"] != "5" {
		t.Errorf("got %s, %v", s, s.fields[3])
	}
}

// TestFurtherConnection opens one more when the server's limit of streams is reached,
// and obeys a limit that was lowered, and a table that is gone.
func TestFurtherConnection(t *testing.T) {
	full, second := make(chan struct{}), make(chan struct{}) // the connections have their streams
	s := answers(t, func(p *peer, nth int) {
		p.setting(3, 2).setting(1, 0)
		p.send()
		p.receive(func() bool { return p.acks >= 2 && len(p.order) >= 2 })
		switch nth {
		case 1:
			close(full)
			<-second // an answer would make room here
		case 2:
			close(second)
		}
		for _, id := range p.order {
			p.headers(id, fEndHead, ":status", "200", "x-conn", fmt.Sprint(nth))
		}
		p.send()
		p.linger()
	})
	pl := pool(t, s.addr.String(), params())
	over := make(chan string, 4)
	for range 2 {
		go func() { over <- outcome(t.Context(), pl, "GET", "/x") }()
	}
	<-full
	for range 2 {
		go func() { over <- outcome(t.Context(), pl, "GET", "/x") }()
	}
	for range 4 {
		if got := <-over; got != wholeAnswer {
			t.Error(got)
		}
	}
	if n := s.count(); n != 2 {
		t.Errorf("%d connections", n)
	}
}
