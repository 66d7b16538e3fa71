package codec

import "sync"

// Sizes of the buffers that are lent. A connection holds one only while there is
// something in it, or about to be.
const (
	Tiny   = 1 << 10
	Small  = 4 << 10
	Head   = 16 << 10 // nearly every head of HTTP/1 with a short content
	Medium = 20 << 10 // a frame of HTTP/2's usual 16 KiB with its header, and more
	Chunk  = 32 << 10 // of a long body
	Large  = 64 << 10
	Bulk   = 128 << 10 // of a body so long that its reader must be taking it: fewer reads and writes
)

// buffers lends buffers. They are kept as arrays, since a slice would cost an
// allocation each time it is given back.
type buffers struct{ tiny, small, head, medium, chunk, large, bulk sync.Pool }

// lent is the process's only store of buffers: they carry nothing from one
// connection to another but their room.
var lent = buffers{ //nolint:gochecknoglobals // a pool of empty buffers is no state
	tiny:   sync.Pool{New: func() any { return new([Tiny]byte) }},
	small:  sync.Pool{New: func() any { return new([Small]byte) }},
	head:   sync.Pool{New: func() any { return new([Head]byte) }},
	medium: sync.Pool{New: func() any { return new([Medium]byte) }},
	chunk:  sync.Pool{New: func() any { return new([Chunk]byte) }},
	large:  sync.Pool{New: func() any { return new([Large]byte) }},
	bulk:   sync.Pool{New: func() any { return new([Bulk]byte) }},
}

// Borrow returns a buffer with room for n bytes, empty. Longer ones than Bulk are
// made for the purpose.
func Borrow(n int) []byte {
	switch {
	case n <= Tiny:
		return lent.tiny.Get().(*[Tiny]byte)[:0]
	case n <= Small:
		return lent.small.Get().(*[Small]byte)[:0]
	case n <= Head:
		return lent.head.Get().(*[Head]byte)[:0]
	case n <= Medium:
		return lent.medium.Get().(*[Medium]byte)[:0]
	case n <= Chunk:
		return lent.chunk.Get().(*[Chunk]byte)[:0]
	case n <= Large:
		return lent.large.Get().(*[Large]byte)[:0]
	case n <= Bulk:
		return lent.bulk.Get().(*[Bulk]byte)[:0]
	default:
		return make([]byte, 0, n)
	}
}

// Return gives a buffer back. Nobody may use it any more.
func Return(p []byte) {
	p = p[:cap(p)]
	switch len(p) {
	case Tiny:
		lent.tiny.Put((*[Tiny]byte)(p))
	case Small:
		lent.small.Put((*[Small]byte)(p))
	case Head:
		lent.head.Put((*[Head]byte)(p))
	case Medium:
		lent.medium.Put((*[Medium]byte)(p))
	case Chunk:
		lent.chunk.Put((*[Chunk]byte)(p))
	case Large:
		lent.large.Put((*[Large]byte)(p))
	case Bulk:
		lent.bulk.Put((*[Bulk]byte)(p))
	default: // seldom, and left to the collector
	}
}

// Append appends data to p, a borrowed buffer or nil, in a larger one if need be.
func Append(p, data []byte) []byte { return append(Grow(p, len(data)), data...) }

// Grow returns p, a borrowed buffer or nil, with room for n bytes more, in a larger
// buffer if need be: twice as large, or by a quarter if it is long. By less, who
// sends a byte at a time would have all the others copied for each.
func Grow(p []byte, n int) []byte {
	if len(p)+n <= cap(p) {
		return p
	}
	grown := append(Borrow(max(len(p)+n, min(2*cap(p), Bulk), cap(p)+cap(p)/4)), p...)
	if p != nil {
		Return(p)
	}
	return grown
}
