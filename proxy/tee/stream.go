package tee

import (
	"context"
	"errors"
	"io"
	"time"
)

// A Stream is one message's content, as one consumer reads it.
type Stream struct {
	consumer *Consumer
	feed     *feed
	ctx      context.Context //nolint:containedctx // the consumer's, which is given it too
	cancel   context.CancelCauseFunc
	news     chan struct{} // has one when take may find more than it did

	// What follows is guarded by feed.mu.
	why    Reason // that it was detached
	at     *block // where it stands, or nil if it has read all
	off    int    // in at
	inHand bool   // the chunk before off is in the consumer's hand
	lag    int64  // bytes that it has yet to read
	ended  bool   // it has been told the end
	read   int64  // bytes
	seen   int64  // read, when it was last looked at
	timer  *time.Timer
}

// Next returns the content's next chunk, valid until the next call, and waits for
// it until ctx is done. After the last it fails with io.EOF if the content is
// Complete, with a *BrokenError if it is not, and with a *DetachedError as soon as
// the consumer was detached.
func (s *Stream) Next(ctx context.Context) ([]byte, error) {
	for {
		chunk, err := s.take()
		if chunk != nil || err != nil {
			return chunk, err
		}
		select {
		case <-s.news:
		case <-s.ctx.Done(): // take then says why
			s.stop()
		case <-ctx.Done():
			if s.ctx.Err() == nil {
				return nil, context.Cause(ctx)
			}
			s.stop()
		}
	}
}

// End returns what is said of the content's end. It holds once Next has told it.
func (s *Stream) End() End {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	return s.feed.end
}

// take returns what is at hand: a chunk, the end, or neither.
func (s *Stream) take() ([]byte, error) {
	f := s.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	s.inHand = false
	switch {
	case s.why != attached:
		s.drop()
		return nil, &DetachedError{s.why}
	case s.advance():
		chunk := s.at.data[s.off:s.at.n]
		s.off, s.inHand = s.at.n, true
		n := int64(len(chunk))
		s.read += n
		s.behind(-n)
		s.consumer.counts.bytes.Add(n)
		return chunk, nil
	case !f.over:
		return nil, nil
	}
	s.ended = true
	if f.end.State == Complete {
		return nil, io.EOF
	}
	return nil, &BrokenError{f.end.State, f.end.Err}
}

// advance reports whether there is something unread, and goes there. A block that
// is read to its end is given back, even if it is not full: who waits holds
// nothing. The caller holds feed.mu.
func (s *Stream) advance() bool {
	for s.at != nil && s.off == s.at.n {
		done := s.at
		s.at, s.off = done.next, 0
		s.feed.unref(done)
	}
	return s.at != nil
}

// drop gives back the block in the hand of a detached consumer. The caller holds
// feed.mu.
func (s *Stream) drop() {
	if s.at != nil {
		s.feed.unref(s.at)
		s.at = nil
	}
}

// behind notes that n bytes more are to be read. The caller holds feed.mu.
func (s *Stream) behind(n int64) {
	s.lag += n
	s.consumer.counts.lag.Add(n)
}

// wake has Next look again.
func (s *Stream) wake() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// stop detaches s because its context is done, if nothing else has.
func (s *Stream) stop() {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	s.feed.detach(s, Shutdown)
}

// watch detaches s once it leaves what there is unread for too long. The caller
// holds feed.mu.
func (s *Stream) watch() {
	if d := s.consumer.tee.config.Stall; d > 0 {
		s.timer = time.AfterFunc(d, s.check)
	}
}

func (s *Stream) check() {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	if s.why != attached {
		return
	}
	if s.lag > 0 && s.read == s.seen {
		s.feed.detach(s, Stalled)
		return
	}
	s.seen = s.read
	s.timer.Reset(s.consumer.tee.config.Stall)
}

// finish ends s, whose consumer has returned, and reports why it was detached, if
// it was: it may have been before, or it is so by how it returned.
func (s *Stream) finish(err error, panicked bool) Reason {
	f := s.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	s.inHand = false
	if s.timer != nil {
		s.timer.Stop()
	}
	var broken *BrokenError
	switch {
	case panicked:
		f.detach(s, Panicked)
	case s.ctx.Err() != nil: // and it was not detached, or that stands
		f.detach(s, Shutdown)
	case err != nil && !errors.As(err, &broken):
		f.detach(s, Failed)
	case !s.ended:
		f.detach(s, Closed)
	}
	why := s.why
	if why == attached {
		s.why = Closed // it counts as none: all has been read
		f.live--
		f.release(s)
	}
	s.drop()
	f.forget(s)
	return why
}
