package profiles

import (
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	pb "github.com/linkerd/linkerd2-proxy-api/go/destination"

	"github.com/outrigger-mesh/outrigger/discover"
)

// A serviceProfile is what Destination.GetProfile says of a target.
type serviceProfile struct {
	name     string  // "fqn:port"; "" if it has none, and then it cannot route
	parent   Meta    // from name
	opaque   bool    // connections carry bytes, whatever a policy says
	routes   []Route // for HTTP; a default one is the last
	split    []Share // instead of name, by weight; none means name alone
	budget   Budget
	endpoint *Backend // set if the target is one endpoint rather than a service
	explicit bool     // there is a route that somebody made
	problems []string
}

// routesHTTP reports whether HTTP requests are routed by p rather than by a
// policy.
func (p *serviceProfile) routesHTTP() bool {
	return p.name != "" && (p.explicit || len(p.split) > 0)
}

// decodeProfile decodes what was said of a target that has that port.
func (d *decoder) decodeProfile(p *pb.DestinationProfile, port uint16) *serviceProfile {
	sp := &serviceProfile{opaque: p.GetOpaqueProtocol(), parent: Default("unknown")}
	if fqn, err := discover.ParseName(p.GetFullyQualifiedName()); err == nil {
		sp.name = net.JoinHostPort(fqn, strconv.Itoa(int(port)))
		sp.parent = service(fqn, port)
	} else if p.GetFullyQualifiedName() != "" {
		d.problem(in("fully_qualified_name", err))
	}
	if p.GetEndpoint() != nil {
		b := d.forward(Backend{Meta: Default("endpoint")}, p.GetEndpoint())
		sp.endpoint = &b
	}
	sp.budget = d.budget(p.GetRetryBudget())
	sp.split = d.overrides(p.GetDstOverrides())
	if sp.name != "" {
		d.profileRoutes(sp, p.GetRoutes())
	}
	if d.tooLarge() {
		d.problem(errTooLarge)
		sp.routes, sp.split, sp.explicit = refuseAll(errTooLarge), nil, true
	}
	sp.problems = d.problems
	return sp
}

// service returns the Service that a cluster's DNS name names, as the reference
// reads it: name.namespace.svc and so on.
func service(fqn string, port uint16) Meta {
	labels := strings.SplitN(fqn, ".", 4)
	if len(labels) < 3 || labels[2] != "svc" {
		return Default("unknown")
	}
	return Meta{Group: "core", Kind: "Service", Name: labels[0], Namespace: labels[1], Port: port}
}

// named returns the backend that is called "name:port", as a ServiceProfile
// balances it.
func named(name string, port uint16) Backend {
	fqn, _, _ := net.SplitHostPort(name)
	return Backend{Meta: service(fqn, port), Name: name, Load: defaultLoad()}
}

func (d *decoder) overrides(ps []*pb.WeightedDst) []Share {
	var split []Share
	for i, p := range ps {
		if !d.spend(1) {
			break
		}
		name, port, err := parseNamed(p.GetAuthority())
		if err != nil {
			d.problem(fmt.Errorf("dst_overrides[%d].authority: %w", i, err))
			continue
		}
		if p.GetWeight() > 0 {
			split = append(split, Share{Backend: named(name, port), Weight: p.GetWeight()})
		}
	}
	return split
}

// distribution is how the requests of every route of p are shared.
func (p *serviceProfile) distribution() Distribution {
	if len(p.split) > 0 {
		return Distribution{Kind: ByWeight, Shares: p.split}
	}
	_, port, _ := parseNamed(p.name)
	return Distribution{Kind: FirstReady, Shares: []Share{{Backend: named(p.name, port)}}}
}

// profileRoutes decodes p's routes, of which the first that matches decides. The
// Router keeps that order, since one Condition weighs as much as another. What
// none takes is treated by a default route, last.
func (d *decoder) profileRoutes(sp *serviceProfile, ps []*pb.Route) {
	dist := sp.distribution()
	for i, p := range ps {
		if !d.spend(1) {
			break
		}
		if r, ok := d.profileRoute(i, p, dist, sp.budget); ok {
			sp.explicit = true
			sp.routes = append(sp.routes, r)
		}
	}
	sp.routes = append(sp.routes, Route{Meta: Default("serviceprofile"), Rules: []Rule{{Distribution: dist}}})
}

// profileRoute decodes the i-th route. It is left out if its condition makes no
// sense, as the reference does.
func (d *decoder) profileRoute(i int, p *pb.Route, dist Distribution, budget Budget) (Route, bool) {
	defer d.enterItem("routes", i)()
	c, err := d.requestMatch(p.GetCondition())
	if err != nil {
		d.problem(in("condition", err))
		return Route{}, false
	}
	timeout, err := duration("timeout", p.GetTimeout())
	d.problem(err)
	rule := Rule{
		Matches:      []Match{{Condition: &c}},
		Distribution: dist,
		Timeouts:     Timeouts{Profile: timeout},
		Classes:      d.classes(p.GetResponseClasses()),
	}
	if p.GetIsRetryable() && budget != (Budget{}) {
		rule.Retry.By = ByBudget
	}
	labels := discover.NewLabels(p.GetMetricsLabels())
	return Route{Meta: Default("serviceprofile"), Labels: labels, Rules: []Rule{rule}}, true
}

// The reference's bounds on a retry budget.
const (
	maxRatio  = 1000
	minTTL    = time.Second
	maxTTL    = time.Minute
	maxMinPer = math.MaxInt32
)

// budget decodes a retry budget. An invalid one allows no retries.
func (d *decoder) budget(p *pb.RetryBudget) Budget {
	if p == nil {
		return Budget{}
	}
	b := Budget{Ratio: p.GetRetryRatio(), MinPer: p.GetMinRetriesPerSecond()}
	ttl, err := duration("ttl", p.GetTtl())
	switch {
	case err != nil:
	case ttl < minTTL || ttl > maxTTL:
		err = fmt.Errorf("ttl: %v is not between %v and %v", ttl, minTTL, maxTTL)
	case !(b.Ratio >= 0 && b.Ratio <= maxRatio): // so written, NaN fails it
		err = fmt.Errorf("retry_ratio: %v is not between 0 and %d", b.Ratio, maxRatio)
	case b.MinPer > maxMinPer:
		err = fmt.Errorf("min_retries_per_second: %d is over %d", b.MinPer, maxMinPer)
	}
	if err != nil {
		d.problem(in("retry_budget", err))
		return Budget{}
	}
	b.TTL = ttl
	return b
}
