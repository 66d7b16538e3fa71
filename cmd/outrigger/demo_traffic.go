package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// How much is sent: each client sends a request when the last is answered.
const (
	webClients   = 12
	booksClients = 5
	dbClients    = 4
	shopClients  = 4
	feedClients  = 4
	callClients  = 4                      // of each kind of gRPC's methods,
	talkClients  = 8                      // but for that whose messages wait for each other
	demoAnswer   = 10 * time.Second       // for a request to be answered
	demoSulk     = 100 * time.Millisecond // of a client whose request failed
)

// What the protocols are called.
const (
	http1   = "HTTP/1.1"
	carried = "HTTP/1.1 over HTTP/2"
	http2   = "HTTP/2"
	grpcAll = "gRPC"
	opaque  = "opaque TCP"
)

// A client sends requests, of which each has a number, and says which workload
// answered.
type client func(ctx context.Context, n int) (workload int, err error)

// A load is the requests to one service, and what became of them.
type load struct {
	name, protocol string
	clients        int
	open           func() (send client, done func())
	tally          tally
}

// demoLoads are the loads of the demonstration.
type demoLoads struct {
	web, books, shop, feed, db *load
	chat                       []*load // one for each kind of call
}

func (m *demoMesh) loads() demoLoads {
	all := demoLoads{
		web:   &load{name: "web", protocol: http1, clients: webClients, open: httpClients(m.web, webService)},
		books: &load{name: "books", protocol: http1, clients: booksClients, open: httpClients(m.books, booksService)},
		shop:  &load{name: "shop", protocol: carried, clients: shopClients, open: httpClients(m.shop, shopService)},
		feed:  &load{name: "feed", protocol: http2, clients: feedClients, open: http2Clients(m.feed, feedService)},
		db:    &load{name: "db", protocol: opaque, clients: dbClients, open: tcpClients(m.db)},
	}
	for _, k := range chatKinds() {
		all.chat = append(all.chat, &load{
			name: "chat", protocol: grpcAll + " " + k.name, clients: k.clients, open: chatClients(m.chat, chatService, k),
		})
	}
	return all
}

func (l demoLoads) all() []*load {
	return append(append([]*load{l.web, l.books, l.shop, l.feed}, l.chat...), l.db)
}

// protocols are those of all loads, in their order.
func (l demoLoads) protocols() []string {
	var all []string
	for _, one := range l.all() {
		if !slices.Contains(all, one.protocol) {
			all = append(all, one.protocol)
		}
	}
	return all
}

// of returns the counts of all loads of one protocol.
func (l demoLoads) of(protocol string) counts {
	var some []*load
	for _, one := range l.all() {
		if one.protocol == protocol {
			some = append(some, one)
		}
	}
	return sumOf(some...)
}

// sumOf returns the counts of all these loads.
func sumOf(loads ...*load) counts {
	var sum counts
	for _, one := range loads {
		sum = sum.plus(one.tally.now())
	}
	return sum
}

// A traffic is requests that are being sent.
type traffic struct {
	end  chan struct{}
	wait sync.WaitGroup
	done []func() // called when none is sent any more
}

// send sends requests until stop.
func send(ctx context.Context, loads []*load) *traffic {
	t := &traffic{end: make(chan struct{})}
	for _, l := range loads {
		request, done := l.open()
		t.done = append(t.done, done)
		for range l.clients {
			t.wait.Go(func() { t.run(ctx, l, request) })
		}
	}
	return t
}

// stop waits for what was sent to be answered.
func (t *traffic) stop() {
	close(t.end)
	t.wait.Wait()
	for _, done := range t.done {
		done()
	}
}

func (t *traffic) run(ctx context.Context, l *load, request client) {
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
		err = fmt.Errorf("%s, %s: request %d of a client: %w", l.name, l.protocol, n, err)
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
