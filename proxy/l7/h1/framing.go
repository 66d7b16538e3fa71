package h1

import (
	"strconv"
	"strings"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A framing says how a message's content is delimited, and what else its
// fields said of this hop alone.
type framing struct {
	kind      kind
	length    int64         // of kind byLength
	close     bool          // connection: close
	keepAlive bool          // connection: keep-alive
	upgrade   string        // what may come after a 101; "" if nothing
	expect    bool          // expect: 100-continue
	keepsFor  time.Duration // how long a server says it keeps idle connections
}

// A kind of delimiting (RFC 9112, section 6.3).
type kind uint8

const (
	noContent kind = iota
	byLength
	byChunks
	byEnd // of the connection
)

// fieldsSeen is what one pass over a header finds.
type fieldsSeen struct {
	framing
	lengths, encodings, hosts, expectations int
	lengthText, encoding, host, expectation string // the last of each

	connection string // all its values, joined
	protocols  string // all upgrade values, joined
	hop        bool   // there is something to take off
	others     bool   // and not the connection field alone
}

// scan looks at each field once.
func (f *fieldsSeen) scan(h *stack.Header) {
	for i := range h.Len() {
		name, value := h.At(i)
		switch name {
		case "content-length":
			f.lengths++
			f.lengthText = value
		case "transfer-encoding":
			f.encodings++
			f.encoding = value
			f.hop, f.others = true, true
		case "host":
			f.hosts++
			f.host = value
		case "expect":
			f.expectations++
			f.expectation = value
		default:
			f.seeHop(name, value)
		}
	}
}

// delimit sets the kind and length that the fields tell, for a message that may
// have content. Without either field the kind is noContent.
func (f *fieldsSeen) delimit(v stack.Version, h *stack.Header) error {
	switch {
	case f.encodings > 0 && f.lengths > 0:
		return malformed("both content-length and transfer-encoding")
	case f.encodings > 1:
		return malformed("more than one transfer-encoding field")
	case f.encodings == 1 && v != stack.HTTP11:
		return malformed("transfer-encoding in HTTP/1.0")
	case f.encodings == 1 && !strings.EqualFold(f.encoding, "chunked"):
		return malformed("transfer-encoding %s is not \"chunked\"", codec.Quoted(f.encoding))
	case f.encodings == 1:
		f.kind = byChunks
	case f.lengths > 1:
		return malformed("more than one content-length field")
	case f.lengths == 1:
		return f.delimitByLength(h)
	}
	return nil
}

func (f *fieldsSeen) delimitByLength(h *stack.Header) error {
	n, ok := codec.ParseLength(f.lengthText)
	if !ok {
		return malformed("invalid content-length %s", codec.Quoted(f.lengthText))
	}
	f.kind, f.length = byLength, n
	if len(f.lengthText) > 1 && f.lengthText[0] == '0' { // who reads C may take it for octal
		h.Set("content-length", strconv.FormatInt(n, 10))
	}
	return nil
}

// requestFraming finds how r's content is delimited, and takes off the fields of the
// hop on which it came.
func requestFraming(r *stack.Request) (framing, error) {
	var f fieldsSeen
	f.scan(&r.Header)
	if err := f.checkRequest(r); err != nil {
		return f.framing, err
	}
	if f.hop {
		if err := f.takeOff(&r.Header); err != nil {
			return f.framing, err
		}
	}
	if f.upgrade != "" && !f.mayUpgrade(r) {
		f.upgrade = ""
		r.Header.Del("upgrade")
	}
	f.expect = f.expectations > 0 && r.Version == stack.HTTP11
	return f.framing, nil
}

func (f *fieldsSeen) checkRequest(r *stack.Request) error {
	if err := f.host1(r); err != nil {
		return err
	}
	if err := f.delimit(r.Version, &r.Header); err != nil {
		return err
	}
	switch {
	case r.Method == "CONNECT" && f.kind != noContent:
		return malformed("CONNECT with content")
	case f.expectations > 1 || f.expectations == 1 && !strings.EqualFold(f.expectation, "100-continue"):
		return &malformation{417, "unknown expectation " + codec.Quoted(f.expectation)}
	}
	return nil
}

// mayUpgrade reports whether r's connection can become a tunnel by a 101: the next
// bytes after its head must be either content or the tunnel's.
func (f *fieldsSeen) mayUpgrade(r *stack.Request) bool {
	empty := f.kind == noContent || f.kind == byLength && f.length == 0
	return empty && r.Version == stack.HTTP11 && r.Method != "CONNECT"
}

// host1 checks the host field (RFC 9112, section 3.2), from which r has its
// Authority if its target has none.
func (f *fieldsSeen) host1(r *stack.Request) error {
	switch {
	case f.hosts > 1:
		return malformed("more than one host field")
	case f.hosts == 0 && r.Version == stack.HTTP11:
		return malformed("no host field")
	case f.host == "":
		return nil
	}
	if err := checkAuthority(f.host); err != nil {
		return err
	}
	if r.Authority == "" {
		r.Authority = f.host
	}
	return nil
}

// responseFraming does for r, the answer to a request of that method, which asked
// for that upgrade, what requestFraming does for a request.
func responseFraming(r *stack.Response, method, upgrade string) (framing, error) {
	var f fieldsSeen
	f.scan(&r.Header)
	if err := f.delimit(r.Version, &r.Header); err != nil {
		return f.framing, err
	}
	if f.hop {
		if err := f.takeOff(&r.Header); err != nil {
			return f.framing, err
		}
	}
	if r.Status == 101 {
		return f.framing, f.switched(r, upgrade)
	}
	f.answerTo(method, r)
	r.Header.Del("upgrade")
	return f.framing, nil
}

// answerTo settles what a response's method and status say of its content, over
// what its fields do (RFC 9112, section 6.3).
func (f *fieldsSeen) answerTo(method string, r *stack.Response) {
	declared := f.kind == byChunks || f.length > 0
	switch {
	case r.Status < 200 || r.Status == 204:
		r.Header.Del("content-length")
		f.kind, f.length = noContent, 0
		f.close = f.close || declared // it may come all the same
	case method == "CONNECT" && r.Status < 300:
		f.tunnel(r)
	case method == "HEAD" || r.Status == 304:
		f.kind, f.length = noContent, 0
	case f.kind == noContent:
		r.Unframed, f.kind = true, byEnd
	}
}

// tunnel makes r's content the server's half of its connection.
func (f *fieldsSeen) tunnel(r *stack.Response) {
	r.Header.Del("content-length")
	r.Tunnel, f.kind, f.length = true, byEnd, 0
}

// switched checks a 101: it must name a protocol that the request asked for.
func (f *fieldsSeen) switched(r *stack.Response, asked string) error {
	ok := false
	tokens(asked, func(a string) { ok = ok || strings.EqualFold(a, f.upgrade) })
	if !ok {
		return malformed("101 to %s, where %s was asked for", codec.Quoted(f.upgrade), codec.Quoted(asked))
	}
	f.tunnel(r)
	return nil
}
