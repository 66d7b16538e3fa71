package proxy

import "math"

// Workers bound how many CPUs are used. Zero means not given.
type Workers struct {
	Min      int
	Max      int
	MaxRatio float64 // of the CPUs that are available; Max wins
}

// Procs returns the value for GOMAXPROCS, given how many CPUs are available to
// this process. Without a maximum it is the minimum, and without either it is 1,
// as in linkerd2-proxy: a sidecar does not take what it was not given.
func (w Workers) Procs(available int) int {
	n := w.Max
	if n < 1 {
		n = int(math.Round(float64(available) * w.MaxRatio))
	}
	return min(max(n, w.Min, 1), max(available, 1))
}
