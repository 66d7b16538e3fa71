package l4

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// recorded is what a client of TLS says first.
type recorded struct {
	net.Conn
	said bytes.Buffer
}

func (r *recorded) Write(p []byte) (int, error)      { return r.said.Write(p) }
func (r *recorded) Read([]byte) (int, error)         { return 0, io.EOF }
func (r *recorded) Close() error                     { return nil }
func (r *recorded) SetDeadline(time.Time) error      { return nil }
func (r *recorded) SetWriteDeadline(time.Time) error { return nil }

// firstFlight returns the ClientHello of crypto/tls.
func firstFlight(tb testing.TB, cfg *tls.Config) []byte {
	tb.Helper()
	var r recorded
	cfg.InsecureSkipVerify = true
	if err := tls.Client(&r, cfg).Handshake(); err == nil {
		tb.Fatal("a handshake with nobody succeeds")
	}
	if i := bytes.Index(r.said.Bytes(), []byte{21, 3}); i > 0 && i == r.said.Len()-7 {
		return r.said.Bytes()[:i] // without the alert
	}
	return r.said.Bytes()
}

// inRecords cuts a ClientHello's one record into many, of n bytes each.
func inRecords(hello []byte, n int) []byte {
	var b []byte
	for message := hello[recordHeader:]; len(message) > 0; {
		m := min(n, len(message))
		b = binary.BigEndian.AppendUint16(append(b, 22, 3, 1), uint16(m))
		b = append(b, message[:m]...)
		message = message[m:]
	}
	return b
}

// A shape is a ClientHello that is put together by hand.
type shape struct {
	version    string
	session    int
	suites     string
	extensions string
	bare       bool // without extensions
	after      string
}

func vec(n int, content string) string {
	b := make([]byte, 4)
	binary.BigEndian.PutUint32(b, uint32(len(content)))
	return string(b[4-n:]) + content
}

func ext(kind int, content string) string {
	return string([]byte{byte(kind >> 8), byte(kind)}) + vec(2, content)
}

func sni(name string) string { return ext(0, vec(2, "\x00"+vec(2, name))) }

func alpn(names ...string) string {
	var all string
	for _, n := range names {
		all += vec(1, n)
	}
	return ext(16, vec(2, all))
}

func (s shape) bytes() []byte {
	if s.version == "" {
		s.version = "\x03\x03"
	}
	if s.suites == "" {
		s.suites = "\x13\x01"
	}
	body := s.version + strings.Repeat("r", 32) + vec(1, strings.Repeat("s", s.session)) + vec(2, s.suites) + vec(1, "\x00")
	if !s.bare {
		body += vec(2, s.extensions)
	}
	return []byte("\x16\x03\x01" + vec(2, "\x01"+vec(3, body+s.after)))
}

var hellos = map[string]struct {
	in   []byte
	want Hello
}{
	"a name":                      {shape{extensions: sni("web.test")}.bytes(), Hello{TLS: true, SNI: "web.test"}},
	"a name in capitals":          {shape{extensions: sni("Web.TEST")}.bytes(), Hello{TLS: true, SNI: "web.test"}},
	"a final dot is another name": {shape{extensions: sni("web.test.")}.bytes(), Hello{TLS: true, SNI: "web.test."}},
	"a name among others":         {shape{session: 32, extensions: ext(43, "\x02\x03\x04") + sni("a.test") + ext(0x0a0a, "")}.bytes(), Hello{TLS: true, SNI: "a.test"}},
	"protocols":                   {shape{extensions: alpn("h2", "http/1.1") + sni("a.test")}.bytes(), Hello{TLS: true, SNI: "a.test", ALPN: []string{"h2", "http/1.1"}}},
	"protocols without a name":    {shape{extensions: alpn(HeaderALPN)}.bytes(), Hello{TLS: true, ALPN: []string{HeaderALPN}}},
	"no extensions":               {shape{}.bytes(), Hello{TLS: true}},
	"no place for extensions":     {shape{bare: true}.bytes(), Hello{TLS: true}},
	"an address is no name":       {shape{extensions: sni("10.0.0.1")}.bytes(), Hello{TLS: true}},
	"what is no name":             {shape{extensions: sni("a..b")}.bytes(), Hello{TLS: true}},
	"bytes that are no name":      {shape{extensions: sni("a\x00b")}.bytes(), Hello{TLS: true}},
	"a long name":                 {shape{extensions: sni(strings.Repeat("a", 5000))}.bytes(), Hello{TLS: true}},
	"a record of TLS 1.2":         {[]byte("\x16\x03\x03" + string(shape{extensions: sni("a.test")}.bytes()[3:])), Hello{TLS: true, SNI: "a.test"}},
	"records of one byte":         {inRecords(shape{extensions: sni("a.test")}.bytes(), 1), Hello{TLS: true, SNI: "a.test"}},
	"records of three bytes":      {inRecords(shape{extensions: sni("a.test") + alpn("x")}.bytes(), 3), Hello{TLS: true, SNI: "a.test", ALPN: []string{"x"}}},
	"more follows in a record":    {slices.Concat(shape{extensions: sni("a.test")}.bytes(), []byte("\x14\x03\x03\x00\x01\x01")), Hello{TLS: true, SNI: "a.test"}},

	"nothing":                    {nil, Hello{}},
	"HTTP":                       {[]byte("GET / HTTP/1.1\r\n\r\n"), Hello{}},
	"an alert":                   {[]byte("\x15\x03\x01\x00\x02\x01\x00"), Hello{}},
	"SSL 2":                      {[]byte("\x80\x2e\x01\x03\x01\x00\x15"), Hello{}},
	"a record of SSL 3":          {[]byte("\x16\x03\x00" + string(shape{}.bytes()[3:])), Hello{}},
	"a record of no TLS":         {[]byte("\x16\x04\x01"), Hello{}},
	"an empty record":            {[]byte("\x16\x03\x01\x00\x00"), Hello{}},
	"a record that is too long":  {[]byte("\x16\x03\x01\x40\x01"), Hello{}},
	"a ServerHello":              {[]byte("\x16\x03\x01\x00\x04\x02"), Hello{}},
	"TLS 1.1":                    {shape{version: "\x03\x02", extensions: sni("a.test")}.bytes(), Hello{}},
	"a long session":             {shape{session: 33}.bytes(), Hello{}},
	"half a suite":               {shape{suites: "\x13\x01\x00"}.bytes(), Hello{}},
	"something after":            {shape{extensions: sni("a.test"), after: "x"}.bytes(), Hello{}},
	"an extension that overruns": {shape{extensions: "\x00\x00\xff\xff\x00"}.bytes(), Hello{}},
	"a name that overruns":       {shape{extensions: ext(0, "\x00\x09\x00\x00\x07a.test")}.bytes(), Hello{}},
	"an empty name":              {shape{extensions: sni("")}.bytes(), Hello{}},
	"no name in the list":        {shape{extensions: ext(0, vec(2, ""))}.bytes(), Hello{}},
	"no list of names":           {shape{extensions: ext(0, "")}.bytes(), Hello{}},
	"another kind of name":       {shape{extensions: ext(0, vec(2, "\x01"+vec(2, "a.test")))}.bytes(), Hello{}},
	"two names":                  {shape{extensions: ext(0, vec(2, "\x00"+vec(2, "a.test")+"\x00"+vec(2, "b.test")))}.bytes(), Hello{}},
	"two lists of names":         {shape{extensions: sni("a.test") + sni("b.test")}.bytes(), Hello{}},
	"two lists of protocols":     {shape{extensions: alpn("a") + alpn("b")}.bytes(), Hello{}},
	"an empty protocol":          {shape{extensions: alpn("")}.bytes(), Hello{}},
	"no protocols":               {shape{extensions: alpn()}.bytes(), Hello{}},
	"another message behind it":  {[]byte("\x16\x03\x01" + vec(2, string(shape{}.bytes()[recordHeader:])+"\x01\x00\x00\x00")), Hello{}},
}

// look is PeekHello over what comes in pieces, and then ends.
func look(of ...[]byte) (Hello, *stack.Conn, error) {
	c := &stack.Conn{Conn: &pieces{of: of}}
	h, err := PeekHello(c, time.Second)
	return h, c, err
}

func same(a, b Hello) bool { return a.TLS == b.TLS && a.SNI == b.SNI && slices.Equal(a.ALPN, b.ALPN) }

func TestHello(t *testing.T) {
	for name, tt := range hellos {
		h, c, err := look(tt.in)
		if err != nil || !same(h, tt.want) {
			t.Errorf("%s: %+v, %v; want %+v", name, h, err, tt.want)
		}
		if rest, err := io.ReadAll(c); err != nil || !bytes.Equal(rest, tt.in) {
			t.Errorf("%s: replayed %q of %q, %v", name, rest, tt.in, err)
		}
		if h, _, err := look(slices.Collect(slices.Chunk(tt.in, 1))...); err != nil || !same(h, tt.want) {
			t.Errorf("%s, byte by byte: %+v, %v; want %+v", name, h, err, tt.want)
		}
	}
}

// TestHelloWaitsForTheWhole: every beginning of a ClientHello leaves the question
// open, and what is none decides it without waiting for more.
func TestHelloWaitsForTheWhole(t *testing.T) {
	for name, tt := range hellos {
		for n := range tt.in {
			var s helloScan
			message, done := s.scan(tt.in[:n])
			if decided := done || message != nil; decided && tt.want.TLS && !strings.HasPrefix(name, "more follows") {
				t.Errorf("%s is decided by its first %d bytes", name, n)
			}
		}
		var s helloScan
		if message, done := s.scan(tt.in); len(tt.in) > 0 && !done && message == nil {
			t.Errorf("%s: more is waited for", name)
		}
	}
}

func TestHelloTooLong(t *testing.T) {
	for name, in := range map[string][]byte{
		"as it says itself":            []byte("\x16\x03\x01\x40\x00\x01\x00\x40\x01"),
		"by far":                       []byte("\x16\x03\x01\x40\x00\x01\xff\xff\xff"),
		"with the headers of records":  inRecords(shape{extensions: sni("a.test") + ext(99, strings.Repeat("x", 8000))}.bytes(), 1),
		"as its extensions want to be": inRecords([]byte("\x16\x03\x01\x00\x00\x01\x00\xff\xff"+strings.Repeat("x", 1<<16-1)), 1<<14),
	} {
		endless := &pieces{of: [][]byte{in}}
		c := &stack.Conn{Conn: endless}
		if h, err := PeekHello(c, time.Second); !errors.Is(err, ErrHelloSize) || h.TLS {
			t.Errorf("%s: %+v, %v, want ErrHelloSize", name, h, err)
		}
		if n := len(c.Peeked()); n > 2*maxPeeked {
			t.Errorf("%s: %d bytes are held", name, n)
		}
	}
	longest := shape{extensions: sni("a.test") + ext(99, strings.Repeat("x", maxHello-62))}.bytes()
	cut := inRecords(longest, 1<<13)
	if h, _, err := look(cut); err != nil || h.SNI != "a.test" || len(longest) != recordHeader+messageHeader+maxHello {
		t.Errorf("the longest that is allowed, %d bytes: %+v, %v", len(longest), h, err)
	}
}

// TestHelloTrickles: the timeout is for the whole, and not for each byte.
func TestHelloTrickles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		var writer sync.WaitGroup
		writer.Go(func() {
			for _, b := range (shape{extensions: sni("a.test")}).bytes() {
				if _, err := client.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		start := time.Now()
		if _, err := PeekHello(&stack.Conn{Conn: server}, 10*time.Second); !errors.Is(err, ErrHelloTimeout) || time.Since(start) != 10*time.Second {
			t.Errorf("%v after %v, want ErrHelloTimeout after 10 s", err, time.Since(start))
		}
		server.Close()
		writer.Wait()
	})
}

func TestHelloOfNobody(t *testing.T) {
	a, b := rawPair(t)
	a.SetLinger(0)
	a.Close()
	if h, err := PeekHello(&stack.Conn{Conn: b}, time.Second); err == nil || h.TLS {
		t.Errorf("after a reset: %+v, %v", h, err)
	}
	_, server := net.Pipe()
	server.Close()
	if _, err := PeekHello(&stack.Conn{Conn: server}, time.Second); err == nil {
		t.Error("no error of a closed connection")
	}
	if h, _, err := look(shape{extensions: sni("a.test")}.bytes()[:40]); err != nil || h.TLS {
		t.Errorf("half of one, and the end: %+v, %v", h, err)
	}
}

// TestHelloOfCryptoTLS: whatever a client of the standard library sends, in
// whatever pieces.
func TestHelloOfCryptoTLS(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg   *tls.Config
		want  Hello
		least int
	}{
		"as it comes":   {&tls.Config{ServerName: "web.test"}, Hello{TLS: true, SNI: "web.test"}, 1200},
		"with a header": {&tls.Config{ServerName: "web.test", NextProtos: []string{HeaderALPN}}, Hello{TLS: true, SNI: "web.test", ALPN: []string{HeaderALPN}}, 1200},
		"small":         {&tls.Config{ServerName: "web.test", CurvePreferences: []tls.CurveID{tls.X25519}}, Hello{TLS: true, SNI: "web.test"}, 100},
		"TLS 1.2":       {&tls.Config{ServerName: "web.test", MaxVersion: tls.VersionTLS12}, Hello{TLS: true, SNI: "web.test"}, 100},
		"no name":       {&tls.Config{}, Hello{TLS: true}, 1200},
	} {
		in := firstFlight(t, tt.cfg)
		if len(in) < tt.least {
			t.Errorf("%s: %d bytes", name, len(in))
		}
		for _, in := range [][]byte{in, inRecords(in, 100), inRecords(in, 2)} {
			for _, piece := range []int{len(in), 1000, 1} {
				if h, _, err := look(slices.Collect(slices.Chunk(in, piece))...); err != nil || !same(h, tt.want) {
					t.Errorf("%s, %d bytes by %d: %+v, %v; want %+v", name, len(in), piece, h, err, tt.want)
				}
			}
		}
	}
}

// TestHelloOfOthers has programs of other people say hello over TCP.
func TestHelloOfOthers(t *testing.T) {
	for _, args := range []string{
		"openssl s_client -servername web.test -alpn " + HeaderALPN + " -connect %s",
		"openssl s_client -servername web.test -alpn " + HeaderALPN + " -max_send_frag 512 -tls1_3 -connect %s",
		"openssl s_client -servername web.test -alpn " + HeaderALPN + " -tls1_2 -connect %s",
		"curl -sk --connect-to web.test:443:%s https://web.test/",
		"curl -sk --http1.1 --connect-to web.test:443:%s https://web.test/",
	} {
		command := strings.Fields(args)
		if _, err := exec.LookPath(command[0]); err != nil {
			t.Logf("no %s here", command[0])
			continue
		}
		seen := make(chan Hello, 1)
		at := serving(t, func(_ context.Context, c *stack.Conn) error {
			defer c.Close()
			h, err := PeekHello(c, patience)
			seen <- h
			return err
		}, ServeConfig{})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		for i, a := range command {
			command[i] = strings.ReplaceAll(a, "%s", at.String())
		}
		_ = exec.CommandContext(ctx, command[0], command[1:]...).Run() // it is told nothing, and fails
		cancel()
		select {
		case h := <-seen:
			if !h.TLS || h.SNI != "web.test" || len(h.ALPN) == 0 {
				t.Errorf("%s: %+v", args, h)
			}
		default:
			t.Errorf("%s: nothing was said", args)
		}
	}
}

func BenchmarkHello(b *testing.B) {
	in := firstFlight(b, &tls.Config{ServerName: "web.test"})
	b.ReportAllocs()
	for b.Loop() {
		if h, _, err := look(in); err != nil || h.SNI == "" {
			b.Fatal(h, err)
		}
	}
}

// believed is what crypto/tls makes of a ClientHello; nil if it is none to it.
func believed(in []byte) (info *tls.ClientHelloInfo) {
	stop := errors.New("seen")
	_ = tls.Server(&heard{pieces: pieces{of: [][]byte{slices.Clone(in)}}}, &tls.Config{
		MinVersion: tls.VersionTLS10,
		GetConfigForClient: func(i *tls.ClientHelloInfo) (*tls.Config, error) {
			info = i
			return nil, stop
		},
	}).Handshake()
	return info
}

// heard is pieces that may be answered.
type heard struct{ pieces }

func (h *heard) Write(p []byte) (int, error)      { return len(p), nil }
func (h *heard) SetDeadline(time.Time) error      { return nil }
func (h *heard) SetWriteDeadline(time.Time) error { return nil }
func (h *heard) Close() error                     { return nil }

// FuzzHello has what may be a ClientHello come whole and in two pieces, which must
// not matter; nothing is lost of it; and a name that both this parser and that of
// crypto/tls find is the same.
func FuzzHello(f *testing.F) {
	for _, h := range hellos {
		f.Add(h.in, uint(len(h.in)/2))
	}
	f.Fuzz(func(t *testing.T, in []byte, at uint) {
		if len(in) > 2*maxPeeked {
			in = in[:2*maxPeeked]
		}
		at %= uint(len(in) + 1)
		whole, _, werr := look(in)
		split, c, serr := look(in[:at], in[at:])
		if !same(whole, split) || (werr == nil) != (serr == nil) {
			t.Fatalf("%q: %+v, %v; split at %d: %+v, %v", in, whole, werr, at, split, serr)
		}
		if rest, err := io.ReadAll(c); err != nil || !bytes.Equal(rest, in) {
			t.Fatalf("replayed %q of %q, %v", rest, in, err)
		}
		if info := believed(in); whole.SNI != "" && info != nil && !strings.EqualFold(info.ServerName, whole.SNI) {
			t.Fatalf("%q: %q, and crypto/tls has %q", in, whole.SNI, info.ServerName)
		}
	})
}

// TestHelloMeansTheSame: what crypto/tls takes for a ClientHello by our own name
// is one here, too, and by the same name and protocols.
func TestHelloMeansTheSame(t *testing.T) {
	n := 0
	for name, tt := range hellos {
		info := believed(tt.in)
		if info == nil {
			continue
		}
		n++
		if got := (Hello{TLS: true, SNI: strings.ToLower(info.ServerName), ALPN: info.SupportedProtos}); tt.want.SNI != "" && !same(got, tt.want) {
			t.Errorf("%s: %+v, and crypto/tls has %+v", name, tt.want, got)
		}
	}
	if n < 5 {
		t.Errorf("crypto/tls takes %d of them: the comparison is void", n)
	}
}
