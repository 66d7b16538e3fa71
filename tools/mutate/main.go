// Command mutate shows that the tests can fail: it breaks the behaviours of a
// list one at a time, each by one exact replacement in one file, and sees a test
// turn red for it. It invents no mutations of its own, and changes no file: the
// broken one is laid over the tree for the compiler alone.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"
)

func main() {
	var o options
	flag.StringVar(&o.root, "root", ".", "the module's folder")
	list := flag.String("list", "tools/mutate/mutations.txt", "the list, relative to root")
	flag.StringVar(&o.only, "only", "", "a regular expression: break only what matches it")
	flag.StringVar(&o.part, "part", "0/1", "k/n: break only the k-th of n parts of the list, from 0 on")
	flag.IntVar(&o.jobs, "jobs", 2, "how many to try at once")
	flag.DurationVar(&o.timeout, "timeout", 30*time.Second, "how long one test may take; a broken one may hang")
	flag.Parse()
	if err := run(o, *list); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

type options struct {
	root    string
	only    string
	part    string
	jobs    int
	timeout time.Duration
}

func run(o options, list string) error {
	text, err := os.ReadFile(filepath.Join(o.root, list))
	if err != nil {
		return err
	}
	all, err := parse(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", list, err)
	}
	only, err := regexp.Compile(o.only)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(m mutation) bool { return !only.MatchString(m.name) })
	if all, err = partOf(all, o.part); err != nil {
		return err
	}
	if len(all) == 0 {
		return errors.New("nothing to break")
	}
	survived := 0
	for i, v := range tryAll(o, all) {
		if v.err != nil {
			survived++
		}
		fmt.Println(v.line(all[i]))
	}
	if survived > 0 {
		return fmt.Errorf("%d of %d went unnoticed, or could not be tried", survived, len(all))
	}
	fmt.Printf("%d behaviours broken, each noticed\n", len(all))
	return nil
}

// partOf returns every n-th of all, from the k-th on.
func partOf(all []mutation, part string) ([]mutation, error) {
	var k, n int
	if _, err := fmt.Sscanf(part, "%d/%d", &k, &n); err != nil || n < 1 || k < 0 || k >= n {
		return nil, fmt.Errorf("part %q is not k/n", part)
	}
	var some []mutation
	for i := k; i < len(all); i += n {
		some = append(some, all[i])
	}
	return some, nil
}

// A verdict is what became of one mutation.
type verdict struct {
	err  error // nil if a test turned red
	took time.Duration
}

func (v verdict) line(m mutation) string {
	if v.err != nil {
		return fmt.Sprintf("FAIL     %5.1f s  %s: %v", v.took.Seconds(), m.name, v.err)
	}
	return fmt.Sprintf("noticed  %5.1f s  %s", v.took.Seconds(), m.name)
}

// tryAll tries all, some at once, and returns the verdicts in the same order.
func tryAll(o options, all []mutation) []verdict {
	t := newTrial(o)
	verdicts := make([]verdict, len(all))
	slots := make(chan struct{}, max(o.jobs, 1)) // its size is how many run at once
	var wg sync.WaitGroup
	for i, m := range all {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			start := time.Now()
			err := t.try(m)
			verdicts[i] = verdict{err, time.Since(start)}
		})
	}
	wg.Wait()
	return verdicts
}
