package main

import (
	"slices"
	"sync"
	"time"
)

// counts say what became of requests.
type counts struct {
	done   int            // requests that have ended, in success or not
	failed int            // of those
	by     [workloads]int // those that succeeded, by the workload that answered
}

// plus returns what c and other count together.
func (c counts) plus(other counts) counts {
	c.done += other.done
	c.failed += other.failed
	for i := range c.by {
		c.by[i] += other.by[i]
	}
	return c
}

// minus returns what c counts beyond earlier.
func (c counts) minus(earlier counts) counts {
	c.done -= earlier.done
	c.failed -= earlier.failed
	for i := range c.by {
		c.by[i] -= earlier.by[i]
	}
	return c
}

// share returns how much of what succeeded workload n answered, from 0 to 1.
func (c counts) share(n int) float64 {
	if good := c.done - c.failed; good > 0 {
		return float64(c.by[n-1]) / float64(good)
	}
	return 0
}

// A tally counts and times the requests to one service.
type tally struct {
	mu        sync.Mutex
	counts    counts
	latencies []time.Duration // of those that succeeded
	errs      []error         // the first few
}

// mostErrs is how many failures are told one by one.
const mostErrs = 3

// add counts one request.
func (t *tally) add(workload int, took time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.done++
	if err != nil {
		t.counts.failed++
		if len(t.errs) < mostErrs {
			t.errs = append(t.errs, err)
		}
		return
	}
	t.counts.by[workload-1]++
	t.latencies = append(t.latencies, took)
}

func (t *tally) now() counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts
}

// percentile returns the latency that p of 100 requests did not exceed.
func (t *tally) percentile(p int) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.latencies) == 0 {
		return 0
	}
	slices.Sort(t.latencies)
	return t.latencies[(len(t.latencies)-1)*p/100]
}

func (t *tally) failures() []error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.errs)
}
