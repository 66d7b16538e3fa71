package h1

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// What follows reads HTTP/1 requests in the narrowest way there is, and was written
// without a look at the codec: whatever it reads, everybody reads in the same way.

var (
	strictLine  = regexp.MustCompile(`^([!#$%&'*+.^_\x60|~0-9A-Za-z-]+) ([!-~]+) HTTP/1\.[01]$`)
	strictField = regexp.MustCompile(`^([!#$%&'*+.^_\x60|~0-9a-z-]+): (?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?$`)
	strictSize  = regexp.MustCompile(`^[0-9a-f]{1,8}$`)
	strictInt   = regexp.MustCompile(`^(0|[1-9][0-9]*)$`)
)

// latin1 makes each byte a rune, since the expressions are about runes.
func latin1(s string) string {
	r := make([]rune, len(s))
	for i := range len(s) {
		r[i] = rune(s[i])
	}
	return string(r)
}

// A strictRequest is what an origin has received.
type strictRequest struct {
	method, target string
	fields         []string // "name: value"
	body           string
	trailer        []string
}

func (r *strictRequest) values(name string) (v []string) {
	for _, f := range r.fields {
		if rest, ok := strings.CutPrefix(f, name+": "); ok {
			v = append(v, rest)
		}
	}
	return v
}

// readStrictly reads the first request in b, and returns how long it is: zero if
// it is not all there.
func readStrictly(b []byte) (*strictRequest, int, error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return nil, 0, nil
	}
	lines := strings.Split(string(b[:end]), "\r\n")
	first := strictLine.FindStringSubmatch(lines[0])
	if first == nil {
		return nil, 0, fmt.Errorf("request line %q", lines[0])
	}
	r := &strictRequest{method: first[1], target: first[2], fields: lines[1:]}
	for _, l := range r.fields {
		if !strictField.MatchString(latin1(l)) {
			return nil, 0, fmt.Errorf("field %q", l)
		}
	}
	n, err := r.readBody(b[end+4:])
	if n < 0 || err != nil {
		return nil, 0, err
	}
	return r, end + 4 + n, nil
}

// readBody returns how long the content is, or -1 if it is not all there.
func (r *strictRequest) readBody(b []byte) (int, error) {
	lengths, encodings := r.values("content-length"), r.values("transfer-encoding")
	switch {
	case len(lengths)+len(encodings) > 1 || len(r.values("host")) > 1:
		return 0, fmt.Errorf("fields %q", r.fields)
	case len(encodings) == 1 && encodings[0] != "chunked":
		return 0, fmt.Errorf("transfer-encoding %q", encodings[0])
	case len(encodings) == 1:
		return r.readChunks(b)
	case len(lengths) == 0:
		return 0, nil
	case !strictInt.MatchString(lengths[0]):
		return 0, fmt.Errorf("content-length %q", lengths[0])
	}
	n, err := strconv.Atoi(lengths[0])
	if err != nil || n > len(b) {
		return -1, err
	}
	r.body = string(b[:n])
	return n, nil
}

func (r *strictRequest) readChunks(b []byte) (int, error) {
	for at := 0; ; {
		line, _, ok := strings.Cut(string(b[at:]), "\r\n")
		if !ok {
			return -1, nil
		}
		if !strictSize.MatchString(line) {
			return 0, fmt.Errorf("chunk size %q", line)
		}
		size, _ := strconv.ParseInt(line, 16, 64)
		at += len(line) + 2
		if size == 0 {
			return r.readTrailer(b, at)
		}
		if len(b) < at+int(size)+2 {
			return -1, nil
		}
		r.body += string(b[at : at+int(size)])
		if at += int(size) + 2; string(b[at-2:at]) != "\r\n" {
			return 0, fmt.Errorf("chunk ends in %q", b[at-2:at])
		}
	}
}

func (r *strictRequest) readTrailer(b []byte, at int) (int, error) {
	for {
		line, _, ok := strings.Cut(string(b[at:]), "\r\n")
		if !ok {
			return -1, nil
		}
		if at += len(line) + 2; line == "" {
			return at, nil
		}
		m := strictField.FindStringSubmatch(latin1(line))
		if m == nil || strings.HasPrefix(m[1], "l5d") || strings.Contains(" content-length transfer-encoding host authorization ", " "+m[1]+" ") {
			return 0, fmt.Errorf("trailer %q", line)
		}
		r.trailer = append(r.trailer, line)
	}
}

// A witness is an origin that keeps all it receives, and answers what it can read
// strictly.
type witness struct {
	addr string

	mu   sync.Mutex
	seen []*strictRequest
	bad  []string
	left int // bytes of requests that did not come whole
}

func newWitness(tb testing.TB) *witness {
	tb.Helper()
	w := &witness{}
	w.addr = listen(tb, func(c *net.TCPConn) { w.serve(c) })
	return w
}

func (w *witness) serve(c net.Conn) {
	var got []byte
	buf := make([]byte, 32<<10)
	for {
		n, err := c.Read(buf)
		got = append(got, buf[:n]...)
		for {
			r, size, bad := readStrictly(got)
			if bad != nil {
				w.mu.Lock()
				w.bad = append(w.bad, bad.Error())
				w.mu.Unlock()
				return
			}
			if size == 0 {
				break
			}
			got = got[size:]
			w.mu.Lock()
			w.seen = append(w.seen, r)
			w.mu.Unlock()
			_, _ = io.WriteString(c, w.answer(r))
		}
		if err != nil {
			w.mu.Lock()
			w.left += len(got)
			w.mu.Unlock()
			return
		}
	}
}

func (w *witness) answer(r *strictRequest) string {
	status := "200 OK"
	if r.method == "CONNECT" {
		status = "405 Method Not Allowed"
	}
	head := fmt.Sprintf("HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n", status, len(r.target))
	if r.method == "HEAD" {
		return head
	}
	return head + r.target
}

// targets returns what was asked for, in order of arrival.
func (w *witness) targets() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var t []string
	for _, r := range w.seen {
		t = append(t, r.method+" "+r.target)
	}
	return strings.Join(t, ", ")
}
