package h2

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/net/http2/hpack"

	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A block is the header block that is being received. Every block is decoded, also
// one that nobody wants, since the next depends on it.
type block struct {
	open bool
	id   uint32
	end  bool          // END_STREAM
	to   *stack.Header // where its fields go; nil if nobody wants them

	bytes, frames int // received
	size, fields  int // decoded, as RFC 9113, section 6.5.2 counts
	large         bool
	malformed     string // why the block is; empty while it is not

	pseudo  pseudo
	regular bool // a field that is not a pseudo-field has come
	host    string
	hosts   int
	length  int64 // declared, or -1
	mesh    bool  // l5d-orig-proto has come
	expects bool  // 100-continue

	request  *serverStream      // that the block begins
	response *clientStream      // that the block answers
	done     func(*block) error // handles the block when it is whole
}

// pseudo holds the fields that only HTTP/2 has (RFC 9113, section 8.3).
type pseudo struct {
	seen                                              uint8
	method, scheme, authority, path, protocol, status string
}

const priorityBytes = 5

func dependsOn(p []byte) uint32 { return binary.BigEndian.Uint32(p) & lastStream }

// readHeaders begins a header block.
func (c *conn) readHeaders(f *frame) error {
	if f.stream == 0 {
		return &connError{stack.ProtocolError, "HEADERS of no stream"}
	}
	if err := f.unpad(); err != nil {
		return err
	}
	malformed := ""
	if f.has(flagPriority) {
		if len(f.content) < priorityBytes {
			return &connError{stack.FrameSizeError, "HEADERS without the priority that they announce"}
		}
		if dependsOn(f.content) == f.stream {
			malformed = "stream depends on itself"
		}
		f.content = f.content[priorityBytes:]
	}
	c.block = block{open: true, id: f.stream, end: f.has(flagEndStream), length: -1, malformed: malformed}
	if err := c.openBlock(&c.block); err != nil {
		return err
	}
	c.dec.SetEmitEnabled(true)
	return c.fragment(f)
}

// openBlock finds what the block is for.
func (c *conn) openBlock(b *block) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.streams[b.id]
	switch {
	case c.server != nil:
		return c.server.open(b, st)
	default:
		return c.client.open(b, st)
	}
}

// readContinuation goes on with a header block.
func (c *conn) readContinuation(f *frame) error {
	if !c.block.open {
		return &connError{stack.ProtocolError, "CONTINUATION without HEADERS"}
	}
	return c.fragment(f)
}

// maxFragments and blockBytes bound what a block may take before it is decoded.
const maxFragments = 64

func (c *conn) blockBytes() int { return 3 * max(c.params.HeadBytes, minFrameSize) }

// fragment decodes a part of the block, or its end.
func (c *conn) fragment(f *frame) error {
	b := &c.block
	b.bytes += len(f.content)
	if b.frames++; b.frames > maxFragments || b.bytes > c.blockBytes() {
		return calm("header block is too long")
	}
	_, err := c.dec.Write(f.content)
	if err == nil && f.has(flagEndHeaders) {
		err = c.dec.Close()
	}
	if err != nil {
		return &connError{stack.CompressionError, err.Error()}
	}
	if !f.has(flagEndHeaders) {
		return nil
	}
	b.open = false
	return b.done(b)
}

// emit is called by the decoder for each field. What a block holds is counted before
// it is kept: a table entry costs its sender a byte each time.
func (c *conn) emit(f hpack.HeaderField) {
	b := &c.block
	b.size += int(f.Size())
	b.fields++
	if b.size > c.params.HeadBytes || b.fields > c.params.Fields {
		b.large = true
		c.dec.SetEmitEnabled(false)
	}
	if b.large || b.to == nil || b.malformed != "" {
		return
	}
	if len(f.Name) > 0 && f.Name[0] == ':' {
		b.addPseudo(f.Name, f.Value)
		return
	}
	b.regular = true
	b.add(f)
}

// add keeps a field that is not a pseudo-field.
func (b *block) add(f hpack.HeaderField) {
	if why := b.check(f.Name, f.Value); why != "" {
		b.malformed = why
		return
	}
	if f.Sensitive {
		b.to.AddSensitive(f.Name, f.Value)
		return
	}
	b.to.AddParsed(f.Name, f.Value)
}

// check says what is wrong with a field (RFC 9113, sections 8.2 and 8.2.2), and
// notes those that say something of the message.
func (b *block) check(name, value string) string {
	if name == "" || !codec.All(name, codec.Lower) {
		return "invalid field name " + codec.Quoted(name)
	}
	if !codec.All(value, codec.Value) || value != "" && (isBlank(value[0]) || isBlank(value[len(value)-1])) {
		return "invalid value of " + codec.Quoted(name)
	}
	switch name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		return name + " is not for HTTP/2"
	case "te":
		if value != "trailers" {
			return "te is not \"trailers\""
		}
	case "content-length":
		n, ok := codec.ParseLength(value)
		if !ok || b.length >= 0 {
			return "invalid content-length " + codec.Quoted(value)
		}
		b.length = n
	case "host":
		b.hosts++
		b.host = value
	case "l5d-orig-proto":
		b.mesh = true
	case "expect":
		b.expects = value == "100-continue"
	}
	return ""
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// addPseudo keeps a pseudo-field: each at most once, and ahead of all others.
func (b *block) addPseudo(name, value string) {
	p := &b.pseudo
	var to *string
	bit := uint8(0)
	switch name {
	case ":method":
		to, bit = &p.method, 1
	case ":scheme":
		to, bit = &p.scheme, 2
	case ":authority":
		to, bit = &p.authority, 4
	case ":path":
		to, bit = &p.path, 8
	case ":protocol":
		to, bit = &p.protocol, 16
	case ":status":
		to, bit = &p.status, 32
	}
	switch {
	case to == nil:
		b.malformed = "unknown pseudo-field " + codec.Quoted(name)
	case b.regular:
		b.malformed = "pseudo-field after a field"
	case p.seen&bit != 0:
		b.malformed = "pseudo-field twice: " + name
	default:
		*to = value
		p.seen |= bit
	}
}

const (
	requestPseudo  = 1 | 2 | 4 | 8
	responsePseudo = 32
)

// trailers is the end of a block that comes after a body.
func (c *conn) readTrailers(b *block) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.streams[b.id]
	if st == nil || st.recvErr != nil {
		return nil
	}
	switch {
	case b.large:
		b.malformed = "trailer is too large"
	case b.pseudo.seen != 0:
		b.malformed = "pseudo-field in a trailer"
	case !b.end:
		b.malformed = "trailer without the stream's end"
	case st.length >= 0 && st.received != st.length:
		return c.failStream(st, stack.ProtocolError, wrongLength)
	}
	if b.malformed != "" {
		return c.failStream(st, stack.ProtocolError, b.malformed)
	}
	c.scratch.DelFunc(func(name, _ string) bool { return forbiddenTrailer(name) })
	st.trailer, c.scratch = c.scratch, st.trailer
	st.endRecv()
	c.touch(st)
	return nil
}

// trailers prepares b to be a trailer. Its stream may end meanwhile.
func (b *block) trailers(c *conn) {
	c.scratch.Reset()
	b.to, b.done = &c.scratch, c.readTrailers
}

// discard prepares b to be forgotten.
func (b *block) discard() { b.done = func(*block) error { return nil } }

// forbiddenTrailer reports whether a field frames or routes its message, or is the
// mesh's own: a trailer must not carry it.
func forbiddenTrailer(name string) bool {
	switch name {
	case "transfer-encoding", "content-length", "host", "connection", "keep-alive", "proxy-connection", "te", "upgrade", "trailer":
		return true
	}
	return len(name) > 3 && (name[:4] == "l5d-" || name[:4] == "l5d_")
}

func trailerSkips(name, _ string) bool { return forbiddenTrailer(name) }

// ofHop reports whether a field is of one hop alone, which HTTP/2 has no use for.
func ofHop(name, value string) bool {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "http2-settings":
		return true
	case "te":
		return value != "trailers"
	}
	return false
}

// checkFields looks at what came from a layer, or by another version's parser.
func checkFields(h *stack.Header) error {
	for i := range h.Len() {
		if name, value := h.At(i); !h.Parsed(i) && (name == "" || !codec.All(name, codec.Lower) || !codec.All(value, codec.Value)) {
			return fmt.Errorf("field %s cannot be written: %s", codec.Quoted(name), codec.Quoted(value))
		}
	}
	return nil
}

// declared returns the content-length in h, or -1.
func declared(h *stack.Header) (int64, error) {
	length := int64(-1)
	for i := range h.Len() {
		name, value := h.At(i)
		if name != "content-length" {
			continue
		}
		n, ok := codec.ParseLength(value)
		if !ok || length >= 0 {
			return 0, fmt.Errorf("content-length %s cannot be written", codec.Quoted(value))
		}
		length = n
	}
	return length, nil
}
