package h1

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A recording is a connection on which everything has come already, in pieces of
// that many bytes, and whose peer has left.
type recording struct {
	text  []byte
	piece int

	mu      sync.Mutex
	written bytes.Buffer
}

func (r *recording) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.text) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), max(r.piece, 1))], r.text)
	r.text = r.text[n:]
	return n, nil
}

func (r *recording) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.written.Write(p)
}

func (*recording) Close() error                     { return nil }
func (*recording) SetDeadline(time.Time) error      { return nil }
func (*recording) SetReadDeadline(time.Time) error  { return nil }
func (*recording) SetWriteDeadline(time.Time) error { return nil }
func (*recording) LocalAddr() net.Addr              { return net.TCPAddrFromAddrPort(netip.AddrPort{}) }

func (*recording) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.AddrPort{}) }

// play returns an input that is to receive text.
func play(text []byte, piece int) *input {
	in := newInput(&stack.Conn{Conn: &recording{text: bytes.Clone(text), piece: piece}})
	return &in
}

// seed gives some of the hostile requests, since all of them would take the time in
// which others are found; TestHostileRequests has them all.
func seed(f *testing.F, behind string) {
	f.Helper()
	for i, v := range vectors() {
		if i%9 == 0 && len(v.text) < 4096 {
			f.Add([]byte(v.text+behind), 7)
		}
	}
}

// FuzzRequestHead compares with net/http: what both accept they read alike, and what
// only this codec accepts is a URL that net/http takes apart further than a proxy
// may. What is sent on is read strictly.
func FuzzRequestHead(f *testing.F) {
	seed(f, "")
	f.Fuzz(func(t *testing.T, text []byte, piece int) {
		in := play(text, piece)
		defer in.idle()
		in.server = true
		head, err := in.head(64<<10, 0)
		if err != nil {
			return
		}
		original := bytes.Clone(head)
		r := &stack.Request{Body: stack.Empty()}
		if in.parser.request(head, r, 200) != nil {
			return
		}
		framing, err := requestFraming(r)
		if err != nil {
			return
		}
		if framing.kind == byChunks || framing.length > 0 {
			r.Body = stub{stack.Empty(), framing.length, framing.kind == byLength}
		}
		strictly(t, r)
		likeNetHTTP(t, original, r, framing)
	})
}

// strictly sees what is sent for r.
func strictly(t *testing.T, r *stack.Request) {
	t.Helper()
	if r.WantsTunnel() {
		return
	}
	c := &conn{}
	if err := c.writeHead(r); err != nil {
		t.Fatalf("accepted, but cannot be written: %v", err)
	}
	content := "0\r\n\r\n"
	if n, known := r.Body.Size(); n > 1<<20 {
		return
	} else if known {
		content = strings.Repeat("x", int(n))
	}
	got, n, err := readStrictly(append(c.out.buf, content...))
	if err != nil || n != len(c.out.buf)+len(content) || got.method != r.Method {
		t.Errorf("sent on %q: %v, %d bytes are read", c.out.buf, err, n)
	}
}

func likeNetHTTP(t *testing.T, head []byte, r *stack.Request, f framing) {
	t.Helper()
	theirs, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	if err != nil {
		if msg := err.Error(); !strings.Contains(msg, "parse \"") && !strings.Contains(msg, "invalid URI for request") && !strings.Contains(msg, "EOF") && !strings.Contains(msg, "malformed MIME header") {
			t.Errorf("net/http refuses %q: %v", head, err)
		}
		return
	}
	target := r.Path
	switch r.Form {
	case stack.AbsoluteForm:
		target = r.Scheme + "://" + r.Authority + r.Path
	case stack.AuthorityForm:
		target = r.Authority
	case stack.OriginForm, stack.AsteriskForm:
	}
	if theirs.Method != r.Method || theirs.RequestURI != target {
		t.Errorf("%q: %s %q, net/http reads %s %q", head, r.Method, target, theirs.Method, theirs.RequestURI)
	}
	if theirs.Host != r.Authority && !strings.Contains(r.Authority, "%") {
		t.Errorf("%q: host %q, net/http reads %q", head, r.Authority, theirs.Host)
	}
	length := f.length
	if f.kind == byChunks {
		length = -1
	}
	if theirs.ContentLength != length {
		t.Errorf("%q: content of %d bytes, net/http reads %d", head, length, theirs.ContentLength)
	}
}

// FuzzResponseHead does the same for responses.
func FuzzResponseHead(f *testing.F) {
	for _, v := range hostileAnswers() {
		if len(v.text) < 4096 {
			f.Add([]byte(v.text), 7)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, piece int) {
		in := play(text, piece)
		defer in.idle()
		head, err := in.head(64<<10, 0)
		if err != nil {
			return
		}
		original := bytes.Clone(head)
		r := &stack.Response{Body: stack.Empty()}
		if in.parser.response(head, r, 200) != nil {
			return
		}
		framing, err := responseFraming(r, "GET", "")
		if err != nil || r.Status < 200 {
			return
		}
		theirs, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(original)), nil)
		if err != nil {
			if !strings.Contains(err.Error(), "malformed MIME header") {
				t.Errorf("net/http refuses %q: %v", original, err)
			}
			return
		}
		length := framing.length
		if framing.kind == byChunks || framing.kind == byEnd {
			length = -1
		}
		if r.Status == 304 {
			theirs.ContentLength = 0 // it tells the length that would have been
		}
		if theirs.StatusCode != r.Status || theirs.ContentLength != length {
			t.Errorf("%q: %d with %d bytes, net/http reads %d with %d", original, r.Status, length, theirs.StatusCode, theirs.ContentLength)
		}
	})
}

// dechunk reads a chunked content from text.
func dechunk(text []byte, piece int) (content []byte, trailer string, left int, err error) {
	p := testParams()
	in := play(text, piece)
	b := &body{wrap: func(err error) error { return err }}
	b.start(in, &p, framing{kind: byChunks})
	for err == nil {
		var chunk []byte
		hand := b.AtHand()
		was := len(in.c.Conn.(*recording).text)
		chunk, err = b.Next(context.Background())
		if waited := len(in.c.Conn.(*recording).text) != was; waited && hand {
			return nil, "", 0, errors.New("at hand, and yet it waited")
		}
		content = append(content, chunk...)
	}
	for name, value := range b.trailer.All() {
		trailer += name + ": " + value + "\n"
	}
	return content, trailer, in.w - in.r + len(in.c.Conn.(*recording).text), err
}

// FuzzChunked reads a content whole, in pieces, and by net/http.
func FuzzChunked(f *testing.F) {
	for _, v := range chunkVectors() {
		_, content, _ := strings.Cut(v.text, "\r\n\r\n")
		f.Add([]byte(content[:min(len(content), 4096)]), 3)
	}
	for _, v := range trailerVectors() {
		_, content, _ := strings.Cut(v.text, "\r\n\r\n")
		f.Add([]byte(content[:min(len(content), 4096)]), 1)
	}
	f.Fuzz(func(t *testing.T, text []byte, piece int) {
		piece = max(1, piece%100)
		content, trailer, left, err := dechunk(text, 1<<20)
		again, trailer2, left2, err2 := dechunk(text, piece)
		if !bytes.HasPrefix(content, again) && !bytes.HasPrefix(again, content) || (err == io.EOF) != (err2 == io.EOF) { //nolint:errorlint // the contract is io.EOF itself
			t.Fatalf("%q is %q, %v; in pieces of %d bytes %q, %v", text, content, err, piece, again, err2)
		}
		if err != io.EOF { //nolint:errorlint // as above
			return
		}
		if !bytes.Equal(content, again) || trailer != trailer2 || left != left2 {
			t.Fatalf("%q is %q %q, %d left; in pieces of %d bytes %q %q, %d left", text, content, trailer, left, piece, again, trailer2, left2)
		}
		theirs, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(text)))
		if err != nil && !strings.Contains(err.Error(), "excessive overhead") || !bytes.HasPrefix(content, theirs) || err == nil && len(theirs) != len(content) {
			t.Errorf("%q is %q; net/http reads %q, %v", text, content, theirs, err)
		}
	})
}

// FuzzServe has Serve end, and write nothing but answers, whatever it is sent.
func FuzzServe(f *testing.F) {
	seed(f, next)
	p := testParams()
	p.ClientWatch = 0
	f.Fuzz(func(t *testing.T, text []byte, piece int) {
		c := &recording{text: text, piece: max(1, piece%2000)}
		_ = Serve(t.Context(), &stack.Conn{Conn: c}, rescued(echoing), &p)
		rd := bufio.NewReader(&c.written)
		for {
			resp, err := http.ReadResponse(rd, &http.Request{Method: "HEAD"}) // of which method is not known here
			if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatalf("wrote what is no answer: %v", err)
			}
			if n := resp.ContentLength; n > 0 { // it may have been to HEAD, with no content
				return
			}
		}
	})
}

// FuzzClient has Do and the response's content end, whatever a server sends, and
// keeps a connection only if nothing is left on it.
func FuzzClient(f *testing.F) {
	for i, v := range hostileAnswers() {
		if i%3 == 0 && len(v.text) < 4096 {
			f.Add([]byte(v.text), 7, i)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, piece, kind int) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c := &recording{text: text, piece: max(1, piece%2000)}
		pool := NewPool(ctx, func(context.Context, stack.Session) (*stack.Conn, error) { return &stack.Conn{Conn: c}, nil }, testParams(), nil)
		r := &stack.Request{Version: stack.HTTP11, Method: []string{"GET", "HEAD", "POST", "CONNECT"}[max(kind, -kind, 0)&3], Path: "/", Authority: "a", Body: stack.Empty()}
		r.Header.Add("host", "a")
		if r.Method == "CONNECT" {
			r.Form = stack.AuthorityForm
		} else if kind&4 != 0 {
			r.Header.Add("upgrade", "x")
		}
		resp, err := pool.Do(ctx, r)
		if err != nil {
			return
		}
		for err == nil {
			_, err = resp.Body.Next(ctx)
		}
		cause := err
		if errors.Is(err, io.EOF) {
			cause = nil
		}
		_ = resp.Body.Close(cause)
		pool.mu.Lock()
		defer pool.mu.Unlock()
		if kept := pool.count; kept > 0 && piece > len(text) && len(c.text) > 0 {
			t.Errorf("%q: a connection is kept with %d bytes to come", text, len(c.text))
		}
	})
}

// TestPiecesMakeNoDifference sends good requests in pieces of every size.
func TestPiecesMakeNoDifference(t *testing.T) {
	text := []byte("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n6\r\n world\r\n0\r\nX: y\r\n\r\n\r\nPOST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /c HTTP/1.0\r\n\r\n")
	want := ""
	for piece := len(text); piece > 0; piece-- {
		c := &recording{text: bytes.Clone(text), piece: piece}
		p := testParams()
		if err := Serve(t.Context(), &stack.Conn{Conn: c}, echoing, &p); err != nil {
			t.Fatal(err)
		}
		got := ""
		for line := range strings.Lines(c.written.String()) {
			if !strings.HasPrefix(line, "date: ") {
				got += line
			}
		}
		if want == "" {
			want = got
			has(t, "the answers", want, "\r\n\r\nhello worldHTTP", "\r\n\r\nabcHTTP")
		}
		if got != want {
			t.Fatalf("in pieces of %d bytes: %q\nwant %q", piece, got, want)
		}
	}
}
