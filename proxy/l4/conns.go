package l4

import (
	"sync"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// Conns are the accepted connections that are open, for whoever asks what is in
// hand. Several runs of Serve may share one.
type Conns struct {
	mu      sync.Mutex
	servers map[*server]struct{}
}

// All returns them, as they are now.
func (cs *Conns) All() []*stack.Conn {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	var all []*stack.Conn
	for s := range cs.servers {
		all = append(all, s.all()...)
	}
	return all
}

// add has All return s's connections, until the function that it returns is called.
func (cs *Conns) add(s *server) (remove func()) {
	if cs == nil {
		return func() {}
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.servers == nil {
		cs.servers = make(map[*server]struct{})
	}
	cs.servers[s] = struct{}{}
	return func() {
		cs.mu.Lock()
		defer cs.mu.Unlock()
		delete(cs.servers, s)
	}
}

func (s *server) all() []*stack.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*stack.Conn, 0, len(s.open))
	for c := range s.open {
		all = append(all, c)
	}
	return all
}
