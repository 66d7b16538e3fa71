package h2

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A Scheduler is what the connections of one process share, so that a system call
// serves many streams: who has received a batch of frames lets the streams run
// that it has woken, and then writes what they have left on all connections, each
// in one go. What is left while nobody has a batch in hand, a goroutine of its
// own writes a moment later.
//
// The zero Scheduler is ready.
type Scheduler struct {
	// Workers are the goroutines on which streams run. Others may use them too.
	Workers codec.Workers

	batches atomic.Int32 // in hand
	came    atomic.Int64 // when the last of them did, by stack.Clock
	second  atomic.Int64 // the same by the calendar, in seconds

	mu      sync.Mutex
	dirty   []*conn
	spare   []*conn
	flusher bool // a goroutine is about to flush
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

// leave ends a batch: those whom it has woken run, and what they write leaves. Of many
// some would not have run after one turn, since the runtime looks now and then after
// those who have waited longer; their writes would cost a flush more.
func (s *Scheduler) leave(woken int) {
	runtime.Gosched()
	if woken >= manyWoken {
		runtime.Gosched()
	}
	s.batches.Add(-1)
	s.flush()
}

// manyWoken is from when on a second turn is worth its price, which is more than it
// gains where each connection has one stream.
const manyWoken = 8

// flush writes what is dirty now.
func (s *Scheduler) flush() (any bool) {
	s.mu.Lock()
	batch := s.dirty
	s.dirty, s.spare = s.spare[:0], nil
	s.mu.Unlock()
	for i, c := range batch {
		c.flushGuarded()
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
		go s.flushLate() // which calls nothing that is not guarded
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
