package h2_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/l7/h2"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A hostileAnswer is what a server sends for a request, and what becomes of it.
type hostileAnswer struct {
	name   string
	method string                   // GET unless set
	send   func(s *peer, id uint32) // its SETTINGS have been sent
	want   string                   // see outcome
	raw    bool                     // SETTINGS have not
}

// The outcomes beside those of an error, which is its cause.
const wholeAnswer = "200 whole"

// failed is an error in place of a response, cutShort one amid its body.
func failed(cause string) string   { return "failed: " + cause }
func cutShort(cause string) string { return "cut short: " + cause }

// TestHostileResponses has a server answer the first request with each of them, and
// others well.
func TestHostileResponses(t *testing.T) {
	all := hostileAnswers()
	if len(all) < 60 {
		t.Errorf("only %d", len(all))
	}
	for _, v := range all {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			s := answers(t, v.serve)
			pl := pool(t, s.addr.String(), params(func(p *h2.Params) { p.HeadTime, p.StreamWindow = time.Second, 16_000 }))
			ctx, cancel := context.WithTimeout(t.Context(), realWait)
			defer cancel()
			method := v.method
			if method == "" {
				method = "GET"
			}
			if got := outcome(ctx, pl, method, "/first"); !strings.HasPrefix(got, v.want) && !matches(got, v.want) {
				t.Errorf("got %s, want %s", got, v.want)
			}
			got := outcome(ctx, pl, "GET", "/second")
			if strings.HasPrefix(v.name, "closed") && got != wholeAnswer { // it may have met the connection that was about to end
				got = outcome(ctx, pl, "GET", "/second")
			}
			if got != wholeAnswer {
				t.Errorf("the next request: %s", got)
			}
		})
	}
}

// matches reports whether got is an outcome of want's kind, and has its cause.
func matches(got, want string) bool {
	kind, cause, ok := strings.Cut(want, ": ")
	return ok && strings.HasPrefix(got, kind+": ") && strings.Contains(got, cause)
}

// outcome sends a request, and says what became of it.
func outcome(ctx context.Context, pl *h2.Pool, method, path string) string {
	resp, err := ask(ctx, pl, method, path)
	if err != nil {
		return failed(err.Error())
	}
	_, err = readAll(ctx, resp.Body)
	status := resp.Status
	resp.Body.Close(err)
	if err != nil {
		return cutShort(err.Error())
	}
	return fmt.Sprint(status, " whole")
}

// serve answers /first by v, and all others well.
func (v *hostileAnswer) serve(p *peer, _ int) {
	if !v.raw {
		p.frame(tSettings, 0, 0)
		p.send()
	}
	for n := 1; ; n++ {
		id, ok := p.begun(n)
		if !ok {
			return
		}
		if p.heads[id][0][len(p.heads[id][0])-len("/first"):] == "/first" {
			v.send(p, id)
		} else {
			if v.raw && n == 1 {
				p.frame(tSettings, 0, 0)
			}
			p.headers(id, fWhole, ":status", "200").data(id, fEnd, "good")
		}
		p.send()
	}
}

func hostileAnswers() []hostileAnswer {
	v := headAnswers()
	v = append(v, contentAnswers()...)
	v = append(v, frameAnswers()...)
	return append(v, endAnswers()...)
}

// heads is a hostile answer of one header block, that is over with it.
func heads(name, want string, f ...string) hostileAnswer {
	return hostileAnswer{name: name, want: want, send: func(p *peer, id uint32) { p.headers(id, fEndHead, f...) }}
}

func headAnswers() []hostileAnswer {
	ok := func(name, want string, f ...string) hostileAnswer {
		return heads(name, want, append([]string{":status", "200"}, f...)...)
	}
	v := []hostileAnswer{
		ok("good", wholeAnswer),
		heads("no :status", failed("does not have :status"), "x-a", "1"),
		heads("an empty block", failed("does not have :status")),
		ok(":status twice", failed("pseudo-field twice"), ":status", "200"),
		heads(":status behind a field", failed("pseudo-field after a field"), "x-a", "1", ":status", "200"),
		ok("a request's :path", failed("does not have :status alone"), ":path", "/"),
		ok("a request's :method", failed("does not have :status alone"), ":method", "GET"),
		ok("unknown pseudo-field", failed("unknown pseudo-field"), ":reason", "OK"),
		heads("status 101", failed("101"), ":status", "101"),
		ok("a name in capitals", failed("invalid field name"), "X-A", "1"),
		ok("an empty name", failed("invalid field name"), "", "1"),
		ok("a name with CRLF", failed("invalid field name"), "x\r\ny", "1"),
		ok("a value with CRLF", failed("invalid value"), "x-a", "1\r\nset-cookie: a=b"),
		ok("a value with NUL", failed("invalid value"), "x-a", "a\x00b"),
		ok("a value with a blank ahead", failed("invalid value"), "x-a", " a"),
		ok("connection", failed("is not for HTTP/2"), "connection", "close"),
		ok("transfer-encoding", failed("is not for HTTP/2"), "transfer-encoding", "chunked"),
		ok("upgrade", failed("is not for HTTP/2"), "upgrade", "h2c"),
		ok("content-length twice", failed("content-length"), "content-length", "0", "content-length", "0"),
		ok("content-length of a sign", failed("content-length"), "content-length", "+0"),
		ok("a head of 90 KB", failed("header is too large"), "a", strings.Repeat("x", 10), "b", strings.Repeat("~", 5000), "c", strings.Repeat("~", 5000), "d", strings.Repeat("~", 1)),
	}
	v[len(v)-1] = hostileAnswer{name: "a head of 90 KB", want: failed("header is too large"), send: func(p *peer, id uint32) { p.bomb(id, 20) }}
	for _, status := range []string{"", "20", "2000", "099", "000", "+20", "2 0", "20x", " 200", "200 OK", "-20"} {
		want := failed(":status")
		if strings.HasPrefix(status, " ") {
			want = failed("")
		}
		v = append(v, heads(fmt.Sprintf(":status of %q", status), want, ":status", status))
	}
	return v
}

// bomb sends a response's head that says n times what takes 4,000 bytes, and costs
// one byte each time but the first.
func (p *peer) bomb(id uint32, n int) {
	b := p.block(":status", "200", "x-bomb", strings.Repeat("~", 3900))
	for range n {
		b = append(b, 0x80|62)
	}
	p.frame(tHeaders, fEndHead, id, b...)
}

func contentAnswers() []hostileAnswer {
	length := func(name, method, status, n, content, want string) hostileAnswer {
		return hostileAnswer{name: name, method: method, want: want, send: func(p *peer, id uint32) {
			p.headers(id, fWhole, ":status", status, "content-length", n).data(id, fEnd, content)
		}}
	}
	const wrong = "content does not have the length"
	return []hostileAnswer{
		length("as long as declared", "", "200", "5", "12345", wholeAnswer),
		length("longer than declared", "", "200", "5", "123456", cutShort(wrong)),
		length("shorter than declared", "", "200", "5", "1234", cutShort(wrong)),
		length("empty, though declared", "", "200", "5", "", cutShort(wrong)),
		length("content where none is declared", "", "200", "0", "1", cutShort(wrong)),
		length("content of HEAD", "HEAD", "200", "5", "12345", cutShort(wrong)),
		length("content of 204", "", "204", "5", "12345", cutShort(wrong)),
		length("content of 304", "", "304", "5", "12345", cutShort(wrong)),
		length("no content of HEAD", "HEAD", "200", "5", "", wholeAnswer),
		length("no content of 304", "", "304", "5", "", "304 whole"),
		heads("declared, and over with the head", cutShort(wrong), ":status", "200", "content-length", "5"),
		{name: "shorter than declared, by a trailer", want: cutShort(wrong), send: func(p *peer, id uint32) {
			p.headers(id, fWhole, ":status", "200", "content-length", "5").data(id, 0, "1234").headers(id, fEndHead, "x", "y")
		}},
		{name: "a trailer without END_STREAM", want: cutShort("without the stream's end"), send: func(p *peer, id uint32) {
			p.headers(id, fWhole, ":status", "200").data(id, 0, "1").headers(id, fWhole, "x", "y")
		}},
		{name: "two heads", want: cutShort("pseudo-field in a trailer"), send: func(p *peer, id uint32) {
			p.headers(id, fWhole, ":status", "200").headers(id, fEndHead, ":status", "200")
		}},
		{name: "a trailer that is too large", want: cutShort("too large"), send: func(p *peer, id uint32) {
			p.headers(id, fWhole, ":status", "200")
			b := p.block("x-bomb", strings.Repeat("~", 3900))
			for range 20 {
				b = append(b, 0x80|62)
			}
			p.frame(tHeaders, fEndHead, id, b...)
		}},
		{name: "DATA ahead of the head", want: failed("DATA ahead of the response's head"), send: func(p *peer, id uint32) { p.data(id, 0, "x").headers(id, fEndHead, ":status", "200") }},
		{name: "DATA alone", want: failed("DATA ahead of the response's head"), send: func(p *peer, id uint32) { p.data(id, fEnd, "x") }},
		{name: "DATA between interim and final", want: failed("DATA ahead of the response's head"), send: func(p *peer, id uint32) { p.headers(id, fWhole, ":status", "103").data(id, fEnd, "x") }},
		{name: "interim that ends the stream", want: failed("interim response ends its stream"), send: func(p *peer, id uint32) { p.headers(id, fEndHead, ":status", "103") }},
		{name: "sixteen interim responses", want: wholeAnswer, send: func(p *peer, id uint32) { p.interims(id, 16) }},
		{name: "seventeen interim responses", want: failed("too many interim responses"), send: func(p *peer, id uint32) { p.interims(id, 17) }},
		{name: "interim responses one by one", want: failed("too many interim responses"), send: func(p *peer, id uint32) {
			for range 20 {
				p.headers(id, fWhole, ":status", "103")
				p.frame(tPing, 0, 0, make([]byte, 8)...)
				n := p.pongs
				p.send()
				p.receive(func() bool { return p.pongs > n })
			}
		}},
		{name: "DATA beyond the stream's window", want: cutShort("window"), send: func(p *peer, id uint32) {
			p.headers(id, fWhole, ":status", "200")
			p.frame(tData, 0, id, make([]byte, 16384)...)
		}},
		{name: "reset with NO_ERROR behind a whole answer", want: wholeAnswer, send: func(p *peer, id uint32) {
			p.headers(id, fWhole, ":status", "200").data(id, fEnd, strings.Repeat("x", 10_000)).reset(id, stack.NoError)
		}},
		{name: "reset with NO_ERROR amid an answer", want: cutShort("NO_ERROR"), send: func(p *peer, id uint32) {
			p.headers(id, fWhole, ":status", "200").data(id, 0, "x").reset(id, stack.NoError)
		}},
		{name: "reset in place of an answer", want: failed("INTERNAL_ERROR"), send: func(p *peer, id uint32) { p.reset(id, stack.InternalError) }},
		{name: "reset with an unknown code", want: failed("error code 4294967295"), send: func(p *peer, id uint32) { p.reset(id, 1<<32-1) }},
		{name: "refused again and again", want: failed("REFUSED_STREAM"), send: func(p *peer, id uint32) { p.reset(id, stack.RefusedStream) }},
		{name: "HEADERS after the end", want: wholeAnswer, send: func(p *peer, id uint32) {
			p.headers(id, fEndHead, ":status", "200").headers(id, fEndHead, ":status", "500")
		}},
		{name: "DATA after the end", want: wholeAnswer, send: func(p *peer, id uint32) { p.headers(id, fEndHead, ":status", "200").data(id, fEnd, "evil") }},
	}
}

// interims sends n interim responses and a final one.
func (p *peer) interims(id uint32, n int) {
	for range n {
		p.headers(id, fWhole, ":status", "103", "link", "x")
	}
	p.headers(id, fEndHead, ":status", "200")
}

func frameAnswers() []hostileAnswer {
	frames := func(name, cause string, send func(p *peer, id uint32)) hostileAnswer {
		return hostileAnswer{name: name, want: failed(cause), send: send}
	}
	return []hostileAnswer{
		frames("PUSH_PROMISE", "PUSH_PROMISE", func(p *peer, id uint32) { p.frame(tPush, fWhole, id, append(u32(2), p.block(target()...)...)...) }),
		frames("SETTINGS_MAX_FRAME_SIZE of 0", "SETTINGS_MAX_FRAME_SIZE is 0", func(p *peer, _ uint32) { p.setting(5, 0) }),
		frames("SETTINGS_MAX_FRAME_SIZE of 16383", "SETTINGS_MAX_FRAME_SIZE", func(p *peer, _ uint32) { p.setting(5, 16383) }),
		frames("SETTINGS_MAX_FRAME_SIZE of 16 MiB", "SETTINGS_MAX_FRAME_SIZE", func(p *peer, _ uint32) { p.setting(5, 1<<24) }),
		frames("SETTINGS_INITIAL_WINDOW_SIZE over its limit", "SETTINGS_INITIAL_WINDOW_SIZE", func(p *peer, _ uint32) { p.setting(4, 1<<31) }),
		frames("SETTINGS_ENABLE_PUSH of 1", "SETTINGS_ENABLE_PUSH", func(p *peer, _ uint32) { p.setting(2, 1) }),
		frames("SETTINGS of 5 bytes", "SETTINGS of a wrong length", func(p *peer, _ uint32) { p.frame(tSettings, 0, 0, make([]byte, 5)...) }),
		frames("WINDOW_UPDATE over the connection's limit", "window is over its limit", func(p *peer, _ uint32) { p.window(0, 1<<31-1) }),
		frames("WINDOW_UPDATE by 0", "WINDOW_UPDATE by nothing", func(p *peer, _ uint32) { p.window(0, 0) }),
		frames("frame of 16 MiB", "frame is too long", func(p *peer, _ uint32) { p.long(1<<24-1, tData, 0, 1) }),
		frames("HEADERS of a stream that nobody began", "nobody has begun", func(p *peer, _ uint32) { p.headers(99, fEndHead, ":status", "200") }),
		frames("HEADERS of an even stream", "nobody has begun", func(p *peer, _ uint32) { p.headers(2, fEndHead, ":status", "200") }),
		frames("DATA of an idle stream", "idle stream", func(p *peer, _ uint32) { p.data(99, fEnd, "x") }),
		frames("RST_STREAM of an idle stream", "idle stream", func(p *peer, _ uint32) { p.reset(99, stack.Cancel) }),
		frames("DATA of no stream", "no stream", func(p *peer, _ uint32) { p.data(0, fEnd, "x") }),
		frames("CONTINUATION alone", "CONTINUATION without HEADERS", func(p *peer, id uint32) { p.frame(tContinuation, fWhole, id, 0x88) }),
		frames("a frame amid a header block", "amid a header block", func(p *peer, id uint32) { p.frame(tHeaders, fEnd, id, 0x88).frame(tPing, 0, 0, make([]byte, 8)...) }),
		frames("HPACK that cannot be read", "COMPRESSION_ERROR", func(p *peer, id uint32) { p.frame(tHeaders, fEndHead, id, 0x80) }),
		frames("PING of a wrong length", "PING of a wrong length", func(p *peer, _ uint32) { p.frame(tPing, 0, 0, 1) }),
		{name: "padding longer than its frame", want: cutShort("padding"), send: func(p *peer, id uint32) { p.headers(id, fWhole, ":status", "200").data(id, fPadded, "\xffx") }},
		frames("CONTINUATION without an end", "header block is too long", func(p *peer, id uint32) {
			p.frame(tHeaders, 0, id, 0x88)
			for range 200 {
				p.frame(tContinuation, 0, id, p.block("x-a", strings.Repeat("~", 4000))...)
			}
		}),
		{name: "frames of streams that are over, and unknown ones", want: wholeAnswer, send: func(p *peer, id uint32) {
			p.frame(0x0a, 0xff, 0).frame(0x0f, 0, 99, []byte("x")...).frame(tPriority, 0, id, 0, 0, 0, 0, 9).headers(id, fEndHead, ":status", "200").window(id, 1).reset(id, stack.Cancel)
		}},
		{name: "a header block that does not end", want: failed("did not come in time"), send: func(p *peer, id uint32) { p.frame(tHeaders, 0, id, 0x88) }},
		{name: "no SETTINGS", want: failed("did not come in time"), raw: true, send: func(*peer, uint32) {}},
		{name: "a first frame that is not SETTINGS", want: failed("first frame is not SETTINGS"), raw: true, send: func(p *peer, id uint32) { p.headers(id, fEndHead, ":status", "200") }},
		{name: "HTTP/1", want: failed("HTTP/2 connection"), raw: true, send: func(p *peer, _ uint32) {
			p.out.WriteString("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
		}},
	}
}

func endAnswers() []hostileAnswer {
	closing := func(send func(p *peer, id uint32)) func(p *peer, id uint32) {
		return func(p *peer, id uint32) {
			send(p, id)
			p.send()
			p.nc.Close()
		}
	}
	return []hostileAnswer{
		{name: "closed without an answer", want: failed("without an answer"), send: closing(func(*peer, uint32) {})},
		{name: "closed amid a head", want: failed("without an answer"), send: closing(func(p *peer, id uint32) { p.frame(tHeaders, 0, id, 0x88) })},
		{name: "closed amid a body", want: cutShort(""), send: closing(func(p *peer, id uint32) { p.headers(id, fWhole, ":status", "200").data(id, 0, "x") })},
		{name: "closed amid a frame", want: cutShort(""), send: closing(func(p *peer, id uint32) { p.headers(id, fWhole, ":status", "200").long(9, tData, fEnd, id, 'x') })},
		{name: "closed at a declared length's end, but without END_STREAM", want: cutShort("before the body's end"), send: closing(func(p *peer, id uint32) {
			p.headers(id, fWhole, ":status", "200", "content-length", "1").data(id, 0, "x")
		})},
		{name: "closed behind a whole answer", want: wholeAnswer, send: closing(func(p *peer, id uint32) { p.headers(id, fEndHead, ":status", "200") })},
		{name: "GOAWAY, and the answer", want: wholeAnswer, send: func(p *peer, id uint32) { p.goAway(id, stack.NoError).headers(id, fEndHead, ":status", "200") }},
		{name: "GOAWAY that has processed it, and a close", want: failed(""), send: closing(func(p *peer, id uint32) { p.goAway(id, stack.NoError) })},
		{name: "GOAWAY with an error that has processed it, and a close", want: failed("ENHANCE_YOUR_CALM"), send: closing(func(p *peer, id uint32) { p.goAway(id, stack.EnhanceYourCalm) })},
		{name: "GOAWAY that has not processed it, always", want: failed("peer ended the connection"), send: func(p *peer, _ uint32) { p.goAway(0, stack.NoError) }},
	}
}

// TestUnprocessed has a server refuse to look at a request once, or have looked: the
// first is sent once more, and the second never.
func TestUnprocessed(t *testing.T) {
	closing := func(p *peer) { p.send(); p.nc.Close() }
	for _, tt := range []struct {
		name  string
		first func(p *peer, id uint32)
		sent  int32 // times
		body  bool  // with a content that is not at hand
	}{
		{"GOAWAY below it", func(p *peer, _ uint32) { p.goAway(0, stack.NoError) }, 2, false},
		{"GOAWAY below it with an error", func(p *peer, _ uint32) { p.goAway(0, stack.InternalError) }, 2, false},
		{"GOAWAY of its own", func(p *peer, id uint32) { p.goAway(id, stack.NoError); closing(p) }, 1, false},
		{"GOAWAY of all", func(p *peer, _ uint32) { p.goAway(1<<31-1, stack.NoError); closing(p) }, 1, false},
		{"REFUSED_STREAM", func(p *peer, id uint32) { p.reset(id, stack.RefusedStream) }, 2, false},
		{"CANCEL", func(p *peer, id uint32) { p.reset(id, stack.Cancel) }, 1, false},
		{"a close", func(p *peer, _ uint32) { closing(p) }, 1, false},
		{"REFUSED_STREAM, but a part of its content is gone", func(p *peer, id uint32) {
			p.receive(func() bool { return p.size[id] > 0 })
			p.reset(id, stack.RefusedStream)
		}, 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var sent atomic.Int32
			s := answers(t, func(p *peer, _ int) {
				p.frame(tSettings, 0, 0)
				p.send()
				for n := 1; ; n++ {
					id, ok := p.begun(n)
					if !ok {
						return
					}
					if sent.Add(1) == 1 {
						tt.first(p, id)
					} else {
						p.headers(id, fEndHead, ":status", "200")
					}
					p.send()
				}
			})
			pl := pool(t, s.addr.String(), params())
			r := &stack.Request{Method: "GET", Scheme: "http", Authority: "a", Path: "/", Body: stack.Empty()}
			if tt.body {
				r.Body = &slowBody{}
			}
			resp, err := pl.Do(t.Context(), r)
			if err == nil {
				_, _ = readAll(t.Context(), resp.Body)
				resp.Body.Close(nil)
			}
			if n := sent.Load(); n != tt.sent || (err == nil) != (tt.sent == 2) {
				t.Errorf("sent %d times, want %d: %v", n, tt.sent, err)
			}
			if tt.body && errors.Is(err, stack.ErrUnsent) {
				t.Errorf("%v says that the request can be sent again", err)
			}
		})
	}
}

// A slowBody has nothing at hand, one chunk when it is asked, and no end.
type slowBody struct {
	given   bool
	trailer stack.Header
}

func (b *slowBody) Next(ctx context.Context) ([]byte, error) {
	if !b.given {
		b.given = true
		return []byte("chunk"), nil
	}
	<-ctx.Done()
	return nil, context.Cause(ctx)
}
func (b *slowBody) AtHand() bool           { return false }
func (b *slowBody) Trailer() *stack.Header { return &b.trailer }
func (b *slowBody) Size() (int64, bool)    { return 0, false }
func (b *slowBody) Close(error) error      { return nil }

// TestServerIsTold has a server break the rules: it is told by GOAWAY.
func TestServerIsTold(t *testing.T) {
	told := make(chan []goneAway, 1)
	s := answers(t, func(p *peer, _ int) {
		p.setting(5, 0)
		p.send()
		p.linger()
		told <- p.goAways
	})
	if got := outcome(t.Context(), pool(t, s.addr.String(), params()), "GET", "/"); !matches(got, failed("SETTINGS_MAX_FRAME_SIZE is 0")) {
		t.Errorf("got %s", got)
	}
	if got := <-told; len(got) != 1 || got[0].code != stack.ProtocolError {
		t.Errorf("the server was told %v", got)
	}
}

// TestGoAwayWithoutStreams has each connection end before it is used again: none of
// them may stay.
func TestGoAwayWithoutStreams(t *testing.T) {
	left := make(chan bool, 300)
	s := answers(t, func(p *peer, _ int) {
		p.frame(tSettings, 0, 0)
		for n := 1; ; n++ {
			p.send()
			id, ok := p.begun(n)
			if !ok {
				break
			}
			p.headers(id, fEndHead, ":status", "200")
			if n == 1 {
				p.goAway(1<<31-1, stack.NoError)
			}
		}
		left <- p.err != nil && !strings.Contains(p.err.Error(), "timeout")
	})
	pl := pool(t, s.addr.String(), params())
	for range 20 {
		if got := outcome(t.Context(), pl, "GET", "/"); got != wholeAnswer {
			t.Fatal(got)
		}
	}
	for n := range s.count() {
		if !<-left {
			t.Fatalf("connection %d of %d stays open", n+1, s.count())
		}
	}
}

// TestPoolClosedWhileDialling closes a Pool under a dial that succeeds all the same.
func TestPoolClosedWhileDialling(t *testing.T) {
	gone := make(chan bool, 1)
	s := answers(t, func(p *peer, _ int) {
		p.frame(tSettings, 0, 0)
		p.send()
		if id, ok := p.begun(1); ok { // the dial was faster than the close
			p.headers(id, fEndHead, ":status", "200")
			p.send()
			p.linger()
		}
		gone <- p.err != nil && !strings.Contains(p.err.Error(), "timeout")
	})
	ctx, cancel := context.WithCancel(t.Context())
	dialling, goOn := make(chan struct{}), make(chan struct{})
	dial := func(context.Context, stack.Session) (*stack.Conn, error) {
		close(dialling)
		<-goOn
		nc, err := dialRaw(s.addr.String())
		return &stack.Conn{Conn: nc}, err
	}
	pl := h2.NewPool(ctx, dial, params(), nil)
	over := make(chan struct{})
	go func() {
		defer close(over)
		outcome(t.Context(), pl, "GET", "/") // may fail, or not
	}()
	<-dialling
	cancel()
	close(goOn)
	<-over
	if !<-gone {
		t.Error("the connection stays open")
	}
}
