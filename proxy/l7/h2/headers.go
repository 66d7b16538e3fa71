package h2

import (
	"encoding/binary"
	"fmt"

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

	kept         []byte // of a block that came in pieces; borrowed
	frames       int    // in which it came
	size, fields int    // decoded, as RFC 9113, section 6.5.2 counts
	mostBytes    int
	mostFields   int
	large        bool
	malformed    string // why the block is; empty while it is not

	pseudo  pseudo
	regular bool // a field that is not a pseudo-field has come
	host    string
	hosts   int
	length  int64 // declared, or -1
	mesh    bool  // l5d-orig-proto has come
	expects bool  // 100-continue

	kind     blockKind
	request  *serverStream // that the block begins
	response *clientStream // that the block answers
}

// A blockKind is what becomes of a block when it is whole.
type blockKind uint8

const (
	unwanted blockKind = iota
	requestHead
	responseHead
	trailerBlock
)

// pseudo holds the fields that only HTTP/2 has (RFC 9113, section 8.3).
type pseudo struct {
	seen                                    uint8
	method, scheme, authority, path, status string
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
	c.block = block{} // one with fields would be made on the stack, which is a connection's dearest memory
	b := &c.block
	b.open, b.id, b.end, b.length, b.malformed = true, f.stream, f.has(flagEndStream), -1, malformed
	b.mostBytes, b.mostFields = c.params.HeadBytes, c.params.Fields
	if err := c.openBlock(b); err != nil {
		return err
	}
	return c.fragment(f)
}

// openBlock finds what the block is for.
func (c *conn) openBlock(b *block) error {
	st := c.streams.get(b.id)
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

// fragment decodes the block, once it is whole. What came in pieces is put together
// first.
func (c *conn) fragment(f *frame) error {
	b := &c.block
	if b.frames++; b.frames > maxFragments || len(b.kept)+len(f.content) > c.blockBytes() {
		return calm("header block is too long")
	}
	whole := f.has(flagEndHeaders)
	if b.frames > 1 || !whole {
		b.kept = codec.Append(b.kept, f.content)
	}
	if !whole {
		return nil
	}
	b.open = false
	if b.frames == 1 {
		return c.decode(f.content)
	}
	err := c.decode(b.kept)
	codec.Return(b.kept)
	b.kept = nil
	return err
}

// decode gives the block to what it is for.
func (c *conn) decode(p []byte) error {
	b := &c.block
	if err := c.dec.decode(p, b); err != nil {
		return &connError{stack.CompressionError, err.Error()}
	}
	switch b.kind {
	case requestHead:
		return c.server.request(b)
	case responseHead:
		return c.client.response(b)
	case trailerBlock:
		return c.readTrailers(b)
	default:
		return nil
	}
}

// readTrailers ends a body with the block that came after it.
func (c *conn) readTrailers(b *block) error {
	st := c.streams.get(b.id)
	if st == nil || st.broken() {
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
	b.to, b.kind = &c.scratch, trailerBlock
}

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
	return codec.OfOneHop(name) || name == "te" && value != "trailers"
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
