package h1

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// An output is what is to be written on a connection, gathered so that what is at
// hand together leaves together.
type output struct {
	c    *stack.Conn
	mu   sync.Mutex  // an interim response, or a flush, may come from another goroutine
	busy bool        // a message is being written: its writer needs no lock, and flushes by itself
	buf  []byte      // borrowed; nil while there is nothing
	held atomic.Bool // buf is not nil: for who would flush it, and need not
	err  error       // of the first write that failed
	sent int64       // bytes that the connection took of the message in hand
	left int64       // of a content of known length
	kind kind
}

// flush writes what is held back, and gives the buffer back. What the connection
// took no byte of stays: another one may be given it. Callers hold mu, or have made
// o busy.
func (o *output) flush() error {
	if len(o.buf) > 0 && o.err == nil {
		o.write(o.buf)
	}
	if o.err == nil || o.sent > 0 {
		o.drop()
	}
	return o.err
}

func (o *output) write(p []byte) {
	n, err := o.c.Write(p)
	o.sent += int64(n)
	o.err = err
}

// Flush is flush for whoever is not the writer of the message in hand.
func (o *output) Flush() {
	if !o.held.Load() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.busy {
		_ = o.flush()
	}
}

func (o *output) setBusy(busy bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.busy = busy
}

// drop gives the buffer back, and what is in it up.
func (o *output) drop() {
	if o.buf != nil {
		codec.Return(o.buf)
		o.buf = nil
		o.held.Store(false)
	}
}

// take makes o write what from was to, of which nothing has left.
func (o *output) take(from *output) {
	o.drop()
	o.buf, o.kind, o.left = from.buf, from.kind, from.left
	o.held.Store(o.buf != nil)
	from.buf = nil
	from.held.Store(false)
}

func (o *output) borrow() {
	if o.buf == nil {
		o.buf = codec.Borrow(codec.Head)
		o.held.Store(true)
	}
}

func (o *output) text(s string) { o.buf = append(o.buf, s...) }

// fields appends each field but those that skip names. Names and values came
// through a parser or from a layer; one that would end its line early is an
// attack from within, and fails the message.
func (o *output) fields(h *stack.Header, skip func(name string) bool) error {
	for i := range h.Len() {
		name, value := h.At(i)
		if skip != nil && skip(name) {
			continue
		}
		if !h.Parsed(i) && !writable(name, value) {
			return fmt.Errorf("header %q cannot be written: %s", name, codec.Quoted(value))
		}
		o.field(name, value)
	}
	return nil
}

func (o *output) field(name, value string) {
	b := append(o.buf, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	o.buf = append(b, "\r\n"...)
}

func writable(name, value string) bool {
	return name != "" && codec.All(name, codec.Token) && codec.All(value, codec.Value)
}

// frame appends the field that delimits a content of that size, unless the header
// has it already, and begins to check the content against it. A header that says
// otherwise, or twice, fails the message: it would be read in two ways.
func (o *output) frame(h *stack.Header, size int64, known, always bool) error {
	declared, err := codec.DeclaredLength(h)
	switch {
	case err != nil:
		return err
	case declared >= 0 && !known:
		return fmt.Errorf("content-length %d on a content of unknown length", declared)
	case declared >= 0 && declared != size:
		return fmt.Errorf("content-length %d on a content of %d bytes", declared, size)
	case !known:
		o.kind, o.left = byChunks, 0
		o.text("transfer-encoding: chunked\r\n")
		return nil
	}
	o.kind, o.left = byLength, size
	if declared < 0 && (size > 0 || always) {
		o.text("content-length: ")
		o.buf = strconv.AppendInt(o.buf, size, 10)
		o.text("\r\n")
	}
	return nil
}

// data appends a chunk of content, and writes when that is more than the buffer
// holds.
func (o *output) data(chunk []byte) error {
	if len(chunk) == 0 || o.kind == noContent {
		return o.err
	}
	switch o.kind {
	case byLength:
		if o.left -= int64(len(chunk)); o.left < 0 {
			return errors.New("content is longer than its length")
		}
	case byChunks:
		return o.chunk(chunk)
	case byEnd, noContent:
	}
	return o.bytes(chunk)
}

func (o *output) chunk(data []byte) error {
	o.borrow()
	o.buf = strconv.AppendInt(o.buf, int64(len(data)), 16)
	o.text("\r\n")
	if err := o.bytes(data); err != nil {
		return err
	}
	o.borrow()
	o.text("\r\n")
	return nil
}

// bytes appends p if there is room. Else it writes what it holds filled up with
// the beginning of p, and the rest of p as it lies.
func (o *output) bytes(p []byte) error {
	o.borrow()
	room := cap(o.buf) - len(o.buf) - 2 // for a chunk's end
	if len(p) <= room {
		o.buf = append(o.buf, p...)
		return o.err
	}
	if len(o.buf) > 0 && room > 0 && len(p)-room > codec.Head/2 {
		o.buf = append(o.buf, p[:room]...)
		p = p[room:]
	}
	if err := o.flush(); err != nil {
		return err
	}
	o.write(p)
	return o.err
}

// end appends what follows the content.
func (o *output) end(trailer *stack.Header) error {
	switch {
	case o.kind == byLength && o.left > 0:
		return ErrTruncated
	case o.kind == byChunks:
		o.borrow()
		o.text("0\r\n")
		if err := o.fields(trailer, forbiddenTrailer); err != nil {
			return err
		}
		o.text("\r\n")
	}
	return o.err
}
