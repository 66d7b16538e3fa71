package control

import "sync"

// A signal wakes everyone who waits for it. The zero signal is ready.
type signal struct {
	mu sync.Mutex
	ch chan struct{} // closed when raised; nil if nobody has asked since
}

// next returns a channel that is closed when the signal is raised the next time.
func (s *signal) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) raise() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
