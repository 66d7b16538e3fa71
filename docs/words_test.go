package docs_test

import (
	"go/ast"
	"io/fs"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// TestWords wants one word for each thing: what the glossary says to avoid stands
// in no comment, and in no name that this module gives.
func TestWords(t *testing.T) {
	r := newRule(t, "words")
	text, err := fs.ReadFile(repo, "docs/glossary.md")
	if err != nil {
		t.Fatal(err)
	}
	avoid := avoided(string(text))
	if len(avoid) < 10 {
		t.Fatalf("the glossary avoids only %v", avoid)
	}
	for _, s := range product(t) {
		say := func(n ast.Node, words []string) {
			for _, w := range words {
				if instead, ok := avoid[w]; ok {
					r.broken(s.path, w, "%s: %q; the glossary says %s", s.at(n), w, instead)
				}
			}
		}
		for _, group := range s.file.Comments {
			for _, c := range group.List {
				say(c, commentWords(c.Text))
			}
		}
		for _, id := range given(s.file) {
			say(id, nameWords(id.Name))
		}
	}
}

var (
	term  = regexp.MustCompile(`(?m)^\*\*(.+?)\*\*`)
	avoid = regexp.MustCompile(`(?m)^_Avoid_: ([^;\n]*)`)
)

// avoided returns the words that a glossary avoids, and its own for each. Those
// after a semicolon are right in another sense, and for a reader to judge.
func avoided(glossary string) map[string]string {
	words := map[string]string{}
	for _, entry := range strings.Split(glossary, "\n\n") {
		t, a := term.FindStringSubmatch(entry), avoid.FindStringSubmatch(entry)
		if t == nil || a == nil {
			continue
		}
		for _, w := range strings.Split(a[1], ",") {
			if w = strings.ToLower(strings.TrimSpace(w)); w != "" {
				words[w] = strings.ToLower(t[1])
			}
		}
	}
	return words
}

var (
	literal = regexp.MustCompile("`[^`]*`|\"[^\"]*\"")       // what is quoted is another's word
	wire    = regexp.MustCompile(`[\w*]+(?:[-_./:][\w*]+)+`) // so is a name with joints: cluster.local, x_y, h2-peer
	letters = regexp.MustCompile(`[A-Za-z]+`)
)

func commentWords(text string) []string {
	if strings.HasPrefix(text, "//go:") || strings.HasPrefix(text, "//nolint") {
		return nil
	}
	var words []string
	for _, w := range letters.FindAllString(wire.ReplaceAllString(literal.ReplaceAllString(text, " "), " "), -1) {
		words = append(words, nameWords(w)...)
	}
	return words
}

// nameWords returns the words of a name such as OrigDst or http2Client, without
// the s of a plural.
func nameWords(name string) []string {
	var words []string
	start := 0
	runes := []rune(name)
	for i := 1; i <= len(runes); i++ {
		if i == len(runes) || unicode.IsUpper(runes[i]) && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			words = append(words, strings.TrimSuffix(strings.ToLower(string(runes[start:i])), "s"))
			start = i
		}
	}
	return words
}

// given returns the names that a file gives: not what it calls in other packages,
// nor the fields of their types.
func given(f *ast.File) []*ast.Ident {
	var names []*ast.Ident
	add := func(ids ...*ast.Ident) { names = append(names, ids...) }
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			add(n.Name)
		case *ast.TypeSpec:
			add(n.Name)
		case *ast.ValueSpec:
			add(n.Names...)
		case *ast.Field:
			add(n.Names...)
		case *ast.AssignStmt:
			for _, e := range n.Lhs {
				if id, ok := e.(*ast.Ident); ok {
					add(id)
				}
			}
		}
		return true
	})
	return names
}

func TestGlossary(t *testing.T) {
	got := avoided("**Layer**:\nwraps a service.\n_Avoid_: Middleware, interceptor; filter, where it wraps\n\n**Other**:\nhas no such line.\n")
	if len(got) != 2 || got["middleware"] != "layer" || got["interceptor"] != "layer" {
		t.Errorf("got %v", got)
	}
	for text, want := range map[string]string{
		"// The upstreamHost of HTTPServers, e.g. cluster.local.": "the upstream host of http server",
		"//go:build upstream": "",
		"// They call it \"upstream\" and `vhost` and dst_cluster": "they call it and and",
	} {
		if got := strings.Join(commentWords(text), " "); got != want {
			t.Errorf("commentWords(%q): got %q, want %q", text, got, want)
		}
	}
}
