package control

import (
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A Message is one message of a stream that is opened again and again.
type Message[M any] struct {
	M     M
	First bool // since the stream was opened: what was said before it may be void
}

// Watch opens a stream of c, reads it to its end and opens it again, until ctx is
// done or c closed. It yields each message; and, as an error, each refusal that the control
// plane itself spoke, for which see Refused and Unknown: whoever reads decides
// whether to go on. Every other end is logged, once per outage, and mended: the
// stream is opened again after a delay of c's Backoff, whose sequence begins anew
// once a stream has lived for as long as the longest delay and has had a message.
// (The reference begins anew at the response's headers, and so redials at full
// pace a server that accepts and closes.)
//
// what names the question in logs, as "profile of 10.0.0.1:80". open opens the
// stream, as a generated client's method does; the context that it is given ends
// with the stream.
func Watch[M any](ctx context.Context, c *Client, what string, open func(context.Context) (interface{ Recv() (M, error) }, error)) iter.Seq2[Message[M], error] {
	return func(yield func(Message[M], error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer c.whenClosed(cancel)()
		w := watching[M]{client: c, delays: c.conf.Backoff.Start(), log: c.conf.Log.With("what", what), open: open, yield: yield}
		for w.once(ctx) && w.delays.Wait(ctx) == nil {
		}
	}
}

// watching is one range over a Watch.
type watching[M any] struct {
	client *Client
	delays *Delays
	log    *slog.Logger
	open   func(context.Context) (interface{ Recv() (M, error) }, error)
	yield  func(Message[M], error) bool
	spoke  bool      // the stream at hand has had a message
	told   bool      // the trouble with these streams is logged already
	quiet  time.Time // until then trouble is not worth another line
}

// quietly is how long after a line about a trouble the same is not told again: a
// control plane that comes and goes would fill the log.
const quietly = 10 * time.Second

// once reads one stream to its end and reports whether to open another.
func (w *watching[M]) once(ctx context.Context) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	began := time.Now()
	s, err := w.open(ctx)
	for w.spoke = false; err == nil; {
		var m M
		if m, err = s.Recv(); err != nil {
			break
		}
		first := !w.spoke
		w.heard(ctx)
		if !w.yield(Message[M]{M: m, First: first}, nil) {
			return false
		}
	}
	if w.spoke && time.Since(began) >= w.client.conf.Backoff.Max {
		w.delays.Reset()
	}
	switch {
	case ctx.Err() != nil:
		return false
	case Refused(err), Unknown(err):
		return w.yield(Message[M]{}, err)
	}
	w.tell(ctx, err)
	return true
}

func (w *watching[M]) heard(ctx context.Context) {
	w.spoke = true
	w.client.outage.end()
	if w.told {
		w.told = false
		w.log.LogAttrs(ctx, slog.LevelInfo, "the control plane speaks of this again")
	}
}

// tell logs why a stream ended, once until it works again. What ends every stream
// is told once for all.
func (w *watching[M]) tell(ctx context.Context, err error) {
	switch {
	case errors.Is(err, io.EOF) && w.spoke: // as when a limit on its lifetime strikes
		w.log.LogAttrs(ctx, slog.LevelDebug, "the control plane ended a stream; it will be opened again")
	case status.Code(err) == codes.Unavailable:
		w.client.outage.begin(err)
	case !w.told && time.Now().After(w.quiet):
		w.told, w.quiet = true, time.Now().Add(quietly)
		w.log.LogAttrs(ctx, slog.LevelWarn, "a stream of the control plane failed; its last value stands", slog.Any("error", err))
	}
}
