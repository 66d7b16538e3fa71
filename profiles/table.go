package profiles

import (
	"fmt"
	"slices"
	"strings"
)

// A table is the rules of some routes, sorted so that the first that takes a
// request is the best. It never changes.
type table[S any] struct {
	entries []entry[S]
}

// An entry is one match of one rule for one host of its route.
type entry[S any] struct {
	host    HostMatch // the zero one takes any
	match   *matcher
	matched Matched
	built   S
	rank    rank
}

// A rank orders matches, the greater first; its numbers count from left to right.
type rank [8]int

func newTable[S any](routes []Route, build func(*Route, *Rule) S) *table[S] {
	t := &table[S]{}
	c := compiler{}
	for i := range routes {
		for j := range routes[i].Rules {
			route, rule := &routes[i], &routes[i].Rules[j]
			t.add(c, route, rule, build(route, rule))
		}
	}
	slices.SortStableFunc(t.entries, func(a, b entry[S]) int { return slices.Compare(b.rank[:], a.rank[:]) })
	return t
}

// add puts an entry for each host and match, since each has a rank of its own.
func (t *table[S]) add(c compiler, route *Route, rule *Rule, built S) {
	hosts, matches := route.Hosts, rule.Matches
	if len(hosts) == 0 {
		hosts = []HostMatch{{}}
	}
	if len(matches) == 0 {
		matches = []Match{{}}
	}
	for i := range matches {
		m := c.compile(&matches[i])
		for _, h := range hosts {
			t.entries = append(t.entries, entry[S]{
				host:    h,
				match:   m,
				matched: Matched{Route: route, Rule: rule, Prefix: m.path.covers()},
				built:   built,
				rank:    rankOf(h, &matches[i]),
			})
		}
	}
}

func rankOf(h HostMatch, m *Match) rank {
	var r rank
	switch {
	case h == HostMatch{}:
	case h.Suffix:
		r[0] = len(h.Name)
	default:
		r[0] = 1 << 30 // above any suffix
	}
	r[1], r[2] = pathRank(m.Path)
	r[3], r[4] = len(m.RPC.Service), len(m.RPC.Method)
	if m.Method != "" {
		r[5] = 1
	}
	r[6], r[7] = len(m.Headers), len(m.Query)
	return r
}

// pathRank puts the prefix "/" below all: it is what a match without a path is
// given by default, and a regular expression beside it is meant to count.
func pathRank(p PathMatch) (kind, length int) {
	switch p.Kind {
	case Exact:
		return 3, len(p.Value)
	case Prefix:
		if n := len(segments(p.Value)); n > 0 {
			return 2, n
		}
	case Regex:
		return 1, 0
	case Anything:
	}
	return 0, 0
}

func (t *table[S]) find(q *question) *entry[S] {
	if t == nil {
		return nil
	}
	for i := range t.entries {
		e := &t.entries[i]
		if e.host.takes(q.host) && e.match.takes(q) {
			return e
		}
	}
	return nil
}

func (t *table[S]) named(name string) *entry[S] {
	if t == nil {
		return nil
	}
	for i := range t.entries {
		if t.entries[i].host.takes(name) {
			return &t.entries[i]
		}
	}
	return nil
}

// String lists the entries, a line each.
func (t *table[S]) String() string {
	if t == nil {
		return ""
	}
	var b strings.Builder
	for i := range t.entries {
		e := &t.entries[i]
		fmt.Fprintf(&b, "%s: host %s, %s\n", e.matched.Route.Meta, orAny(e.host.Name), e.match.of)
	}
	return b.String()
}

// takes reports whether h takes host, whatever its case. A final dot of host
// does not count, unless the pattern has one.
func (h HostMatch) takes(host string) bool {
	if h == (HostMatch{}) {
		return true
	}
	if !strings.HasSuffix(h.Name, ".") {
		host = strings.TrimSuffix(host, ".")
	}
	if !h.Suffix {
		return equalFold(host, h.Name)
	}
	dot := len(host) - len(h.Name) - 1
	return dot > 0 && host[dot] == '.' && equalFold(host[dot+1:], h.Name)
}

// equalFold reports whether s is lower, which is in lower case, but for the case
// of ASCII letters. (strings.EqualFold takes the Kelvin sign for a k.)
func equalFold(s, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
