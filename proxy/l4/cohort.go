package l4

import (
	"container/list"
	"context"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A cohort is some connections of a server, accepted one after another, that are
// asked to leave together: then their context is done. Few at a time, since each
// of them is woken by a goroutine of its own.
type cohort struct {
	ctx   context.Context
	leave context.CancelFunc
	born  time.Time
	came  int
	there int
	at    *list.Element // in the server's, until its connections are asked to leave
}

const (
	cohortSize = 16
	cohortTime = time.Second // in which it fills, or is left to be smaller
)

// cohort returns that of the next connection. The caller holds mu.
func (s *server) cohort(ctx context.Context) *cohort {
	if last := s.cohorts.Back(); last != nil {
		if c := last.Value.(*cohort); c.came < cohortSize && time.Since(c.born) < cohortTime {
			return c
		} else if c.there == 0 {
			s.dismiss(c)
		}
	}
	c := &cohort{born: time.Now()}
	c.ctx, c.leave = context.WithCancel(ctx)
	c.at = s.cohorts.PushBack(c)
	return c
}

// join gives c a context that is done when it is to leave.
func (s *server) join(ctx context.Context, c *stack.Conn) context.Context {
	if s.Gate == nil {
		return ctx
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.cohort(ctx)
	of.came++
	of.there++
	s.open[c] = of
	return of.ctx
}

// part is join's opposite. The caller holds mu. The last cohort stays, for others
// that come.
func (s *server) part(of *cohort) {
	if of == nil {
		return
	}
	if of.there--; of.there == 0 && of.at != s.cohorts.Back() {
		s.dismiss(of)
	}
}

// dismiss asks what is left of a cohort to leave. The caller holds mu.
func (s *server) dismiss(of *cohort) {
	if of.at != nil {
		s.cohorts.Remove(of.at)
		of.at = nil
	}
	of.leave()
}

// evict asks the oldest connections to leave, in cohorts: that many thousandths of
// them, or one, but none that is younger than age. It returns how many.
func (s *server) evict(share int, age time.Duration) (asked uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range max(s.cohorts.Len()*share/1000, 1) {
		oldest := s.cohorts.Front()
		if oldest == nil {
			return asked
		}
		of := oldest.Value.(*cohort)
		if time.Since(of.born) < age {
			return asked
		}
		asked += uint64(of.there)
		s.dismiss(of)
	}
	return asked
}

// disband ends what is left when all connections have ended.
func (s *server) disband() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.cohorts.Len() > 0 {
		s.dismiss(s.cohorts.Front().Value.(*cohort))
	}
}
