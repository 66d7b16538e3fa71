package profiles

import (
	"cmp"

	routepb "github.com/linkerd/linkerd2-proxy-api/go/http_route"
	pb "github.com/linkerd/linkerd2-proxy-api/go/outbound"
	"google.golang.org/protobuf/types/known/durationpb"
)

func (d *decoder) httpRoutes(routes []*pb.HttpRoute) []Route {
	var out []Route
	for i, p := range routes {
		if !d.spend(1) {
			break
		}
		out = append(out, d.httpRoute(i, p))
	}
	return out
}

func (d *decoder) httpRoute(i int, p *pb.HttpRoute) Route {
	defer d.enterItem("routes", i)()
	r := Route{Meta: d.meta(p.GetMetadata())}
	var err error
	r.Hosts, err = all(d, "hosts", p.GetHosts(), httpHost)
	for j, rule := range p.GetRules() {
		if !d.spend(1) {
			break
		}
		r.Rules = append(r.Rules, d.httpRule(j, rule))
	}
	d.finish(&r, err)
	return r
}

func httpHost(p *routepb.HostMatch) (HostMatch, error) {
	return decodeHost(p.GetExact(), p.GetSuffix().GetReverseLabels())
}

func (d *decoder) httpRule(i int, p *pb.HttpRoute_Rule) Rule {
	defer d.enterItem("rules", i)()
	rule := Rule{AllowHeaders: p.GetAllowL5DRequestHeaders()}
	var errs [5]error
	rule.Matches, errs[0] = all(d, "matches", p.GetMatches(), d.httpMatch)
	rule.Filters, errs[1] = all(d, "filters", p.GetFilters(), d.httpFilter)
	rule.Distribution, errs[2] = d.httpDistribution(p.GetBackends())
	rule.Timeouts, errs[3] = timeouts(p.GetTimeouts(), p.GetRequestTimeout()) //nolint:staticcheck // older controllers send it alone
	rule.Retry, errs[4] = d.httpRetry(p.GetRetry())
	return d.refuseIf(rule, errs[:]...)
}

func (d *decoder) httpDistribution(p *pb.HttpRoute_Distribution) (Distribution, error) {
	switch k := p.GetKind().(type) {
	case *pb.HttpRoute_Distribution_Empty_:
		return Distribution{}, nil
	case *pb.HttpRoute_Distribution_FirstAvailable_:
		return firstReady(d, k.FirstAvailable.GetBackends(), d.httpFilter)
	case *pb.HttpRoute_Distribution_RandomAvailable_:
		return byWeight(d, k.RandomAvailable.GetBackends(), d.httpFilter)
	default:
		return Distribution{}, errNoDistribution
	}
}

// timeouts decodes a rule's. The rule's own field of old gives way to the newer
// one.
func timeouts(p *routepb.Timeouts, old *durationpb.Duration) (Timeouts, error) {
	request := p.GetRequest()
	if request == nil {
		request = old
	}
	var t Timeouts
	var errs [3]error
	t.Request, errs[0] = duration("timeouts.request", request)
	t.Response, errs[1] = duration("timeouts.response", p.GetResponse())
	t.Idle, errs[2] = duration("timeouts.idle", p.GetIdle())
	return t, cmp.Or(errs[:]...)
}
