package h2

import (
	"math/rand/v2"
	"testing"
)

// TestStreamTable compares the table with a map, with streams that live on while
// thousands come and go, as a watch among requests does.
func TestStreamTable(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var table streamTable
	want := map[uint32]*stream{}
	for id := uint32(1); id < 40_000; id += 2 {
		st := &stream{id: id}
		table.put(st)
		want[id] = st
		for old := range want {
			if random.IntN(3) > 0 && old%64 != 1 {
				table.remove(old)
				delete(want, old)
			}
			break
		}
		if probe := random.Uint32N(id + 10); table.get(probe) != want[probe] {
			t.Fatalf("stream %d: %v, want %v", probe, table.get(probe), want[probe])
		}
		if table.count != len(want) {
			t.Fatalf("%d streams, want %d", table.count, len(want))
		}
	}
	for id, st := range want {
		if table.get(id) != st {
			t.Errorf("stream %d is lost", id)
		}
	}
	seen := 0
	for st := range table.all() {
		if want[st.id] == st {
			seen++
		}
		table.remove(st.id)
	}
	if seen != len(want) || table.count != 0 {
		t.Errorf("%d streams of %d seen, %d left", seen, len(want), table.count)
	}
}
