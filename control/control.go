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
)

// ErrEnded means that a stream ended before its first value.
var ErrEnded = errors.New("stream ended before its first value")

// Follow applies the first value of stream before it returns, and each later
// one as it comes, until the stream ends or yields an error. It returns the
// stream's error if that comes before the first value, and the cause of ctx if
// ctx is done before; the values are applied one at a time.
//
// An error after the first value cannot be returned any more: it is given to
// each of ended, or logged as a warning if there is none. The stream must end
// when ctx does, since Follow reads it until then.
func Follow[T any](ctx context.Context, stream iter.Seq2[T, error], apply func(T), ended ...func(error)) error {
	first := make(chan error, 1) // of one, so that the reader never waits for a caller who has left
	go func() {
		begun := false
		for v, err := range stream {
			switch {
			case err == nil:
				apply(v)
			case begun:
				handOn(ctx, err, ended)
			}
			if !begun {
				begun = true
				first <- err
			}
			if err != nil {
				return
			}
		}
		if !begun {
			first <- ErrEnded
		}
	}()
	select {
	case err := <-first:
		if errors.Is(err, ErrEnded) && ctx.Err() != nil {
			return context.Cause(ctx) // it ended because it was told to
		}
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
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
