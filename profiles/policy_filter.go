package profiles

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strings"

	routepb "github.com/linkerd/linkerd2-proxy-api/go/http_route"
	typespb "github.com/linkerd/linkerd2-proxy-api/go/http_types"
	pb "github.com/linkerd/linkerd2-proxy-api/go/outbound"
)

func (d *decoder) httpFilter(p *pb.HttpRoute_Filter) (Filter, error) {
	switch k := p.GetKind().(type) {
	case *pb.HttpRoute_Filter_FailureInjector:
		if s := k.FailureInjector.GetStatus(); s < 100 || s > 999 {
			return Filter{}, fmt.Errorf("failure_injector.status: %d is no HTTP status", s)
		}
		return failure(false, k.FailureInjector.GetStatus(), k.FailureInjector.GetMessage(), k.FailureInjector.GetRatio())
	case *pb.HttpRoute_Filter_RequestHeaderModifier:
		return d.modifier(ModifyRequest, k.RequestHeaderModifier)
	case *pb.HttpRoute_Filter_ResponseHeaderModifier:
		return d.modifier(ModifyResponse, k.ResponseHeaderModifier)
	case *pb.HttpRoute_Filter_Redirect:
		r, err := redirect(k.Redirect)
		return Filter{Kind: Redirect, Redirect: r}, in("redirect", err)
	default:
		return Filter{}, errUnknownKind
	}
}

func (d *decoder) grpcFilter(p *pb.GrpcRoute_Filter) (Filter, error) {
	switch k := p.GetKind().(type) {
	case *pb.GrpcRoute_Filter_FailureInjector:
		return failure(true, k.FailureInjector.GetCode(), k.FailureInjector.GetMessage(), k.FailureInjector.GetRatio())
	case *pb.GrpcRoute_Filter_RequestHeaderModifier:
		return d.modifier(ModifyRequest, k.RequestHeaderModifier)
	default:
		return Filter{}, errUnknownKind
	}
}

// failure decodes an injector. Without a ratio it takes every request.
func failure(grpc bool, status uint32, message string, ratio *routepb.Ratio) (Filter, error) {
	if status > math.MaxUint16 {
		return Filter{}, fmt.Errorf("failure_injector.code: %d is over 65535", status)
	}
	f := Failure{Status: uint16(status), GRPC: grpc, Message: message, Numerator: 1, Denominator: 1}
	if ratio != nil {
		f.Numerator, f.Denominator = ratio.GetNumerator(), ratio.GetDenominator()
	}
	if f.Denominator == 0 || f.Numerator > f.Denominator {
		return Filter{}, fmt.Errorf("failure_injector.ratio: %d/%d is no share", f.Numerator, f.Denominator)
	}
	return Filter{Kind: InjectFailure, Failure: f}, nil
}

// A headerModifier is one of the API's two types for it.
type headerModifier interface {
	GetAdd() *typespb.Headers
	GetSet() *typespb.Headers
	GetRemove() []string
}

func (d *decoder) modifier(kind FilterKind, p headerModifier) (Filter, error) {
	var h HeaderChange
	var errs [3]error
	h.Add, errs[0] = all(d, "add", p.GetAdd().GetHeaders(), field)
	h.Set, errs[1] = all(d, "set", p.GetSet().GetHeaders(), field)
	h.Remove, errs[2] = all(d, "remove", p.GetRemove(), fieldName)
	return Filter{Kind: kind, Headers: h}, in(kind.String(), cmp.Or(errs[:]...))
}

// field decodes a header's field. What would break out of it is no value (RFC
// 9110, section 5.5).
func field(p *typespb.Headers_Header) (Field, error) {
	name, err := fieldName(p.GetName())
	if err != nil {
		return Field{}, err
	}
	if strings.ContainsAny(string(p.GetValue()), "\x00\r\n") {
		return Field{}, fmt.Errorf("value %s has a line break or NUL", quote(string(p.GetValue())))
	}
	return Field{name, string(p.GetValue())}, nil
}

func fieldName(name string) (string, error) {
	if !token(name) {
		return "", fmt.Errorf("name %s is not a token", quote(name))
	}
	return strings.ToLower(name), nil
}

// defaultRedirect is the reference's status for a redirect that names none.
const defaultRedirect = 301

func redirect(p *routepb.RequestRedirect) (Redirection, error) {
	r := Redirection{Status: defaultRedirect, Host: p.GetHost()}
	var err error
	if r.Scheme, err = scheme(p.GetScheme()); err != nil {
		return r, err
	}
	if r.Path, err = newPath(p.GetPath()); err != nil {
		return r, err
	}
	switch s := p.GetStatus(); {
	case p.GetPort() > math.MaxUint16:
		return r, fmt.Errorf("port: %d is over 65535", p.GetPort())
	case strings.ContainsAny(r.Host, "/?#@ \x00\r\n"):
		return r, fmt.Errorf("host: %s is no host", quote(r.Host))
	case s != 0 && (s < 100 || s > 999):
		return r, fmt.Errorf("status: %d is no HTTP status", s)
	case s != 0:
		r.Status = uint16(s)
	}
	r.Port = uint16(p.GetPort())
	return r, nil
}

func scheme(p *typespb.Scheme) (string, error) {
	switch k := p.GetType().(type) {
	case nil:
		return "", nil
	case *typespb.Scheme_Registered_:
		name, ok := typespb.Scheme_Registered_name[int32(k.Registered)]
		if !ok {
			return "", fmt.Errorf("scheme: %d is not known", k.Registered)
		}
		return strings.ToLower(name), nil
	case *typespb.Scheme_Unregistered:
		if !token(k.Unregistered) {
			return "", fmt.Errorf("scheme: %s is no scheme", quote(k.Unregistered))
		}
		return k.Unregistered, nil
	default:
		return "", in("scheme", errUnknownKind)
	}
}

// newPath decodes what a redirect puts in a path's place.
func newPath(p *routepb.PathModifier) (PathMatch, error) {
	if p == nil {
		return PathMatch{}, nil
	}
	var m PathMatch
	switch k := p.GetReplace().(type) {
	case *routepb.PathModifier_Full:
		m = PathMatch{Kind: Exact, Value: k.Full}
	case *routepb.PathModifier_Prefix:
		m = PathMatch{Kind: Prefix, Value: k.Prefix}
	default:
		return m, in("path", errUnknownKind)
	}
	if !strings.HasPrefix(m.Value, "/") {
		return m, fmt.Errorf("path: %s does not begin with /", quote(m.Value))
	}
	if strings.ContainsAny(m.Value, " \x00\r\n") {
		return m, errors.New("path: has a space, line break or NUL")
	}
	return m, nil
}
