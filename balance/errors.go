package balance

import (
	"errors"
	"fmt"
)

// Why a Pick fails, other than by its context.
var (
	// ErrFailFast means that the pick waited for an endpoint in vain: 504.
	ErrFailFast = errors.New("no endpoint became ready in time")
	// ErrUnavailable means that others did so before, and none is ready yet: 503.
	ErrUnavailable = errors.New("failing fast, as no endpoint is ready")
	// ErrQueueFull means that as many picks wait as may: 503.
	ErrQueueFull = errors.New("too many wait for an endpoint")
	// ErrUnknown is the cause when the control plane knows no such destination.
	// It goes with one of the others: who looks for it looks for it first.
	ErrUnknown = errors.New("the control plane knows no such destination")
)

// Causes that nobody needs to tell apart by program.
var (
	errSilent = errors.New("no answer from the control plane yet")
	errNone   = errors.New("it has no endpoints")
	errClosed = errors.New("it is no longer in use")
)

// An Error says why a Pick failed. errors.Is sees Err, and of the causes only
// ErrUnknown: a Cause may itself be somebody's deadline, which is not the pick's.
type Error struct {
	Destination string
	Err         error // ErrFailFast, ErrUnavailable, ErrQueueFull, or the cause of the context's end
	Cause       error // why no endpoint was ready
}

// Error names the destination, quoted, and both reasons.
func (e *Error) Error() string {
	return fmt.Sprintf("destination %q: %v: %v", e.Destination, e.Err, e.Cause)
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is ErrUnknown and the cause.
func (e *Error) Is(target error) bool { return target == ErrUnknown && e.Cause == ErrUnknown }

// An Explainer is a service that can say why it is not ready, such as how its
// last dial failed; nil if it cannot tell.
type Explainer interface{ Unready() error }

// fail returns err with the destination and the present cause.
func (b *Balancer[S]) fail(err error) error {
	return &Error{Destination: b.c.Name, Err: err, Cause: b.cause()}
}

func (b *Balancer[S]) cause() error {
	m := b.members.Load()
	switch {
	case b.ctx.Err() != nil:
		return errClosed
	case !m.heard:
		return errSilent
	case !m.exists && len(m.all) == 0:
		return ErrUnknown
	case len(m.all) == 0:
		return errNone
	}
	return m.unready()
}

// unready says that none of m is, and what the first to know says of why.
func (m *members[S]) unready() error {
	known := "endpoints"
	if m.stale {
		known = "endpoints last known" // the control plane is silent
	}
	if err := m.explain(); err != nil {
		return fmt.Errorf("%d %s, none ready: %w", len(m.all), known, err)
	}
	return fmt.Errorf("%d %s, none ready", len(m.all), known)
}

// How many endpoints are asked why they are not ready. Whoever is refused pays
// for it, so it may not grow with the destination.
const explanations = 8

func (m *members[S]) explain() error {
	for _, e := range m.all[:min(explanations, len(m.all))] {
		x, ok := any(e.svc).(Explainer)
		if !ok {
			continue
		}
		if err := x.Unready(); err != nil {
			return fmt.Errorf("%v: %w", e.of.Addr, err)
		}
	}
	return nil
}
