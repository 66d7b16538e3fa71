package telemetry

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// A directive is one part of a filter.
type directive struct {
	target string // a prefix; "" is every target
	span   string // "" is any, or none
	fields []fieldMatch
	level  slog.Level
}

// A fieldMatch is a field that must be there, with that value if any is wanted.
type fieldMatch struct {
	name, value string
	any         bool
}

// parseDirective reads target[span{field=value,field}]=level, of which each part
// but one may be missing. Without a level, all levels are let through.
func parseDirective(text string) (directive, error) {
	if level, ok := parseLevel(text); ok {
		return directive{level: level}, nil
	}
	d := directive{level: LevelTrace}
	where, level, ok := cutLevel(text)
	if ok {
		if d.level, ok = parseLevel(level); !ok {
			return d, fmt.Errorf("directive %q: %q is no level", text, level)
		}
	}
	name, scope, scoped := strings.Cut(where, "[")
	if d.target = ownTarget(strings.TrimSpace(name)); !isTarget(d.target) {
		return d, fmt.Errorf("directive %q: %q is no target", text, name)
	}
	if !scoped && d.target == "" {
		return d, fmt.Errorf("directive %q: it names nothing", text)
	}
	if scoped {
		return d.withScope(text, scope)
	}
	return d, nil
}

// cutLevel splits at the equal sign outside of brackets.
func cutLevel(text string) (where, level string, ok bool) {
	from := strings.LastIndexByte(text, ']') + 1
	at := strings.IndexByte(text[from:], '=')
	if at < 0 {
		return text, "", false
	}
	return text[:from+at], strings.TrimSpace(text[from+at+1:]), true
}

// withScope reads what follows the opening bracket.
func (d directive) withScope(text, scope string) (directive, error) {
	inner, after, closed := strings.Cut(scope, "]")
	if !closed || strings.TrimSpace(after) != "" {
		return d, fmt.Errorf("directive %q: brackets do not match", text)
	}
	name, fields, braced := strings.Cut(inner, "{")
	d.span = strings.TrimSpace(name)
	if !braced {
		if d.span == "" || strings.ContainsAny(d.span, "}=") {
			return d, fmt.Errorf("directive %q: %q is no span", text, d.span)
		}
		return d, nil
	}
	fields, after, closed = strings.Cut(fields, "}")
	if !closed || strings.TrimSpace(after) != "" {
		return d, fmt.Errorf("directive %q: braces do not match", text)
	}
	for part := range strings.SplitSeq(fields, ",") {
		name, value, valued := strings.Cut(part, "=")
		if name = strings.TrimSpace(name); name == "" {
			return d, fmt.Errorf("directive %q: a field has no name", text)
		}
		value = strings.Trim(strings.TrimSpace(value), `"`)
		d.fields = append(d.fields, fieldMatch{name, value, !valued})
	}
	return d, nil
}

// parseLevel knows the levels by Linkerd's names, and by its numbers.
func parseLevel(text string) (slog.Level, bool) {
	switch strings.ToLower(text) {
	case "off", "0":
		return levelOff, true
	case "error", "1":
		return slog.LevelError, true
	case "warn", "2":
		return slog.LevelWarn, true
	case "info", "3":
		return slog.LevelInfo, true
	case "debug", "4":
		return slog.LevelDebug, true
	case "trace", "5":
		return LevelTrace, true
	default:
		return 0, false
	}
}

// isTarget reports whether text has only what a module's path has.
func isTarget(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		return r != '_' && r != ':' && r != '-' && r != '.' && r != '/' &&
			(r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

// ownTarget translates one of Linkerd's targets: linkerd and linkerd2_proxy are
// the whole of this proxy, linkerd_app_inbound::http is outrigger::inbound::http.
func ownTarget(name string) string {
	whole, path, deep := strings.Cut(name, "::")
	if deep {
		path = "::" + path
	}
	switch whole {
	case "linkerd", "linkerd_app", "linkerd_proxy", "linkerd2_proxy":
		return defaultTarget + path
	}
	part, ok := strings.CutPrefix(whole, "linkerd_")
	if !ok {
		return name
	}
	return defaultTarget + "::" + strings.TrimPrefix(part, "app_") + path
}

// scoped reports whether d is about spans or fields.
func (d *directive) scoped() bool { return d.span != "" || len(d.fields) > 0 }

// over reports whether d is more specific than o.
func (d *directive) over(o *directive) bool {
	if d.scoped() != o.scoped() {
		return d.scoped()
	}
	if len(d.target) != len(o.target) {
		return len(d.target) > len(o.target)
	}
	return len(d.fields) > len(o.fields)
}

// matches reports whether d is about a record of that logger. Fields that belong
// to no span, and the record's own, count for a directive that names no span.
func (d *directive) matches(target string, spans []span, fields []slog.Attr) bool {
	if !strings.HasPrefix(target, d.target) {
		return false
	}
	if !d.scoped() {
		return true
	}
	if d.span == "" && d.found(fields) {
		return true
	}
	return slices.ContainsFunc(spans, func(s span) bool {
		return (d.span == "" || d.span == s.name) && d.found(s.fields)
	})
}

// found reports whether all fields of d are among those.
func (d *directive) found(fields []slog.Attr) bool {
	for _, want := range d.fields {
		if !slices.ContainsFunc(fields, want.matches) {
			return false
		}
	}
	return true
}

// matches reports whether a is the field, or one in the group of its name.
func (f fieldMatch) matches(a slog.Attr) bool {
	if f.any {
		rest, ok := strings.CutPrefix(a.Key, f.name)
		return ok && (rest == "" || rest[0] == '.')
	}
	return a.Key == f.name && a.Value.String() == f.value
}
