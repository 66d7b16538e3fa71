package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseGates(t *testing.T) {
	gates, err := parseGates(strings.NewReader("# a comment\n\n./proxy BenchmarkX 12\n"))
	if err != nil || len(gates) != 1 || gates[0] != (gate{"./proxy", "BenchmarkX", 12}) {
		t.Errorf("got %v, %v", gates, err)
	}
	for _, bad := range []string{"", "# nothing\n", "./proxy BenchmarkX\n", "./proxy BenchmarkX many\n"} {
		if _, err := parseGates(strings.NewReader(bad)); err == nil {
			t.Errorf("parseGates(%q) did not fail", bad)
		}
	}
}

// TestGate sees the gate open and shut, on a module of its own.
func TestGate(t *testing.T) {
	root := t.TempDir()
	write(t, root, "go.mod", "module example.com/m\n\ngo 1.26\n")
	write(t, root, "m_test.go", `package m

import "testing"

var sink []byte

func BenchmarkTwo(b *testing.B) {
	for b.Loop() {
		sink = make([]byte, 100)
		sink = make([]byte, 200)
	}
}
`)
	for list, ok := range map[string]bool{
		". BenchmarkTwo 2\n":                   true,
		". BenchmarkTwo 1\n":                   false,
		". BenchmarkNone 1\n":                  false,
		". BenchmarkTwo 1\n. BenchmarkTwo 2\n": false,
		"./nowhere BenchmarkTwo 2\n":           false,
	} {
		write(t, root, "bench.txt", list)
		if err := run(root, "bench.txt", "100x"); (err == nil) != ok {
			t.Errorf("with %q: %v", list, err)
		}
	}
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
