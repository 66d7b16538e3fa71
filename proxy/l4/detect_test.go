package l4

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// wait marks input that leaves the question open.
const wait = 99 // without a type, or it would be one of the protocols

var openings = []struct {
	in   string
	want Protocol
}{
	// Waited for.
	{"", wait},
	{"G", wait},
	{"GET", wait},
	{"GET ", wait},
	{"GET /", wait},
	{"GET / HT", wait},
	{"GET / HTTP", wait},
	{"P", wait},
	{"PRI", wait},
	{"PRI * H", wait},
	{"PRI * HTTP/2.", wait},
	{"\r", wait},
	{"\r\n", wait},
	{"\r\n\r\n\n\nGET", wait},
	{"ABCDEFGHIJKLMNOPQRST", wait},
	{"SSH-2.0-OpenSSH_9.2p1", wait},
	{strings.Repeat("M", 32), wait},
	{"REPORT /x HTTP/1", wait},
	{"GET /" + strings.Repeat("a", 1018), wait},

	// HTTP.
	{"PRI * HTTP/2.0", HTTP2},
	{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00", HTTP2},
	{"GET / HTTP/", HTTP1},
	{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP1},
	{"GET / HTTP/1.0\n\n", HTTP1},
	{"\r\n\nGET / HTTP/1.1\r\n", HTTP1},
	{"OPTIONS * HTTP/1.1\r\n", HTTP1},
	{"CONNECT a:1 HTTP/1.1\r\n", HTTP1},
	{"GET http://a/ HTTP/1.1\r\n", HTTP1},
	{"PROPFIND / HTTP/1.1\r\n", HTTP1},
	{"x!#$%&'*+-.^_`|~ / HTTP/1.0\r\n", HTTP1},
	{strings.Repeat("M", 32) + " / HTTP/1.1\r\n", HTTP1},
	{"GET /" + strings.Repeat("a", 1019), HTTP1},    // the limit
	{"REPORT /" + strings.Repeat("a", 1016), HTTP1}, // the same
	{"PRI /x HTTP/1.1\r\n", HTTP1},
	// Malformed HTTP, for the codec to refuse.
	{"GET  / HTTP/1.1\r\n", HTTP1},
	{"GET\t/ HTTP/1.1\r\n", HTTP1},
	{"GET /\tHTTP/1.1\r\n", HTTP1},
	{"GET /\x00 HTTP/1.1\r\n", HTTP1},
	{"GET /\r HTTP/1.1\r\n", HTTP1},
	{"GET / HTTP/3.0\r\n", HTTP1},
	{"GET / x HTTP/1.1\r\n", HTTP1},

	// Not HTTP.
	{"\x16", Opaque},
	{"\x16\x03\x01\x02\x00\x01", Opaque}, // TLS
	{"\x00", Opaque},
	{" GET / HTTP/1.1\r\n", Opaque},
	{"\rGET / HTTP/1.1\r\n", Opaque},
	{"\n\n\n\n\nGET / HTTP/1.1\r\n", Opaque},
	{"GET\r", Opaque},
	{"GET / \n", Opaque},
	{"GET /\r\n", Opaque}, // HTTP/0.9
	{"GET foo\r\n", Opaque},
	{"*1\r\n$4\r\nPING\r\n", Opaque},
	{"PING\r\n", Opaque},
	{"get foo\r\n", Opaque},
	{"SSH-2.0-OpenSSH_9.2p1\r\n", Opaque},
	{"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", Opaque},
	{"OPTIONS rtsp://a RTSP/1.0\r\n", Opaque},
	{"INVITE sip:a SIP/2.0\r\n", Opaque},
	{"REPORT  / HTTP/1.1\r\n", Opaque},
	{"REPORT / HTTP/2.0\r\n", Opaque},
	{"REPORT /\x01 HTTP/1.1\r\n", Opaque},
	{"HTTP/1.1 200 OK\r\n", Opaque},
	{"PRJ", wait},
	{"PRI * HTTP/2.1\r\n", Opaque},
	{"\r\nPRI * HTTP/2.0\r\n", Opaque},
	{strings.Repeat("M", 33), Opaque},
	{"REPORT " + strings.Repeat("a", 1017), Opaque}, // the limit
	{"EHLO mail.example.org\r\n", Opaque},
	{"\x03\x00\x00\x13", Opaque}, // RDP
	{"AMQP\x00\x00\x09\x01", Opaque},
	{"PUT foo\r\n", Opaque},
}

func TestClassify(t *testing.T) {
	for _, o := range openings {
		p, certain := classify([]byte(o.in))
		if !certain {
			p = wait
		}
		if p != o.want {
			t.Errorf("%.40q: %v, want %v", o.in, p, o.want)
		}
	}
}

// TestClassifyAtEverySplit sees that no byte that comes later changes a decision.
func TestClassifyAtEverySplit(t *testing.T) {
	for _, o := range openings {
		checkSplits(t, []byte(o.in))
	}
}

// checkSplits sees that each beginning of in that decides, decides as in does.
func checkSplits(t *testing.T, in []byte) {
	t.Helper()
	want, decided := classify(in)
	for n := range in {
		p, certain := classify(in[:n])
		if certain && (!decided || p != want) {
			t.Fatalf("%q is %v, but %q is %v (%v)", in[:n], p, in, want, decided)
		}
	}
}

func FuzzDetect(f *testing.F) {
	for _, o := range openings {
		f.Add([]byte(o.in), uint(len(o.in)/2))
	}
	f.Fuzz(func(t *testing.T, in []byte, at uint) {
		if len(in) > 2*detectBytes {
			in = in[:2*detectBytes]
		}
		checkSplits(t, in)
		at %= uint(len(in) + 1)
		whole, _, werr := detectPieces(t, in)
		split, c, serr := detectPieces(t, in[:at], in[at:])
		if whole.Protocol != split.Protocol || whole.Result != split.Result || (werr == nil) != (serr == nil) {
			t.Fatalf("%q: %v, %v; split at %d: %v, %v", in, whole, werr, at, split, serr)
		}
		if rest, err := io.ReadAll(c); err != nil || !bytes.Equal(rest, in) {
			t.Fatalf("replayed %q of %q, %v", rest, in, err)
		}
	})
}

// pieces is a connection that gives one piece for each read, then ends.
type pieces struct {
	net.Conn
	of [][]byte
}

func (p *pieces) SetReadDeadline(time.Time) error { return nil }
func (p *pieces) Read(b []byte) (int, error) {
	for len(p.of) > 0 && len(p.of[0]) == 0 {
		p.of = p.of[1:]
	}
	if len(p.of) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.of[0])
	p.of[0] = p.of[0][n:]
	return n, nil
}

func detectPieces(t *testing.T, of ...[]byte) (Detection, *stack.Conn, error) {
	t.Helper()
	c := &stack.Conn{Conn: &pieces{of: of}}
	d, err := Detect(c, DetectConfig{Timeout: time.Second})
	return d, c, err
}

// TestDetect has a client that sends each opening in two parts, with a pause, and
// then does one of three things.
func TestDetect(t *testing.T) {
	for _, o := range openings {
		if len(o.in) > 64 {
			continue // every split of these is too many
		}
		for at := range len(o.in) + 1 {
			for _, then := range []string{"stays", "ends"} {
				synctest.Test(t, func(t *testing.T) { detectSplit(t, o.in, o.want, at, then == "ends") })
			}
		}
	}
}

func detectSplit(t *testing.T, in string, want Protocol, at int, ends bool) {
	t.Helper()
	client, server := net.Pipe()
	var writer sync.WaitGroup
	defer writer.Wait()
	defer client.Close()
	c := &stack.Conn{Conn: server}
	writer.Go(func() {
		time.Sleep(time.Millisecond)
		io.WriteString(client, in[:at])
		time.Sleep(time.Millisecond)
		io.WriteString(client, in[at:])
		if ends {
			client.Close()
		}
	})
	d, err := Detect(c, DetectConfig{Timeout: time.Second})
	result := map[Protocol]Result{HTTP1: DetectedHTTP1, HTTP2: DetectedHTTP2, Opaque: NotHTTP, wait: ReadTimeout}[want]
	switch {
	case ends && in == "":
		if !errors.Is(err, ErrClosedEarly) || d.Result != ReadError {
			t.Errorf("closed early: %v, %v", d, err)
		}
		return
	case want == wait && ends:
		want, result = Opaque, NotHTTP
	case want == wait:
		want = Opaque
	}
	if err != nil || d.Protocol != want || d.Result != result {
		t.Errorf("%q split at %d, ends %v: %v, %v; want %v, %v", in, at, ends, d, err, want, result)
	}
	if timedOut := d.Elapsed == time.Second; timedOut != (result == ReadTimeout) {
		t.Errorf("%q split at %d: took %v", in, at, d.Elapsed)
	}
	client.Close()
	if rest, err := io.ReadAll(c); err != nil || !strings.HasPrefix(in, string(rest)) || ends && len(rest) < at {
		t.Errorf("%q split at %d: replayed %q, %v", in, at, rest, err)
	}
}

func TestDetectFails(t *testing.T) {
	client, server := net.Pipe()
	client.Close()
	server.Close()
	if _, err := Detect(&stack.Conn{Conn: server}, DetectConfig{Timeout: time.Second}); err == nil {
		t.Error("no error of a closed connection")
	}
	a, b := rawPair(t)
	a.SetLinger(0)
	a.Close()
	if d, err := Detect(&stack.Conn{Conn: b}, DetectConfig{}); err == nil || d.Result != ReadError {
		t.Errorf("after a reset: %v, %v", d, err)
	}
}

func TestProtocolNames(t *testing.T) {
	for p, want := range map[Protocol]string{Opaque: "opaque", HTTP1: "http/1", HTTP2: "http/2", 7: "Protocol(7)"} {
		if p.String() != want {
			t.Errorf("%s, want %s", p, want)
		}
	}
}
