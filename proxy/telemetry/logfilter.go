package telemetry

import (
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
)

// A Filter says which log records are written. It is safe for concurrent use,
// and a change is seen by the next record.
type Filter struct{ rules atomic.Pointer[rules] }

// rules are what one text says. They never change.
type rules struct {
	text       string
	directives []directive // the most specific first
	least      slog.Level  // no target is let through below this by a directive about spans
}

// NewFilter returns the filter that directives say, separated by commas as in
// LINKERD2_PROXY_LOG: level, target=level, [span{field=value}]=level or
// target[span{field}]=level, with the levels off, error, warn, info, debug and
// trace. What cannot be read is in the error, and is skipped: there is always a
// filter. A record that no directive matches is written from warn on.
//
// Of the directives that match, one about spans or fields wins over one that is
// only about a target, and then the one with the longest target. (Linkerd has it
// the other way round, where a target's own level would let through the headers
// that [{headers}]=off is there to hide.)
func NewFilter(directives string) (*Filter, error) {
	r, err := parseRules(directives)
	f := new(Filter)
	f.rules.Store(r)
	return f, err
}

// Set replaces all directives, or none if one of them cannot be read.
func (f *Filter) Set(directives string) error {
	r, err := parseRules(directives)
	if err != nil {
		return err
	}
	f.rules.Store(r)
	return nil
}

// String returns the directives in force, as they were given.
func (f *Filter) String() string { return f.rules.Load().text }

// parseRules returns what can be read of text, and an error that has the rest.
func parseRules(text string) (*rules, error) {
	r := &rules{least: levelOff}
	var errs []error
	var read []string
	for _, part := range splitDirectives(text) {
		d, err := parseDirective(part)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		read = append(read, part)
		r.insert(d)
		if d.scoped() {
			r.least = min(r.least, d.level)
		}
	}
	r.text = strings.Join(read, ",")
	return r, errors.Join(errs...)
}

// insert puts d before what is less specific, and before its equals: the last
// one said wins.
func (r *rules) insert(d directive) {
	at := 0
	for at < len(r.directives) && r.directives[at].over(&d) {
		at++
	}
	r.directives = append(r.directives, directive{})
	copy(r.directives[at+1:], r.directives[at:])
	r.directives[at] = d
}

// mayEnable reports whether a record of that level could be let through, by what
// is known before the record is made. It must be cheap, as it is asked for every
// record that is not written.
func (r *rules) mayEnable(level slog.Level, target string) bool {
	return level >= r.least || level >= r.levelOf(target, nil, nil)
}

// levelOf returns the lowest level that is let through for a logger and a record.
func (r *rules) levelOf(target string, spans []span, fields []slog.Attr) slog.Level {
	for i := range r.directives {
		if d := &r.directives[i]; d.matches(target, spans, fields) {
			return d.level
		}
	}
	return slog.LevelWarn
}

// splitDirectives splits at commas that are outside of brackets. Blank parts are
// left out.
func splitDirectives(text string) []string {
	var parts []string
	depth, start := 0, 0
	add := func(end int) {
		if part := strings.TrimSpace(text[start:end]); part != "" {
			parts = append(parts, part)
		}
		start = end + 1
	}
	for i := range len(text) {
		switch text[i] {
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(0, depth-1)
		case ',':
			if depth == 0 {
				add(i)
			}
		}
	}
	add(len(text))
	return parts
}
