// Package control is the proxy's client side of the control plane: how its
// services are found, dialled and watched. What they say is not its business but
// that of packages discover, profiles, policy and tls; and it serves nothing
// (package local does). Read Client first, then Watch.
package control

import (
	"context"
	"errors"
	"iter"
	"log/slog"

	"github.com/outrigger-mesh/outrigger/guard"
)

// ErrEnded means that a stream ended before its first value.
var ErrEnded = errors.New("stream ended before its first value")

// A Watcher says how streams are followed whose values may make their reader panic. The
// zero Watcher begins anew at once.
type Watcher struct {
	Stage   string       // where panics are caught, by what it watches
	Guard   *guard.Guard // is told of them; may be nil
	Backoff Backoff      // from a panic to the next beginning
}

// Follow applies the first value of stream before it returns, and each later
// one as it comes, until the stream ends or yields an error. It returns the
// stream's error if that comes before the first value, and the cause of ctx if
// ctx is done before; the values are applied one at a time.
//
// An error after the first value cannot be returned any more: it is given to
// each of ended, or logged as a warning if there is none. The stream must end
// when ctx does, since Follow reads it until then.
//
// A panic, in apply or in the stream, costs the value in hand: what was applied last
// stands, and the stream is begun anew after a pause, for as long as ctx lasts. If there
// was no value before, Follow returns the panic, as a *guard.Error, and reads on.
func Follow[T any](ctx context.Context, w Watcher, stream iter.Seq2[T, error], apply func(T), ended ...func(error)) error {
	f := &following[T]{first: make(chan error, 1), apply: apply, ended: ended}
	go f.keep(ctx, w, stream)
	select {
	case err := <-f.first:
		if errors.Is(err, ErrEnded) && ctx.Err() != nil {
			return context.Cause(ctx) // it ended because it was told to
		}
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// following is one Follow.
type following[T any] struct {
	first chan error // of one, so that the reader never waits for a caller who has left
	begun bool
	apply func(T)
	ended []func(error)
}

// keep reads stream, and begins anew after a panic.
func (f *following[T]) keep(ctx context.Context, w Watcher, stream iter.Seq2[T, error]) {
	delays := w.Backoff.Start()
	for {
		err := w.Guard.Do(w.Stage, func() { f.read(ctx, stream, delays) })
		if err == nil {
			return
		}
		f.begin(err)
		if delays.Wait(ctx) != nil {
			return
		}
	}
}

// read reads stream to its end.
func (f *following[T]) read(ctx context.Context, stream iter.Seq2[T, error], delays *Delays) {
	for v, err := range stream {
		switch {
		case err == nil:
			guard.Point("update applied")
			f.apply(v)
			delays.Reset()
		case f.begun:
			handOn(ctx, err, f.ended)
		}
		f.begin(err)
		if err != nil {
			return
		}
	}
	f.begin(ErrEnded)
}

// begin lets Follow return, if it has not.
func (f *following[T]) begin(err error) {
	if !f.begun {
		f.begun = true
		f.first <- err
	}
}

func handOn(ctx context.Context, err error, ended []func(error)) {
	if len(ended) == 0 {
		slog.WarnContext(ctx, "a followed stream ended; its last value stands", "error", err)
	}
	for _, f := range ended {
		f(err)
	}
}
