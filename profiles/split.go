package profiles

import (
	"errors"
	"math/rand/v2"
)

// ErrNoBackend means that a route has no backend to send to.
var ErrNoBackend = errors.New("route has no backend")

// A Split shares work among what was built for the backends of a Distribution.
type Split[S any] struct {
	kind   DistributionKind
	shares []part[S]
	total  uint64 // of the weights
}

type part[S any] struct {
	to     S
	ready  func() bool
	weight uint64
}

// NewSplit returns what shares work as d says. of gives what serves a share, and
// how to see whether that can take work.
func NewSplit[S any](d Distribution, of func(Share) (to S, ready func() bool)) *Split[S] {
	s := &Split[S]{kind: d.Kind}
	for _, sh := range d.Shares {
		to, ready := of(sh)
		s.shares = append(s.shares, part[S]{to, ready, uint64(sh.Weight)})
		s.total += uint64(sh.Weight)
	}
	if s.kind == ByWeight && s.total == 0 {
		s.shares = nil // every weight is zero: nothing may be sent anywhere
	}
	return s
}

// Pick returns what is to do the next piece of work. While nothing is ready it
// picks as if all were: what was picked then says best why it cannot.
func (s *Split[S]) Pick() (S, error) {
	if s.kind == NoBackends || len(s.shares) == 0 {
		var none S
		return none, ErrNoBackend
	}
	if s.kind == FirstReady || len(s.shares) == 1 {
		return s.first(), nil
	}
	return s.draw(), nil
}

func (s *Split[S]) first() S {
	for i := range s.shares {
		if s.shares[i].ready() {
			return s.shares[i].to
		}
	}
	return s.shares[0].to
}

// draw picks by weight. What is drawn and not ready is left out of the next draw.
func (s *Split[S]) draw() S {
	drawn := s.at(rand.Uint64N(s.total), nil) //nolint:gosec // a share of traffic is no secret
	if s.shares[drawn].ready() {
		return s.shares[drawn].to
	}
	out := make([]bool, len(s.shares))
	for total, i := s.total, drawn; ; {
		out[i] = true
		if total -= s.shares[i].weight; total == 0 {
			return s.shares[drawn].to
		}
		if i = s.at(rand.Uint64N(total), out); s.shares[i].ready() { //nolint:gosec // as above
			return s.shares[i].to
		}
	}
}

// at returns the share in which n falls when those that are not out are laid end
// to end.
func (s *Split[S]) at(n uint64, out []bool) int {
	for i := range s.shares {
		if out != nil && out[i] {
			continue
		}
		if w := s.shares[i].weight; n >= w {
			n -= w
			continue
		}
		return i
	}
	return len(s.shares) - 1 // cannot be: n is less than the sum of the weights
}
