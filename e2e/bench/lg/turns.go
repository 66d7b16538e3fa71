package main

import (
	"bytes"
	"io"
	"net"
	"strconv"
	"sync"
)

// turns sends on a connection that carries one request at a time. Those that are
// due meanwhile queue up.
type turns struct {
	c       net.Conn
	l       *latencies
	request []byte

	mu     sync.Mutex
	busy   bool
	since  int64   // when the one in hand was due, or sent
	queued []int64 // when the others were due
}

func newTurns(c net.Conn, l *latencies, request []byte, read func(*turns) error) *turns {
	t := &turns{c: c, l: l, request: request}
	go func() {
		if read(t) != nil {
			l.bad.Add(1)
		}
	}()
	return t
}

func (t *turns) send(due, now int64) {
	t.mu.Lock()
	if t.busy {
		t.queued = append(t.queued, due)
		t.mu.Unlock()
		return
	}
	t.busy, t.since = true, now
	t.mu.Unlock()
	t.write()
}

func (t *turns) write() {
	if _, err := t.c.Write(t.request); err != nil {
		t.l.bad.Add(1)
	}
}

// answered records the request in hand, and sends the next if one is due.
func (t *turns) answered() {
	now := monotonic()
	t.mu.Lock()
	took := now - t.since
	t.busy = len(t.queued) > 0
	next := t.busy
	if next {
		t.since, t.queued = t.queued[0], t.queued[1:]
	}
	t.mu.Unlock()
	if next {
		t.write()
	}
	t.l.record(took)
}

func readEchoes(t *turns) error {
	b := make([]byte, len(t.request))
	for {
		if _, err := io.ReadFull(t.c, b); err != nil {
			return err
		}
		t.answered()
	}
}

// readHTTP1 reads responses that have a length or chunks; it trusts the server.
func readHTTP1(t *turns) error {
	in := input{c: t.c, b: make([]byte, 256<<10)}
	for {
		head, err := in.until(0, "\r\n\r\n")
		if err != nil {
			return err
		}
		lower := bytes.ToLower(in.b[:head])
		if !bytes.HasPrefix(lower, []byte("http/1.1 200")) {
			t.l.bad.Add(1)
		}
		end := head + contentLength(lower)
		if end >= head {
			err = in.fill(end)
		} else { // chunks, whose last may begin where the head ends
			end, err = in.until(head-2, "\r\n0\r\n\r\n")
		}
		if err != nil {
			return err
		}
		in.drop(end)
		t.answered()
	}
}

// contentLength returns the length that a head gives in lower case, or so low a
// number that nothing can be added to it if it gives none.
func contentLength(head []byte) int {
	const none = -1 << 40
	_, rest, ok := bytes.Cut(head, []byte("\r\ncontent-length:"))
	if !ok {
		return none
	}
	value, _, _ := bytes.Cut(rest, []byte("\r\n"))
	n, err := strconv.Atoi(string(bytes.TrimSpace(value)))
	if err != nil {
		return none
	}
	return n
}

// input is what has been received and not yet dropped: b[:n].
type input struct {
	c net.Conn
	b []byte
	n int
}

func (in *input) more() error {
	n, err := in.c.Read(in.b[in.n:])
	in.n += n
	return err
}

// until returns the end of the first such text at or after from.
func (in *input) until(from int, text string) (end int, err error) {
	for {
		if i := bytes.Index(in.b[min(from, in.n):in.n], []byte(text)); i >= 0 {
			return from + i + len(text), nil
		}
		if err := in.more(); err != nil {
			return 0, err
		}
	}
}

func (in *input) fill(n int) error {
	for in.n < n {
		if err := in.more(); err != nil {
			return err
		}
	}
	return nil
}

func (in *input) drop(n int) { in.n = copy(in.b, in.b[n:in.n]) }
