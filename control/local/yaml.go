package local

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// fields reads a mapping: each key's value goes to its function. Unknown and
// repeated keys are mistakes, and so are required ones that are missing.
func (r *reader) fields(n *yaml.Node, what string, known map[string]func(*yaml.Node), required ...string) {
	if n.Kind != yaml.MappingNode {
		r.fail(n, "%s is %s, not a mapping of keys to values", what, kind(n))
		return
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		read, ok := known[key.Value]
		switch {
		case key.Kind != yaml.ScalarNode:
			r.fail(key, "%s has a key that is %s", what, kind(key))
		case !ok:
			r.fail(key, "%s has no key %q; it has %s", what, key.Value, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		case seen[key.Value]:
			r.fail(key, "%s has the key %q twice", what, key.Value)
		default:
			read(value)
		}
		seen[key.Value] = true
	}
	for _, key := range required {
		if !seen[key] {
			r.fail(n, "%s has no %s", what, key)
		}
	}
}

// has reports whether a mapping has a key.
func has(n *yaml.Node, key string) bool {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return true
		}
	}
	return false
}

// each reads a list. One that is written but empty is an empty list.
func (r *reader) each(n *yaml.Node, what string, read func(*yaml.Node)) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		r.fail(n, "%s is %s, not a list", what, kind(n))
		return
	}
	for _, item := range n.Content {
		read(item)
	}
}

// text reads a scalar as it is written.
func (r *reader) text(n *yaml.Node, what string) (string, bool) {
	if n.Kind != yaml.ScalarNode || isNull(n) {
		r.fail(n, "%s is %s, not a text", what, kind(n))
		return "", false
	}
	return n.Value, true
}

// number reads a whole number in decimal, from least to most. After a mistake it
// returns 0.
func (r *reader) number(n *yaml.Node, what string, least, most uint64) uint64 {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!int" {
		if v, err := strconv.ParseUint(n.Value, 10, 64); err == nil && v >= least && v <= most {
			return v
		}
	}
	r.fail(n, "%s is %s, not a number from %d to %d", what, kind(n), least, most)
	return 0
}

func (r *reader) boolean(n *yaml.Node, what string) bool {
	v := false
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || n.Decode(&v) != nil {
		r.fail(n, "%s is %s, not true or false", what, kind(n))
	}
	return v
}

// later returns a reader of a key that is known but not built.
func (r *reader) later(what string) func(*yaml.Node) {
	return func(n *yaml.Node) { r.fail(n, "%s is not supported until retries and timeouts are built", what) }
}

// noAliases refuses aliases, which could make a small file endless.
func (r *reader) noAliases(n *yaml.Node) {
	if n.Kind == yaml.AliasNode {
		r.fail(n, "aliases (*%s) are not supported; write it out", n.Value)
	}
	for _, c := range n.Content {
		r.noAliases(c)
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// kind describes a value in a mistake.
func kind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	case yaml.ScalarNode:
		if isNull(n) {
			return "empty"
		}
		return strconv.Quote(n.Value)
	default:
		return "nothing"
	}
}
