package local

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A Mistake is something wrong in a mesh file.
type Mistake struct {
	Line int // from 1
	Text string
}

// Mistakes is everything that is wrong with one file, by line. It is never
// empty.
type Mistakes struct {
	File string
	All  []Mistake
}

// maxTold bounds what is told of one file: whoever has more wrong than this has
// the wrong file.
const maxTold = 50

// Error has one line for each mistake: "mesh.yaml:12: what is wrong".
func (m *Mistakes) Error() string {
	lines := make([]string, 0, len(m.All))
	for i, one := range m.All {
		if i == maxTold {
			lines = append(lines, fmt.Sprintf("%s: and %d more", m.File, len(m.All)-maxTold))
			break
		}
		lines = append(lines, fmt.Sprintf("%s:%d: %s", m.File, one.Line, one.Text))
	}
	return strings.Join(lines, "\n")
}

// A reader collects the mistakes of a file as it is read.
type reader struct {
	mistakes []Mistake
	base     string // where paths in the file begin
}

func (r *reader) fail(n *yaml.Node, format string, args ...any) {
	r.failAt(n.Line, format, args...)
}

func (r *reader) failAt(line int, format string, args ...any) {
	r.mistakes = append(r.mistakes, Mistake{line, fmt.Sprintf(format, args...)})
}

// err returns what has been collected, or nil if that is nothing.
func (r *reader) err(file string) error {
	if len(r.mistakes) == 0 {
		return nil
	}
	slices.SortStableFunc(r.mistakes, func(a, b Mistake) int { return cmp.Compare(a.Line, b.Line) })
	return &Mistakes{File: file, All: slices.Compact(r.mistakes)}
}
