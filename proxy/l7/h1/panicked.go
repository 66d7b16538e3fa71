package h1

import (
	"errors"

	"github.com/outrigger-mesh/outrigger/guard"
)

// stage is where what panics on a server's goroutine is caught.
const stage = "http1 server"

// panicked is told what recover has returned, and says why the connection ends. The
// client is answered 500 if nothing of another answer has gone.
func (s *server) panicked(v any) error {
	g := s.params.Guard
	err := g.Caught(stage, v, "client", s.c.Client, "server", s.c.OrigDst)
	_ = g.Do(stage, func() { s.abandon(err) })
	return err
}

// abandon ends the exchange that has panicked for all who have a part in it.
func (s *server) abandon(err *guard.Error) {
	g, asked := s.params.Guard, s.asked
	s.asked = false
	s.closeAfter()
	_ = g.Do(stage, s.watch.stop)
	_ = g.Do(stage, func() { s.x.Abandon(err) })
	if s.req.Body != nil {
		_ = g.Do(stage, func() { s.endRequest(err) })
	}
	if asked && s.out.err == nil {
		s.tell(500, err.Error())
		return
	}
	s.out.fail(err)
	reset(s.c)
}

// fail has nothing more written.
func (o *output) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
	o.drop()
}

// errLost is why an exchange of a client's ends that a panic has passed. Whoever
// catches that says more.
var errLost = errors.New("lost to a panic")
