package profiles

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A matcher is a Match made ready.
type matcher struct {
	of        *Match
	path      text
	headers   []fieldMatcher
	query     []fieldMatcher
	condition *conditionMatcher
}

// A text compares one. Where a regular expression is wanted and re is nil, the
// pattern was wrong, and nothing matches; decoding lets none through.
type text struct {
	kind  MatchKind
	value string // of a prefix: without final slashes
	re    *regexp.Regexp
}

type fieldMatcher struct {
	name string
	text
}

// A compiler compiles each pattern once for a table.
type compiler map[string]*regexp.Regexp

func (c compiler) compile(m *Match) *matcher {
	out := &matcher{of: m, path: c.text(m.Path.Kind, m.Path.Value)}
	for _, f := range m.Headers {
		out.headers = append(out.headers, fieldMatcher{f.Name, c.text(f.Kind, f.Value)})
	}
	for _, f := range m.Query {
		out.query = append(out.query, fieldMatcher{f.Name, c.text(f.Kind, f.Value)})
	}
	if m.Condition != nil {
		cond := c.condition(m.Condition)
		out.condition = &cond
	}
	return out
}

func (c compiler) text(kind MatchKind, value string) text {
	t := text{kind: kind, value: value}
	switch kind {
	case Prefix:
		t.value = segments(value)
	case Regex:
		t.re = c.regex(value)
	case Anything, Exact:
	}
	return t
}

func (c compiler) regex(pattern string) *regexp.Regexp {
	re, ok := c[pattern]
	if !ok {
		re, _ = regexp.Compile(anchored(pattern)) // nil if it is wrong
		c[pattern] = re
	}
	return re
}

// segments returns a path prefix without the slashes that end it.
func segments(prefix string) string { return strings.TrimRight(prefix, "/") }

// covers is how much of a path the prefix covers, or -1 if it is none.
func (t *text) covers() int {
	if t.kind != Prefix {
		return -1
	}
	return max(1, len(t.value)) // the root's slash is all that it has
}

func (t *text) takes(s string) bool {
	switch t.kind {
	case Exact:
		return s == t.value
	case Prefix:
		return strings.HasPrefix(s, t.value) && (t.value == "" || len(s) == len(t.value) || s[len(t.value)] == '/')
	case Regex:
		return t.re != nil && t.re.MatchString(s)
	case Anything:
	}
	return true
}

func (m *matcher) takes(q *question) bool {
	if m.of.Method != "" && m.of.Method != q.req.Method {
		return false
	}
	if !m.path.takes(q.path) || !m.of.RPC.takes(q) {
		return false
	}
	for i := range m.headers {
		if !m.headers[i].header(&q.req.Header) {
			return false
		}
	}
	for i := range m.query {
		if !m.query[i].param(q.query) {
			return false
		}
	}
	return m.condition == nil || m.condition.takes(q)
}

// takes reports whether the request is a call of the gRPC method: POST to
// /service/method.
func (r *RPCMatch) takes(q *question) bool {
	if !r.On {
		return true
	}
	call, ok := strings.CutPrefix(q.path, "/")
	if !ok || q.req.Method != "POST" {
		return false
	}
	service, method, _ := strings.Cut(call, "/")
	if service == "" || method == "" || strings.Contains(method, "/") {
		return false
	}
	return (r.Service == "" || r.Service == service) && (r.Method == "" || r.Method == method)
}

// header reports whether one of the field's values matches. A regular expression
// takes text only.
func (f *fieldMatcher) header(h *stack.Header) bool {
	for i := range h.Len() {
		name, value := h.At(i)
		if name == f.name && (f.kind != Regex || utf8.ValidString(value)) && f.takes(value) {
			return true
		}
	}
	return false
}

// A conditionMatcher is a Condition made ready.
type conditionMatcher struct {
	op    Op
	of    []conditionMatcher
	value string
	re    *regexp.Regexp
}

func (c compiler) condition(cond *Condition) conditionMatcher {
	m := conditionMatcher{op: cond.Op, value: cond.Value}
	if cond.Op == PathRegex {
		m.re = c.regex(cond.Value)
	}
	for i := range cond.Of {
		m.of = append(m.of, c.condition(&cond.Of[i]))
	}
	return m
}

func (m *conditionMatcher) takes(q *question) bool {
	switch m.op {
	case All:
		return m.every(q, true)
	case Any:
		return !m.every(q, false)
	case Not:
		return m.every(q, false)
	case PathRegex:
		return m.re != nil && m.re.MatchString(q.path)
	case MethodIs:
		return q.req.Method == m.value
	case StatusIn: // of responses
	}
	return false
}

// every reports whether each member, on its own, gives that answer.
func (m *conditionMatcher) every(q *question, answer bool) bool {
	for i := range m.of {
		if m.of[i].takes(q) != answer {
			return false
		}
	}
	return true
}
