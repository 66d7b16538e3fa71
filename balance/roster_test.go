package balance

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/outrigger-mesh/outrigger/discover"
)

func at(port int) netip.AddrPort { return netip.AddrPortFrom(netip.IPv6Loopback(), uint16(port)) }

// weighing returns a roster of idle endpoints, each its own service.
func weighing(weights ...uint32) *roster[int] {
	var es []*endpoint[int]
	for i, w := range weights {
		es = append(es, &endpoint[int]{
			of: discover.Endpoint{Addr: at(i), Weight: w}, svc: i, load: newLoad(0, 0, 0),
		})
	}
	return newRoster(es)
}

// given returns a rand that gives these numbers, and fails the test for more, or
// for one that is out of range.
func given(t *testing.T, xs ...uint64) func(uint64) uint64 {
	t.Helper()
	return func(n uint64) uint64 {
		if len(xs) == 0 || xs[0] >= n {
			t.Fatalf("asked for a number below %d, have %v", n, xs)
		}
		x := xs[0]
		xs = xs[1:]
		return x
	}
}

func TestDrawGivesEachPairOnce(t *testing.T) {
	for n := 2; n < 8; n++ {
		r := weighing(make([]uint32, n)...)
		seen := map[[2]int]bool{}
		for x := range uint64(n * (n - 1)) {
			a, b := r.draw(given(t, x))
			if a == b {
				t.Errorf("of %d: number %d draws %d twice", n, x, a.svc)
			}
			seen[[2]int{a.svc, b.svc}] = true
		}
		if len(seen) != n*(n-1) {
			t.Errorf("of %d: %d pairs, want %d", n, len(seen), n*(n-1))
		}
	}
}

func TestDrawFollowsWeights(t *testing.T) {
	weights := []uint32{1, 3, 0, 2}
	r := weighing(weights...)
	firsts := make([]uint32, len(weights))
	for x := range uint64(6) {
		first, _ := r.draw(given(t, x, 0))
		firsts[first.svc]++
		seconds := make([]uint32, len(weights))
		rest := uint64(6 - first.of.Weight)
		for y := range rest {
			_, second := r.draw(given(t, x, y))
			seconds[second.svc]++
		}
		for i, w := range weights {
			if i != first.svc && seconds[i] != w || i == first.svc && seconds[i] != 0 {
				t.Errorf("after %d: second was %d %d times of %d", first.svc, i, seconds[i], rest)
			}
		}
	}
	for i, w := range weights {
		if firsts[i] != w {
			t.Errorf("first was %d %d times of 6, want %d", i, firsts[i], w)
		}
	}
}

func TestDrawBearsAnyWeights(t *testing.T) {
	for _, weights := range [][]uint32{
		{math.MaxUint32, math.MaxUint32, 1},
		{1, math.MaxUint32},
		{0, 5}, // such as while what served before has no weight yet
		{0, 0},
		{1, 1},
	} {
		r := weighing(weights...)
		for range 1000 {
			if r.pick(rand.Uint64N, nil) == nil {
				t.Fatalf("%v: none was picked", weights)
			}
			if r.pick(rand.Uint64N, []discover.Key{r.of[0].of.Key()}) != r.of[len(r.of)-1] && len(r.of) == 2 {
				t.Fatalf("%v: the one to be avoided was picked", weights)
			}
		}
	}
}

func TestPickTakesTheLowerLoad(t *testing.T) {
	for _, c := range []struct {
		name          string
		first, second func(*load)
		want          int
	}{
		{"equal", func(*load) {}, func(*load) {}, 0},
		{"more in hand", func(l *load) { l.picked.Add(1) }, func(*load) {}, 1},
		{"less in hand", func(*load) {}, func(l *load) { l.picked.Add(1) }, 0},
		{"slower", func(l *load) { l.sample(2*leastRTT, 0) }, func(*load) {}, 1},
		{"twice as slow, half in hand", func(l *load) { l.sample(2*leastRTT, 0) }, func(l *load) { l.picked.Add(2) }, 0},
		{"far too slow", func(l *load) { l.sample(math.MaxInt64, math.MaxInt64) }, func(*load) {}, 1},
	} {
		r := weighing(7, 7)
		c.first(r.of[0].load)
		c.second(r.of[1].load)
		if got := r.pick(given(t, 0), nil).svc; got != c.want {
			t.Errorf("%s: picked %d, want %d", c.name, got, c.want)
		}
	}
}

func TestPickAvoids(t *testing.T) {
	const n = 50
	r := weighing(make([]uint32, n)...)
	var avoid []discover.Key
	for left := n; left > 0; left-- {
		for range 100 {
			if got := r.pick(rand.Uint64N, avoid).svc; got < n-left {
				t.Fatalf("picked %d, which is to be avoided as all below %d", got, n-left)
			}
		}
		avoid = append(avoid, r.of[n-left].of.Key())
	}
	if r.pick(rand.Uint64N, avoid) == nil {
		t.Error("picked none, as all are to be avoided")
	}
}
