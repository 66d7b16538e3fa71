package codec

import (
	"runtime/debug"
	"sync"
	"time"

	"github.com/outrigger-mesh/outrigger/guard"
)

// Workers are goroutines that have grown their stacks, and are kept for the next
// job, since to grow a stack costs more than all else of a goroutine.
//
// The zero Workers is ready. Its goroutines end when they have had nothing to do
// for some seconds, or with the last connection.
type Workers struct {
	// Guard is told of a job's panic that the job itself has not caught. It may be nil.
	Guard *guard.Guard

	mu    sync.Mutex
	idle  []*worker // the one that ran last is last
	conns int
	trim  *time.Timer // set while there are idle ones
	freed time.Time   // when what a burst had left was last given back
}

// A Job is what a worker runs.
type Job interface{ Run() }

// A worker is a goroutine that runs jobs. Between two it waits at jobs, which is made
// when it first does: many have but the one.
type worker struct{ jobs chan Job }

const (
	maxIdleWorkers = 1024
	trimEvery      = 2 * time.Second
)

// Start runs j on a goroutine that is free. It does not wait.
func (s *Workers) Start(j Job) {
	s.mu.Lock()
	var w *worker
	if n := len(s.idle); n > 0 {
		w = s.idle[n-1]
		s.idle[n-1] = nil
		s.idle = s.idle[:n-1]
	}
	s.mu.Unlock()
	if w == nil {
		go s.work(j)
		return
	}
	w.jobs <- j
}

func (s *Workers) work(j Job) {
	w := &worker{}
	for ok := true; ok; j, ok = <-w.jobs {
		s.run(j)
		if !s.park(w) {
			return
		}
	}
}

func (s *Workers) run(j Job) {
	defer func() {
		if v := recover(); v != nil {
			_ = s.Guard.Caught("worker", v)
		}
	}()
	j.Run()
}

// park reports whether w is kept for the next job.
func (s *Workers) park(w *worker) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == 0 || len(s.idle) >= maxIdleWorkers {
		return false
	}
	if w.jobs == nil {
		w.jobs = make(chan Job, 1)
	}
	s.idle = append(s.idle, w)
	if s.trim == nil {
		s.trim = time.AfterFunc(trimEvery, s.trimIdle)
	}
	return true
}

// When so many workers end at once, a burst is over. What it has left, in stacks and in
// what its messages were made of, is given back to the system; that takes some
// milliseconds of a processor, and so is not done often.
const (
	burst     = 128
	freeEvery = 10 * time.Second
)

// trimIdle ends half of the workers that have nothing to do, the oldest: their
// stacks are given back soon after a burst, and a steady load keeps its own.
func (s *Workers) trimIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := (len(s.idle) + 1) / 2
	s.end(n)
	if n >= burst && time.Since(s.freed) > freeEvery {
		s.freed = time.Now()
		s.Guard.Go("memory", debug.FreeOSMemory)
	}
	if len(s.idle) > 0 {
		s.trim.Reset(trimEvery)
	} else {
		s.trim = nil
	}
}

// end ends the n oldest idle workers. The caller holds mu.
func (s *Workers) end(n int) {
	for _, w := range s.idle[:n] {
		close(w.jobs)
	}
	rest := copy(s.idle, s.idle[n:])
	clear(s.idle[rest:])
	s.idle = s.idle[:rest]
}

// Opened says that there is one connection more that may want workers.
func (s *Workers) Opened() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns++
}

// Closed says that there is one less. With the last one the workers end.
func (s *Workers) Closed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns--; s.conns > 0 {
		return
	}
	s.end(len(s.idle))
	if s.trim != nil {
		s.trim.Stop()
		s.trim = nil
	}
}
