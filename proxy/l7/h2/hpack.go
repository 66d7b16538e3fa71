package h2

import (
	"golang.org/x/net/http2/hpack"

	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// An encoder writes header blocks into a connection's buffer.
type encoder struct {
	hp  *hpack.Encoder
	out []byte // borrowed from the connection while a block is written
}

func newEncoder() *encoder {
	e := &encoder{}
	e.hp = hpack.NewEncoder(e)
	return e
}

// Write implements io.Writer.
func (e *encoder) Write(p []byte) (int, error) {
	e.out = codec.Append(e.out, p)
	return len(p), nil
}

// limit obeys the peer's table size, up to our own.
func (e *encoder) limit(size uint32) {
	e.hp.SetMaxDynamicTableSizeLimit(size)
	e.hp.SetMaxDynamicTableSize(min(size, hpackTable))
}

func (e *encoder) field(name, value string) {
	_ = e.hp.WriteField(hpack.HeaderField{Name: name, Value: value}) // Write cannot fail
}

func (e *encoder) sensitive(name, value string) {
	_ = e.hp.WriteField(hpack.HeaderField{Name: name, Value: value, Sensitive: true})
}

// fields writes each field but those that skip names. They must have been checked.
func (e *encoder) fields(h *stack.Header, skip func(name, value string) bool) {
	for i := range h.Len() {
		name, value := h.At(i)
		switch {
		case skip(name, value):
		case h.Sensitive(i):
			e.sensitive(name, value)
		default:
			e.field(name, value)
		}
	}
}

func newDecoder(p *Params) *hpack.Decoder {
	d := hpack.NewDecoder(hpackTable, nil)
	d.SetMaxStringLength(3 * max(p.HeadBytes, minFrameSize))
	return d
}
