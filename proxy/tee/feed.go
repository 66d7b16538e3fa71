package tee

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A feed is the one observer of a content through which all its consumers are
// shown it. What it does for the body's reader takes no longer than one copy: it
// waits for nothing but its lock, under which nobody waits.
type feed struct {
	tee  *Tee
	body stack.Body // for its trailer

	ofRequest bool
	unframed  bool // nothing tells a cut from the end
	grpc      bool // without a status in its head
	sized     bool // size is to be the content's
	size      int64

	mu      sync.Mutex
	streams []*Stream
	live    int    // of streams, those that are attached
	tail    *block // the last that is in use
	held    int64  // bytes of the blocks in use
	passed  int64  // bytes
	left    bool   // the body's reader has left it
	over    bool   // end holds
	end     End
}

// feedOf returns the feed among a message's observers, or nil.
func feedOf(all []stack.Observer) *feed {
	for _, o := range all {
		if f, ok := o.(*feed); ok {
			return f
		}
	}
	return nil
}

// responseFeed is that of r's response, which knows what makes it complete.
func responseFeed(t *Tee, r *stack.Request, resp *stack.Response) *feed {
	f := &feed{tee: t, unframed: resp.Unframed || resp.Tunnel}
	f.size, f.sized = resp.Body.Size()
	if r.Method == "HEAD" || resp.Status == 204 || resp.Status == 304 {
		f.sized = false // it is that of another content
	}
	f.grpc = strings.HasPrefix(resp.Header.Get("content-type"), "application/grpc") &&
		resp.Header.GRPCStatus() == stack.NoGRPCStatus
	return f
}

// add attaches s.
func (f *feed) add(s *Stream) Reason {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.passed > 0 || f.over:
		return Late
	case f.live >= f.tee.config.Consumers:
		return TooMany
	}
	f.streams = append(f.streams, s)
	f.live++
	s.watch()
	return attached
}

// Data implements stack.Observer.
func (f *feed) Data(chunk []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.passed += int64(len(chunk))
	if f.live == 0 {
		return
	}
	f.detachSlow(int64(len(chunk)))
	for rest := chunk; len(rest) > 0; {
		b := f.room()
		if b == nil {
			break
		}
		n := copy(b.data[b.n:], rest)
		b.n += n
		rest = rest[n:]
	}
	for _, s := range f.streams {
		if s.why == attached {
			s.behind(int64(len(chunk)))
			s.wake()
		}
	}
}

// detachSlow detaches those who would be too far behind with n bytes more: further
// than they may, or by more than is left of the budget but for an eighth: so
// those who have stopped reading leave room to those who read. The caller holds mu.
func (f *feed) detachSlow(n int64) {
	left := max(f.tee.budget.left()-f.tee.budget.limit/8, blockBytes)
	for _, s := range f.streams {
		switch {
		case s.why != attached:
		case s.lag+n > s.consumer.limit:
			f.detach(s, Overrun)
		case s.lag+n > left:
			f.detach(s, Budget)
		}
	}
}

// room returns a block with room, which all attached streams will come to. If there
// is none, those who are behind the furthest make room for the others. It returns
// nil when nobody is left. The caller holds mu.
func (f *feed) room() *block {
	for f.live > 0 {
		if f.tail != nil && f.tail.n < roomBytes {
			f.join(f.tail)
			return f.tail
		}
		why := Overrun
		if f.held+blockBytes <= int64(f.tee.config.MessageBytes) {
			if b := f.tee.budget.take(); b != nil {
				f.append(b)
				return b
			}
			why = Budget
		}
		f.detach(f.furthest(), why)
	}
	return nil
}

// append makes b the tail. The caller holds mu.
func (f *feed) append(b *block) {
	f.held += blockBytes
	b.refs = 0
	for _, s := range f.streams {
		if s.why == attached && s.at != nil {
			b.refs++ // it will come to it
		}
	}
	if f.tail != nil {
		f.tail.next = b
	}
	f.tail = b
	f.join(b)
}

// join has those begin at b's end who have read all before. The caller holds mu.
func (f *feed) join(b *block) {
	for _, s := range f.streams {
		if s.why == attached && s.at == nil {
			s.at, s.off = b, b.n
			b.refs++
		}
	}
}

// furthest returns who is behind the furthest. The caller holds mu.
func (f *feed) furthest() *Stream {
	var last *Stream
	for _, s := range f.streams {
		if s.why == attached && (last == nil || s.lag > last.lag) {
			last = s
		}
	}
	return last
}

// detach shows s nothing more. It keeps no more of f's blocks than what it has in
// its hand. The caller holds mu.
func (f *feed) detach(s *Stream, why Reason) {
	if s.why != attached {
		return
	}
	s.why = why
	f.live--
	s.consumer.counts.detached[why].Add(1)
	f.release(s)
	s.cancel(&DetachedError{why})
	s.wake()
}

// release gives s's blocks back, but for the one in its hand. The caller holds mu.
func (f *feed) release(s *Stream) {
	s.behind(-s.lag)
	if s.at == nil {
		return
	}
	for b := s.at.next; b != nil; {
		next := b.next // which is forgotten when b is given back
		f.unref(b)
		b = next
	}
	if !s.inHand {
		f.unref(s.at)
		s.at = nil
	}
}

// unref notes that a stream has left b behind. The caller holds mu.
func (f *feed) unref(b *block) {
	if b.refs--; b.refs > 0 {
		return
	}
	if f.tail == b {
		f.tail = nil
	}
	f.held -= blockBytes
	f.tee.budget.put(b)
}

// Left implements stack.Leaver: the body's reader is about to leave it.
func (f *feed) Left() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left = true
}

// End implements stack.Observer.
func (f *feed) End(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	f.end = End{Bytes: f.passed, Err: err}
	switch {
	case err != nil:
		f.end.State = f.broken(err)
	case f.unframed:
		f.end.State = Unverified
	case f.sized && f.size != f.passed:
		f.end.State, f.end.Err = ServerFailed, ErrLength
	case f.grpc && !f.body.Trailer().Has("grpc-status"):
		f.end.State, f.end.Err = ServerFailed, ErrNoStatus
	case f.body.Trailer().Len() > 0:
		f.end.Trailer = f.body.Trailer().Clone()
	}
	f.body = nil
	f.tee.counts.ends[f.end.State].Add(1)
	for _, s := range f.streams {
		s.wake()
	}
}

// broken says how a content ended that did not come to its end. The caller holds mu.
func (f *feed) broken(err error) State {
	switch {
	case f.tee.budget.cut.Load():
		return CutShort
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return Timeout
	case !f.ofRequest && f.left, f.ofRequest && !errors.Is(err, stack.ErrClosed):
		return ClientAbort
	default: // the server's response failed; or the server has answered without the rest
		return ServerFailed
	}
}

// forget drops s, which has returned. The caller holds mu.
func (f *feed) forget(s *Stream) {
	f.streams = slices.DeleteFunc(f.streams, func(o *Stream) bool { return o == s })
}
