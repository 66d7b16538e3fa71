package h1

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A span is where a name and its value lie in a head.
type span struct{ name, nameEnd, value, valueEnd int }

// A parser reads heads and trailers. It keeps its room between messages.
type parser struct{ spans []span }

// headEnd returns where the head that b begins with ends, behind its empty line,
// or 0 if more is needed. It looks only at what came since seen bytes were there.
// A line that does not end in CRLF is refused as soon as it is seen: waiting for
// the rest would leave the client without an answer.
func headEnd(b []byte, seen int) (int, error) {
	from := max(seen-3, 0)
	if i := bytes.Index(b[from:], []byte("\r\n\r\n")); i >= 0 {
		return from + i + 4, nil
	}
	for rest := b[from:]; ; {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			return 0, nil
		}
		at := len(b) - len(rest) + i
		if at == 0 || b[at-1] != '\r' {
			return 0, malformed("line ends in a bare LF")
		}
		rest = rest[i+1:]
	}
}

// lines finds the fields in the lines of b, each of which ends in CRLF, from pos
// on until an empty line. It makes the names lower case where they lie.
func (p *parser) lines(b []byte, pos, limit int) error {
	p.spans = p.spans[:0]
	for {
		n := bytes.IndexByte(b[pos:], '\n')
		if n < 1 || b[pos+n-1] != '\r' {
			return malformed("line ends in a bare LF")
		}
		if n == 1 {
			return nil
		}
		if len(p.spans) == limit {
			return tooLarge("more than %d header fields", limit)
		}
		s, err := oneField(b, pos, pos+n-1)
		if err != nil {
			return err
		}
		p.spans = append(p.spans, s)
		pos += n + 1
	}
}

// oneField finds the field in b[pos:end].
func oneField(b []byte, pos, end int) (span, error) {
	i := pos
	for ; i < end && codec.Token.Has(b[i]); i++ {
		if c := b[i]; c >= 'A' && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	if i == pos || i == end || b[i] != ':' {
		return span{}, badName(b[pos:end], i-pos)
	}
	v, vEnd := trim(b, i+1, end)
	if !visible(b[v:vEnd]) {
		return span{}, malformed("control character in the value of header %q", b[pos:i])
	}
	return span{pos, i, v, vEnd}, nil
}

// badName says what is wrong with a line that begins with only so many bytes of a
// name, and no colon behind them.
func badName(line []byte, name int) error {
	switch {
	case name == len(line):
		return malformed("header line without a colon: %s", codec.Quoted(line))
	case name == 0 && isBlank(line[0]):
		return malformed("folded header line")
	default:
		return malformed("invalid header name in %s", codec.Quoted(line))
	}
}

// trim takes the spaces and tabs off both ends of b[v:end].
func trim(b []byte, v, end int) (int, int) {
	for v < end && isBlank(b[v]) {
		v++
	}
	for v < end && isBlank(b[end-1]) {
		end--
	}
	return v, end
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// visible reports whether all of b may stand in a value. It looks at eight bytes
// at a time for one below the space or a DEL, and closer only if there is one: a
// tab is allowed.
func visible(b []byte) bool {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	for ; len(b) >= 8; b = b[8:] {
		w := binary.LittleEndian.Uint64(b)
		del := w ^ 0x7f*ones
		below := (w - 0x20*ones) &^ w & highs
		if below|(del-ones)&^del&highs != 0 && !codec.All(b[:8], codec.Value) {
			return false
		}
	}
	return codec.All(b, codec.Value)
}

// fields adds the fields found in text, which is what lines was given.
func (p *parser) fields(h *stack.Header, text string) {
	for _, s := range p.spans {
		h.AddParsed(text[s.name:s.nameEnd], text[s.value:s.valueEnd])
	}
}

// request reads the head b into r, whose Header is empty.
func (p *parser) request(b []byte, r *stack.Request, limit int) error {
	eol := bytes.Index(b, []byte("\r\n"))
	if bad := bytes.IndexByte(b[:eol], '\r'); bad >= 0 {
		return malformed("bare CR in the request line")
	}
	if err := p.lines(b, eol+2, limit); err != nil {
		_ = p.requestLine(string(b[:eol]), r) // so that the answer is in the client's version
		return err
	}
	text := string(b)
	if err := p.requestLine(text[:eol], r); err != nil {
		return err
	}
	p.fields(&r.Header, text)
	return nil
}

func (p *parser) requestLine(line string, r *stack.Request) error {
	method, rest, ok := strings.Cut(line, " ")
	target, version, ok2 := strings.Cut(rest, " ")
	if !ok || !ok2 {
		return malformed("request line of other than three parts: %s", codec.Quoted(line))
	}
	var err error
	if r.Version, err = parseVersion(version); err != nil {
		return err
	}
	if method == "" || !codec.All(method, codec.Token) {
		return malformed("invalid method %s", codec.Quoted(method))
	}
	if target == "" || !codec.All(target, codec.Target) {
		return malformed("invalid character in the target %s", codec.Quoted(target))
	}
	r.Method = method
	return parseTarget(target, r)
}

func parseVersion(s string) (stack.Version, error) {
	switch s {
	case "HTTP/1.1":
		return stack.HTTP11, nil
	case "HTTP/1.0":
		return stack.HTTP10, nil
	}
	if len(s) == 8 && strings.HasPrefix(s, "HTTP/") && s[6] == '.' && codec.All(s[5:6]+s[7:], codec.Digit) && s[5] != '1' {
		return 0, &malformation{505, "HTTP version " + s + " is not served here"}
	}
	return 0, malformed("invalid HTTP version %s", codec.Quoted(s))
}

// response reads the head b into r, whose Header is empty.
func (p *parser) response(b []byte, r *stack.Response, limit int) error {
	eol := bytes.Index(b, []byte("\r\n"))
	if bad := bytes.IndexByte(b[:eol], '\r'); bad >= 0 {
		return malformed("bare CR in the status line")
	}
	if err := p.lines(b, eol+2, limit); err != nil {
		return err
	}
	text := string(b)
	if err := statusLine(text[:eol], r); err != nil {
		return err
	}
	p.fields(&r.Header, text)
	return nil
}

// statusLine reads "HTTP/1.1 200 OK". The reason may be missing, and by a common
// fault also the space ahead of it.
func statusLine(line string, r *stack.Response) error {
	const status = len("HTTP/1.1 ")
	const end = status + len("200")
	if len(line) < end || line[status-1] != ' ' || !codec.All(line[status:end], codec.Digit) || len(line) > end && line[end] != ' ' {
		return malformed("invalid status line %s", codec.Quoted(line))
	}
	var err error
	if r.Version, err = parseVersion(line[:status-1]); err != nil {
		return err
	}
	r.Status = int(line[status]-'0')*100 + int(line[status+1]-'0')*10 + int(line[status+2]-'0')
	if r.Status < 100 {
		return malformed("invalid status %d", r.Status)
	}
	if len(line) > end {
		r.Reason = line[end+1:]
	}
	if !codec.All(r.Reason, codec.Value) {
		return malformed("control character in the reason phrase")
	}
	return nil
}
