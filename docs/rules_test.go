// Package docs_test keeps the rules of this tree that a machine can keep, but
// for who imports what (proxy/imports_test.go) and what golangci-lint finds.
// What a rule lets pass stands in exceptions.txt, each with its reason.
package docs_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// repo is the tree that the rules are for.
var repo = os.DirFS("..")

// A source is one Go file of the product's module.
type source struct {
	path string // from the top of the tree, with slashes
	file *ast.File
	test bool
}

func (s source) dir() string { return path.Dir(s.path) }

// at names a place in s.
func (s source) at(n ast.Node) string {
	return fmt.Sprintf("%s:%d", s.path, set.Position(n.Pos()).Line)
}

var set = token.NewFileSet()

// sources are all Go files of the product's module. Its tools, and what e2e runs
// beside it, are modules of their own.
var sources = sync.OnceValues(func() ([]source, error) {
	var all []source
	err := walk(func(name string) error {
		if !strings.HasSuffix(name, ".go") || strings.HasPrefix(name, "tools/") || strings.HasPrefix(name, "e2e/") {
			return nil
		}
		text, err := fs.ReadFile(repo, name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(set, name, text, parser.ParseComments)
		all = append(all, source{name, f, strings.HasSuffix(name, "_test.go")})
		return err
	})
	return all, err
})

func product(t *testing.T) []source {
	t.Helper()
	all, err := sources()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// walk calls f with the path of each file, but for hidden folders and what runs
// leave behind (.gitignore).
func walk(f func(name string) error) error {
	left := []string{"e2e/bench/bin", "e2e/bench/certs", "e2e/bench/run"}
	return fs.WalkDir(repo, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			for _, l := range left {
				if name == l {
					return fs.SkipDir
				}
			}
			if strings.HasPrefix(name, ".") && name != "." && name != ".ci" {
				return fs.SkipDir
			}
			return nil
		default:
			return f(name)
		}
	})
}

// A rule reports what breaks it, but for the exceptions. It fails for an
// exception that is needed no more.
type rule struct {
	t       *testing.T
	name    string
	allowed map[string]bool // "path what": has it been met?
}

func newRule(t *testing.T, name string) *rule {
	t.Helper()
	r := &rule{t, name, map[string]bool{}}
	text, err := fs.ReadFile(repo, "docs/exceptions.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		entry, reason, ok := strings.Cut(line, ":")
		fields := strings.Fields(entry)
		if !ok || len(fields) != 3 || strings.TrimSpace(reason) == "" {
			t.Fatalf("docs/exceptions.txt: %q is not of the form \"rule path what: reason\"", line)
		}
		if fields[0] == name {
			r.allowed[fields[1]+" "+fields[2]] = false
		}
	}
	t.Cleanup(r.unneeded)
	return r
}

func (r *rule) broken(file, what, format string, args ...any) {
	r.t.Helper()
	if _, ok := r.allowed[file+" "+what]; ok {
		r.allowed[file+" "+what] = true
		return
	}
	r.t.Errorf(format, args...)
}

func (r *rule) unneeded() {
	for entry, met := range r.allowed {
		if !met {
			r.t.Errorf("docs/exceptions.txt: %s %s is needed no more", r.name, entry)
		}
	}
}
