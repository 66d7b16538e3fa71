package l4

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// TestServeLastCall ends a listener to which clients connect without a pause. Whoever
// has been connected is served.
func TestServeLastCall(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l, err := Listen(ctx, loopback, ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		served <- Serve(ctx, l, func(_ context.Context, c *stack.Conn) error {
			defer c.Close()
			b := make([]byte, 1)
			if _, err := io.ReadFull(c, b); err != nil {
				return err
			}
			_, err := c.Write(b)
			return err
		}, ServeConfig{})
	}()
	some := make(chan struct{})
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for n := 0; ; n++ {
				c, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					if !errors.Is(err, syscall.ECONNREFUSED) {
						t.Error(err)
					}
					return
				}
				if err := oneByte(c); err != nil {
					t.Error(err)
				}
				if n == 20 {
					some <- struct{}{}
				}
			}
		})
	}
	for range 8 {
		<-some
	}
	cancel()
	clients.Wait()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// oneByte sends a byte and reads it back.
func oneByte(c net.Conn) error {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write([]byte("a")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}
