package control

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // which Undecoded builds on
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// Undecoded is the option with which the stream for Latest is to be opened.
func Undecoded() grpc.CallOption {
	return grpc.ForceCodecV2(undecoded{encoding.GetCodecV2("proto")})
}

// undecoded leaves messages as they came.
type undecoded struct{ encoding.CodecV2 }

// Unmarshal implements encoding.CodecV2.
func (u undecoded) Unmarshal(data mem.BufferSlice, v any) error {
	if raw, ok := v.(*[]byte); ok {
		*raw = data.Materialize()
		return nil
	}
	return u.CodecV2.Unmarshal(data, v)
}

// Name implements encoding.CodecV2: on the wire there is no difference.
func (u undecoded) Name() string { return "" }

// Latest receives the newest message of a stream of which each message says all
// that there is, and no more than one in the time given. The stream is read as
// fast as it comes, since a control plane ends the streams of slow readers; but
// what the next message makes void is not even decoded. err is the stream's own.
func Latest[M any, P interface {
	*M
	proto.Message
}](s grpc.ClientStream, err error, settle time.Duration,
) (interface{ Recv() (*M, error) }, error) {
	if err != nil {
		return nil, err
	}
	l := &latest[M, P]{ctx: s.Context(), settle: settle, ready: make(chan struct{}, 1)}
	go l.read(s)
	return l, nil
}

// A latest is what Latest returns. One goroutine reads the stream until it ends,
// which is when its context does at the latest; another receives.
type latest[M any, P interface {
	*M
	proto.Message
}] struct {
	ctx    context.Context //nolint:containedctx // the stream's own
	settle time.Duration
	next   time.Time     // when the next message may be received
	ready  chan struct{} // there may be news; one signal is enough for any number

	mu    sync.Mutex // guards what follows
	raw   []byte
	fresh bool // raw has not been received
	err   error
}

func (l *latest[M, P]) read(s grpc.ClientStream) {
	for err := error(nil); err == nil; {
		var raw []byte
		err = s.RecvMsg(&raw)
		l.put(raw, err)
	}
}

func (l *latest[M, P]) put(raw []byte, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err = err; err == nil {
		l.raw, l.fresh = raw, true
	}
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

// Recv waits for a message that has not been received. It has what the stream
// ended with only when there is none.
func (l *latest[M, P]) Recv() (*M, error) {
	if pause := time.Until(l.next); pause > 0 {
		_ = sleep(l.ctx, pause)
	}
	for {
		raw, fresh, err := l.take()
		switch {
		case fresh:
			l.next = time.Now().Add(l.settle)
			m := new(M)
			if err := proto.Unmarshal(raw, P(m)); err != nil {
				return nil, fmt.Errorf("undecodable message of %d bytes: %w", len(raw), err)
			}
			return m, nil
		case err != nil:
			return nil, err
		}
		<-l.ready
	}
}

func (l *latest[M, P]) take() (raw []byte, fresh bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	raw, fresh, err = l.raw, l.fresh, l.err
	l.raw, l.fresh = nil, false
	return raw, fresh, err
}
