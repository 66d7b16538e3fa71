package h2

import (
	"hash/maphash"
	"unsafe"

	"golang.org/x/net/http2/hpack"

	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// An encoder encodes the header blocks that go out on one connection.
//
// Most fields that it is given were decoded from the table of some other connection,
// and will be again: their strings are the same, not only equal. So it remembers,
// by where a value lies, which entry of its own table it was last; equal strings
// that lie in the same place cost no look at their bytes.
type encoder struct {
	table  table
	recent [64]recent // by where the value lies
	seed   maphash.Seed
	limit  int // bytes, that the peer's decoder takes
	least  int // that it has been since the last block
	out    []byte
}

// A recent is a field that was seen lately, and the number of its entry.
type recent struct {
	name, value string
	number      uint64 // of the dynamic table; or, if static, of that
	static      bool
}

func newEncoder() *encoder {
	return &encoder{table: table{most: hpackTable}, seed: maphash.MakeSeed(), limit: hpackTable, least: hpackTable}
}

// setLimit obeys the peer's table size, up to our own.
func (e *encoder) setLimit(size uint32) {
	e.limit = int(min(size, hpackTable))
	e.least = min(e.least, e.limit)
}

// begin begins a block at the end of out, which the encoder has until end.
func (e *encoder) begin(out []byte) {
	e.out = out
	if e.least < e.table.most {
		e.number(0x20, 5, uint64(e.least))
		e.table.resize(e.least)
	}
	if e.limit != e.table.most {
		e.number(0x20, 5, uint64(e.limit))
		e.table.resize(e.limit)
	}
	e.least = e.limit
}

func (e *encoder) end() []byte {
	out := e.out
	e.out = nil
	return out
}

// fields writes each field, but of those that layers have set none that skip names.
// They must have been checked.
func (e *encoder) fields(h *stack.Header, skip func(name, value string) bool) {
	for i := range h.Len() {
		name, value := h.At(i)
		switch {
		case !h.Parsed(i) && skip(name, value): // a parser has let no such field through
		case h.Sensitive(i):
			e.literal(0x10, 4, e.nameIndex(name), name, value)
		default:
			e.field(name, value)
		}
	}
}

// field writes one field.
func (e *encoder) field(name, value string) {
	r := &e.recent[slot(value)]
	if r.name != name || r.value != value || !r.static && !e.table.live(r.number) {
		if !e.find(r, name, value) {
			return
		}
	}
	index := r.number
	if !r.static {
		index = staticCount + e.table.inserted - r.number + 1
	}
	if index < 0x7f && len(e.out) < cap(e.out) {
		e.out = append(e.out, 0x80|byte(index))
		return
	}
	e.number(0x80, 7, index)
}

// slot is where a value that lies there is remembered.
func slot(value string) uintptr {
	at := uint64(uintptr(unsafe.Pointer(unsafe.StringData(value)))) + uint64(len(value)) //nolint:gosec // an address as a number, which nothing is reached by
	return uintptr(at * 0x9e3779b97f4a7c15 >> 58)                                        // Fibonacci hashing: 64 slots
}

// find looks for the field in both tables, and remembers it. If it is in neither it
// writes it, and reports that.
func (e *encoder) find(r *recent, name, value string) bool {
	first := staticNames[name]
	for i := first; i > 0 && i <= staticCount && static[i].name == name; i++ {
		if static[i].value == value {
			*r = recent{name, value, uint64(i), true}
			return true
		}
	}
	hash := e.hash(name, value)
	at, named := e.search(hash, name, value)
	switch {
	case at > 0:
		*r = recent{name, value, e.table.inserted - at + 1, false}
		return true
	case first > 0:
		named = uint64(first)
	}
	if secret(name, value) {
		e.literal(0x10, 4, named, name, value)
		return false
	}
	if !worthKeeping(name, value) || len(name)+len(value)+entryOverhead > e.table.most/2 {
		e.literal(0, 4, named, name, value)
		return false
	}
	e.literal(0x40, 6, named, name, value)
	e.table.insert(entry{name: name, value: value, hash: hash})
	*r = recent{name, value, e.table.inserted, false}
	return false
}

// search looks through the dynamic table, and returns which entry, from the newest on,
// has the field, and the index of one that has its name. 0 is for none.
func (e *encoder) search(hash uint32, name, value string) (at, named uint64) {
	for i := uint64(1); i <= uint64(e.table.count); i++ {
		in := e.table.at(i)
		if in.hash == hash && in.name == name && in.value == value {
			return i, 0
		}
		if named == 0 && in.name == name {
			named = staticCount + i
		}
	}
	return 0, named
}

// secret reports whether a field is to stay out of all tables: many clients share a
// connection, and one that could try values would see by their length which is there
// (RFC 7541, section 7.1). Long values cannot be guessed.
func secret(name, value string) bool {
	switch name {
	case "authorization", "proxy-authorization":
		return true
	case "cookie", "set-cookie":
		return len(value) < 20
	}
	return false
}

func (e *encoder) hash(name, value string) uint32 {
	return uint32(maphash.String(e.seed, value))*31 + uint32(len(name))
}

// nameIndex returns the index of some entry of that name, or 0.
func (e *encoder) nameIndex(name string) uint64 { return uint64(staticNames[name]) }

// worthKeeping reports whether a field is likely to come again: one that is not
// would only drive others out of the table.
func worthKeeping(name, value string) bool {
	switch name {
	case ":path":
		return len(value) <= 128 && !hasQuery(value)
	case "content-length", "age", "etag", "last-modified", "if-modified-since", "if-none-match", "location", "content-range", "range",
		"set-cookie", "traceparent", "tracestate", "x-request-id", "grpc-timeout", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid":
		return false
	}
	return true
}

func hasQuery(path string) bool {
	for i := range len(path) {
		if path[i] == '?' {
			return true
		}
	}
	return false
}

// literal writes a field whose value is spelled out, and the name too if no entry
// has it.
func (e *encoder) literal(first byte, bits uint, index uint64, name, value string) {
	e.number(first, bits, index)
	if index == 0 {
		e.text(name)
	}
	e.text(value)
}

// number writes a number behind the first bits (RFC 7541, section 5.1).
func (e *encoder) number(first byte, bits uint, n uint64) {
	e.need(12)
	most := uint64(1)<<bits - 1
	if n < most {
		e.out = append(e.out, first|byte(n))
		return
	}
	e.out = append(e.out, first|byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		e.out = append(e.out, 0x80|byte(n))
	}
	e.out = append(e.out, byte(n))
}

// text writes a string, in Huffman's code if that is shorter.
func (e *encoder) text(s string) {
	if n := hpack.HuffmanEncodeLength(s); n < uint64(len(s)) {
		e.number(0x80, 7, n)
		e.need(int(n))
		e.out = hpack.AppendHuffmanString(e.out, s)
		return
	}
	e.number(0, 7, uint64(len(s)))
	e.need(len(s))
	e.out = append(e.out, s...)
}

// need makes room for n bytes, in a borrowed buffer.
func (e *encoder) need(n int) { e.out = codec.Grow(e.out, n) }
