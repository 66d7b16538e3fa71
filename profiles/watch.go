package profiles

import (
	"context"
	"log/slog"
	"reflect"
	"slices"

	"github.com/outrigger-mesh/outrigger/control"
)

// ended returns why a stream that never ends by itself has ended.
func ended(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return control.ErrEnded
}

// A watch is one range over a Daemon's stream.
type watch struct {
	daemon *Daemon
	target Target
	log    *slog.Logger
	yield  func(*Profile, error) bool
	last   *Profile // yielded last
	failed bool     // an error was yielded since
}

func (w *watch) serve(ctx context.Context, a *answers) {
	for {
		select {
		case <-a.ready:
		case <-ctx.Done():
			w.yield(nil, context.Cause(ctx))
			return
		}
		sp, policy, complete, err := a.take()
		if err != nil {
			w.end(err)
			return
		}
		if complete && !w.offer(combine(w.target, sp, policy)) {
			return
		}
	}
}

// end yields the error after which nothing comes. What is refused is not to be
// remembered.
func (w *watch) end(err error) {
	if control.Refused(err) {
		w.daemon.memory.Forget(w.target)
	}
	w.yield(nil, err)
}

// gone stands for the profile of a target that is known no more.
func gone(err error) *Profile {
	p := &Profile{Source: FromFallback, Parent: Default("fallback"), Problems: []string{err.Error()}}
	p.HTTP1 = forwardRoutes(Backend{Meta: p.Parent, Refusal: err.Error()})
	p.HTTP2, p.Opaque = p.HTTP1, p.HTTP1
	return p
}

// offer yields p, if it differs from what was yielded before, and reports whether
// to go on. err means that the name is unknown.
func (w *watch) offer(p *Profile, err error) bool {
	if err != nil {
		w.daemon.memory.Forget(w.target)
		if w.last == nil {
			again := w.failed
			w.failed = true
			return again || w.yield(nil, err)
		}
		p = gone(err)
	} else {
		w.daemon.memory.Keep(w.target, p)
	}
	if w.last != nil && reflect.DeepEqual(p, w.last) {
		return true
	}
	if len(p.Problems) > 0 && (w.last == nil || !slices.Equal(p.Problems, w.last.Problems)) {
		w.log.Warn("the control plane's answer is invalid in part", "problems", p.Problems)
	}
	w.last = p
	return w.yield(p, nil)
}
