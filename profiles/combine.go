package profiles

import (
	"errors"
	"fmt"
	"slices"

	"github.com/outrigger-mesh/outrigger/discover"
)

// ErrUnknownName means that the control plane does not know a target's name, and
// so there is nowhere to go. An address that it does not know is gone to.
var ErrUnknownName = errors.New("unknown name")

// Fallback returns the profile of a target of which the control plane says
// nothing: connections and requests go to the original destination as they are.
// A target that has only a name has none; it is ErrUnknownName.
func Fallback(t Target) (*Profile, error) { return forwardProfile(t, nil) }

// combine joins both answers. A nil profile or policy means that there is none;
// whoever calls knows that it was asked. Which of both routes is decided anew
// each time. (The reference decides once and keeps to it.)
func combine(t Target, sp *serviceProfile, policy *Profile) (*Profile, error) {
	p, err := base(t, sp, policy)
	if err != nil || sp == nil {
		return p, err
	}
	p.Name = sp.name
	p.Problems = slices.Concat(p.Problems, sp.problems)
	if sp.routesHTTP() {
		p.Source = FromProfile
		if sp.parent != Default("unknown") || policy == nil {
			p.Parent = sp.parent
		}
		p.HTTP1, p.HTTP2 = sp.routes, sp.routes
		p.Accrual, p.Budget = Accrual{}, sp.budget
	}
	if sp.name != "" && len(sp.split) > 0 {
		p.Opaque = opaqueSplit(sp)
	}
	if sp.opaque {
		p.Opaque = opaqueRoutes(t, sp, p)
		p.Protocol = Opaque
	}
	return p, nil
}

// base returns the profile that the ServiceProfile's own routes are laid upon:
// the policy's, or if there is none, a default. The caller may change it.
func base(t Target, sp *serviceProfile, policy *Profile) (*Profile, error) {
	if policy == nil {
		return forwardProfile(t, sp)
	}
	p := *policy
	return &p, nil
}

// forwardProfile returns the profile of a target without a policy: to its one
// endpoint; or to the original destination; or if there is only a name, to what
// the control plane resolves it to.
func forwardProfile(t Target, sp *serviceProfile) (*Profile, error) {
	p := &Profile{Source: FromFallback, Parent: Default("fallback"), Protocol: Detect}
	if sp != nil {
		p.Parent = Default("endpoint")
	}
	var b Backend
	switch {
	case sp != nil && sp.endpoint != nil:
		p.Source = FromEndpoint
		b = *sp.endpoint
	case t.Name == "":
		b = Backend{Endpoint: discover.Endpoint{Addr: t.Addr}}
	case sp != nil && sp.name != "":
		p.Source, p.Parent = FromProfile, Default("profile")
		b = named(sp.name, t.Port)
	default:
		return nil, fmt.Errorf("%s: %w", quote(t.String()), ErrUnknownName)
	}
	b.Meta = p.Parent
	p.HTTP1 = forwardRoutes(b)
	p.HTTP2, p.Opaque = p.HTTP1, p.HTTP1
	return p, nil
}

// forwardRoutes returns routes that take everything to b.
func forwardRoutes(b Backend) []Route {
	dist := Distribution{Kind: FirstReady, Shares: []Share{{Backend: b}}}
	return []Route{{Meta: b.Meta, Rules: []Rule{{Distribution: dist}}}}
}

// opaqueSplit shares connections as the ServiceProfile shares requests.
func opaqueSplit(sp *serviceProfile) []Route {
	return []Route{{Meta: Default("serviceprofile"), Rules: []Rule{{Distribution: sp.distribution()}}}}
}

// opaqueRoutes returns the routes of a target whose ServiceProfile says that it
// is opaque. A policy that was made for HTTP or TLS alone has none. (There the
// reference panics.)
func opaqueRoutes(t Target, sp *serviceProfile, p *Profile) []Route {
	switch {
	case len(p.Opaque) > 0, p.Protocol == Detect, p.Protocol == Opaque:
		return p.Opaque
	case sp.name != "":
		return opaqueSplit(sp)
	}
	forward, err := forwardProfile(t, sp)
	if err != nil {
		return refuseAll(err)
	}
	return forward.Opaque
}
