package profiles

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	destpb "github.com/linkerd/linkerd2-proxy-api/go/destination"
	pb "github.com/linkerd/linkerd2-proxy-api/go/outbound"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/outrigger-mesh/outrigger/discover"
)

// What a balancer's load is estimated with where the control plane does not say:
// the reference's figures.
const (
	defaultRTT           = 30 * time.Millisecond
	defaultDecay         = 10 * time.Second
	defaultPenalty       = 5 * time.Second
	defaultMaxRetryAfter = 300 * time.Second
)

var (
	errNoDistribution = errors.New("backends: distribution is not set or not known")
	errNoBackends     = errors.New("backends: none, where there must be one at least")
)

// A routeBackend is one of the API's types for it; each kind of route has its
// own. F is its filter's.
type routeBackend[F any] interface {
	GetBackend() *pb.Backend
	GetFilters() []F
}

type weighted[B any] interface {
	GetBackend() B
	GetWeight() uint32
}

func firstReady[F any, B routeBackend[F]](d *decoder, backends []B, filter func(F) (Filter, error)) (Distribution, error) {
	if len(backends) == 0 {
		return Distribution{}, errNoBackends
	}
	dist := Distribution{Kind: FirstReady}
	for i, b := range backends {
		if !d.spend(1) {
			break
		}
		dist.Shares = append(dist.Shares, share(d, i, b, filter))
	}
	return dist, nil
}

// byWeight leaves out backends that have no weight. If that is all of them,
// every request is refused, as Gateway API wants it.
func byWeight[F any, B routeBackend[F], W weighted[B]](d *decoder, backends []W, filter func(F) (Filter, error)) (Distribution, error) {
	if len(backends) == 0 {
		return Distribution{}, errNoBackends
	}
	var shares []Share
	for i, w := range backends {
		if !d.spend(1) {
			break
		}
		if w.GetWeight() == 0 {
			continue
		}
		s := share(d, i, w.GetBackend(), filter)
		s.Weight = w.GetWeight()
		shares = append(shares, s)
	}
	if len(shares) == 0 {
		return Distribution{}, nil
	}
	return Distribution{Kind: ByWeight, Shares: shares}, nil
}

// share decodes the i-th backend. If its filters make no sense it is refused by
// itself: the others can still serve.
func share[F any, B routeBackend[F]](d *decoder, i int, b B, filter func(F) (Filter, error)) Share {
	defer d.enterItem("backends", i)()
	filters, err := all(d, "filters", b.GetFilters(), filter)
	backend := d.backend(b.GetBackend())
	if err != nil {
		return Share{Backend: Backend{Meta: backend.Meta, Refusal: d.problem(err)}}
	}
	return Share{Backend: backend, Filters: filters}
}

func (d *decoder) backend(p *pb.Backend) Backend {
	b := Backend{Meta: d.meta(p.GetMetadata()), Queue: d.queue(p.GetQueue())}
	switch k := p.GetKind().(type) {
	case *pb.Backend_Forward:
		return d.forward(b, k.Forward)
	case *pb.Backend_Balancer:
		return d.balancer(b, k.Balancer)
	default:
		b.Refusal = fmt.Sprintf("backend for %s %s/%s has no dispatcher", b.Meta.Kind, b.Meta.Namespace, b.Meta.Name)
		return b
	}
}

// forward makes b the one endpoint in w.
func (d *decoder) forward(b Backend, w *destpb.WeightedAddr) Backend {
	e, err := discover.FromWeightedAddr(w, nil)
	switch {
	case err != nil:
		b.Refusal = d.problem(err)
	case slices.Contains(d.local, e.Addr.Addr()):
		b.Endpoint = e.Local()
	default:
		b.Endpoint = e
	}
	return b
}

func (d *decoder) balancer(b Backend, p *pb.Backend_BalanceP2C) Backend {
	defer d.enter("balancer")()
	name, _, err := parseNamed(p.GetDiscovery().GetDst().GetPath())
	if err != nil {
		b.Refusal = d.problem(in("discovery.dst.path", err))
		return b
	}
	b.Name, b.Load = name, d.load(p)
	return b
}

// parseNamed returns "name:port" as destinations are called, and its port. It
// takes no addresses: the control plane resolves names alone.
func parseNamed(s string) (name string, port uint16, err error) {
	host, digits, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, fmt.Errorf("%s is not name:port", quote(s))
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("%s: port is not between 1 and 65535", quote(s))
	}
	host, err = discover.ParseName(host)
	if err != nil {
		return "", 0, err
	}
	return net.JoinHostPort(host, digits), uint16(n), nil
}

func (d *decoder) load(p *pb.Backend_BalanceP2C) Load {
	or := func(sub string, p *durationpb.Duration, otherwise time.Duration) time.Duration {
		v, err := duration(sub, p)
		d.problem(err)
		if v == 0 {
			return otherwise
		}
		return v
	}
	switch k := p.GetLoad().(type) {
	case *pb.Backend_BalanceP2C_PeakEwma_:
		return Load{
			DefaultRTT: or("peak_ewma.default_rtt", k.PeakEwma.GetDefaultRtt(), defaultRTT),
			Decay:      or("peak_ewma.decay", k.PeakEwma.GetDecay(), defaultDecay),
		}
	case *pb.Backend_BalanceP2C_PenaltyPeakEwma_:
		e := k.PenaltyPeakEwma
		return Load{
			DefaultRTT:    or("penalty_peak_ewma.default_rtt", e.GetDefaultRtt(), defaultRTT),
			Decay:         or("penalty_peak_ewma.decay", e.GetDecay(), defaultDecay),
			Penalty:       or("penalty_peak_ewma.penalty", e.GetPenalty(), defaultPenalty),
			MaxRetryAfter: or("penalty_peak_ewma.max_retry_after", e.GetMaxRetryAfter(), defaultMaxRetryAfter),
		}
	default:
		return defaultLoad()
	}
}

func defaultLoad() Load { return Load{DefaultRTT: defaultRTT, Decay: defaultDecay} }

func (d *decoder) queue(p *pb.Queue) Queue {
	failFast, err := duration("queue.failfast_timeout", p.GetFailfastTimeout())
	d.problem(err)
	return Queue{Capacity: p.GetCapacity(), FailFast: failFast}
}
