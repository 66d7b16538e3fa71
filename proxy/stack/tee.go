package stack

import (
	"context"
	"errors"
	"io"
)

// An Observer watches a body as its reader pulls it. Its methods run on that
// reader's path, one at a time: they must not block, and cannot fail. It is for
// code of ours that neither waits nor does work worth speaking of, as a counter or
// a timer: whatever it takes, the client waits for. All else attaches as a consumer,
// by package proxy/tee. One that panics is given no more, and OnPanic is told.
type Observer interface {
	// Data is given each chunk as it passes. It is valid only during the call.
	Data(chunk []byte)
	// End is called once: with nil when the body was read to its end, else
	// with why it was not. The body's trailer is complete by then.
	End(err error)
}

// ErrClosed is given to Observer.End when the reader left before the end, and
// did not say why.
var ErrClosed = errors.New("body closed before its end")

// A Leaver is an Observer that is told ahead of End when it is the body's reader who
// ends it, and not who sends it.
type Leaver interface{ Left() }

// A tee shows one body to some observers. It lies in the message whose body it
// is, with room for the usual few, so that to observe costs no allocation.
type tee struct {
	Body
	few       [4]Observer
	observers []Observer
	ended     bool
	within    *tee            // the message's own, if this is another
	panicked  func(cause any) // is told what an observer panics with; or nil
}

// join returns the body that shows b to o: t, if b is t already or t is free.
func (t *tee) join(b Body, o Observer) Body {
	switch {
	case t.Body == nil:
		t.Body = b
		t.few[0] = o
		t.observers = t.few[:1]
		return t
	case b == Body(t):
		t.observers = append(t.observers, o)
		return t
	default: // somebody has wrapped or replaced the body since
		return (&tee{within: t}).join(b, o)
	}
}

// of returns the observers to whom b is shown by t, or by another that has wrapped
// it since. One that has panicked is nil.
func (t *tee) of(b Body) []Observer {
	if other, ok := b.(*tee); ok {
		return other.observers
	}
	return nil
}

func (t *tee) Next(ctx context.Context) ([]byte, error) {
	chunk, err := t.Body.Next(ctx)
	if len(chunk) > 0 {
		for i, o := range t.observers {
			if o != nil {
				t.data(i, o, chunk)
			}
		}
	}
	switch {
	case err == nil:
	case err == io.EOF: //nolint:errorlint // the contract is io.EOF itself, as of an io.Reader
		t.end(nil)
	case ctx.Err() == nil || !errors.Is(err, context.Cause(ctx)):
		t.end(err)
	default: // stopped by its context, and may be called again
	}
	return chunk, err
}

// Close ends the observers first: with the body the message is gone, and t with it.
func (t *tee) Close(cause error) error {
	why := cause
	if why == nil {
		why = ErrClosed
	}
	if !t.ended {
		t.leave()
		t.end(why)
	}
	return t.Body.Close(cause)
}

func (t *tee) leave() {
	for i, o := range t.observers {
		if l, ok := o.(Leaver); ok {
			t.leaveOne(i, l)
		}
	}
}

func (t *tee) leaveOne(i int, l Leaver) {
	defer t.detach(i)
	l.Left()
}

func (t *tee) data(i int, o Observer, chunk []byte) {
	defer t.detach(i)
	o.Data(chunk)
}

// detach forgets the i-th observer if it is panicking, and says so.
func (t *tee) detach(i int) {
	cause := recover()
	if cause == nil {
		return
	}
	t.observers[i] = nil
	told := t.panicked
	if t.within != nil {
		told = t.within.panicked
	}
	if told != nil {
		told(cause)
	}
}

func (t *tee) end(err error) {
	if t.ended {
		return
	}
	t.ended = true
	for i, o := range t.observers {
		if o != nil {
			t.endOne(i, o, err)
		}
	}
}

func (t *tee) endOne(i int, o Observer, err error) {
	defer t.detach(i)
	o.End(err)
}

// OnEnd is an Observer that does not look at the data.
type OnEnd func(error)

// Data implements Observer.
func (OnEnd) Data([]byte) {}

// End implements Observer.
func (f OnEnd) End(err error) { f(err) }
