package profiles

import (
	"fmt"
	"strconv"
	"strings"
)

// A Match is a set of conditions on a request, all of which must hold. The zero
// Match takes every request.
type Match struct {
	Path    PathMatch
	Headers []FieldMatch // names in lower case; one of several values suffices
	Query   []FieldMatch // names as sent; values are decoded before they are compared
	Method  string       // "" means any
	RPC     RPCMatch
	// Condition is a ServiceProfile route's. Nothing else is set beside it.
	Condition *Condition
}

// A MatchKind says how a text is compared.
type MatchKind uint8

// The kinds of comparison. A Regex must cover the whole text.
const (
	Anything MatchKind = iota
	Exact
	Prefix // of a path, by whole segments: /foo takes /foo and /foo/bar, not /foobar
	Regex
)

// String returns the kind in a word.
func (k MatchKind) String() string { return name(k, "any", "exact", "prefix", "regex") }

// A PathMatch is a condition on a path as it is sent, without its query.
type PathMatch struct {
	Kind  MatchKind
	Value string
}

// A FieldMatch is a condition on a header's or a query parameter's value.
type FieldMatch struct {
	Name  string
	Kind  MatchKind // Exact or Regex
	Value string
}

// An RPCMatch is a condition on a gRPC method: POST to /service/method.
type RPCMatch struct {
	On      bool   // only gRPC requests match
	Service string // "" means any
	Method  string // "" means any
}

// A HostMatch is a condition on a request's host, or on a connection's SNI.
type HostMatch struct {
	Suffix bool   // any name below Name, but not Name itself
	Name   string // in lower case; if it ends in a dot, the host must too
}

// String returns the host as an HTTPRoute writes it: "example.com" or "*.example.com".
func (h HostMatch) String() string {
	if h.Suffix {
		return "*." + h.Name
	}
	return h.Name
}

// String returns, say, `path prefix "/api", method GET`.
func (m Match) String() string {
	var parts []string
	if m.Path.Kind != Anything {
		parts = append(parts, fmt.Sprintf("path %s %q", m.Path.Kind, m.Path.Value))
	}
	if m.RPC.On {
		parts = append(parts, "grpc "+orAny(m.RPC.Service)+"/"+orAny(m.RPC.Method))
	}
	if m.Method != "" {
		parts = append(parts, "method "+m.Method)
	}
	for _, f := range m.Headers {
		parts = append(parts, "header "+f.String())
	}
	for _, f := range m.Query {
		parts = append(parts, "query "+f.String())
	}
	if m.Condition != nil {
		parts = append(parts, m.Condition.String())
	}
	if len(parts) == 0 {
		return "any request"
	}
	return strings.Join(parts, ", ")
}

func orAny(s string) string {
	if s == "" {
		return "*"
	}
	return s
}

// String returns, say, `x-canary exact "yes"`.
func (f FieldMatch) String() string { return fmt.Sprintf("%s %s %q", f.Name, f.Kind, f.Value) }

// A Condition is a ServiceProfile's: a tree over a request (RequestMatch) or
// over a response's status (ResponseMatch).
type Condition struct {
	Op       Op
	Of       []Condition // of All, Any and Not, the latter having one
	Value    string      // of PathRegex and MethodIs
	Min, Max uint16      // of StatusIn, both included
}

// An Op is what a Condition does.
type Op uint8

// The operations of a Condition.
const (
	All Op = iota // true of none
	Any           // false of none
	Not
	PathRegex
	MethodIs
	StatusIn
)

// String returns the operation in a word.
func (o Op) String() string { return name(o, "all", "any", "not", "path", "method", "status") }

// String returns, say, `all(path "/a.*", not(method GET))`.
func (c Condition) String() string {
	switch c.Op {
	case PathRegex:
		return "path " + strconv.Quote(c.Value)
	case MethodIs:
		return "method " + c.Value
	case StatusIn:
		return fmt.Sprintf("status %d-%d", c.Min, c.Max)
	case All, Any, Not:
	}
	parts := make([]string, 0, len(c.Of))
	for _, sub := range c.Of {
		parts = append(parts, sub.String())
	}
	return c.Op.String() + "(" + strings.Join(parts, ", ") + ")"
}

// A Class says whether the responses that its condition takes are failures.
type Class struct {
	Condition Condition
	Failure   bool
}
