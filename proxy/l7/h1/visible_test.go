package h1

import (
	"testing"

	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
)

// TestVisible: eight bytes at a time decide as one at a time does, wherever the
// byte stands and whatever is around it.
func TestVisible(t *testing.T) {
	for _, fill := range []byte{' ', 'a', 0x80, 0xff, '\t', '~'} {
		for n := range 20 {
			for at := range n {
				for c := range 256 {
					b := make([]byte, n)
					for i := range b {
						b[i] = fill
					}
					b[at] = byte(c)
					if got, want := visible(b), codec.All(b, codec.Value); got != want {
						t.Fatalf("%q: %t, want %t", b, got, want)
					}
				}
			}
		}
	}
}
