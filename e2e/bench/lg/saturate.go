package main

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// patience is how long one answer may take.
const patience = 5 * time.Second

// A tally is what several workers count together until they are told to stop.
type tally struct {
	done, bad atomic.Int64
	stop      atomic.Bool
}

// measure lets the workers go on for d, and reports. scale is how many of what
// they counted make one of the report's unit.
func (t *tally) measure(d time.Duration, workers *sync.WaitGroup, scale float64) error {
	start := time.Now()
	time.Sleep(d)
	t.stop.Store(true)
	n := float64(t.done.Load()) / scale
	elapsed := time.Since(start)
	if workers != nil {
		workers.Wait()
	}
	return report(map[string]any{"reqs": n, "rps": n / elapsed.Seconds(), "bad": t.bad.Load()})
}

// pingPong sends and awaits one message at a time on each connection.
func pingPong(o options) error {
	debug.SetGCPercent(-1)
	conns, err := dialAll(o.addr, o.conns)
	if err != nil {
		return err
	}
	var t tally
	var workers sync.WaitGroup
	for _, c := range conns {
		workers.Go(func() {
			b := make([]byte, o.size)
			for !t.stop.Load() {
				if !ping(c, b) {
					t.bad.Add(1)
					return
				}
				t.done.Add(1)
			}
		})
	}
	return t.measure(o.dur, &workers, 1)
}

func ping(c net.Conn, b []byte) bool {
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(b); err != nil {
		return false
	}
	_, err := io.ReadFull(c, b)
	return err == nil
}

// bulk uploads as fast as it can, and counts in MB.
func bulk(o options) error {
	conns, err := dialAll(o.addr, o.conns)
	if err != nil {
		return err
	}
	var t tally
	for _, c := range conns {
		go func() { // a write may wait for ever: nobody waits for it
			defer c.Close()
			b := make([]byte, 256<<10)
			for !t.stop.Load() {
				n, err := c.Write(b)
				t.done.Add(int64(n))
				if err != nil {
					t.bad.Add(1)
					return
				}
			}
		}()
	}
	return t.measure(o.dur, nil, 1e6)
}

func getRequest(path, extra string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: bench.test\r\n" + extra + "\r\n")
}

// connections opens a connection for each request.
func connections(o options) error {
	var t tally
	var workers sync.WaitGroup
	request := getRequest(o.path, "Connection: close\r\n")
	for range o.conns {
		workers.Go(func() {
			b := make([]byte, 64<<10)
			for !t.stop.Load() {
				if once(o.addr, request, b) {
					t.done.Add(1)
				} else {
					t.bad.Add(1)
				}
			}
		})
	}
	return t.measure(o.dur, &workers, 1)
}

// once sends one request on a connection of its own, and reads to its end.
func once(addr string, request, b []byte) bool {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		time.Sleep(time.Millisecond) // not to spin while nobody listens
		return false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	c.Write(request)
	received := false
	for {
		n, err := c.Read(b)
		received = received || n > 0
		if err != nil {
			break
		}
	}
	c.(*net.TCPConn).SetLinger(0) // no port left in TIME_WAIT
	return received && bytes.HasPrefix(b, []byte("HTTP/1.1 200"))
}

// hold makes one request on each of many connections, and then leaves them idle.
func hold(o options) error {
	var held atomic.Int64
	var workers sync.WaitGroup
	request := getRequest(o.path, "")
	conns := make([]net.Conn, o.n)
	slots := make(chan struct{}, 50) // so many are opened at once
	for i := range conns {
		slots <- struct{}{}
		workers.Go(func() {
			defer func() { <-slots }()
			c, err := dial(o.addr)
			if err != nil {
				return
			}
			conns[i] = c
			c.SetDeadline(time.Now().Add(patience))
			c.Write(request)
			if n, _ := c.Read(make([]byte, 4096)); n > 0 {
				held.Add(1)
			}
		})
	}
	workers.Wait()
	err := report(map[string]any{"held": held.Load()})
	time.Sleep(o.dur)
	runtime.KeepAlive(conns)
	return err
}
