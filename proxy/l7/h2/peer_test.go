package h2_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/outrigger-mesh/outrigger/proxy/l4"
	"github.com/outrigger-mesh/outrigger/proxy/l7/h2"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// Types and flags of frames, by their numbers: what is sent is wrong on purpose, and
// must not depend on what a library would let pass.
const (
	tData         = 0x0
	tHeaders      = 0x1
	tPriority     = 0x2
	tReset        = 0x3
	tSettings     = 0x4
	tPush         = 0x5
	tPing         = 0x6
	tGoAway       = 0x7
	tWindowUpdate = 0x8
	tContinuation = 0x9

	fEnd     = 0x1
	fAck     = 0x1
	fWhole   = 0x4
	fPadded  = 0x8
	fPrio    = 0x20
	fEndHead = fEnd | fWhole
)

// A script is what a peer is to send, frame after frame.
type script struct {
	out bytes.Buffer
	hb  bytes.Buffer
	hp  *hpack.Encoder
}

func newScript() *script {
	s := &script{}
	s.hp = hpack.NewEncoder(&s.hb)
	return s
}

// hello is how a client begins.
func (s *script) hello() *script {
	s.out.WriteString(http2.ClientPreface)
	return s.frame(tSettings, 0, 0)
}

// frame appends one frame, whatever it says.
func (s *script) frame(kind, flags uint8, id uint32, content ...byte) *script {
	return s.long(len(content), kind, flags, id, content...)
}

// long is frame with a length of its own.
func (s *script) long(n int, kind, flags uint8, id uint32, content ...byte) *script {
	s.out.Write([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags, byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)})
	s.out.Write(content)
	return s
}

// block encodes names and values, in turn.
func (s *script) block(fields ...string) []byte {
	s.hb.Reset()
	for i := 0; i+1 < len(fields); i += 2 {
		_ = s.hp.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(s.hb.Bytes())
}

// headers appends a HEADERS frame.
func (s *script) headers(id uint32, flags uint8, fields ...string) *script {
	return s.frame(tHeaders, flags, id, s.block(fields...)...)
}

// get appends a request that is over, with fields beside those that it needs.
func (s *script) get(id uint32, fields ...string) *script {
	return s.headers(id, fEndHead, append(target(), fields...)...)
}

// post appends a request whose content is to come.
func (s *script) post(id uint32, fields ...string) *script {
	return s.headers(id, fWhole, append(target(), fields...)...)
}

func target() []string {
	return []string{":method", "POST", ":scheme", "http", ":authority", "a.example", ":path", "/x"}
}

func (s *script) data(id uint32, flags uint8, text string) *script {
	return s.frame(tData, flags, id, []byte(text)...)
}

func (s *script) window(id, by uint32) *script {
	return s.frame(tWindowUpdate, 0, id, u32(by)...)
}

func (s *script) reset(id uint32, code stack.ErrCode) *script {
	return s.frame(tReset, 0, id, u32(uint32(code))...)
}

func (s *script) goAway(last uint32, code stack.ErrCode) *script {
	return s.frame(tGoAway, 0, 0, append(u32(last), u32(uint32(code))...)...)
}

func (s *script) setting(id uint16, v uint32) *script {
	return s.frame(tSettings, 0, 0, append([]byte{byte(id >> 8), byte(id)}, u32(v)...)...)
}

func u32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

// take returns what has been appended since the last take.
func (s *script) take() []byte {
	p := bytes.Clone(s.out.Bytes())
	s.out.Reset()
	return p
}

// A peer is one end of a connection, that speaks by script. What it has received
// stands in its fields, which its reader alone uses.
type peer struct {
	t testing.TB
	*script
	nc net.Conn
	fr *http2.Framer

	settings map[http2.SettingID]uint32
	acks     int                   // of SETTINGS
	pings    []http2.PingFrame     // without answers
	pongs    int                   // answers
	heads    map[uint32][]string   // what each stream's header blocks say, interim ones and trailers too
	fields   map[uint32]hpackBlock // the last block's
	content  map[uint32]string
	size     map[uint32]int // of the content, which is kept only up to some bytes
	ended    map[uint32]bool
	resets   map[uint32]stack.ErrCode
	order    []uint32 // streams that were begun by the other end, as they came
	goAways  []goneAway
	windows  map[uint32]int // given
	err      error          // that ended the connection
}

type hpackBlock map[string]string

type goneAway struct {
	last   uint32
	code   stack.ErrCode
	reason string
}

func newPeer(tb testing.TB, nc net.Conn) *peer {
	tb.Helper()
	p := &peer{
		t: tb, script: newScript(), nc: nc, settings: map[http2.SettingID]uint32{},
		heads: map[uint32][]string{}, fields: map[uint32]hpackBlock{}, content: map[uint32]string{}, size: map[uint32]int{},
		ended: map[uint32]bool{}, resets: map[uint32]stack.ErrCode{}, windows: map[uint32]int{},
	}
	p.fr = http2.NewFramer(io.Discard, nc)
	p.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	p.fr.MaxHeaderListSize = 1 << 20
	p.fr.SetMaxReadFrameSize(1 << 20)
	tb.Cleanup(func() { nc.Close() })
	return p
}

// connect returns a client's end of a connection to addr, that has said hello.
func connect(tb testing.TB, addr string) *peer {
	tb.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	p := newPeer(tb, nc)
	p.hello()
	return p
}

// send writes what the script has. An error of it says that the other end has gone,
// which reading shows as well.
func (p *peer) send() *peer {
	_, _ = p.nc.Write(p.take())
	return p
}

// realWait is how long a test waits for what must come, on a socket.
const realWait = 8 * time.Second

// until receives until done, or fails the test.
func (p *peer) until(what string, done func() bool) {
	p.t.Helper()
	_ = p.nc.SetReadDeadline(time.Now().Add(realWait))
	for !done() {
		if p.err != nil {
			p.t.Fatalf("waiting for %s: %v; so far %s", what, p.err, p)
		}
		p.next()
	}
}

// drain receives until the connection is over.
func (p *peer) drain() {
	p.t.Helper()
	_ = p.nc.SetReadDeadline(time.Now().Add(realWait))
	for p.err == nil {
		p.next()
	}
	if errors.Is(p.err, context.DeadlineExceeded) || strings.Contains(p.err.Error(), "timeout") {
		p.t.Errorf("connection does not end; so far %s", p)
	}
}

// next receives one frame.
func (p *peer) next() {
	f, err := p.fr.ReadFrame()
	var se http2.StreamError
	if errors.As(err, &se) {
		p.t.Errorf("received what is not well-formed: %v: %v", err, p.fr.ErrorDetail())
	}
	if err != nil {
		p.err = err
		return
	}
	id := f.Header().StreamID
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			p.acks++
		}
		_ = f.ForeachSetting(func(s http2.Setting) error { p.settings[s.ID] = s.Val; return nil })
	case *http2.PingFrame:
		if f.IsAck() {
			p.pongs++
		} else {
			p.pings = append(p.pings, *f)
		}
	case *http2.MetaHeadersFrame:
		p.takeHead(f)
	case *http2.DataFrame:
		p.size[id] += len(f.Data())
		p.content[id] += string(f.Data()[:min(len(f.Data()), max(0, 256-len(p.content[id])))])
		p.ended[id] = p.ended[id] || f.StreamEnded()
	case *http2.RSTStreamFrame:
		p.resets[id] = stack.ErrCode(f.ErrCode)
	case *http2.GoAwayFrame:
		p.goAways = append(p.goAways, goneAway{f.LastStreamID, stack.ErrCode(f.ErrCode), string(f.DebugData())})
	case *http2.WindowUpdateFrame:
		p.windows[id] += int(f.Increment)
	}
}

func (p *peer) takeHead(f *http2.MetaHeadersFrame) {
	id := f.StreamID
	line := f.PseudoValue("status")
	if m := f.PseudoValue("method"); m != "" {
		line = m + " " + f.PseudoValue("path")
		p.order = append(p.order, id)
	} else if line == "" {
		line = "trailers"
	}
	p.heads[id] = append(p.heads[id], line)
	p.fields[id] = hpackBlock{}
	for _, h := range f.Fields {
		p.fields[id][h.Name] = h.Value
	}
	p.ended[id] = p.ended[id] || f.StreamEnded()
}

// String says what has been received.
func (p *peer) String() string {
	return fmt.Sprintf("heads %v, ended %v, resets %v, GOAWAY %v, error %v", p.heads, p.ended, p.resets, p.goAways, p.err)
}

// over reports whether a stream is, either way.
func (p *peer) over(id uint32) bool {
	_, reset := p.resets[id]
	return p.ended[id] || reset
}

// status waits for a stream's end, and returns its status.
func (p *peer) status(id uint32) string {
	p.t.Helper()
	p.until(fmt.Sprintf("stream %d", id), func() bool { return p.over(id) })
	if code, reset := p.resets[id]; reset && !p.ended[id] {
		return "reset " + code.String()
	}
	return p.heads[id][0]
}

// sync waits until all that was sent has been handled.
func (p *peer) sync() {
	p.t.Helper()
	n := p.pongs
	p.frame(tPing, 0, 0, []byte("ordinary")...)
	p.send()
	p.until("PING's answer", func() bool { return p.pongs > n })
}

// A witness is a Service that remembers what it has seen.
type witness struct {
	mu    sync.Mutex
	began []string // each request's method and path
	whole []string // those whose content came to its end
	bad   []string // what no Service must see
}

// serve answers a request once its content is complete, and fails if it is not.
func (w *witness) serve(ctx context.Context, r *stack.Request) (*stack.Response, error) {
	line := r.Method + " " + r.Path
	w.mu.Lock()
	w.began = append(w.began, line)
	w.bad = append(w.bad, malformed(r)...)
	w.mu.Unlock()
	if strings.HasPrefix(r.Path, "/hold") {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	n, err := readAll(ctx, r.Body)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if want := r.Header.Get("content-length"); want != "" && want != fmt.Sprint(n) {
		w.bad = append(w.bad, fmt.Sprintf("%d bytes of %s", n, want))
	}
	for name, value := range r.Body.Trailer().All() {
		line += " " + name + "=" + value
	}
	w.whole = append(w.whole, line)
	resp := &stack.Response{Status: 200, Body: stack.Empty()}
	resp.Header.Add("x-host", r.Authority+" "+r.Header.Get("host"))
	return resp, nil
}

// seen returns the requests that came whole, and what was wrong with any.
func (w *witness) seen() (whole, bad []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.whole...), append([]string(nil), w.bad...)
}

// readAll reads a body to its end.
func readAll(ctx context.Context, b stack.Body) (n int, err error) {
	for {
		chunk, err := b.Next(ctx)
		n += len(chunk)
		if err == io.EOF { //nolint:errorlint // the contract is io.EOF itself
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// malformed says what of a request no Service must see. It does not use the codec's
// own tables.
func malformed(r *stack.Request) (bad []string) {
	wrong := func(what, s string, ok func(c byte) bool) {
		for i := range len(s) {
			if !ok(s[i]) {
				bad = append(bad, fmt.Sprintf("%s %q", what, s))
				return
			}
		}
	}
	visible := func(c byte) bool { return c > ' ' && c < 0x7f }
	tokens := func(c byte) bool { return visible(c) && !strings.ContainsRune("\"(),/:;<=>?@[\\]{}", rune(c)) }
	wrong("method", r.Method, tokens)
	wrong("scheme", r.Scheme, tokens)
	wrong("path", r.Path, visible)
	wrong("authority", r.Authority, func(c byte) bool { return visible(c) && !strings.ContainsRune("@/,\\#? ", rune(c)) })
	if r.Method == "" || r.Path == "" && r.Method != "CONNECT" || r.Path != "" && r.Path[0] != '/' && r.Path != "*" {
		bad = append(bad, fmt.Sprintf("target %q %q", r.Method, r.Path))
	}
	once := map[string]int{}
	for name, value := range r.Header.All() {
		once[name]++
		wrong("name", name, func(c byte) bool { return tokens(c) && (c < 'A' || c > 'Z') })
		wrong("value", value, func(c byte) bool { return c == '\t' || c >= ' ' && c != 0x7f })
		if name == "" || strings.Trim(value, " \t") != value || name == "te" && value != "trailers" {
			bad = append(bad, fmt.Sprintf("field %q: %q", name, value))
		}
	}
	for _, name := range []string{"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"} {
		if once[name] > 0 {
			bad = append(bad, name)
		}
	}
	if once["host"] > 1 || once["content-length"] > 1 {
		bad = append(bad, "host or content-length twice")
	}
	return bad
}

// A piecewise connection gives at most one byte at a time, and has none of what
// l4.Conn has beside net.Conn.
type piecewise struct {
	net.Conn
	piece int
}

func (p piecewise) Read(b []byte) (int, error) { return p.Conn.Read(b[:min(p.piece, len(b))]) }

// serveOne serves one connection, and returns its client's end, and what Serve returns.
func serveOne(ctx context.Context, tb testing.TB, svc stack.Service, p h2.Params, wrap func(net.Conn) net.Conn) (*peer, chan error) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	ended := make(chan error, 1)
	over := make(chan struct{})
	go func() {
		defer close(over)
		ended <- h2.Serve(ctx, &stack.Conn{Conn: wrap(far)}, svc, p)
	}()
	tb.Cleanup(func() {
		near.Close()
		<-over
	})
	return newPeer(tb, near), ended
}

// asSocket is the connection as it is in use.
func asSocket(c net.Conn) net.Conn {
	lc, err := l4.NewConn(c.(*net.TCPConn))
	if err != nil {
		panic(err)
	}
	return lc
}

func byByte(c net.Conn) net.Conn { return piecewise{c, 1} }

// A hostileServer is a listener whose connections a test answers by hand.
type hostileServer struct {
	addr netip.AddrPort

	mu    sync.Mutex
	conns int
}

// answers listens, and has each connection answered by f in a goroutine of its own:
// nth counts from 1. The peer has sent nothing yet, and has read the preface.
func answers(tb testing.TB, f func(p *peer, nth int)) *hostileServer {
	tb.Helper()
	s := &hostileServer{}
	s.addr = listen(tb, func() {}, func(nc net.Conn) func() {
		s.mu.Lock()
		s.conns++
		nth := s.conns
		s.mu.Unlock()
		p := newPeer(tb, nc)
		return func() {
			defer nc.Close()
			_, _ = io.ReadFull(nc, make([]byte, len(http2.ClientPreface)))
			f(p, nth)
		}
	})
	return s
}

// count returns how many connections there were.
func (s *hostileServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns
}

// receive receives until a condition holds; false if the connection ended before it.
func (p *peer) receive(done func() bool) bool {
	_ = p.nc.SetReadDeadline(time.Now().Add(realWait))
	for !done() {
		if p.err != nil {
			return false
		}
		p.next()
	}
	return true
}

// begun waits for the n-th request, from 1, and returns its stream.
func (p *peer) begun(n int) (id uint32, ok bool) {
	if !p.receive(func() bool { return len(p.order) >= n }) {
		return 0, false
	}
	return p.order[n-1], true
}

// linger receives whatever comes until the other end leaves.
func (p *peer) linger() {
	p.receive(func() bool { return false })
}

// ask has a Pool send a request without content.
func ask(ctx context.Context, pl *h2.Pool, method, path string) (*stack.Response, error) {
	r := &stack.Request{Version: stack.HTTP2, Method: method, Scheme: "http", Authority: "a.example", Path: path, Body: stack.Empty()}
	return pl.Do(ctx, r)
}

func dialRaw(addr string) (net.Conn, error) { return net.Dial("tcp", addr) }

// elapse lets time pass that is the test's own (testing/synctest).
func elapse(d time.Duration) { <-time.NewTimer(d).C }
