package main

import (
	"fmt"
	"slices"
)

// sizes are what is counted in one folder, or in several.
type sizes struct {
	files, lines         int
	testFiles, testLines int
	comments             int // lines
	packageDocs          int // folders that have one
	exported, documented int // names
	interfaces, methods  int
	tests, examples      int
	benchmarks, fuzzes   int
	fileLines            []int
	funcs                []function
}

type function struct {
	name     string // with its file and line
	lines    int
	branches int
}

// add adds what was counted in another folder.
func (s *sizes) add(o *sizes) {
	s.files += o.files
	s.lines += o.lines
	s.testFiles += o.testFiles
	s.testLines += o.testLines
	s.comments += o.comments
	s.packageDocs += min(o.packageDocs, 1) // one file may say it, or two
	s.exported += o.exported
	s.documented += o.documented
	s.interfaces += o.interfaces
	s.methods += o.methods
	s.tests += o.tests
	s.examples += o.examples
	s.benchmarks += o.benchmarks
	s.fuzzes += o.fuzzes
	s.fileLines = append(s.fileLines, o.fileLines...)
	s.funcs = append(s.funcs, o.funcs...)
}

func (s *sizes) print(name string, folders int) {
	var lengths, branches []int
	long := 0
	for _, f := range s.funcs {
		lengths, branches = append(lengths, f.lines), append(branches, f.branches)
		if f.lines > 60 {
			long++
		}
	}
	fmt.Printf("%s: pkgs=%d pkgdoc=%d files=%d loc=%d | file p50/p90/max=%s | funcs=%d p50/p90/max=%s >60=%d%% | branch p90/max=%d/%d"+
		" | exported=%d doc'd=%d%% | ifaces=%d m/iface=%.1f | comment=%d%% | test loc=%d (%d%%) T=%d Ex=%d B=%d F=%d\n",
		name, folders, s.packageDocs, s.files, s.lines, spread(s.fileLines),
		len(s.funcs), spread(lengths), percent(long, len(s.funcs)), quantile(branches, .9), quantile(branches, 1),
		s.exported, percent(s.documented, s.exported), s.interfaces, float64(s.methods)/float64(max(s.interfaces, 1)),
		percent(s.comments, s.lines), s.testLines, percent(s.testLines, s.lines), s.tests, s.examples, s.benchmarks, s.fuzzes)
}

func spread(of []int) string {
	return fmt.Sprintf("%d/%d/%d", quantile(of, .5), quantile(of, .9), quantile(of, 1))
}

// quantile returns the value below which that part of them lies.
func quantile(of []int, part float64) int {
	if len(of) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(of))
	return sorted[int(part*float64(len(sorted)-1))]
}

func percent(part, whole int) int { return 100 * part / max(whole, 1) }
