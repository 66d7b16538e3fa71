package docs_test

import (
	"io/fs"
	"path"
	"regexp"
	"strings"
	"testing"
)

var (
	quoted = regexp.MustCompile("`([^`\n]+)`")
	link   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	// A command's argument in a block of code is written with its dot.
	dotted = regexp.MustCompile(`(?:^|\s)(\./[A-Za-z0-9_./-]+)`)
	// What may be a path: words joined by slashes, then perhaps a line's number.
	pathlike = regexp.MustCompile(`^(\./)?([A-Za-z0-9_.*-]+(?:/[A-Za-z0-9_.*-]+)*)/?(?::\d+)?$`)
	// Something of a package: `stack.Tee`, `proxy/stack.Body`.
	symbol = regexp.MustCompile(`^([a-z0-9/]+)\.[A-Z]\w*$`)
)

// TestPaths wants every path that a document names to be there. The changelog may
// name what once was.
func TestPaths(t *testing.T) {
	r := newRule(t, "paths")
	err := walk(func(name string) error {
		if !strings.HasSuffix(name, ".md") || name == "CHANGELOG.md" {
			return nil
		}
		text, err := fs.ReadFile(repo, name)
		if err != nil {
			return err
		}
		for _, p := range pathsIn(name, string(text)) {
			if !exists(p) {
				r.broken(name, p, "%s names %s, which is not there", name, p)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// pathsIn returns the paths that a document names, from the top of the tree:
// those in `quotes`, those of [links](which are relative to it), and in blocks of
// code those that begin with "./".
func pathsIn(doc, text string) []string {
	var found []string
	for i, part := range strings.Split(text, "```") {
		if i%2 == 1 { // a block of code
			for _, m := range dotted.FindAllStringSubmatch(part, -1) {
				if p, ok := pathOf(m[1]); ok {
					found = append(found, p)
				}
			}
			continue
		}
		for _, m := range quoted.FindAllStringSubmatch(part, -1) {
			for _, word := range strings.Fields(m[1]) {
				if p, ok := pathOf(word); ok {
					found = append(found, p)
				}
			}
		}
		for _, m := range link.FindAllStringSubmatch(part, -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target != "" && !strings.Contains(target, ":") {
				found = append(found, path.Join(path.Dir(doc), target))
			}
		}
	}
	return found
}

// pathOf tells a path from other words: it begins with a name that stands at the
// top of the tree or with a dot, or ends as the files of this tree do.
func pathOf(word string) (string, bool) {
	m := pathlike.FindStringSubmatch(word)
	if m == nil || strings.Contains(word, "...") { // a pattern of packages is no path
		return "", false
	}
	if s := symbol.FindStringSubmatch(m[2]); s != nil {
		m[2] = s[1]
	}
	top, _, below := strings.Cut(m[2], "/")
	switch ext := path.Ext(m[2]); {
	case m[1] != "" || below && exists(top):
		return path.Clean(m[2]), true
	case ext == ".md" || ext == ".go":
		return m[2], true
	default:
		return "", false
	}
}

// exists reports whether a path of the tree is there. A file may also be named
// without its folder, if there is one of that name.
func exists(p string) bool {
	if found, err := fs.Glob(repo, p); err == nil && len(found) > 0 {
		return true
	}
	if strings.Contains(p, "/") {
		return false
	}
	there := false
	err := walk(func(name string) error {
		there = there || path.Base(name) == p
		return nil
	})
	return there && err == nil
}

func TestPathsIn(t *testing.T) {
	const doc = "See `docs/glossary.md`, `docs/nowhere.md:12`, `go test ./docs ./...`, `application/json`, `proxy/stack.Body`,\n" +
		"`stack.Tee`, `LINKERD2_PROXY_LOG`, `missing.go`, [this](glossary.md#words) and [that](https://example.com/x).\n" +
		"```sh\ngo run ./cmd/nothing demo\ncat docs/unquoted.md\n```\n"
	want := "docs/glossary.md docs/nowhere.md docs proxy/stack missing.go docs/glossary.md cmd/nothing"
	if got := strings.Join(pathsIn("docs/x.md", doc), " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for p, want := range map[string]bool{"docs/glossary.md": true, "docs/decisions/*.md": true, "glossary.md": true, "docs/nowhere.md": false, "missing.go": false} {
		if exists(p) != want {
			t.Errorf("exists(%q): %v", p, !want)
		}
	}
}
