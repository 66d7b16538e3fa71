package h2

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A Scheduler is what the connections of one process share, so that a system call
// serves many streams: who has received a batch of frames lets the streams run
// that it has woken, and then writes what they have left on all connections, each
// in one go. What is left while nobody has a batch in hand, a goroutine of its
// own writes a moment later. It also keeps the goroutines on which streams run:
// those that have grown their stacks are worth keeping.
//
// The zero Scheduler is ready. Its goroutines end when they have had nothing to do
// for some seconds, or with the last connection.
type Scheduler struct {
	batches atomic.Int32 // in hand
	came    atomic.Int64 // when the last of them did, by stack.Clock
	second  atomic.Int64 // the same by the calendar, in seconds

	mu      sync.Mutex
	dirty   []*conn
	spare   []*conn
	flusher bool // a goroutine is about to flush

	wmu   sync.Mutex
	idle  []*worker // the one that ran last is last
	conns int
	trim  *time.Timer // set while there are idle ones
}

// enter says that a batch of frames is in hand, and returns when that was. The
// calendar is looked at once a second.
func (s *Scheduler) enter() time.Duration {
	s.batches.Add(1)
	now := stack.Clock()
	if last := s.came.Swap(int64(now)); s.second.Load() == 0 || last/int64(time.Second) != int64(now/time.Second) {
		s.second.Store(time.Now().Unix())
	}
	return now
}

// leave ends a batch: those whom it has woken run, and what they write leaves.
func (s *Scheduler) leave() {
	runtime.Gosched()
	runtime.Gosched()
	s.batches.Add(-1)
	s.flush()
}

// flush writes what is dirty now.
func (s *Scheduler) flush() (any bool) {
	s.mu.Lock()
	batch := s.dirty
	s.dirty, s.spare = s.spare[:0], nil
	s.mu.Unlock()
	for i, c := range batch {
		c.flush()
		batch[i] = nil
	}
	s.mu.Lock()
	if s.spare == nil {
		s.spare = batch[:0]
	}
	s.mu.Unlock()
	return len(batch) > 0
}

// add has c flushed soon.
func (s *Scheduler) add(c *conn) {
	s.mu.Lock()
	s.dirty = append(s.dirty, c)
	alone := s.batches.Load() == 0 && !s.flusher
	s.flusher = s.flusher || alone
	s.mu.Unlock()
	if alone {
		go s.flushLate()
	}
}

// flushLate flushes until there is nothing left.
func (s *Scheduler) flushLate() {
	for {
		runtime.Gosched()
		if s.flush() {
			continue
		}
		s.mu.Lock()
		if len(s.dirty) == 0 {
			s.flusher = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
	}
}

// A job is what a worker runs.
type job interface{ run() }

// A worker is a goroutine that waits for a job.
type worker struct{ jobs chan job }

const (
	maxIdleWorkers = 1024
	trimEvery      = 2 * time.Second
)

// start runs j on a goroutine that is free.
func (s *Scheduler) start(j job) {
	s.wmu.Lock()
	var w *worker
	if n := len(s.idle); n > 0 {
		w = s.idle[n-1]
		s.idle[n-1] = nil
		s.idle = s.idle[:n-1]
	}
	s.wmu.Unlock()
	if w == nil {
		w = &worker{jobs: make(chan job, 1)}
		go s.work(w)
	}
	w.jobs <- j
}

func (s *Scheduler) work(w *worker) {
	for j := range w.jobs {
		j.run()
		if !s.park(w) {
			return
		}
	}
}

// park reports whether w is kept for the next job.
func (s *Scheduler) park(w *worker) bool {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	if s.conns == 0 || len(s.idle) >= maxIdleWorkers {
		return false
	}
	s.idle = append(s.idle, w)
	if s.trim == nil {
		s.trim = time.AfterFunc(trimEvery, s.trimIdle)
	}
	return true
}

// trimIdle ends half of the workers that have nothing to do, the oldest: their
// stacks are given back soon after a burst, and a steady load keeps its own.
func (s *Scheduler) trimIdle() {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	s.end((len(s.idle) + 1) / 2)
	if len(s.idle) > 0 {
		s.trim.Reset(trimEvery)
	} else {
		s.trim = nil
	}
}

// end ends the n oldest idle workers. The caller holds wmu.
func (s *Scheduler) end(n int) {
	for _, w := range s.idle[:n] {
		close(w.jobs)
	}
	rest := copy(s.idle, s.idle[n:])
	clear(s.idle[rest:])
	s.idle = s.idle[:rest]
}

// opened and closed count connections: with the last one the workers end.
func (s *Scheduler) opened() {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	s.conns++
}

func (s *Scheduler) closed() {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	if s.conns--; s.conns > 0 {
		return
	}
	s.end(len(s.idle))
	if s.trim != nil {
		s.trim.Stop()
		s.trim = nil
	}
}
