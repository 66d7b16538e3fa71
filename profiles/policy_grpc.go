package profiles

import (
	pb "github.com/linkerd/linkerd2-proxy-api/go/outbound"
)

func (d *decoder) grpcRoutes(routes []*pb.GrpcRoute) []Route {
	defer d.enter("grpc")()
	var out []Route
	for i, p := range routes {
		if !d.spend(1) {
			break
		}
		out = append(out, d.grpcRoute(i, p))
	}
	return out
}

func (d *decoder) grpcRoute(i int, p *pb.GrpcRoute) Route {
	defer d.enterItem("routes", i)()
	r := Route{Meta: d.meta(p.GetMetadata())}
	var err error
	r.Hosts, err = all(d, "hosts", p.GetHosts(), httpHost)
	for j, rule := range p.GetRules() {
		if !d.spend(1) {
			break
		}
		r.Rules = append(r.Rules, d.grpcRule(j, rule))
	}
	d.finish(&r, err)
	return r
}

func (d *decoder) grpcRule(i int, p *pb.GrpcRoute_Rule) Rule {
	defer d.enterItem("rules", i)()
	rule := Rule{AllowHeaders: p.GetAllowL5DRequestHeaders()}
	var errs [5]error
	rule.Matches, errs[0] = all(d, "matches", p.GetMatches(), d.grpcMatch)
	if len(rule.Matches) == 0 {
		rule.Matches = []Match{{RPC: RPCMatch{On: true}}} // even without conditions it takes gRPC alone
	}
	rule.Filters, errs[1] = all(d, "filters", p.GetFilters(), d.grpcFilter)
	rule.Distribution, errs[2] = d.grpcDistribution(p.GetBackends())
	rule.Timeouts, errs[3] = timeouts(p.GetTimeouts(), p.GetRequestTimeout()) //nolint:staticcheck // older controllers send it alone
	rule.Retry, errs[4] = d.grpcRetry(p.GetRetry())
	return d.refuseIf(rule, errs[:]...)
}

func (d *decoder) grpcDistribution(p *pb.GrpcRoute_Distribution) (Distribution, error) {
	switch k := p.GetKind().(type) {
	case *pb.GrpcRoute_Distribution_Empty_:
		return Distribution{}, nil
	case *pb.GrpcRoute_Distribution_FirstAvailable_:
		return firstReady(d, k.FirstAvailable.GetBackends(), d.grpcFilter)
	case *pb.GrpcRoute_Distribution_RandomAvailable_:
		return byWeight(d, k.RandomAvailable.GetBackends(), d.grpcFilter)
	default:
		return Distribution{}, errNoDistribution
	}
}
