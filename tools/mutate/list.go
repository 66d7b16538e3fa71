package main

import (
	"errors"
	"fmt"
	"strings"
)

// A mutation breaks one behaviour.
type mutation struct {
	name string   // the behaviour, as a sentence would put it
	file string   // relative to the module's folder
	test []string // arguments of go test that must turn red
	old  string   // stands in file exactly once
	new  string   // takes its place
}

// parse reads a list. Each entry has the form
//
//	=== what is broken
//	file balance/ewma.go
//	test -run TestPick ./balance
//	--- lines to be replaced
//	+++ lines that take their place
//
// where what is replaced, and what replaces it, stand on the lines after: whole,
// and to the next entry or to a line that begins with "# ". That line is a
// comment, as those before the first entry are.
func parse(text string) ([]mutation, error) {
	var all []mutation
	for i, entry := range strings.Split("\n"+text, "\n=== ")[1:] {
		m, err := parseEntry(entry)
		if err != nil {
			return nil, fmt.Errorf("entry %d, %q: %w", i+1, m.name, err)
		}
		all = append(all, m)
	}
	if len(all) == 0 {
		return nil, errors.New("no entries")
	}
	return all, nil
}

func parseEntry(entry string) (mutation, error) {
	var m mutation
	name, rest, _ := strings.Cut(entry, "\n")
	m.name = strings.TrimSpace(name)
	head, blocks, ok := strings.Cut(rest, "---\n")
	if !ok {
		return m, errors.New(`no line "---"`)
	}
	if m.old, m.new, ok = strings.Cut(blocks, "+++\n"); !ok {
		return m, errors.New(`no line "+++"`)
	}
	m.new, _, _ = strings.Cut("\n"+m.new, "\n# ")
	m.old, m.new = strings.TrimRight(m.old, "\n"), strings.Trim(m.new, "\n")
	for line := range strings.Lines(head) {
		if err := m.field(strings.TrimSpace(line)); err != nil {
			return m, err
		}
	}
	if m.file == "" || len(m.test) == 0 || m.old == "" || m.old == m.new {
		return m, errors.New("wants a file, a test, and two texts that differ")
	}
	return m, nil
}

func (m *mutation) field(line string) error {
	key, value, _ := strings.Cut(line, " ")
	switch {
	case line == "" || strings.HasPrefix(line, "#"):
	case key == "file":
		m.file = value
	case key == "test":
		m.test = strings.Fields(value)
	default:
		return fmt.Errorf("unknown field %q", key)
	}
	return nil
}
