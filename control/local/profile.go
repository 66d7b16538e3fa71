package local

import (
	"errors"
	"math"
	"regexp"

	"go.yaml.in/yaml/v3"
)

func (r *reader) profile(n *yaml.Node) profile {
	if isNull(n) {
		return profile{}
	}
	p := profile{given: true}
	r.fields(n, "a profile", map[string]func(*yaml.Node){
		"routes": func(n *yaml.Node) {
			r.each(n, "routes", func(n *yaml.Node) { p.routes = append(p.routes, r.route(n)) })
		},
		"overrides":    func(n *yaml.Node) { p.overrides = r.overrides(n) },
		"dstOverrides": func(n *yaml.Node) { r.fail(n, "dstOverrides is called overrides here") },
		"retryBudget":  r.later("retryBudget"),
	})
	return p
}

func (r *reader) route(n *yaml.Node) route {
	var rt route
	r.fields(n, "a route", map[string]func(*yaml.Node){
		"name":            func(n *yaml.Node) { rt.name, _ = r.text(n, "name") },
		"condition":       func(n *yaml.Node) { rt.condition = r.condition(n, 0) },
		"responseClasses": r.later("responseClasses"),
		"isRetryable":     r.later("isRetryable"),
		"timeout":         r.later("timeout"),
	}, "name", "condition")
	return rt
}

// maxDepth bounds how deep conditions are nested, for every reader's sake.
const maxDepth = 16

func (r *reader) condition(n *yaml.Node, depth int) condition {
	var c condition
	if depth == maxDepth {
		r.fail(n, "conditions are nested over %d deep", maxDepth)
		return c
	}
	nested := func(into *[]condition) func(*yaml.Node) {
		return func(n *yaml.Node) {
			r.each(n, "all or any", func(n *yaml.Node) { *into = append(*into, r.condition(n, depth+1)) })
			if len(*into) == 0 {
				r.fail(n, "all or any is empty")
			}
		}
	}
	r.fields(n, "a condition", map[string]func(*yaml.Node){
		"method":    func(n *yaml.Node) { c.method = r.method(n) },
		"pathRegex": func(n *yaml.Node) { c.pathRegex = r.regex(n) },
		"all":       nested(&c.all),
		"any":       nested(&c.any),
		"not": func(n *yaml.Node) {
			not := r.condition(n, depth+1)
			c.not = &not
		},
	})
	if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		r.fail(n, "a condition needs one of all, any, method, not, pathRegex")
	}
	return c
}

// method reads a token, RFC 9110, section 5.6.2.
func (r *reader) method(n *yaml.Node) string {
	text, ok := r.text(n, "method")
	if ok && !regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$").MatchString(text) {
		r.fail(n, "method %q is not a token", text)
	}
	return text
}

func (r *reader) regex(n *yaml.Node) string {
	text, ok := r.text(n, "pathRegex")
	switch _, err := regexp.Compile(text); {
	case !ok:
	case text == "":
		r.fail(n, "pathRegex is empty")
	case err != nil:
		r.fail(n, "pathRegex %q: %v", text, err)
	}
	return text
}

func (r *reader) overrides(n *yaml.Node) []override {
	var all []override
	sum := uint64(0)
	r.each(n, "overrides", func(n *yaml.Node) {
		o := r.override(n)
		all = append(all, o)
		sum += uint64(o.weight)
	})
	if sum > math.MaxUint32 {
		r.fail(n, "the weights of overrides add up to over %d", uint32(math.MaxUint32))
	}
	return all
}

func (r *reader) override(n *yaml.Node) override {
	o := override{line: n.Line}
	r.fields(n, "an override", map[string]func(*yaml.Node){
		"authority": func(n *yaml.Node) { o.host = r.authority(n) },
		"weight":    func(n *yaml.Node) { o.weight = r.weight(n) },
	}, "authority", "weight")
	return o
}

// authority reads "name:port", or "name" for the service's own port.
func (r *reader) authority(n *yaml.Node) host {
	text, ok := r.text(n, "authority")
	if !ok {
		return host{}
	}
	h, err := parseHost(text, 0)
	switch {
	case errors.Is(err, errIP):
		r.fail(n, "authority %q is an IP address, not name:port", text)
	case err != nil:
		r.fail(n, "authority %v", err)
	}
	return h
}

// own completes the overrides of s, whose authorities may leave the port to it,
// and reports those that are there twice.
func (r *reader) own(s *service) {
	lines := make(map[host]int)
	for i := range s.profile.overrides {
		o := &s.profile.overrides[i]
		if o.port == 0 {
			o.port = s.port
		}
		if first, taken := lines[o.host]; taken && o.name != "" {
			r.failAt(o.line, "override %s is in line %d already", o.host, first)
			continue
		}
		lines[o.host] = o.line
	}
}
