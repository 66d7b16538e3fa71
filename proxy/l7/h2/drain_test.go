package h2_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/l7/h2"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A slowEnd is a body that takes its time to be released.
type slowEnd struct {
	stack.Body

	wait func()
}

func (b slowEnd) Close(err error) error {
	b.wait()
	return b.Body.Close(err)
}

// TestDrainBehindTheLastAnswer has all answered, but not all work done: the client has
// done nothing wrong, and is not told so.
func TestDrainBehindTheLastAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := func(context.Context, *stack.Request) (*stack.Response, error) {
			return &stack.Response{Status: 200, Body: slowEnd{stack.Empty(), func() { time.Sleep(time.Second) }}}, nil
		}
		near, far := net.Pipe()
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- h2.Serve(ctx, &stack.Conn{Conn: far}, svc, params()) }()
		p := newPeer(t, near)
		p.hello().headers(1, fEndHead, hold()...)
		p.send()
		p.status(1)
		cancel()
		p.until("the first GOAWAY and PING", func() bool { return len(p.goAways) == 1 && len(p.pings) == 1 })
		p.frame(tPing, fAck, 0, p.pings[0].Data[:]...)
		p.send()
		for p.err == nil {
			p.next()
		}
		near.Close()
		if err := <-ended; err != nil || len(p.goAways) != 2 || p.goAways[1].code != stack.NoError {
			t.Errorf("%v, and told %v", err, p.goAways)
		}
	})
}
