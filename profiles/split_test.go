package profiles_test

import (
	"errors"
	"math"
	"testing"

	"github.com/outrigger-mesh/outrigger/profiles"
)

func split(kind profiles.DistributionKind, ready []bool, weights ...uint32) *profiles.Split[int] {
	d := profiles.Distribution{Kind: kind}
	for _, w := range weights {
		d.Shares = append(d.Shares, profiles.Share{Weight: w})
	}
	i := -1
	return profiles.NewSplit(d, func(profiles.Share) (int, func() bool) {
		i++
		k := i
		return k, func() bool { return ready[k] }
	})
}

func TestSplitFollowsWeightsAndReadiness(t *testing.T) {
	for name, tt := range map[string]struct {
		kind    profiles.DistributionKind
		ready   []bool
		weights []uint32
		want    []float64
	}{
		"by weight":                    {profiles.ByWeight, []bool{true, true, true}, []uint32{1, 3, 6}, []float64{.1, .3, .6}},
		"zero is never picked":         {profiles.ByWeight, []bool{true, true}, []uint32{0, 5}, []float64{0, 1}},
		"the unready's share is split": {profiles.ByWeight, []bool{true, false, true}, []uint32{1, 3, 1}, []float64{.5, 0, .5}},
		"none ready":                   {profiles.ByWeight, []bool{false, false}, []uint32{1, 3}, []float64{.25, .75}},
		"first ready":                  {profiles.FirstReady, []bool{false, true, true}, []uint32{1, 1, 1}, []float64{0, 1, 0}},
		"first of none ready":          {profiles.FirstReady, []bool{false, false}, []uint32{1, 1}, []float64{1, 0}},
		"the largest weights":          {profiles.ByWeight, []bool{true, true}, []uint32{math.MaxUint32, math.MaxUint32}, []float64{.5, .5}},
	} {
		t.Run(name, func(t *testing.T) {
			s := split(tt.kind, tt.ready, tt.weights...)
			n := make([]float64, len(tt.weights))
			const picks = 20_000
			for range picks {
				i, err := s.Pick()
				if err != nil {
					t.Fatal(err)
				}
				n[i]++
			}
			for i := range n {
				if math.Abs(n[i]/picks-tt.want[i]) > .02 {
					t.Errorf("backend %d: %.3f of the picks, want %.3f", i, n[i]/picks, tt.want[i])
				}
			}
		})
	}
}

func TestSplitOfNothing(t *testing.T) {
	for name, s := range map[string]*profiles.Split[int]{
		"no backends":     split(profiles.NoBackends, nil),
		"only zeros":      split(profiles.ByWeight, []bool{true, true}, 0, 0),
		"one zero":        split(profiles.ByWeight, []bool{true}, 0),
		"first of nobody": split(profiles.FirstReady, nil),
	} {
		if _, err := s.Pick(); !errors.Is(err, profiles.ErrNoBackend) {
			t.Errorf("%s: %v, want ErrNoBackend", name, err)
		}
	}
}
