package main

import (
	"bufio"
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// samples are what a sidecar's /metrics says, in Prometheus' text format.
type samples []sample

type sample struct {
	name   string
	labels map[string]string
	value  float64
}

// readSamples reads a page. Comments, and times behind values, are left out.
func readSamples(page []byte) (samples, error) {
	var all samples
	lines := bufio.NewScanner(bytes.NewReader(page))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		s, err := readSample(line)
		if err != nil {
			return nil, fmt.Errorf("line %d, %.100q: %w", n, line, err)
		}
		all = append(all, s)
	}
	return all, lines.Err()
}

func readSample(line string) (sample, error) {
	end := strings.IndexAny(line, "{ ")
	if end <= 0 {
		return sample{}, fmt.Errorf("no value")
	}
	s := sample{name: line[:end], labels: map[string]string{}}
	rest := line[end:]
	if rest[0] == '{' {
		var err error
		if rest, err = readLabels(rest[1:], s.labels); err != nil {
			return sample{}, err
		}
	}
	value, _, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
	var err error
	if s.value, err = strconv.ParseFloat(value, 64); err != nil {
		return sample{}, fmt.Errorf("value %q: %w", value, err)
	}
	return s, nil
}

// readLabels reads what stands between braces, and returns what stands behind.
func readLabels(text string, into map[string]string) (string, error) {
	for {
		text = strings.TrimLeft(text, ", ")
		if rest, ok := strings.CutPrefix(text, "}"); ok {
			return rest, nil
		}
		name, rest, ok := strings.Cut(text, `="`)
		if !ok || name == "" {
			return "", fmt.Errorf("no label at %.20q", text)
		}
		end := quoteEnd(rest)
		if end < 0 {
			return "", fmt.Errorf("label %q has no end", name)
		}
		into[name] = strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\n`, "\n").Replace(rest[:end])
		text = rest[end+1:]
	}
}

// quoteEnd returns where the first quotation mark is that is not escaped, or -1.
func quoteEnd(text string) int {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// sum adds up the samples of that name that have all these labels, given as name
// and value by turns.
func (s samples) sum(name string, labels ...string) int {
	var sum float64
	for _, one := range s {
		if one.name == name && one.has(labels) {
			sum += one.value
		}
	}
	return int(sum)
}

// collect notes which values a label has in the samples that sum would add up; "" is
// that of a sample without the label.
func (s samples) collect(into map[string]bool, label, name string, labels ...string) {
	for _, one := range s {
		if one.name == name && one.has(labels) {
			into[one.labels[label]] = true
		}
	}
}

func (s sample) has(labels []string) bool {
	for i := 0; i+1 < len(labels); i += 2 {
		if s.labels[labels[i]] != labels[i+1] {
			return false
		}
	}
	return true
}
