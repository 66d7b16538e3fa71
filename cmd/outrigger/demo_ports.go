package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
)

// errPortTaken is a process that could not listen.
var errPortTaken = errors.New("a port was taken")

// A portPicker finds ports that are free. It holds them until it is done, so that
// none is given twice.
type portPicker struct {
	held  []net.Listener
	moved []string // as "4191→4201"
	err   error
}

const (
	portStep  = 10 // keeps the last digit, which is a workload's number
	portTries = 100
)

// pick returns "127.0.0.1:usual", or the next that is free.
func (p *portPicker) pick(ctx context.Context, usual int) string {
	if p.err != nil {
		return ""
	}
	for n := range portTries {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(usual+n*portStep))
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			p.err = err
			return ""
		}
		p.held = append(p.held, l)
		if n > 0 {
			p.moved = append(p.moved, fmt.Sprintf("%d→%s", usual, portOf(addr)))
		}
		return addr
	}
	p.err = fmt.Errorf("%d ports from %d on are %w", portTries, usual, errPortTaken)
	return ""
}

func (p *portPicker) close() {
	for _, l := range p.held {
		_ = l.Close()
	}
}

// startPort is held while a demonstration starts, lest two that start at once find
// the same ports free.
const startPort = "127.0.0.1:14199"

// claimStart waits for other demonstrations to have started. It gives up when ctx
// is done, as the port may be somebody else's: what is taken is then found out.
func claimStart(ctx context.Context) (release func()) {
	for {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", startPort)
		if err == nil {
			return func() { _ = l.Close() }
		}
		if pause(ctx, demoTick) != nil {
			return func() {}
		}
	}
}

// pickMesh finds a place for everything.
func pickMesh(ctx context.Context) (*demoMesh, error) {
	p := &portPicker{}
	defer p.close()
	m := &demoMesh{
		control:   p.pick(ctx, 8086),
		admin:     p.pick(ctx, 4191),
		web:       p.pick(ctx, 5001),
		books:     p.pick(ctx, 5002),
		db:        p.pick(ctx, 5003),
		shop:      p.pick(ctx, 5004),
		feed:      p.pick(ctx, 5005),
		chat:      p.pick(ctx, 5006),
		oldWeight: 90, newWeight: 10,
	}
	for i := range m.workloads {
		n := i + 1
		m.workloads[i] = demoWorkload{
			appAddrs: appAddrs{
				web:  p.pick(ctx, 8080+n),
				shop: p.pick(ctx, 8180+n),
				feed: p.pick(ctx, 8280+n),
				chat: p.pick(ctx, 8380+n),
				db:   p.pick(ctx, 9080+n),
			},
			in:    p.pick(ctx, 14140+n),
			admin: p.pick(ctx, 14190+n),
		}
	}
	m.moved = p.moved
	return m, p.err
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

func hostOf(addr string) string {
	host, _, _ := net.SplitHostPort(addr)
	return host
}
