package docs_test

import (
	"io/fs"
	"strings"
	"testing"
)

// TestDiagrams wants a stack's diagram to be the same where the stack is written
// and where it is explained.
func TestDiagrams(t *testing.T) {
	text, err := fs.ReadFile(repo, "docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"proxy/outbound.go", "proxy/inbound.go"} {
		source, err := fs.ReadFile(repo, file)
		if err != nil {
			t.Fatal(err)
		}
		d := diagram(string(source))
		if d == "" {
			t.Errorf("%s: there is no diagram", file)
		}
		if !strings.Contains(string(text), "\n```\n"+d+"```\n") {
			t.Errorf("docs/architecture.md does not have the diagram of %s:\n%s", file, d)
		}
	}
}

// diagram returns the first lines of comments that are set in by a tab.
func diagram(source string) string {
	var d strings.Builder
	for line := range strings.Lines(source) {
		drawn, ok := strings.CutPrefix(line, "//\t")
		if ok {
			d.WriteString(drawn)
		} else if d.Len() > 0 {
			break
		}
	}
	return d.String()
}
