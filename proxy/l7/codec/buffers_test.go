package codec_test

import (
	"bytes"
	"testing"

	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
)

// TestBorrow asks for what is just within each size, and just beyond.
func TestBorrow(t *testing.T) {
	for _, c := range []struct{ n, size int }{
		{0, codec.Tiny},
		{1, codec.Tiny},
		{codec.Tiny, codec.Tiny},
		{codec.Tiny + 1, codec.Small},
		{codec.Small, codec.Small},
		{codec.Small + 1, codec.Head},
		{codec.Head, codec.Head},
		{codec.Head + 1, codec.Medium},
		{codec.Medium, codec.Medium},
		{codec.Medium + 1, codec.Chunk},
		{codec.Chunk + 1, codec.Large},
		{codec.Large, codec.Large},
		{codec.Large + 1, codec.Bulk},
		{codec.Bulk, codec.Bulk},
		{codec.Bulk + 1, codec.Bulk + 1},
		{1 << 20, 1 << 20},
	} {
		for range 3 { // new ones, and those given back
			p := codec.Borrow(c.n)
			if len(p) != 0 || cap(p) != c.size {
				t.Errorf("for %d bytes: %d of %d, want none of %d", c.n, len(p), cap(p), c.size)
			}
			codec.Return(append(p, 'x'))
		}
	}
}

// TestBorrowed sees that nobody is lent what another has.
func TestBorrowed(t *testing.T) {
	for _, size := range []int{codec.Tiny, codec.Small, codec.Head, codec.Medium, codec.Chunk, codec.Large, codec.Bulk} {
		var all [8][]byte
		for i := range all {
			p := codec.Borrow(size)[:size]
			for j := range p {
				p[j] = byte(i)
			}
			all[i] = p
		}
		for i, p := range all {
			if n := bytes.Count(p, []byte{byte(i)}); n != size {
				t.Errorf("%d of %d bytes are left of the buffer %d", n, size, i)
			}
			codec.Return(p[:i])
		}
	}
}

// TestBorrowAllocates: to borrow, and to give back, cost nothing.
func TestBorrowAllocates(t *testing.T) {
	for _, size := range []int{codec.Tiny, codec.Small, codec.Head, codec.Medium, codec.Chunk, codec.Large, codec.Bulk} {
		if n := testing.AllocsPerRun(100, func() { codec.Return(codec.Borrow(size)) }); n != 0 {
			t.Errorf("%d bytes: %v allocations", size, n)
		}
	}
}

// TestReturnOther gives back what was not borrowed, of which nothing becomes.
func TestReturnOther(t *testing.T) {
	codec.Return(nil)
	codec.Return(make([]byte, 10, 100))
	if p := codec.Borrow(100); cap(p) != codec.Tiny {
		t.Errorf("a buffer of %d bytes was lent", cap(p))
	}
}

// TestGrow grows a buffer by so many bytes from so many.
func TestGrow(t *testing.T) {
	for _, c := range []struct{ size, length, n, want int }{
		{0, 0, 0, 0}, // nil, which has room for nothing
		{0, 0, 1, codec.Tiny},
		{codec.Tiny, codec.Tiny, 0, codec.Tiny},
		{codec.Tiny, codec.Tiny - 1, 1, codec.Tiny},
		{codec.Tiny, codec.Tiny, 1, codec.Small}, // twice the size at least
		{codec.Small, 1, codec.Small, codec.Head},
		{codec.Head, codec.Head, 1, codec.Chunk},
		{codec.Chunk, codec.Chunk, 1, codec.Large},
		{codec.Large, codec.Large, 1, codec.Bulk},
		{codec.Bulk, codec.Bulk, 1, codec.Bulk * 5 / 4}, // and then by a quarter
		{codec.Bulk, codec.Bulk, codec.Bulk, codec.Bulk * 2},
	} {
		var p []byte
		if c.size > 0 {
			p = codec.Borrow(c.size)[:c.length]
		}
		for i := range p {
			p[i] = byte(i)
		}
		grown := codec.Grow(p, c.n)
		if len(grown) != c.length || cap(grown) != c.want {
			t.Errorf("%d of %d by %d: %d of %d, want %d", c.length, c.size, c.n, len(grown), cap(grown), c.want)
		}
		for i := range grown {
			if grown[i] != byte(i) {
				t.Errorf("%d of %d by %d: other bytes from %d on", c.length, c.size, c.n, i)
				break
			}
		}
		codec.Return(grown)
	}
}

// TestAppend appends by pieces of each of some sizes, past every size of buffer.
func TestAppend(t *testing.T) {
	for _, piece := range []int{1, 999, 16 << 10, 70_000} {
		var got, want []byte
		for i := 0; len(want) < 200_000; i++ {
			data := bytes.Repeat([]byte{byte(i)}, piece)
			want = append(want, data...)
			got = codec.Append(got, data)
			if len(got) != len(want) {
				t.Fatalf("by %d: %d bytes, want %d", piece, len(got), len(want))
			}
		}
		if !bytes.Equal(got, want) {
			t.Errorf("by %d: other bytes", piece)
		}
		codec.Return(got)
	}
}
