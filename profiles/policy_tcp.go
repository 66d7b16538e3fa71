package profiles

import (
	"cmp"
	"errors"
	"fmt"

	opaquepb "github.com/linkerd/linkerd2-proxy-api/go/opaque_route"
	pb "github.com/linkerd/linkerd2-proxy-api/go/outbound"
	tlspb "github.com/linkerd/linkerd2-proxy-api/go/tls_route"
)

// opaqueRoutes decodes the routes of connections that are not HTTP. There is
// nothing to tell such connections apart by, so that there may be one rule only.
func (d *decoder) opaqueRoutes(p *pb.ProxyProtocol_Opaque) []Route {
	defer d.enter("opaque")()
	switch routes := p.GetRoutes(); len(routes) {
	case 0:
		return nil
	case 1:
		return []Route{d.opaqueRoute(routes[0])}
	default:
		return refuseAll(errors.New(d.problem(fmt.Errorf("%d routes, where there may be one", len(routes)))))
	}
}

func (d *decoder) opaqueRoute(p *pb.OpaqueRoute) Route {
	defer d.enterItem("routes", 0)()
	r := Route{Meta: d.meta(p.GetMetadata())}
	rules := p.GetRules()
	if err := oneRule(len(rules)); err != nil {
		r.Rules = []Rule{d.refuseIf(Rule{}, err)}
		return r
	}
	r.Rules = []Rule{d.opaqueRule(rules[0])}
	return r
}

func oneRule(n int) error {
	if n != 1 {
		return fmt.Errorf("%d rules, where there must be one", n)
	}
	return nil
}

func (d *decoder) opaqueRule(p *pb.OpaqueRoute_Rule) Rule {
	defer d.enterItem("rules", 0)()
	var rule Rule
	var errs [2]error
	rule.Filters, errs[0] = all(d, "filters", p.GetFilters(), opaqueFilter)
	rule.Distribution, errs[1] = d.opaqueDistribution(p.GetBackends())
	return d.refuseIf(rule, errs[:]...)
}

func (d *decoder) opaqueDistribution(p *pb.OpaqueRoute_Distribution) (Distribution, error) {
	switch k := p.GetKind().(type) {
	case *pb.OpaqueRoute_Distribution_Empty_:
		return Distribution{}, nil
	case *pb.OpaqueRoute_Distribution_FirstAvailable_:
		return firstReady(d, k.FirstAvailable.GetBackends(), opaqueFilter)
	case *pb.OpaqueRoute_Distribution_RandomAvailable_:
		return byWeight(d, k.RandomAvailable.GetBackends(), opaqueFilter)
	default:
		return Distribution{}, errNoDistribution
	}
}

func opaqueFilter(p *pb.OpaqueRoute_Filter) (Filter, error) {
	return connFilter(p.GetInvalid(), p.GetForbidden())
}

func (d *decoder) tlsRoutes(routes []*pb.TlsRoute) []Route {
	defer d.enter("tls")()
	var out []Route
	for i, p := range routes {
		if !d.spend(1) {
			break
		}
		out = append(out, d.tlsRoute(i, p))
	}
	return out
}

func (d *decoder) tlsRoute(i int, p *pb.TlsRoute) Route {
	defer d.enterItem("routes", i)()
	r := Route{Meta: d.meta(p.GetMetadata()), Rules: []Rule{{}}}
	var err error
	r.Hosts, err = all(d, "snis", p.GetSnis(), sni)
	if one := oneRule(len(p.GetRules())); one != nil {
		err = cmp.Or(err, one)
	} else {
		r.Rules[0] = d.tlsRule(p.GetRules()[0])
	}
	d.finish(&r, err)
	return r
}

func sni(p *tlspb.SniMatch) (HostMatch, error) {
	return decodeHost(p.GetExact(), p.GetSuffix().GetReverseLabels())
}

func (d *decoder) tlsRule(p *pb.TlsRoute_Rule) Rule {
	defer d.enterItem("rules", 0)()
	var rule Rule
	var errs [2]error
	rule.Filters, errs[0] = all(d, "filters", p.GetFilters(), tlsFilter)
	rule.Distribution, errs[1] = d.tlsDistribution(p.GetBackends())
	return d.refuseIf(rule, errs[:]...)
}

func (d *decoder) tlsDistribution(p *pb.TlsRoute_Distribution) (Distribution, error) {
	switch k := p.GetKind().(type) {
	case *pb.TlsRoute_Distribution_Empty_:
		return Distribution{}, nil
	case *pb.TlsRoute_Distribution_FirstAvailable_:
		return firstReady(d, k.FirstAvailable.GetBackends(), tlsFilter)
	case *pb.TlsRoute_Distribution_RandomAvailable_:
		return byWeight(d, k.RandomAvailable.GetBackends(), tlsFilter)
	default:
		return Distribution{}, errNoDistribution
	}
}

func tlsFilter(p *pb.TlsRoute_Filter) (Filter, error) {
	return connFilter(p.GetInvalid(), p.GetForbidden())
}

func connFilter(invalid *opaquepb.Invalid, forbidden *opaquepb.Forbidden) (Filter, error) {
	switch {
	case invalid != nil:
		return Filter{Kind: Reject, Message: invalid.GetMessage()}, nil
	case forbidden != nil:
		return Filter{Kind: Forbid}, nil
	default:
		return Filter{}, errUnknownKind
	}
}
