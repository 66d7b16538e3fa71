package stack

import (
	"context"
	"io"
)

// A Body is a message's content, pulled chunk by chunk. The back-pressure is its
// reader's pace: nothing is received ahead of it but what one buffer holds, and
// an HTTP/2 body gives flow-control credit for a chunk when the next is asked for.
//
// One goroutine at a time reads it, until Next fails, and then Closes it: always,
// since Close is when what the message borrowed is given back. Whoever made the
// body may end it under its reader, whose Next then fails; the chunk in hand
// stays valid until Close.
type Body interface {
	// Next returns the next chunk, valid until the next call of Next or Close.
	// The last may come together with io.EOF, as from an io.Reader. After an
	// error there is nothing more; but a Next that was stopped because its ctx
	// is done loses nothing, and may be called again.
	Next(ctx context.Context) (chunk []byte, err error)

	// AtHand reports whether the next chunk, or the end, can be had without
	// waiting. A codec that has bytes to flush asks before each Next, so that
	// a head and a short content leave in one write, and neither waits for
	// the other.
	AtHand() bool

	// Trailer returns the fields after the content. They are complete once Next
	// has returned io.EOF, and none before; it never returns nil.
	Trailer() *Header

	// Size returns the length of the whole content, if that is known at the start.
	Size() (n int64, known bool)

	// Close says that the reader wants no more. Before the end, a cause resets
	// the stream, and is told to the peer as far as its version can; without
	// one the connection may be saved. The message, its chunks and its trailer
	// are gone with it. A second Close does nothing.
	Close(cause error) error
}

// Bytes returns a body whose content is p.
func Bytes(p []byte) Body { return &content{rest: p, size: int64(len(p))} }

// Empty returns a body without content.
func Empty() Body { return Bytes(nil) }

type content struct {
	rest    []byte
	size    int64
	trailer Header
}

func (c *content) Next(context.Context) ([]byte, error) {
	chunk := c.rest
	c.rest = nil
	return chunk, io.EOF
}

func (c *content) AtHand() bool        { return true }
func (c *content) Trailer() *Header    { return &c.trailer }
func (c *content) Size() (int64, bool) { return c.size, true }
func (c *content) Close(error) error   { c.rest = nil; return nil }
