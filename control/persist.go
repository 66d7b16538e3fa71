package control

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// persistence is the time between two connections that are tried beside each
// other. Where packets are lost, the system repeats the first of a connection
// after a second and then ever more seldom.
const persistence = 400 * time.Millisecond

// A dialed is what became of one try.
type dialed struct {
	conn net.Conn
	err  error
}

// persist returns the first connection of several that are tried, each a little
// after the other, until one comes about or fails, or ctx or the dialler's time is
// over. So a controller that was cut off is found again soon after it can be reached.
func persist(ctx context.Context, d *net.Dialer, addr string) (net.Conn, error) {
	var tries sync.WaitGroup
	defer tries.Wait()
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	results := make(chan dialed)
	again := time.NewTicker(persistence)
	defer again.Stop()
	try := func() {
		tries.Go(func() {
			conn, err := d.DialContext(ctx, "tcp", addr)
			select {
			case results <- dialed{conn, err}:
			case <-ctx.Done():
				if err == nil {
					_ = conn.Close()
				}
			}
		})
	}
	for try(); ; {
		select {
		case r := <-results:
			return r.conn, r.err
		case <-again.C:
			try()
		case <-ctx.Done():
			return nil, fmt.Errorf("connecting to %s: %w", addr, ctx.Err())
		}
	}
}
