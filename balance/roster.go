package balance

import (
	"slices"
	"sort"

	"github.com/outrigger-mesh/outrigger/discover"
)

// A roster is the endpoints that were ready at one moment. It never changes.
type roster[S any] struct {
	of []*endpoint[S]

	// The running totals of their weights; nil if the weights are all the same, as
	// they nearly always are.
	totals []uint64
	mean   float64 // of the weights, if there are totals
}

func newRoster[S any](of []*endpoint[S]) *roster[S] {
	r := &roster[S]{of: of}
	if !slices.ContainsFunc(of, func(e *endpoint[S]) bool { return e.of.Weight != of[0].of.Weight }) {
		return r
	}
	sum := uint64(0)
	r.totals = make([]uint64, len(of))
	for i, e := range of {
		sum += uint64(e.of.Weight)
		r.totals[i] = sum
	}
	r.mean = float64(sum) / float64(len(of))
	return r
}

// pick returns the one of two drawn at random that is to be taken, or nil if
// there is none. Those to avoid are taken only if there is no other.
func (r *roster[S]) pick(rand func(uint64) uint64, avoid []discover.Key) *endpoint[S] {
	switch len(r.of) {
	case 0:
		return nil
	case 1:
		return r.of[0]
	}
	if len(avoid) > 0 {
		return r.pickOther(rand, avoid)
	}
	return r.better(r.draw(rand))
}

// draw returns two that are distinct. Each is drawn in proportion to its weight,
// the second among the rest.
func (r *roster[S]) draw(rand func(uint64) uint64) (first, second *endpoint[S]) {
	n := uint64(len(r.of))
	if r.totals != nil {
		return r.drawWeighed(rand)
	}
	// One number says both, since that is quicker than two numbers.
	x := rand(n * (n - 1))
	i, j := x/(n-1), x%(n-1)
	if j >= i {
		j++
	}
	return r.of[i], r.of[j]
}

func (r *roster[S]) drawWeighed(rand func(uint64) uint64) (first, second *endpoint[S]) {
	sum := r.totals[len(r.totals)-1]
	i := r.holder(rand(sum))
	own := uint64(r.of[i].of.Weight)
	if own == sum { // the rest have been given weight by a set that they do not yet serve
		return r.of[i], r.of[i]
	}
	x := rand(sum - own) // the numbers but for i's own
	if x >= r.totals[i]-own {
		x += own
	}
	return r.of[i], r.of[r.holder(x)]
}

// holder returns whose number x is, where everyone has as many as it weighs.
func (r *roster[S]) holder(x uint64) int {
	return sort.Search(len(r.totals), func(i int) bool { return r.totals[i] > x })
}

// better returns which of two that were drawn is to be taken: the one with the
// lower load, and of equal loads the first.
func (r *roster[S]) better(first, second *endpoint[S]) *endpoint[S] {
	if r.totals != nil {
		return r.betterWeighed(first, second)
	}
	if first.load.relative(second.load)*first.load.calls(1) <= second.load.calls(1) {
		return first
	}
	return second
}

// How many times the second's load the first's must be, among unequal weights,
// to be passed over.
const excess = 2

// betterWeighed is better among unequal weights. They have already had their say
// in who is first, and would be undone if the least difference in load sufficed
// to pass it over: of two endpoints each would get half. So the second must be
// clearly better, and still be when it has the call. Calls in hand count less
// for an endpoint that weighs more, which has more as a matter of course.
func (r *roster[S]) betterWeighed(first, second *endpoint[S]) *endpoint[S] {
	f, s := r.mean/float64(first.of.Weight), r.mean/float64(second.of.Weight)
	if first.load.relative(second.load)*first.load.calls(f) <= excess*(second.load.calls(s)+s) {
		return first
	}
	return second
}

// How many pairs pickOther draws before it looks through all. That costs more,
// but is needed only if most are to be avoided.
const drawsToAvoid = 8

func (r *roster[S]) pickOther(rand func(uint64) uint64, avoid []discover.Key) *endpoint[S] {
	fine := func(e *endpoint[S]) bool { return !slices.Contains(avoid, e.of.Key()) }
	for range drawsToAvoid {
		first, second := r.draw(rand)
		switch a, b := fine(first), fine(second); {
		case a && b:
			return r.better(first, second)
		case a:
			return first
		case b:
			return second
		}
	}
	start := int(rand(uint64(len(r.of))))
	for i := range r.of {
		if e := r.of[(start+i)%len(r.of)]; fine(e) {
			return e
		}
	}
	return r.better(r.draw(rand))
}
