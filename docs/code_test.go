package docs_test

import (
	"go/ast"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestPackageDocs wants the purpose of each package said once, in a paragraph of
// its own that says more than its name.
func TestPackageDocs(t *testing.T) {
	docs, seen := map[string][]source{}, map[string]bool{}
	for _, s := range product(t) {
		if s.test {
			continue
		}
		seen[s.dir()] = true
		if s.file.Doc != nil {
			docs[s.dir()] = append(docs[s.dir()], s)
		}
	}
	for dir := range seen {
		switch of := docs[dir]; len(of) {
		case 0:
			t.Errorf("%s: no file says what the package is for", dir)
		case 1:
			first, _, _ := strings.Cut(of[0].file.Doc.Text(), "\n\n")
			if want := "Package " + path.Base(dir) + " "; of[0].file.Name.Name != "main" && !strings.HasPrefix(first, want) {
				t.Errorf("%s: the package's comment does not begin with %q", of[0].path, want)
			}
			if len(strings.Fields(first)) < 12 {
				t.Errorf("%s: the package's comment says too little: %q", of[0].path, first)
			}
		default:
			t.Errorf("%s: %d files have a package comment, of which one is to be read: %s and %s", dir, len(of), of[0].path, of[1].path)
		}
	}
}

// TestLeaks wants every package's tests to see that no goroutine outlives them.
func TestLeaks(t *testing.T) {
	r := newRule(t, "leaks")
	tested, checked := map[string]bool{}, map[string]bool{}
	for _, s := range product(t) {
		if !s.test {
			continue
		}
		tested[s.dir()] = true
		checked[s.dir()] = checked[s.dir()] || len(calls(s.file, "goleak", "VerifyTestMain")) > 0
	}
	for dir := range tested {
		if !checked[dir] {
			r.broken(dir, "goleak", "%s: no TestMain calls goleak.VerifyTestMain", dir)
		}
	}
}

// TestInit wants nothing to run but what main calls.
func TestInit(t *testing.T) {
	for _, s := range product(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: func init", s.at(f))
			}
		}
	}
}

// TestWaits wants waits that can be cut short: time.After keeps its timer until
// it fires, and time.Sleep hears of no context. In a test, time.Sleep is allowed
// where time is the test's own (testing/synctest), and makes it slow or flaky
// elsewhere.
func TestWaits(t *testing.T) {
	r := newRule(t, "waits")
	for _, s := range product(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				waits(r, s, f)
			}
		}
	}
}

func waits(r *rule, s source, f *ast.FuncDecl) {
	bubbles := calls(f, "synctest", "Test")
	for _, after := range calls(f, "time", "After") {
		if !s.test {
			r.broken(s.path, f.Name.Name, "%s: time.After; use a timer that is stopped", s.at(after))
		}
	}
	for _, sleep := range calls(f, "time", "Sleep") {
		if !within(sleep, bubbles) {
			r.broken(s.path, f.Name.Name, "%s: time.Sleep; wait for what it waits for, or use testing/synctest", s.at(sleep))
		}
	}
}

func isCall(call *ast.CallExpr, pkg, name string) bool {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != name {
		return false
	}
	id, ok := sel.X.(*ast.Ident)
	return ok && id.Name == pkg
}

// calls returns the calls of pkg.name below n.
func calls(n ast.Node, pkg, name string) []*ast.CallExpr {
	var found []*ast.CallExpr
	ast.Inspect(n, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && isCall(call, pkg, name) {
			found = append(found, call)
		}
		return true
	})
	return found
}

func within(n ast.Node, spans []*ast.CallExpr) bool {
	for _, s := range spans {
		if s.Pos() <= n.Pos() && n.End() <= s.End() {
			return true
		}
	}
	return false
}

// TestTimeouts wants every timeout in one place: a literal duration in a function
// is one that no one can set, or find. An algorithm's own constants have a name.
func TestTimeouts(t *testing.T) {
	r := newRule(t, "timeouts")
	for _, s := range product(t) {
		if s.test || s.path == "proxy/config.go" {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if d, ok := n.(*ast.GenDecl); ok && d.Tok == token.CONST {
				return false
			}
			if mul, ok := n.(*ast.BinaryExpr); ok && mul.Op == token.MUL && (isNumber(mul.X) && isUnit(mul.Y) || isUnit(mul.X) && isNumber(mul.Y)) {
				r.broken(s.path, "duration", "%s: a literal duration outside proxy/config.go", s.at(n))
			}
			return true
		})
	}
}

func isNumber(e ast.Expr) bool {
	_, ok := e.(*ast.BasicLit)
	return ok
}

func isUnit(e ast.Expr) bool {
	sel, ok := e.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	id, ok := sel.X.(*ast.Ident)
	return ok && id.Name == "time" && (sel.Sel.Name == "Second" || sel.Sel.Name == "Millisecond" || sel.Sel.Name == "Minute" || sel.Sel.Name == "Hour")
}

// TestMachinePaths wants no path of the machine on which something was written.
func TestMachinePaths(t *testing.T) {
	r := newRule(t, "machine")
	machine := regexp.MustCompile(`(^|[^A-Za-z0-9_.{}/])/(home|root|work|farm|Users|tmp)/[A-Za-z0-9_.-]+`)
	err := walk(func(name string) error {
		text, err := fs.ReadFile(repo, name)
		if err != nil || strings.HasSuffix(name, ".sum") || strings.ContainsRune(string(text), 0) {
			return err
		}
		for i, line := range strings.Split(string(text), "\n") {
			if found := machine.FindString(line); found != "" {
				r.broken(name, strconv.Quote(strings.TrimSpace(found)), "%s:%d: %q is a path of one machine", name, i+1, found)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
