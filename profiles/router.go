package profiles

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// ErrNoRoute means that no rule takes a request, or a connection.
var ErrNoRoute = errors.New("no route")

// A Router chooses, for each request, among the S that were built for the rules
// of the newest routes. One goroutine may update it while any number route by it.
type Router[S any] struct {
	build func(*Route, *Rule) S
	table atomic.Pointer[table[S]]
}

// NewRouter returns a Router without routes, which calls build for each rule that
// it is given. The Route and the Rule must not be changed.
func NewRouter[S any](build func(*Route, *Rule) S) *Router[S] { return &Router[S]{build: build} }

// Update makes routes the ones to route by. Requests that have found their route
// already are not concerned. The Router keeps routes, which must not be changed
// any more.
func (r *Router[S]) Update(routes []Route) { r.table.Store(newTable(routes, r.build)) }

// Matched says by what a request found its route. What it points to belongs to
// the Router and must not be changed.
type Matched struct {
	Route *Route
	Rule  *Rule
	// Prefix is how many bytes of the path a prefix match covered, without its
	// final slash but for the root's; -1 if the path was not matched so.
	Prefix int
}

// Route returns what was built for the rule that takes req. Its precedence is
// Gateway API's: the host first (exact, then the longer suffix, then none), then
// the path (exact, then the longer prefix, then a regular expression, then none,
// which the prefix "/" is too), then for gRPC the longer service and method,
// then the method, the number of headers and that of query parameters; and last
// the order in which the routes came, which alone decides among a ServiceProfile's.
//
// If no rule takes it the error wraps ErrNoRoute and names the request.
func (r *Router[S]) Route(req *stack.Request) (S, Matched, error) {
	q := question{req: req, host: host(req.Authority)}
	q.path, q.query, _ = strings.Cut(req.Path, "?")
	if e := r.table.Load().find(&q); e != nil {
		return e.built, e.matched, nil
	}
	var none S
	return none, Matched{}, fmt.Errorf("%w for %s to host %s, path %s",
		ErrNoRoute, quote(req.Method), quote(req.Authority), quote(q.path))
}

// RouteName returns what was built for the route that takes a connection to
// name: a TLS connection's SNI, or "". What rules say of requests is not looked
// at.
func (r *Router[S]) RouteName(name string) (S, Matched, error) {
	if e := r.table.Load().named(name); e != nil {
		return e.built, e.matched, nil
	}
	var none S
	return none, Matched{}, fmt.Errorf("%w for a connection to %s", ErrNoRoute, quote(name))
}

// String lists the rules in the order in which they are tried, a line each.
func (r *Router[S]) String() string { return r.table.Load().String() }

// A question is a request as matchers look at it.
type question struct {
	req         *stack.Request
	host        string // without port
	path, query string // as sent
}

// host returns the host of an authority, without user and port (RFC 3986, section
// 3.2).
func host(authority string) string {
	if at := strings.IndexByte(authority, '@'); at >= 0 {
		authority = authority[at+1:]
	}
	end := len(authority)
	for end > 0 && '0' <= authority[end-1] && authority[end-1] <= '9' {
		end--
	}
	if end > 0 && authority[end-1] == ':' {
		return authority[:end-1]
	}
	return authority
}
