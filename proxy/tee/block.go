package tee

import (
	"sync"
	"sync/atomic"
)

// blockBytes is what is taken of the budget at a time. A read of a body seldom gives
// more than a few of these. It is the largest size of which the allocator has a class.
const blockBytes = 32 << 10

// roomBytes is what a block holds of a content.
const roomBytes = blockBytes - 24

// A block is a part of a content. All its fields but data are guarded by its feed's
// lock; what of data is filled does not change any more.
type block struct {
	next *block // first, so that the collector looks no further
	n    int    // filled
	refs int    // streams that have not left it behind
	data [roomBytes]byte
}

// A budget is what all blocks may come to. Those that have come back are kept, so
// that used and kept ones together never exceed it.
type budget struct {
	limit int64
	used  atomic.Int64 // bytes of the blocks in use
	cut   atomic.Bool  // see Tee.Cut

	mu   sync.Mutex
	free *block
	kept int64 // bytes of those in free
}

// left is what may still be taken.
func (b *budget) left() int64 { return b.limit - b.used.Load() }

// take returns an empty block, or nil if the budget is spent.
func (b *budget) take() *block {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used.Load()+blockBytes > b.limit {
		return nil
	}
	b.used.Add(blockBytes)
	if got := b.free; got != nil {
		b.free, got.next = got.next, nil
		b.kept -= blockBytes
		return got
	}
	return new(block)
}

// keptIdle is what is kept of blocks while nobody uses any.
const keptIdle = 1 << 20

// put takes got back.
func (b *budget) put(got *block) {
	b.mu.Lock()
	defer b.mu.Unlock()
	got.n, got.next = 0, b.free
	b.free = got
	b.kept += blockBytes
	if b.used.Add(-blockBytes) > 0 {
		return
	}
	for b.kept > keptIdle {
		b.free = b.free.next
		b.kept -= blockBytes
	}
}
