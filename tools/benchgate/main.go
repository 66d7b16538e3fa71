// Command benchgate runs the benchmarks of a list, and fails if one allocates
// more often than the list allows, or is not there. It measures no time: on a
// shared machine that is noise, while allocations are exact.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

func main() {
	root := flag.String("root", ".", "the module's folder")
	list := flag.String("list", "bench.txt", "the list, relative to root")
	benchtime := flag.String("benchtime", "2000x", "as of go test")
	flag.Parse()
	if err := run(*root, *list, *benchtime); err != nil {
		fmt.Fprintln(os.Stderr, "benchgate:", err)
		os.Exit(1)
	}
}

func run(root, list, benchtime string) error {
	f, err := os.Open(filepath.Join(root, list))
	if err != nil {
		return err
	}
	defer f.Close()
	gates, err := parseGates(f)
	if err != nil {
		return fmt.Errorf("%s: %w", list, err)
	}
	var failed error
	for _, g := range gates {
		if err := g.check(root, benchtime); err != nil {
			fmt.Println("FAIL", err)
			failed = errors.New("a benchmark allocates more than it may")
		}
	}
	return failed
}

// A gate is one line of the list.
type gate struct {
	pkg, bench string
	allocs     float64 // an operation, at most
}

func parseGates(r io.Reader) ([]gate, error) {
	var gates []gate
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) != 3 {
			return nil, fmt.Errorf("line %d: want package, benchmark and allocs/op", n)
		}
		allocs, err := strconv.ParseFloat(fields[2], 64)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		gates = append(gates, gate{fields[0], fields[1], allocs})
	}
	if len(gates) == 0 {
		return nil, errors.New("no benchmark is listed")
	}
	return gates, lines.Err()
}

// check runs the benchmark once, and judges every line that it prints: one, or
// one for each of its own sub-benchmarks.
func (g gate) check(root, benchtime string) error {
	cmd := exec.Command("go", "test", "-run", "^$", "-bench", "^"+g.bench+"$", "-benchmem", "-benchtime", benchtime, g.pkg)
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	fmt.Printf("%s", out)
	if err != nil {
		return fmt.Errorf("%s of %s: %w", g.bench, g.pkg, err)
	}
	results := parseResults(string(out))
	if len(results) == 0 {
		return fmt.Errorf("%s of %s: there is no such benchmark", g.bench, g.pkg)
	}
	for _, r := range results {
		if r.allocs > g.allocs {
			return fmt.Errorf("%s: %g allocs/op, and at most %g are allowed", r.name, r.allocs, g.allocs)
		}
		fmt.Printf("ok   %s: %g allocs/op, of at most %g\n", r.name, r.allocs, g.allocs)
	}
	return nil
}

type result struct {
	name   string
	allocs float64
}

// parseResults finds what a run of go test -bench -benchmem measured.
func parseResults(out string) []result {
	var results []result
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") || fields[len(fields)-1] != "allocs/op" {
			continue
		}
		allocs, err := strconv.ParseFloat(fields[len(fields)-2], 64)
		if err == nil {
			results = append(results, result{fields[0], allocs})
		}
	}
	return results
}
