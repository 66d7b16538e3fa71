package h1

import "sync"

// buffers lends buffers of two sizes. A connection holds one only while there is
// something in it, or about to be. They are kept as arrays, since a slice would
// cost an allocation each time it is given back.
type buffers struct{ small, large sync.Pool }

// lent is the process's only store of buffers: they carry nothing from one
// connection to another but their room.
var lent buffers //nolint:gochecknoglobals // a pool of empty buffers is no state

func (b *buffers) get(size int) []byte {
	switch size {
	case smallBuffer:
		if p, _ := b.small.Get().(*[smallBuffer]byte); p != nil {
			return p[:]
		}
	case largeBuffer:
		if p, _ := b.large.Get().(*[largeBuffer]byte); p != nil {
			return p[:]
		}
	}
	return make([]byte, size)
}

func (b *buffers) put(p []byte) {
	switch p = p[:cap(p)]; len(p) {
	case smallBuffer:
		b.small.Put((*[smallBuffer]byte)(p))
	case largeBuffer:
		b.large.Put((*[largeBuffer]byte)(p))
	default: // a long head's: seldom, and left to the collector
	}
}

// getSmall and putBack are lent's, for those who take functions: a method value
// would cost an allocation.
func getSmall() []byte { return lent.get(smallBuffer) }
func putBack(p []byte) { lent.put(p) }
