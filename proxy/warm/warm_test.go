package warm_test

import (
	"sync"
	"testing"

	"github.com/outrigger-mesh/outrigger/proxy/warm"
)

// TestHarmless gives what is nowhere, what is too short, and stacks of all depths:
// nothing may fault, and nothing change.
func TestHarmless(t *testing.T) {
	type big struct{ b [4097]byte }
	warm.Object((*big)(nil))
	b := &big{}
	b.b[4096] = 7
	warm.Object(b)
	if *b != (big{b: [4097]byte{4096: 7}}) {
		t.Error("it has changed")
	}
	var all sync.WaitGroup
	for depth := range 200 {
		all.Go(func() { descend(depth) })
	}
	all.Wait()
}

// descend warms at each depth, at which the stack may just have grown.
func descend(depth int) (sum int) {
	var frame [96]byte
	frame[depth%len(frame)] = 1
	warm.Callers()
	if depth > 0 {
		sum = descend(depth - 1)
	}
	for _, b := range frame {
		sum += int(b)
	}
	return sum
}

func BenchmarkCallers(b *testing.B) {
	for b.Loop() {
		warm.Callers()
	}
}
