package profiles

import (
	"fmt"
	"strings"
)

// A Filter changes a request or its response, or answers in the server's stead.
// Filters apply in order.
type Filter struct {
	Kind     FilterKind
	Failure  Failure      // of InjectFailure
	Headers  HeaderChange // of ModifyRequest and ModifyResponse
	Redirect Redirection  // of Redirect
	Message  string       // of Reject: why
}

// A FilterKind says what a Filter does.
type FilterKind uint8

// The kinds of Filter, by the names of the outbound API.
const (
	NoFilter       FilterKind = iota
	InjectFailure             // failure_injector
	ModifyRequest             // request_header_modifier
	ModifyResponse            // response_header_modifier
	Redirect                  // redirect
	Forbid                    // forbidden, of connections
	Reject                    // invalid, of connections
)

// String returns the kind in the API's word.
func (k FilterKind) String() string {
	return name(k, "none", "failure_injector", "request_header_modifier", "response_header_modifier",
		"redirect", "forbidden", "invalid")
}

// A Failure is the answer that is given to a share of the requests.
type Failure struct {
	Status                 uint16 // HTTP's, or gRPC's if GRPC is set
	GRPC                   bool
	Message                string
	Numerator, Denominator uint32 // the share; the second is never zero, nor less than the first
}

// A HeaderChange is done in the order of its fields. Names are in lower case.
type HeaderChange struct {
	Add, Set []Field
	Remove   []string
}

// A Field is one of a header's.
type Field struct{ Name, Value string }

// A Redirection makes a Location from the request's own URI, which stands where
// nothing is given.
type Redirection struct {
	Status uint16 // 301 if none was given
	Scheme string
	Host   string
	Port   uint16
	// Path replaces the path and drops the query, if Kind is Exact; it replaces
	// what the rule's prefix matched, if Kind is Prefix.
	Path PathMatch
}

// String returns what the filter does, in a line.
func (f Filter) String() string {
	switch f.Kind {
	case InjectFailure:
		return fmt.Sprintf("%s %d %q %d/%d", f.Kind, f.Failure.Status, f.Failure.Message,
			f.Failure.Numerator, f.Failure.Denominator)
	case ModifyRequest, ModifyResponse:
		return f.Kind.String() + " " + f.Headers.String()
	case Redirect:
		return fmt.Sprintf("%s %+v", f.Kind, f.Redirect)
	case Reject:
		return fmt.Sprintf("%s %q", f.Kind, f.Message)
	case NoFilter, Forbid:
	}
	return f.Kind.String()
}

// String returns, say, `+a "1" =b "2" -c`.
func (h HeaderChange) String() string {
	var parts []string
	for _, f := range h.Add {
		parts = append(parts, fmt.Sprintf("+%s %q", f.Name, f.Value))
	}
	for _, f := range h.Set {
		parts = append(parts, fmt.Sprintf("=%s %q", f.Name, f.Value))
	}
	for _, n := range h.Remove {
		parts = append(parts, "-"+n)
	}
	return strings.Join(parts, " ")
}
