package profiles

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	pb "github.com/linkerd/linkerd2-proxy-api/go/outbound"
)

// decodePolicy returns the profile that an outbound policy makes by itself.
func (d *decoder) decodePolicy(p *pb.OutboundPolicy) *Profile {
	profile := &Profile{Source: FromPolicy, Parent: d.meta(p.GetMetadata())}
	d.protocol(profile, p.GetProtocol())
	if d.tooLarge() {
		d.problem(errTooLarge)
		profile = invalidProfile(errTooLarge)
	}
	profile.Problems = d.problems
	return profile
}

func (d *decoder) protocol(p *Profile, kind *pb.ProxyProtocol) {
	defer d.enter("protocol")()
	switch k := kind.GetKind().(type) {
	case *pb.ProxyProtocol_Detect_:
		d.detect(p, k.Detect)
	case *pb.ProxyProtocol_Opaque_:
		p.Protocol = Opaque
		p.Opaque = d.opaqueRoutes(k.Opaque)
	case *pb.ProxyProtocol_Http1_:
		p.Protocol = HTTP1
		p.HTTP1, p.Accrual = http(d, "http1", k.Http1)
	case *pb.ProxyProtocol_Http2_:
		p.Protocol = HTTP2
		p.HTTP2, p.Accrual = http(d, "http2", k.Http2)
	case *pb.ProxyProtocol_Grpc_:
		p.Protocol = GRPC
		p.HTTP2 = d.grpcRoutes(k.Grpc.GetRoutes())
		p.Accrual = d.accrual(k.Grpc.GetFailureAccrual())
	case *pb.ProxyProtocol_Tls_:
		p.Protocol = TLS
		p.TLS = d.tlsRoutes(k.Tls.GetRoutes())
	default:
		d.problem(errUnknownKind)
		*p = *invalidProfile(errUnknownKind)
	}
}

// detect decodes the policy of a destination whose protocol is to be found out.
// It has a part for each; one that is missing refuses what is its own.
func (d *decoder) detect(p *Profile, k *pb.ProxyProtocol_Detect) {
	defer d.enter("detect")()
	p.Protocol = Detect
	if k.GetOpaque() != nil {
		p.Opaque = d.opaqueRoutes(k.GetOpaque())
	} else {
		p.Opaque = refuseAll(errors.New(d.problem(errors.New("opaque: missing"))))
	}
	// The controller sends one accrual for both versions, which share their
	// endpoints; and an endpoint has one breaker.
	var second Accrual
	p.HTTP1, p.Accrual = http(d, "http1", k.GetHttp1())
	p.HTTP2, second = http(d, "http2", k.GetHttp2())
	if !p.Accrual.On {
		p.Accrual = second
	}
}

// An httpProtocol is one of the API's two types for it.
type httpProtocol interface {
	comparable
	GetRoutes() []*pb.HttpRoute
	GetFailureAccrual() *pb.FailureAccrual
}

// http decodes the part of a policy that is for one version of HTTP, and that
// must be there.
func http[P httpProtocol](d *decoder, field string, p P) ([]Route, Accrual) {
	defer d.enter(field)()
	var none P
	if p == none {
		return refuseAll(errors.New(d.problem(errors.New("missing")))), Accrual{}
	}
	return d.httpRoutes(p.GetRoutes()), d.accrual(p.GetFailureAccrual())
}

// invalidProfile stands for a policy of which nothing can be obeyed, as
// Linkerd's invalid policy does: every request and connection fails, and says
// why.
func invalidProfile(err error) *Profile {
	return &Profile{
		Source: FromPolicy,
		Parent: Default("invalid"),
		HTTP1:  refuseAll(err),
		HTTP2:  refuseAll(err),
		Opaque: refuseAll(err),
	}
}

// refuseAll returns routes that fail everything because err makes them invalid.
func refuseAll(err error) []Route {
	return refusing(Default("invalid"), "invalid client policy configuration: "+err.Error())
}

func refusing(m Meta, why string) []Route {
	return []Route{{Meta: m, Rules: []Rule{{Refusal: why}}}}
}

// decodeHost decodes the host of an HTTP route or the SNI of a TLS route: either
// exact, or a suffix by its labels, the last one first.
func decodeHost(exact string, reversed []string) (HostMatch, error) {
	if exact != "" {
		return HostMatch{Name: strings.ToLower(exact)}, nil
	}
	if len(reversed) == 0 {
		return HostMatch{}, errors.New("match is not set or not known")
	}
	var name strings.Builder
	for i := len(reversed) - 1; i >= 0; i-- {
		// The last label of all is empty if the name ends in a dot.
		if l := reversed[i]; strings.Contains(l, ".") || l == "" && i > 0 {
			return HostMatch{}, fmt.Errorf("suffix has the label %s", quote(l))
		}
		name.WriteString(strings.ToLower(reversed[i]))
		if i > 0 {
			name.WriteByte('.')
		}
	}
	return HostMatch{Suffix: true, Name: name.String()}, nil
}

// finish completes a route: err is what is wrong with its hosts or its number of
// rules. All its rules then refuse whatever host they are asked for, since it
// cannot be known which was meant.
func (d *decoder) finish(r *Route, err error) {
	if err != nil {
		r.Hosts = nil
		why := d.problem(err)
		for i := range r.Rules {
			r.Rules[i].Refusal = why
		}
	}
	matches := 0
	for i := range r.Rules {
		matches += max(1, len(r.Rules[i].Matches))
	}
	d.spend(matches * max(1, len(r.Hosts)))
}

// refuseIf returns rule, which refuses its requests if one of errs is not nil.
func (d *decoder) refuseIf(rule Rule, errs ...error) Rule {
	rule.Refusal = d.problem(cmp.Or(errs...))
	return rule
}
