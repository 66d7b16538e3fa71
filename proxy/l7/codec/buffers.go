package codec

import "sync"

// Sizes of the buffers that are lent. A connection holds one only while there is
// something in it, or about to be.
const (
	Tiny   = 1 << 10
	Small  = 4 << 10
	Medium = 20 << 10 // a frame of HTTP/2's usual 16 KiB with its header, and more
	Large  = 64 << 10
)

// buffers lends buffers. They are kept as arrays, since a slice would cost an
// allocation each time it is given back.
type buffers struct{ tiny, small, medium, large sync.Pool }

// lent is the process's only store of buffers: they carry nothing from one
// connection to another but their room.
var lent buffers //nolint:gochecknoglobals // a pool of empty buffers is no state

// Borrow returns a buffer with room for n bytes, empty. Longer ones than Large are
// made for the purpose.
func Borrow(n int) []byte {
	switch {
	case n <= Tiny:
		if p, _ := lent.tiny.Get().(*[Tiny]byte); p != nil {
			return p[:0]
		}
		return make([]byte, 0, Tiny)
	case n <= Small:
		if p, _ := lent.small.Get().(*[Small]byte); p != nil {
			return p[:0]
		}
		return make([]byte, 0, Small)
	case n <= Medium:
		if p, _ := lent.medium.Get().(*[Medium]byte); p != nil {
			return p[:0]
		}
		return make([]byte, 0, Medium)
	case n <= Large:
		if p, _ := lent.large.Get().(*[Large]byte); p != nil {
			return p[:0]
		}
		return make([]byte, 0, Large)
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
	case Medium:
		lent.medium.Put((*[Medium]byte)(p))
	case Large:
		lent.large.Put((*[Large]byte)(p))
	default: // seldom, and left to the collector
	}
}

// Append appends data to p, a borrowed buffer or nil, in a larger one if need be.
func Append(p, data []byte) []byte { return append(Grow(p, len(data)), data...) }

// Grow returns p, a borrowed buffer or nil, with room for n bytes more, in a larger
// buffer if need be.
func Grow(p []byte, n int) []byte {
	if len(p)+n <= cap(p) {
		return p
	}
	grown := append(Borrow(max(len(p)+n, min(2*cap(p), Large))), p...)
	if p != nil {
		Return(p)
	}
	return grown
}
