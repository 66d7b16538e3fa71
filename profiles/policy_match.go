package profiles

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	grpcpb "github.com/linkerd/linkerd2-proxy-api/go/grpc_route"
	routepb "github.com/linkerd/linkerd2-proxy-api/go/http_route"
	typespb "github.com/linkerd/linkerd2-proxy-api/go/http_types"
)

var errUnknownKind = errors.New("kind is not set or not known")

// anyPath stands for a path that could not be decoded: its rule refuses, and
// must do so for every request that it may have been meant for.
const anyPath = `(?s).*`

// httpMatch decodes a match. What of it is invalid is left out of what it
// returns beside the error.
func (d *decoder) httpMatch(p *routepb.HttpRouteMatch) (Match, error) {
	var m Match
	var errs [4]error
	m.Path, errs[0] = d.path(p.GetPath())
	m.Headers, errs[1] = d.headers(p.GetHeaders())
	m.Query, errs[2] = d.query(p.GetQueryParams())
	m.Method, errs[3] = method(p.GetMethod())
	return m, cmp.Or(errs[:]...)
}

func (d *decoder) path(p *routepb.PathMatch) (PathMatch, error) {
	if p == nil {
		return PathMatch{}, nil
	}
	switch k := p.GetKind().(type) {
	case *routepb.PathMatch_Exact:
		return PathMatch{Kind: Exact, Value: k.Exact}, nil
	case *routepb.PathMatch_Prefix:
		return PathMatch{Kind: Prefix, Value: k.Prefix}, nil
	case *routepb.PathMatch_Regex:
		if err := d.regex(k.Regex); err != nil {
			return PathMatch{Kind: Regex, Value: anyPath}, in("path.regex", err)
		}
		return PathMatch{Kind: Regex, Value: k.Regex}, nil
	default:
		return PathMatch{Kind: Regex, Value: anyPath}, in("path", errUnknownKind)
	}
}

func (d *decoder) headers(ps []*routepb.HeaderMatch) ([]FieldMatch, error) {
	fields, err := all(d, "headers", ps, d.header)
	return valid(fields), err
}

func (d *decoder) header(p *routepb.HeaderMatch) (FieldMatch, error) {
	if !token(p.GetName()) {
		return FieldMatch{}, fmt.Errorf("name %s is not a token", quote(p.GetName()))
	}
	f := FieldMatch{Name: strings.ToLower(p.GetName())}
	switch k := p.GetValue().(type) {
	case *routepb.HeaderMatch_Exact:
		f.Kind, f.Value = Exact, string(k.Exact)
	case *routepb.HeaderMatch_Regex:
		f.Kind, f.Value = Regex, k.Regex
		if err := d.regex(k.Regex); err != nil {
			return FieldMatch{}, in("regex", err)
		}
	default:
		return FieldMatch{}, errUnknownKind
	}
	return f, nil
}

func (d *decoder) query(ps []*routepb.QueryParamMatch) ([]FieldMatch, error) {
	fields, err := all(d, "query_params", ps, d.queryParam)
	return valid(fields), err
}

func (d *decoder) queryParam(p *routepb.QueryParamMatch) (FieldMatch, error) {
	if p.GetName() == "" {
		return FieldMatch{}, errors.New("name is empty")
	}
	f := FieldMatch{Name: p.GetName()}
	switch k := p.GetValue().(type) {
	case *routepb.QueryParamMatch_Exact:
		f.Kind, f.Value = Exact, k.Exact
	case *routepb.QueryParamMatch_Regex:
		f.Kind, f.Value = Regex, k.Regex
		if err := d.regex(k.Regex); err != nil {
			return FieldMatch{}, in("regex", err)
		}
	default:
		return FieldMatch{}, errUnknownKind
	}
	return f, nil
}

// valid returns fields without those that could not be decoded, which are zero.
func valid(fields []FieldMatch) []FieldMatch {
	return slices.DeleteFunc(fields, func(f FieldMatch) bool { return f == FieldMatch{} })
}

// method decodes a method that may be absent, which is "".
func method(p *typespb.HttpMethod) (string, error) {
	if p == nil {
		return "", nil
	}
	switch k := p.GetType().(type) {
	case *typespb.HttpMethod_Registered_:
		name, ok := typespb.HttpMethod_Registered_name[int32(k.Registered)]
		if !ok {
			return "", fmt.Errorf("method: %d is not known", k.Registered)
		}
		return name, nil
	case *typespb.HttpMethod_Unregistered:
		if !token(k.Unregistered) {
			return "", fmt.Errorf("method: %s is not a token", quote(k.Unregistered))
		}
		return k.Unregistered, nil
	default:
		return "", in("method", errUnknownKind)
	}
}

func (d *decoder) grpcMatch(p *grpcpb.GrpcRouteMatch) (Match, error) {
	m := Match{RPC: RPCMatch{On: true, Service: p.GetRpc().GetService(), Method: p.GetRpc().GetMethod()}}
	var err error
	m.Headers, err = d.headers(p.GetHeaders())
	return m, err
}
