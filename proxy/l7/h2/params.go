package h2

import (
	"cmp"
	"time"

	"github.com/outrigger-mesh/outrigger/guard"
)

// Params bound what one connection may take, and say what its peer is told. A zero
// window or frame size is the RFC's own.
type Params struct {
	HeadTime  time.Duration // to receive a header block, from its first frame, and the peer's first SETTINGS; zero means for ever
	HeadBytes int           // in one head, or one trailer, once decoded
	Fields    int           // in one head, or one trailer
	Continue  time.Duration // how long a body that waits for 100 (Continue) is held back
	DrainTime time.Duration // for a peer to read why its connection ends, and to close it

	StreamWindow, ConnWindow uint32 // bytes that the peer may send ahead of their reader
	MaxStreams               uint32 // of a client's, at once; zero means as many as it likes
	MaxFrameSize             uint32 // bytes
	MaxSendBuffer            int    // bytes that wait in one connection to be written
	MaxResets                int    // of unanswered streams, by the client, in one burst

	KeepAliveInterval  time.Duration // of silence, after which the peer is pinged; zero for never
	KeepAliveTimeout   time.Duration // for its answer
	KeepAliveWhileIdle bool          // also without a stream

	// Leaving is as in h1.Params: clients are asked to leave by GOAWAY.
	Leaving func() bool

	// Backoff returns a new sequence of pauses between failed dials.
	Backoff func() func() time.Duration

	// Patience is a Pool's with servers that may not listen yet. It needs Backoff.
	Patience Patience

	// Guard is told of panics. It may be nil.
	Guard *guard.Guard

	// Scheduler is shared by the connections of one process, so that what is
	// written together leaves together. It must not be nil.
	Scheduler *Scheduler
}

const (
	defaultSendBuf = 256 << 10  // bytes
	flushAt        = 32 << 10   // bytes, from which on nobody else's flush is waited for
	maxInterims    = 16         // 1xx responses ahead of a final one
	maxStreamID    = lastStream // from which on a connection takes no more
)

func (p *Params) streamWindow() int64 { return int64(cmp.Or(p.StreamWindow, firstWindow)) }
func (p *Params) connWindow() int64   { return int64(max(p.ConnWindow, firstWindow)) }
func (p *Params) frameSize() int      { return int(cmp.Or(p.MaxFrameSize, minFrameSize)) }
func (p *Params) sendBuffer() int     { return cmp.Or(p.MaxSendBuffer, defaultSendBuf) }
