package control

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A stream is a grpc.ClientStream that keeps a Client's Limits and is counted.
type stream struct {
	grpc.ClientStream
	client *Client
	ctx    context.Context //nolint:containedctx // the call's own; its cause says which limit ended it
	cancel context.CancelCauseFunc
	quiet  *time.Timer // stops the stream when nothing has come for too long; nil if that may be
	life   *time.Timer // stops it in any case; nil if nothing does
	doubt  *time.Timer // until the first message, looks whether anybody is there
	began  time.Time
	begun  time.Duration // until the first message; zero before that
	ended  bool
}

// open begins a call on r.
func (c *Client) open(ctx context.Context, r *replica, desc *grpc.StreamDesc, method string, opts []grpc.CallOption) (*stream, error) {
	c.conf.Observe.Request(c.conf.Name, c.conf.Addr.String())
	s := &stream{client: c, began: time.Now()}
	ctx, s.cancel = context.WithCancelCause(ctx)
	s.ctx = ctx
	s.limit(c.conf.Limits)
	var err error
	if s.ClientStream, err = r.conn.NewStream(ctx, desc, method, opts...); err != nil {
		err = s.explain(err)
		s.end(err)
		return nil, err
	}
	s.doubt = time.AfterFunc(time.Hour, func() {
		if r.doubt() {
			s.doubt.Reset(doubtful / 2)
		}
	})
	s.doubt.Reset(doubtful) // once it stands where the function looks for it
	return s, nil
}

// doubtful is how long a stream may be without an answer before it is asked
// whether the connection still is one.
const doubtful = time.Second

// limit arms the timers, which stop by themselves if the caller leaves.
func (s *stream) limit(l Limits) {
	if d := l.first(); d > 0 {
		s.quiet = time.AfterFunc(d, func() { s.cancel(errQuiet) })
	}
	if l.Lifetime > 0 {
		s.life = time.AfterFunc(l.Lifetime, func() { s.cancel(errExpired) })
	}
	if s.quiet != nil || s.life != nil {
		context.AfterFunc(s.ctx, s.disarm)
	}
}

func (s *stream) disarm() {
	if s.quiet != nil {
		s.quiet.Stop()
	}
	if s.life != nil {
		s.life.Stop()
	}
}

// RecvMsg implements grpc.ClientStream. A limit that ends the stream looks like
// its regular end, io.EOF, unless nothing came at all.
func (s *stream) RecvMsg(m any) error {
	if err := s.ClientStream.RecvMsg(m); err != nil {
		err = brief(s.explain(err))
		s.end(err)
		return err
	}
	if s.begun == 0 {
		s.begun = max(time.Since(s.began), 1)
		s.doubt.Stop()
	}
	s.heard()
	return nil
}

// heard starts the limit between messages anew. If that has just struck, the
// next RecvMsg says so.
func (s *stream) heard() {
	if s.quiet == nil {
		return
	}
	if idle := s.client.conf.Limits.Idle; idle > 0 {
		s.quiet.Reset(idle)
	} else {
		s.quiet.Stop()
	}
}

// explain returns what the reference says when a limit has ended the stream, and
// err otherwise.
func (s *stream) explain(err error) error {
	switch cause := context.Cause(s.ctx); {
	case errors.Is(cause, errQuiet) && s.begun == 0:
		return status.Error(codes.DeadlineExceeded, "initial item not received within timeout")
	case errors.Is(cause, errQuiet), errors.Is(cause, errExpired):
		return io.EOF
	}
	return err
}

// end releases what the stream holds, once.
func (s *stream) end(err error) {
	if s.ended {
		return
	}
	s.ended = true
	if s.doubt != nil {
		s.doubt.Stop()
	}
	s.cancel(nil)
	s.disarm()
	if s.begun == 0 {
		s.begun = time.Since(s.began)
	}
	code := status.Code(err)
	if errors.Is(err, io.EOF) {
		code = codes.OK
	}
	s.client.conf.Observe.Response(s.client.conf.Name, s.client.conf.Addr.String(), uint32(code), s.begun)
}
