package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// How much is sent: each client sends a request when the last is answered.
const (
	webClients   = 24
	booksClients = 8
	dbClients    = 6
	demoAnswer   = 10 * time.Second       // for a request to be answered
	demoSulk     = 100 * time.Millisecond // of a client whose request failed
)

// What the protocols are called.
const (
	http1  = "HTTP/1.1"
	opaque = "opaque TCP"
)

// A client sends the requests of one connection, or of one after another. It
// numbers them, and says which workload answered.
type client func(ctx context.Context, n int) (workload int, err error)

// A load is the requests to one service, and what became of them.
type load struct {
	name, protocol string
	clients        int
	open           func() (send client, done func())
	tally          tally
}

// demoLoads are the loads of the demonstration.
type demoLoads struct{ web, books, db *load }

func (m *demoMesh) loads() demoLoads {
	return demoLoads{
		web:   &load{name: "web", protocol: http1, clients: webClients, open: httpClients(m.web, webService)},
		books: &load{name: "books", protocol: http1, clients: booksClients, open: httpClients(m.books, booksService)},
		db:    &load{name: "db", protocol: opaque, clients: dbClients, open: tcpClients(m.db)},
	}
}

func (l demoLoads) all() []*load { return []*load{l.web, l.books, l.db} }

// of returns the counts of all loads of one protocol.
func (l demoLoads) of(protocol string) counts {
	var sum counts
	for _, one := range l.all() {
		if one.protocol == protocol {
			sum = sum.minus(counts{}.minus(one.tally.now()))
		}
	}
	return sum
}

// A traffic is requests that are being sent.
type traffic struct {
	end  chan struct{}
	wait sync.WaitGroup
}

// send sends requests until stop.
func send(ctx context.Context, loads []*load) *traffic {
	t := &traffic{end: make(chan struct{})}
	for _, l := range loads {
		for range l.clients {
			t.wait.Go(func() { t.run(ctx, l) })
		}
	}
	return t
}

// stop waits for what was sent to be answered.
func (t *traffic) stop() {
	close(t.end)
	t.wait.Wait()
}

func (t *traffic) run(ctx context.Context, l *load) {
	request, done := l.open()
	defer done()
	for n := 0; ; n++ {
		select {
		case <-t.end:
			return
		case <-ctx.Done():
			return
		default:
		}
		if !l.once(ctx, n, request) {
			return
		}
	}
}

// once sends one request. It reports whether there may be another.
func (l *load) once(ctx context.Context, n int, request client) bool {
	one, stop := context.WithTimeoutCause(ctx, demoAnswer, fmt.Errorf("no answer within %s", demoAnswer))
	defer stop()
	start := time.Now()
	workload, err := request(one, n)
	if ctx.Err() != nil {
		return false // it was interrupted, and did not fail
	}
	if err != nil {
		err = fmt.Errorf("%s: request %d of a client: %w", l.name, n, err)
	}
	l.tally.add(workload, time.Since(start), err)
	return err == nil || pause(ctx, demoSulk) == nil
}

// content returns what a request carries, of a length that varies with n, up to
// 16 KiB.
func content(n int) []byte {
	const most, step = 16 << 10, 7919 // a prime, to meet many lengths
	c := make([]byte, n*step%most)
	for i := range c {
		c[i] = 'a' + byte((n+i)%26)
	}
	return c
}
