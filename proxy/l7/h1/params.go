package h1

import (
	"time"

	"github.com/outrigger-mesh/outrigger/guard"
	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// Params bound what one connection may take.
type Params struct {
	HeadTime    time.Duration // to receive a head, from its first byte; zero means for ever
	HeadBytes   int           // in one head, or one trailer
	Fields      int           // in one head, or one trailer
	Drain       int           // bytes of an unread body that are read to save a connection
	DrainTime   time.Duration // to read those bytes; and for a client that is left to pause, so that it reads its answer
	ClientWatch time.Duration // how long a request is in hand before its client is watched for leaving; and about how long a connection idles before it is parked
	Continue    time.Duration // how long a body that waits for 100 (Continue) is held back

	// Leaving, if it is not nil, reports whether clients are to open another
	// connection, elsewhere if they can: each response then says so, and is its
	// connection's last. Idle connections are left alone.
	Leaving func() bool
	// Quiet is how long a connection idles, once clients are asked to leave, before
	// it is closed by a Serve that is to end.
	Quiet time.Duration
	// Crossed, if it is not nil, is told of each request that came after such a close.
	Crossed func(*stack.Conn)

	// Bulk is the size of the buffers that long contents have; zero means codec.Bulk.
	Bulk int

	// Workers, if it is not nil, run the requests of connections that idle for most
	// of the time.
	Workers *codec.Workers

	Idle    time.Duration // to keep a pooled connection between two requests
	MaxIdle int           // pooled connections that are idle at once

	// Backoff returns a new sequence of pauses between failed dials.
	Backoff func() func() time.Duration

	// Guard is told of panics. It may be nil.
	Guard *guard.Guard

	// Reasons adds l5d-proxy-error to the answers that Serve gives itself.
	Reasons bool
	// Refused, if it is not nil, is told of each answer that Serve gives itself.
	Refused func(*RequestError)
}
