package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const entry = `Words before the first entry are a comment.

=== a sum is added up
file sum.go
# and so is this
test -run TestSum .
---
	return a + b
+++
	return a - b
`

func TestParse(t *testing.T) {
	got, err := parse(entry + "\n# A comment.\n\n" + strings.Replace(entry[strings.Index(entry, "==="):], "a sum", "another", 1))
	if err != nil || len(got) != 2 {
		t.Fatalf("got %v, %v", got, err)
	}
	m := got[0]
	if m.name != "a sum is added up" || m.file != "sum.go" || strings.Join(m.test, " ") != "-run TestSum ." ||
		m.old != "\treturn a + b" || m.new != "\treturn a - b" {
		t.Errorf("got %+v", m)
	}
	for _, bad := range []string{
		"",
		"=== x\nfile f\ntest .\n",
		"=== x\nfile f\ntest .\n---\na\n",
		"=== x\nfile f\ntest .\n---\na\n+++\na\n",
		"=== x\ntest .\n---\na\n+++\nb\n",
		"=== x\nfile f\nfiel g\ntest .\n---\na\n+++\nb\n",
	} {
		if _, err := parse(bad); err == nil {
			t.Errorf("parse(%q) did not fail", bad)
		}
	}
}

// TestTry sees each verdict, on a module of its own.
func TestTry(t *testing.T) {
	root := t.TempDir()
	write(t, root, "go.mod", "module example.com/m\n\ngo 1.26\n")
	write(t, root, "sum.go", "package m\n\nfunc sum(a, b int) int {\n\treturn a + b\n}\n\nfunc unseen() int {\n\treturn 1\n}\n")
	write(t, root, "sum_test.go", `package m

import "testing"

func TestSum(t *testing.T) {
	if sum(1, 2) != 3 {
		t.Fail()
	}
}

func TestRed(t *testing.T) { t.Fail() }
`)
	sum := []string{"-run", "TestSum", "."}
	for _, c := range []struct {
		m    mutation
		want string // in the error; none if empty
	}{
		{mutation{file: "sum.go", test: sum, old: "a + b", new: "a - b"}, ""},
		{mutation{file: "sum.go", test: sum, old: "return 1", new: "return 2"}, "stays green"},
		{mutation{file: "sum.go", test: sum, old: "a + b", new: "nothing"}, "does not compile"},
		{mutation{file: "sum.go", test: sum, old: "a * b", new: "a - b"}, "0 times"},
		{mutation{file: "sum.go", test: sum, old: "return", new: "panic"}, "2 times"},
		{mutation{file: "sum.go", test: []string{"-run", "TestRed", "."}, old: "a + b", new: "a - b"}, "before anything is broken"},
		{mutation{file: "sum.go", test: []string{"-run", "TestNone", "."}, old: "a + b", new: "a - b"}, "runs no test"},
		{mutation{file: "sum.go", test: sum, old: "\treturn a + b", new: "\tfor {\n\t}"}, ""}, // a hang is noticed
	} {
		err := newTrial(options{root: root, timeout: 2 * time.Second}).try(c.m)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%q for %q: %v", c.m.new, c.m.old, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%q for %q: got %v, want %q", c.m.new, c.m.old, err, c.want)
		}
	}
}

// TestRun sees that one that survives fails the whole.
func TestRun(t *testing.T) {
	root := t.TempDir()
	write(t, root, "go.mod", "module example.com/m\n\ngo 1.26\n")
	write(t, root, "sum.go", "package m\n\nfunc sum(a, b int) int {\n\treturn a + b\n}\n")
	write(t, root, "sum_test.go", "package m\n\nimport \"testing\"\n\nfunc TestSum(t *testing.T) {\n\tif sum(1, 2) != 3 {\n\t\tt.Fail()\n\t}\n}\n")
	write(t, root, "list", entry)
	o := options{root: root, part: "0/1", jobs: 2, timeout: time.Minute}
	if err := run(o, "list"); err != nil {
		t.Errorf("with a broken sum: %v", err)
	}
	write(t, root, "list", entry+strings.Replace(entry, "a - b", "b + a", 1))
	if err := run(o, "list"); err == nil {
		t.Error("b + a went unnoticed, and run did not fail")
	}
	o.only = "nothing like it"
	if err := run(o, "list"); err == nil {
		t.Error("nothing was broken, and run did not fail")
	}
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestList sees that what each entry of the list replaces stands where it says, and
// that there is a package to test: code moves, and its entries are to move with it.
func TestList(t *testing.T) {
	const root = "../.."
	text, err := os.ReadFile("mutations.txt")
	if err != nil {
		t.Fatal(err)
	}
	all, err := parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if _, err := m.broken(root); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
		pkg := m.test[len(m.test)-1]
		if tests, _ := filepath.Glob(filepath.Join(root, pkg, "*_test.go")); len(tests) == 0 {
			t.Errorf("%s: no tests in %s", m.name, pkg)
		}
	}
}

func TestPartOf(t *testing.T) {
	all := make([]mutation, 10)
	for i := range all {
		all[i].name = string(rune('a' + i))
	}
	seen := ""
	for _, part := range []string{"0/3", "1/3", "2/3"} {
		some, err := partOf(all, part)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range some {
			seen += m.name
		}
	}
	if seen != "adgjbehcfi" {
		t.Errorf("the parts are %s", seen)
	}
	for _, bad := range []string{"", "3/3", "-1/3", "0/0", "x"} {
		if _, err := partOf(all, bad); err == nil {
			t.Errorf("part %q is taken", bad)
		}
	}
}
