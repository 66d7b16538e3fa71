package h2_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/outrigger-mesh/outrigger/proxy/l7/h2"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A vector is what a hostile client sends on a connection, and how it is answered.
type vector struct {
	name  string
	send  func(s *script) // stream 1, unless on says otherwise; the preface stands ahead of it, unless bare is set
	want  string          // see check
	on    uint32
	bare  bool
	whole string // a request that reaches the Service whole, if that is wanted
	more  int    // good requests in send beside the one that is answered
}

// The answers that a vector can want, beside a status.
const (
	ignored = "ignored" // nothing happens, and the connection goes on
	cut     = "cut"     // closed without a GOAWAY
)

func rst(code stack.ErrCode) string { return "RST_STREAM " + code.String() }
func end(code stack.ErrCode) string { return "GOAWAY " + code.String() }

// probe is a stream that comes after the vector's own, to see that the connection
// goes on and that both ends' HPACK tables still agree.
const probe = 1001

// TestHostileRequests sends each vector to a server, in one piece and byte by byte.
func TestHostileRequests(t *testing.T) {
	all := vectors()
	if len(all) < 150 {
		t.Errorf("only %d vectors", len(all))
	}
	names := map[string]bool{}
	for _, v := range all {
		if names[v.name] {
			t.Errorf("two vectors are named %q", v.name)
		}
		names[v.name] = true
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			for _, wrap := range []func(net.Conn) net.Conn{asSocket, byByte} {
				v.try(t, wrap)
			}
		})
	}
}

func (v *vector) try(t *testing.T, wrap func(net.Conn) net.Conn) {
	t.Helper()
	w := &witness{}
	p, ended := serveOne(context.Background(), t, w.serve, params(func(p *h2.Params) { p.MaxStreams = 20 }), wrap)
	if !v.bare {
		p.hello()
	}
	v.send(p.script)
	p.get(probe, "x-probe", "again").get(probe+2, "x-probe", "again")
	go p.send()
	on := max(v.on, 1)
	p.receive(func() bool { return p.over(probe) && p.over(probe+2) && (v.want == ignored || p.over(on)) })
	if got := v.answer(p, on); got != v.want {
		t.Errorf("got %s, want %s; all: %s", got, v.want, p)
	}
	p.nc.Close()
	<-ended
	if _, bad := w.seen(); len(bad) > 0 {
		t.Errorf("the service saw %q", bad)
	}
	v.reached(t, w, p)
}

// answer says how the vector was answered.
func (v *vector) answer(p *peer, on uint32) string {
	if len(p.goAways) > 0 {
		return end(p.goAways[len(p.goAways)-1].code)
	}
	if p.err != nil {
		return cut
	}
	if p.heads[probe] == nil || p.heads[probe][0] != "200" || p.heads[probe+2][0] != "200" {
		return "a connection that does not go on"
	}
	if code, reset := p.resets[on]; reset && (code != stack.NoError || len(p.heads[on]) == 0) {
		return rst(code)
	}
	if len(p.heads[on]) == 0 {
		return ignored
	}
	return p.heads[on][0]
}

// reached checks what of the vector has come to the service.
func (v *vector) reached(t *testing.T, w *witness, p *peer) {
	t.Helper()
	whole, _ := w.seen()
	probes := 0
	if len(p.heads[probe]) > 0 {
		probes = 2
	}
	want := v.more
	if v.want == "200" {
		want++
	}
	if len(whole) > want+probes || v.whole == "" && len(whole) < want+probes {
		t.Errorf("the service saw %q whole, want %d and %d probes", whole, want, probes)
	}
	if v.whole != "" && !slices.Contains(whole, v.whole) {
		t.Errorf("the service saw %q whole, want %q", whole, v.whole)
	}
}

// headers is a vector of a request that is over with its head.
func fields(name, want string, f ...string) vector {
	return vector{name: name, want: want, send: func(s *script) { s.headers(1, fEndHead, f...) }}
}

// beside is a vector of fields beside those that every request has.
func beside(name, want string, f ...string) vector {
	return fields(name, want, append(target(), f...)...)
}

// without is a vector of a request without one pseudo-field, and with others.
func without(name, want, field string, f ...string) vector {
	all := target()
	i := slices.Index(all, field)
	return fields(name, want, append(slices.Delete(all, i, i+2), f...)...)
}

// with is a vector of a request one pseudo-field of which is another.
func with(name, want, field, value string) vector {
	all := target()
	all[slices.Index(all, field)+1] = value
	return fields(name, want, all...)
}

// raw is a vector of frames.
func raw(name, want string, send func(s *script)) vector {
	return vector{name: name, want: want, send: send}
}

// beyond is a vector that has one good request beside the one that is answered.
func beyond(v vector) vector {
	v.more = 1
	return v
}

func vectors() []vector {
	return slices.Concat(pseudoVectors(), fieldVectors(), hostVectors(), contentVectors(), trailerVectors(),
		frameVectors(), streamVectors(), blockVectors(), controlVectors(), prefaceVectors())
}

func pseudoVectors() []vector {
	bad := rst(stack.ProtocolError)
	v := []vector{
		beside("a good request", "200"),
		without("no :method", bad, ":method"),
		without("no :scheme", bad, ":scheme"),
		without("no :path", bad, ":path"),
		without("no :authority and no host", "200", ":authority"),
		with("empty :method", bad, ":method", ""),
		with("empty :scheme", bad, ":scheme", ""),
		with("empty :path", bad, ":path", ""),
		with("empty :authority", "200", ":authority", ""),
		beside(":method twice", bad, ":method", "POST"),
		beside(":scheme twice", bad, ":scheme", "http"),
		beside(":path twice", bad, ":path", "/x"),
		beside(":authority twice", bad, ":authority", "a.example"),
		beside("unknown pseudo-field", bad, ":port", "80"),
		beside(":status of a request", bad, ":status", "200"),
		beside(":protocol without CONNECT", bad, ":protocol", "websocket"),
		beside("a name of a colon", bad, ":", "x"),
		beside(":Method in capitals", bad, ":Method", "GET"),
		fields("pseudo-field after a field", bad, ":method", "GET", ":scheme", "http", "x-a", "1", ":authority", "a", ":path", "/"),
		fields("pseudo-field after all", bad, ":method", "GET", ":scheme", "http", ":path", "/", "x-a", "1", ":authority", "a"),
		with(":path without a slash", bad, ":path", "x"),
		with(":path in absolute form", bad, ":path", "http://a.example/x"),
		with(":path of *, but not of OPTIONS", bad, ":path", "*"),
		with(":path of **", bad, ":path", "**"),
		with(":path of a query alone", bad, ":path", "?x"),
		with(":path with a space", bad, ":path", "/x y"),
		with(":path with a tab", bad, ":path", "/x\ty"),
		with(":path that is a request line", bad, ":path", "/x HTTP/1.1\r\nhost: b\r\n\r\n"),
		with(":path with LF", bad, ":path", "/x\ny"),
		with(":path with NUL", bad, ":path", "/x\x00y"),
		with(":path with DEL", bad, ":path", "/x\x7f"),
		with(":path with 8 bits", bad, ":path", "/\xc3\xa9"),
		with(":path with a fragment", bad, ":path", "/x#y"),
		with(":path with a backslash", bad, ":path", `/x\y`),
		with(":method with a space", bad, ":method", "GET /"),
		with(":method that is a request line", bad, ":method", "GET / HTTP/1.1\r\nhost: b\r\n\r\n"),
		with(":method with a tab", bad, ":method", "GE\tT"),
		with(":method with 8 bits", bad, ":method", "G\xc9T"),
		with(":method with a slash", bad, ":method", "G/T"),
		with(":method of its own", "200", ":method", "BREW"),
		with(":scheme with a space", bad, ":scheme", "ht tp"),
		with(":scheme that is a URL", bad, ":scheme", "http://b/?"),
		with(":scheme with CRLF", bad, ":scheme", "http\r\nx: y"),
		with(":scheme with 8 bits", bad, ":scheme", "h\xe9"),
		with(":authority with userinfo", bad, ":authority", "b@a.example"),
		with(":authority with a user and a password", bad, ":authority", "b:c@a.example"),
		with(":authority with a space", bad, ":authority", "a b"),
		with(":authority with CRLF", bad, ":authority", "a\r\nx: y"),
		with(":authority with NUL", bad, ":authority", "a\x00"),
		with(":authority with 8 bits", bad, ":authority", "\xc3\xa9.example"),
		with(":authority with a slash", bad, ":authority", "a/b"),
		with(":authority with a query", bad, ":authority", "a?b"),
		with(":authority with a fragment", bad, ":authority", "a#b"),
		with(":authority with a comma", bad, ":authority", "a,b"),
		with(":authority with a port over 65535", bad, ":authority", "a:65536"),
		with(":authority with a port of letters", bad, ":authority", "a:http"),
		with(":authority of a port alone", bad, ":authority", ":80"),
		with(":authority of a bad IPv6 address", bad, ":authority", "[::g]"),
		with(":authority of an open bracket", bad, ":authority", "[::1"),
		with(":authority of an IPv6 address", "200", ":authority", "[::1]:80"),
	}
	return append(v, connectVectors()...)
}

func connectVectors() []vector {
	bad := rst(stack.ProtocolError)
	return []vector{
		fields("CONNECT", "200", ":method", "CONNECT", ":authority", "a.example:443"),
		fields("CONNECT with :path", bad, ":method", "CONNECT", ":authority", "a:443", ":path", "/"),
		fields("CONNECT with an empty :path", bad, ":method", "CONNECT", ":authority", "a:443", ":path", ""),
		fields("CONNECT with :scheme", bad, ":method", "CONNECT", ":authority", "a:443", ":scheme", "https"),
		fields("CONNECT without :authority", bad, ":method", "CONNECT"),
		fields("CONNECT with a host alone", bad, ":method", "CONNECT", "host", "a:443"),
		fields("CONNECT with an empty :authority", bad, ":method", "CONNECT", ":authority", ""),
		fields("CONNECT with userinfo", bad, ":method", "CONNECT", ":authority", "b@a:443"),
		fields("CONNECT with another host", bad, ":method", "CONNECT", ":authority", "a:443", "host", "b:443"),
		fields("CONNECT with content-length", bad, ":method", "CONNECT", ":authority", "a:443", "content-length", "0"),
		fields("extended CONNECT", bad, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "a", ":path", "/"),
		fields("OPTIONS of *", "200", ":method", "OPTIONS", ":scheme", "http", ":authority", "a", ":path", "*"),
	}
}

func fieldVectors() []vector {
	bad := rst(stack.ProtocolError)
	v := []vector{
		beside("te: trailers", "200", "te", "trailers"),
		beside("te: gzip", bad, "te", "gzip"),
		beside("te: trailers and more", bad, "te", "trailers, gzip"),
		beside("te with a weight", bad, "te", "trailers;q=0.5"),
		beside("te in capitals", bad, "te", "Trailers"),
		beside("te twice, once bad", bad, "te", "trailers", "te", "chunked"),
		beside("empty te", bad, "te", ""),
		beside("empty name", bad, "", "x"),
		beside("a name in capitals", bad, "X-A", "1"),
		beside("a name with one capital", bad, "x-aA", "1"),
		beside("a value over 0x7f", "200", "x-a", "\xc3\xa9"),
		beside("an empty value", "200", "x-a", ""),
		beside("a blank amid a value", "200", "x-a", "a \t b"),
		beside("an empty cookie, and another", "200", "cookie", "", "cookie", "a=b"),
	}
	for _, name := range []string{"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"} {
		v = append(v, beside(name, bad, name, "x"), beside("empty "+name, bad, name, ""))
	}
	for _, value := range []string{"chunked", "identity", "gzip, chunked", " chunked", "trailers"} {
		v = append(v, beside(fmt.Sprintf("transfer-encoding: %q", value), bad, "transfer-encoding", value))
	}
	v = append(v, beside("connection: close", bad, "connection", "close"),
		beside("connection that names content-length", bad, "connection", "content-length"),
		beside("upgrade: h2c", bad, "upgrade", "h2c"),
		beside("transfer-encoding beside content-length", bad, "content-length", "0", "transfer-encoding", "chunked"))
	for _, c := range []string{"\x00", "\r", "\n", "\r\n", " ", "\t", ":", "\x7f", "\x80", "\xff", "(", "/", "@", "\"", ","} {
		v = append(v, beside(fmt.Sprintf("a name with %q", c), bad, "x"+c+"a", "1"), beside(fmt.Sprintf("a name that ends with %q", c), bad, "x"+c, "1"))
	}
	for _, c := range []string{"\x00", "\r", "\n", "\r\n", "\x01", "\x0b", "\x0c", "\x1b", "\x7f"} {
		v = append(v, beside(fmt.Sprintf("a value with %q", c), bad, "x-a", "x"+c+"a"), beside(fmt.Sprintf("a value of %q", c), bad, "x-a", c))
	}
	for _, value := range []string{" x", "x ", "\tx", "x\t", " ", "\t"} {
		v = append(v, beside(fmt.Sprintf("a value that is %q", value), bad, "x-a", value))
	}
	return append(v,
		beside("a value that is a request", bad, "x-a", "1\r\n\r\nGET /admin HTTP/1.1\r\nhost: b\r\n\r\n"),
		beside("a value that is a field", bad, "x-a", "1\r\ntransfer-encoding: chunked"),
		beside("a name that is a field", bad, "x-a: 1\r\ntransfer-encoding", "chunked"),
		beside("a name with a colon and a value", bad, "transfer-encoding: chunked\r\nx", "1"),
		beside("transfer-encoding with a blank behind", bad, "transfer-encoding ", "chunked"),
		beside("content-length with a blank behind", bad, "content-length ", "5"),
		beside("transfer-encoding in capitals", bad, "Transfer-Encoding", "chunked"),
	)
}

func hostVectors() []vector {
	bad := rst(stack.ProtocolError)
	return []vector{
		beside("host that is :authority", "200", "host", "a.example"),
		beside("host that is :authority in capitals", "200", "host", "A.Example"),
		beside("another host", bad, "host", "b.example"),
		beside("host with a port, :authority without", bad, "host", "a.example:80"),
		beside("empty host beside :authority", bad, "host", ""),
		beside("host twice, both :authority", bad, "host", "a.example", "host", "a.example"),
		beside("host twice, one another", bad, "host", "a.example", "host", "b.example"),
		without("host alone", "200", ":authority", "host", "b.example"),
		without("host alone, twice", bad, ":authority", "host", "a", "host", "a"),
		without("host alone, with userinfo", bad, ":authority", "host", "u@a"),
		without("host alone, of a list", bad, ":authority", "host", "a, b"),
		without("host alone, with a path", bad, ":authority", "host", "a/x"),
		without("host alone, empty", bad, ":authority", "host", ""),
		beside("another host, as if carried", bad, "l5d-orig-proto", "HTTP/1.1", "host", "b@c"),
		beside("host twice, as if carried", bad, "l5d-orig-proto", "HTTP/1.1", "host", "a.example", "host", "b.example"),
	}
}

func contentVectors() []vector {
	bad := rst(stack.ProtocolError)
	v := []vector{
		beside("content-length with END_STREAM", bad, "content-length", "5"),
		beside("content-length of 0 with END_STREAM", "200", "content-length", "0"),
		raw("content-length of 5", "200", func(s *script) { s.post(1, "content-length", "5").data(1, fEnd, "12345") }),
		raw("content-length of 5 in parts", "200", func(s *script) { s.post(1, "content-length", "5").data(1, 0, "12").data(1, 0, "345").data(1, fEnd, "") }),
		raw("more than content-length", bad, func(s *script) { s.post(1, "content-length", "5").data(1, fEnd, "123456") }),
		raw("more than content-length, later", bad, func(s *script) { s.post(1, "content-length", "5").data(1, 0, "12345").data(1, 0, "6") }),
		raw("content beyond content-length of 0", bad, func(s *script) { s.post(1, "content-length", "0").data(1, fEnd, "1") }),
		raw("a request beyond content-length", bad, func(s *script) {
			s.post(1, "content-length", "0").data(1, fEnd, "GET /admin HTTP/1.1\r\nhost: a\r\n\r\n")
		}),
		raw("less than content-length", bad, func(s *script) { s.post(1, "content-length", "5").data(1, fEnd, "1234") }),
		raw("less than content-length, by an empty end", bad, func(s *script) { s.post(1, "content-length", "5").data(1, 0, "1234").data(1, fEnd, "") }),
		raw("less than content-length, by a trailer", bad, func(s *script) {
			s.post(1, "content-length", "5").data(1, 0, "1234").headers(1, fEndHead, "x-end", "1")
		}),
		raw("padding does not count as content", bad, func(s *script) { s.post(1, "content-length", "5").data(1, fEnd|fPadded, "\x041\x00\x00\x00\x00") }),
		raw("padding beside content", "200", func(s *script) {
			s.post(1, "content-length", "5").data(1, fEnd|fPadded, "\x0412345\x00\x00\x00\x00")
		}),
	}
	for _, value := range []string{"+5", "-5", "5.0", "0x5", "5,5", "5, 5", "5;", "\"5\"", "five", "", "1234567890123456789", "99999999999999999999", "\xd9\xa5", "5_0", "1e1"} {
		v = append(v, raw(fmt.Sprintf("content-length of %q", value), bad, func(s *script) { s.post(1, "content-length", value).data(1, fEnd, "12345") }))
	}
	for _, other := range []string{"5", "6", "05"} {
		v = append(v, raw("content-length twice, then "+other, bad, func(s *script) { s.post(1, "content-length", "5", "content-length", other).data(1, fEnd, "12345") }))
	}
	return v
}

func trailerVectors() []vector {
	bad := rst(stack.ProtocolError)
	trailer := func(name, want string, f ...string) vector {
		return raw(name, want, func(s *script) { s.post(1).data(1, 0, "x").headers(1, fEndHead, f...) })
	}
	dropped := func(name string) vector {
		v := trailer("a trailer with "+name, "200", name, "1", "x-end", "1")
		v.whole = "POST /x x-end=1"
		return v
	}
	v := []vector{
		trailer("a trailer", "200", "x-end", "1"),
		trailer("an empty trailer", "200"),
		trailer(":path in a trailer", bad, ":path", "/y"),
		trailer(":status in a trailer", bad, ":status", "200"),
		trailer("a head as a trailer", bad, target()...),
		trailer("a trailer in capitals", bad, "X-End", "1"),
		trailer("a trailer with CRLF", bad, "x-end", "1\r\nx: y"),
		trailer("a trailer with connection", bad, "connection", "x-end"),
		trailer("a trailer with transfer-encoding", bad, "transfer-encoding", "chunked"),
		trailer("a trailer with te", bad, "te", "gzip"),
		raw("a trailer without END_STREAM", bad, func(s *script) { s.post(1).data(1, 0, "x").headers(1, fWhole, "x-end", "1") }),
		raw("a trailer and no content", "200", func(s *script) { s.post(1).headers(1, fEndHead, "x-end", "1") }),
		raw("a trailer that is too large", bad, func(s *script) {
			s.post(1).headers(1, fEndHead, "x-a", strings.Repeat("a", 14<<10), "x-b", strings.Repeat("b", 1<<10))
			for range 5 {
				s.post(3)
			}
		}),
		raw("a trailer that depends on itself", bad, func(s *script) {
			s.post(1).frame(tHeaders, fEndHead|fPrio, 1, append([]byte{0, 0, 0, 1, 5}, s.block("x-end", "1")...)...)
		}),
	}
	v = slices.DeleteFunc(v, func(v vector) bool { return v.name == "a trailer that is too large" }) // floods_test.go has it, whole
	for _, name := range []string{"host", "trailer", "l5d-client-id", "l5d-proxy-error", "l5d_client_id"} {
		v = append(v, dropped(name))
	}
	length := trailer("a trailer with content-length", "200", "content-length", "1", "x-end", "1")
	length.whole = "POST /x x-end=1"
	return append(v, length)
}

func frameVectors() []vector {
	size, protocol := end(stack.FrameSizeError), end(stack.ProtocolError)
	v := []vector{
		raw("DATA over the frame size", size, func(s *script) { s.post(1).frame(tData, fEnd, 1, make([]byte, 16385)...) }),
		raw("DATA of the frame size", "200", func(s *script) { s.post(1).frame(tData, fEnd, 1, make([]byte, 16384)...) }),
		raw("a frame of 16 MiB", size, func(s *script) { s.long(1<<24-1, 0xfe, 0, 0) }),
		raw("HEADERS over the frame size", size, func(s *script) { s.long(16385, tHeaders, fEndHead, 1, make([]byte, 16385)...) }),
		raw("DATA with padding longer than itself", protocol, func(s *script) { s.post(1).data(1, fPadded|fEnd, "\x05abcd") }),
		raw("DATA with padding as long as itself", "200", func(s *script) { s.post(1).data(1, fPadded|fEnd, "\x04abcd") }),
		raw("DATA padded, and empty", size, func(s *script) { s.post(1).data(1, fPadded|fEnd, "") }),
		raw("HEADERS with padding longer than itself", protocol, func(s *script) { s.frame(tHeaders, fEndHead|fPadded, 1, 200, 0x82) }),
		raw("HEADERS padded, and empty", size, func(s *script) { s.frame(tHeaders, fEndHead|fPadded, 1) }),
		raw("HEADERS padded", "200", func(s *script) {
			s.frame(tHeaders, fEndHead|fPadded, 1, slices.Concat([]byte{3}, s.block(target()...), []byte{0, 0, 0})...)
		}),
		raw("HEADERS whose padding is its priority", size, func(s *script) { s.frame(tHeaders, fEndHead|fPadded|fPrio, 1, 5, 0, 0, 0, 0, 0) }),
		raw("HEADERS with a priority that is short", size, func(s *script) { s.frame(tHeaders, fEndHead|fPrio, 1, 0, 0, 0, 0) }),
		raw("HEADERS with a priority", "200", func(s *script) {
			s.frame(tHeaders, fEndHead|fPrio, 1, append([]byte{0x80, 0, 0, 7, 5}, s.block(target()...)...)...)
		}),
		raw("HEADERS that depend on themselves", rst(stack.ProtocolError), func(s *script) {
			s.frame(tHeaders, fEndHead|fPrio, 1, append([]byte{0, 0, 0, 1, 5}, s.block(target()...)...)...)
		}),
		raw("unknown flags", "200", func(s *script) { s.frame(tHeaders, fEndHead|0x52, 1, s.block(target()...)...) }),
		raw("a stream's reserved bit", "200", func(s *script) { s.frame(tHeaders, fEndHead, 1|1<<31, s.block(target()...)...) }),
	}
	for kind := range uint8(6) {
		v = append(v, raw(fmt.Sprintf("unknown frame 0x%02x", 0x0a+kind), ignored, func(s *script) {
			s.frame(0x0a+kind, 0xff, 0).frame(0x0a+kind, 0xff, 1, []byte("xyz")...).frame(0x0a+kind, 0, 2, make([]byte, 16384)...)
		}))
	}
	v = append(v, raw("unknown frame 0xff", ignored, func(s *script) { s.frame(0xff, 0xff, 77, []byte("x")...) }))
	for n, f := range map[string]struct {
		kind uint8
		id   uint32
		n    int
	}{
		"short RST_STREAM": {tReset, 1, 3}, "long RST_STREAM": {tReset, 1, 5}, "empty RST_STREAM": {tReset, 1, 0},
		"short PING": {tPing, 0, 7}, "long PING": {tPing, 0, 9}, "empty PING": {tPing, 0, 0},
		"short WINDOW_UPDATE": {tWindowUpdate, 0, 3}, "long WINDOW_UPDATE": {tWindowUpdate, 1, 5},
		"SETTINGS of 5 bytes": {tSettings, 0, 5}, "SETTINGS of 7 bytes": {tSettings, 0, 7},
		"short GOAWAY": {tGoAway, 0, 7}, "empty GOAWAY": {tGoAway, 0, 0},
	} {
		v = append(v, raw(n, size, func(s *script) { s.post(1).frame(f.kind, 0, f.id, make([]byte, f.n)...) }))
	}
	return append(v,
		raw("short PRIORITY of an open stream", rst(stack.FrameSizeError), func(s *script) { s.post(1).frame(tPriority, 0, 1, 0, 0, 0, 0) }),
		raw("short PRIORITY of an idle stream", size, func(s *script) { s.frame(tPriority, 0, 1, 0, 0, 0, 0) }),
		raw("PRIORITY of an idle stream", "200", func(s *script) { s.frame(tPriority, 0, 1, 0, 0, 0, 0, 9).get(1) }),
		raw("PRIORITY that depends on itself", rst(stack.ProtocolError), func(s *script) { s.post(1).frame(tPriority, 0, 1, 0, 0, 0, 1, 9) }),
		raw("PRIORITY that depends on itself, idle", protocol, func(s *script) { s.frame(tPriority, 0, 1, 0, 0, 0, 1, 9) }),
	)
}

func streamVectors() []vector {
	protocol, closed := end(stack.ProtocolError), end(stack.StreamClosed)
	v := []vector{
		raw("DATA of no stream", protocol, func(s *script) { s.data(0, fEnd, "x") }),
		raw("HEADERS of no stream", protocol, func(s *script) { s.get(0) }),
		raw("RST_STREAM of no stream", protocol, func(s *script) { s.reset(0, stack.Cancel) }),
		raw("PRIORITY of no stream", protocol, func(s *script) { s.frame(tPriority, 0, 0, 0, 0, 0, 1, 9) }),
		raw("CONTINUATION of no stream", protocol, func(s *script) { s.frame(tContinuation, fWhole, 0) }),
		raw("SETTINGS of a stream", protocol, func(s *script) { s.post(1).frame(tSettings, 0, 1) }),
		raw("PING of a stream", protocol, func(s *script) { s.post(1).frame(tPing, 0, 1, make([]byte, 8)...) }),
		raw("GOAWAY of a stream", protocol, func(s *script) { s.post(1).frame(tGoAway, 0, 1, make([]byte, 8)...) }),
		raw("DATA of an idle stream", protocol, func(s *script) { s.data(1, fEnd, "x") }),
		raw("RST_STREAM of an idle stream", protocol, func(s *script) { s.reset(1, stack.Cancel) }),
		raw("WINDOW_UPDATE of an idle stream", protocol, func(s *script) { s.window(1, 1) }),
		raw("CONTINUATION of an idle stream", protocol, func(s *script) { s.frame(tContinuation, fWhole, 1, 0x82) }),
		raw("an even stream", protocol, func(s *script) { s.get(2) }),
		raw("DATA of an even stream", protocol, func(s *script) { s.data(2, 0, "x") }),
		raw("WINDOW_UPDATE of an even stream", protocol, func(s *script) { s.window(2, 1) }),
		beyond(raw("a stream below the last", closed, func(s *script) { s.get(5).get(3) })),
		beyond(raw("a stream passed over, by DATA", rst(stack.StreamClosed), func(s *script) { s.get(5).data(1, fEnd, "x") })),
		raw("a stream twice", rst(stack.StreamClosed), func(s *script) { s.headers(1, fEndHead, hold()...).get(1) }),
		raw("DATA after END_STREAM", rst(stack.StreamClosed), func(s *script) { s.headers(1, fEndHead, hold()...).data(1, 0, "x") }),
		raw("DATA after DATA with END_STREAM", rst(stack.StreamClosed), func(s *script) { s.headers(1, fWhole, hold()...).data(1, fEnd, "x").data(1, fEnd, "y") }),
		raw("HEADERS after DATA with END_STREAM", rst(stack.StreamClosed), func(s *script) {
			s.headers(1, fWhole, hold()...).data(1, fEnd, "x").headers(1, fEndHead, "x-end", "1")
		}),
		raw("WINDOW_UPDATE after END_STREAM", "200", func(s *script) { s.get(1).window(1, 1) }),
		raw("RST_STREAM after END_STREAM", ignored, func(s *script) { s.headers(1, fEndHead, hold()...).reset(1, stack.Cancel) }),
		raw("PRIORITY after END_STREAM", "200", func(s *script) { s.get(1).frame(tPriority, 0, 1, 0, 0, 0, 0, 9) }),
		raw("RST_STREAM after RST_STREAM", ignored, func(s *script) { s.post(1).reset(1, stack.Cancel).reset(1, stack.Cancel) }),
		raw("WINDOW_UPDATE after RST_STREAM", ignored, func(s *script) { s.post(1).reset(1, stack.Cancel).window(1, 1) }),
		raw("DATA after RST_STREAM", rst(stack.StreamClosed), func(s *script) { s.post(1).reset(1, stack.Cancel).data(1, fEnd, "x") }),
		raw("HEADERS after RST_STREAM", closed, func(s *script) { s.post(1).reset(1, stack.Cancel).get(1) }),
		raw("frames of a stream that was reset here", rst(stack.ProtocolError), func(s *script) {
			s.post(1, "x", "\n").data(1, 0, "x").window(1, 1).headers(1, fEndHead, "x-end", "1").reset(1, stack.Cancel)
		}),
		raw("DATA beyond the stream's window", rst(stack.FlowControlError), func(s *script) {
			s.headers(1, fWhole, hold()...)
			for range 5 {
				s.frame(tData, 0, 1, make([]byte, 16384)...)
			}
		}),
		raw("PUSH_PROMISE", protocol, func(s *script) { s.post(1).frame(tPush, fWhole, 1, append(u32(2), s.block(target()...)...)...) }),
		raw("PUSH_PROMISE of no stream", protocol, func(s *script) { s.frame(tPush, fWhole, 0, u32(2)...) }),
	}
	return v
}

func hold() []string {
	return []string{":method", "GET", ":scheme", "http", ":authority", "a.example", ":path", "/hold"}
}

func blockVectors() []vector {
	protocol, compression := end(stack.ProtocolError), end(stack.CompressionError)
	split := func(s *script, flags uint8, n int) (block []byte) {
		block = s.block(target()...)
		s.frame(tHeaders, flags, 1, block[:n]...)
		return block[n:]
	}
	amid := func(name string, f func(s *script)) vector {
		return raw(name+" amid a header block", protocol, func(s *script) {
			rest := split(s, fEnd, 4)
			f(s)
			s.frame(tContinuation, fWhole, 1, rest...)
		})
	}
	bytesOf := func(name string, b ...byte) vector {
		return raw(name, compression, func(s *script) { s.frame(tHeaders, fEndHead, 1, append(s.block(target()...), b...)...) })
	}
	return []vector{
		raw("CONTINUATION", "200", func(s *script) { s.frame(tContinuation, fWhole, 1, split(s, fEnd, 4)...) }),
		raw("CONTINUATION of each byte", "200", func(s *script) {
			for _, b := range split(s, fEnd, 1) {
				s.frame(tContinuation, 0, 1, b)
			}
			s.frame(tContinuation, fWhole, 1)
		}),
		raw("CONTINUATION behind an empty HEADERS", "200", func(s *script) { s.frame(tContinuation, fWhole, 1, split(s, fEnd, 0)...) }),
		beyond(raw("CONTINUATION without HEADERS", protocol, func(s *script) { s.get(1).frame(tContinuation, fWhole, 1) })),
		raw("CONTINUATION behind DATA", protocol, func(s *script) { s.post(1).data(1, 0, "x").frame(tContinuation, fWhole, 1) }),
		raw("CONTINUATION of another stream", protocol, func(s *script) { s.frame(tContinuation, fWhole, 3, split(s, fEnd, 4)...) }),
		amid("DATA", func(s *script) { s.data(1, 0, "x") }),
		amid("HEADERS", func(s *script) { s.frame(tHeaders, fEndHead, 3, 0x82) }),
		amid("HEADERS of the same stream", func(s *script) { s.frame(tHeaders, fEndHead, 1, 0x82) }),
		amid("PRIORITY", func(s *script) { s.frame(tPriority, 0, 1, 0, 0, 0, 0, 9) }),
		amid("RST_STREAM", func(s *script) { s.reset(1, stack.Cancel) }),
		amid("SETTINGS", func(s *script) { s.frame(tSettings, 0, 0) }),
		amid("PING", func(s *script) { s.frame(tPing, 0, 0, make([]byte, 8)...) }),
		amid("GOAWAY", func(s *script) { s.goAway(0, stack.NoError) }),
		amid("WINDOW_UPDATE", func(s *script) { s.window(0, 1) }),
		amid("an unknown frame", func(s *script) { s.frame(0x0a, 0, 1) }),
		bytesOf("HPACK: index 0", 0x80),
		bytesOf("HPACK: index beyond the table", 0xff, 0x80, 0x01),
		bytesOf("HPACK: name's index beyond the table", 0x7f, 0x80, 0x01, 0x00),
		bytesOf("HPACK: index without an end", 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		bytesOf("HPACK: truncated index", 0xff),
		bytesOf("HPACK: truncated name", 0x00, 0x05, 'x'),
		bytesOf("HPACK: truncated value", 0x00, 0x01, 'x', 0x05, 'y'),
		bytesOf("HPACK: no value", 0x00, 0x01, 'x'),
		bytesOf("HPACK: Huffman with EOS", 0x00, 0x01, 'x', 0x84, 0xff, 0xff, 0xff, 0xff),
		bytesOf("HPACK: Huffman with padding of zeros", 0x00, 0x01, 'x', 0x81, 0x00),
		bytesOf("HPACK: Huffman with padding of a byte", 0x00, 0x01, 'x', 0x82, 0x1f, 0xff),
		bytesOf("HPACK: string of 4 GiB", 0x00, 0x01, 'x', 0x7f, 0xff, 0xff, 0xff, 0xff, 0x0f),
		bytesOf("HPACK: table size update behind fields", 0x20),
		raw("HPACK: table size update", "200", func(s *script) {
			s.frame(tHeaders, fEndHead, 1, append([]byte{0x20}, s.block(target()...)...)...)
			s.hp.SetMaxDynamicTableSize(0)
		}),
		raw("HPACK: table size update over the limit", compression, func(s *script) {
			s.frame(tHeaders, fEndHead, 1, append([]byte{0x3f, 0xe2, 0x1f}, s.block(target()...)...)...)
		}),
		raw("HPACK: bad block of a stream that is over", compression, func(s *script) { s.post(1, "x", "\n").frame(tHeaders, fEndHead, 1, 0x80) }),
		raw("an empty header block", rst(stack.ProtocolError), func(s *script) { s.frame(tHeaders, fEndHead, 1) }),
		beyond(raw("HPACK: a block of a request that was refused counts for the next", rst(stack.ProtocolError), func(s *script) { s.get(1, "x-probe", "\x00", "x-later", "1").get(3, "x-later", "1") })),
		{name: "a head of 90 KB", want: "431", send: func(s *script) { tooLong(s, fEnd) }},
		{name: "a head of 90 KB, and content", want: "431", send: func(s *script) { tooLong(s, 0); s.data(1, fEnd, "x") }},
		{name: "201 fields", want: "431", send: func(s *script) {
			f := target()
			for range 197 {
				f = append(f, "x", "y")
			}
			s.headers(1, fEndHead, f...)
		}},
		{name: "200 fields", want: "200", send: func(s *script) {
			f := target()
			for range 196 {
				f = append(f, "x", "y")
			}
			s.headers(1, fEndHead, f...)
		}},
	}
}

// tooLong sends a head of 90 KB, well-formed.
func tooLong(s *script, flags uint8) {
	f := target()
	for i := range 9 {
		f = append(f, fmt.Sprint("x-", i), strings.Repeat("~", 10_000)) // which Huffman's code does not shorten
	}
	b := s.block(f...)
	kind := uint8(tHeaders)
	for len(b) > 16384 {
		s.frame(kind, flags, 1, b[:16384]...)
		b, kind, flags = b[16384:], tContinuation, 0
	}
	s.frame(kind, flags|fWhole, 1, b...)
}

func controlVectors() []vector {
	protocol, flow, size := end(stack.ProtocolError), end(stack.FlowControlError), end(stack.FrameSizeError)
	v := []vector{
		raw("WINDOW_UPDATE by 0 of the connection", protocol, func(s *script) { s.window(0, 0) }),
		raw("WINDOW_UPDATE by 0, reserved bit set", protocol, func(s *script) { s.window(0, 1<<31) }),
		raw("WINDOW_UPDATE by 0 of a stream", rst(stack.ProtocolError), func(s *script) { s.post(1).window(1, 0) }),
		raw("WINDOW_UPDATE over the connection's limit", flow, func(s *script) { s.window(0, 1<<31-1) }),
		raw("WINDOW_UPDATE over the connection's limit, in steps", flow, func(s *script) { s.window(0, 1<<30).window(0, 1<<30) }),
		raw("WINDOW_UPDATE to the connection's limit", "200", func(s *script) { s.window(0, 1<<31-1-65535).get(1) }),
		raw("WINDOW_UPDATE over a stream's limit", rst(stack.FlowControlError), func(s *script) { s.post(1).window(1, 1<<31-1) }),
		raw("SETTINGS that take a stream's window over its limit", flow, func(s *script) { s.post(1).window(1, 1<<31-1-65535).setting(4, 65536) }),
		raw("SETTINGS_ENABLE_PUSH of 2", protocol, func(s *script) { s.setting(2, 2) }),
		raw("SETTINGS_ENABLE_PUSH of 1", ignored, func(s *script) { s.setting(2, 1) }),
		raw("SETTINGS_INITIAL_WINDOW_SIZE over its limit", flow, func(s *script) { s.setting(4, 1<<31) }),
		raw("SETTINGS_INITIAL_WINDOW_SIZE at its limit", "200", func(s *script) { s.setting(4, 1<<31-1).get(1) }),
		raw("SETTINGS_MAX_FRAME_SIZE of 0", protocol, func(s *script) { s.setting(5, 0) }),
		raw("SETTINGS_MAX_FRAME_SIZE of 16383", protocol, func(s *script) { s.setting(5, 16383) }),
		raw("SETTINGS_MAX_FRAME_SIZE of 16 MiB", protocol, func(s *script) { s.setting(5, 1<<24) }),
		raw("SETTINGS_MAX_FRAME_SIZE at its limit", "200", func(s *script) { s.setting(5, 1<<24-1).get(1) }),
		raw("SETTINGS_HEADER_TABLE_SIZE of 4 GiB", "200", func(s *script) { s.setting(1, 1<<32-1).get(1) }),
		raw("SETTINGS_HEADER_TABLE_SIZE of 0", "200", func(s *script) { s.setting(1, 0).get(1) }),
		raw("SETTINGS that nobody knows", "200", func(s *script) { s.setting(0xfff, 7).setting(0, 7).get(1) }),
		raw("a setting twice", "200", func(s *script) {
			s.frame(tSettings, 0, 0, 0, 4, 0, 0, 0, 1, 0, 4, 0, 1, 0, 0).get(1)
		}),
		raw("SETTINGS, answered with content", size, func(s *script) { s.frame(tSettings, fAck, 0, 0, 1, 0, 0, 0, 0) }),
		raw("SETTINGS, answered twice", ignored, func(s *script) { s.frame(tSettings, fAck, 0).frame(tSettings, fAck, 0) }),
		raw("a PING's answer that nobody asked for", ignored, func(s *script) { s.frame(tPing, fAck, 0, []byte("whatever")...) }),
		raw("GOAWAY from a client", "200", func(s *script) { s.goAway(0, stack.NoError).get(1) }),
		raw("GOAWAY with an error from a client", "200", func(s *script) { s.goAway(0, stack.InternalError).get(1) }),
	}
	return v
}

func prefaceVectors() []vector {
	protocol := end(stack.ProtocolError)
	v := []vector{
		raw("HTTP/1", protocol, func(s *script) { s.out.WriteString("GET / HTTP/1.1\r\nhost: a\r\n\r\n") }),
		raw("a preface with another end", protocol, func(s *script) { s.out.WriteString("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n") }),
		raw("no preface", protocol, func(s *script) { s.frame(tSettings, 0, 0).get(1) }),
		raw("a first frame of HEADERS", protocol, func(s *script) { s.out.WriteString(http2.ClientPreface); s.get(1) }),
		raw("a first frame of PING", protocol, func(s *script) { s.out.WriteString(http2.ClientPreface); s.frame(tPing, 0, 0, make([]byte, 8)...) }),
		raw("a first frame that is unknown", protocol, func(s *script) { s.out.WriteString(http2.ClientPreface); s.frame(0x0b, 0, 0) }),
		raw("a first frame of SETTINGS's answer", protocol, func(s *script) { s.out.WriteString(http2.ClientPreface); s.frame(tSettings, fAck, 0).get(1) }),
		raw("a preface twice", end(stack.FrameSizeError), func(s *script) { s.hello(); s.out.WriteString(http2.ClientPreface) }),
	}
	for i := range v {
		v[i].bare = true
	}
	return v
}
