package control

import (
	"errors"
	"fmt"
	"time"
)

// Limits bound how long a stream is waited for and how long it lives,
// LINKERD2_PROXY_CONTROL_STREAM_{INITIAL,IDLE}_TIMEOUT and _LIFETIME. Zero means
// no limit, but for Initial, which then is Idle.
type Limits struct {
	Initial  time.Duration // until the first message; then the call fails with DeadlineExceeded
	Idle     time.Duration // between later messages; then the stream ends
	Lifetime time.Duration // since the call; then the stream ends
}

// validate returns an error unless Initial ≤ Idle ≤ Lifetime where they are set.
func (l Limits) validate() error {
	last := time.Duration(0)
	for _, d := range []time.Duration{l.Initial, l.Idle, l.Lifetime} {
		switch {
		case d < 0:
			return fmt.Errorf("stream limit %v is negative", d)
		case d > 0 && d < last:
			return fmt.Errorf("stream limits %v, %v and %v (initial, idle, lifetime) are not in order", l.Initial, l.Idle, l.Lifetime)
		}
		last = max(last, d)
	}
	return nil
}

// first is the limit of the first message.
func (l Limits) first() time.Duration {
	if l.Initial > 0 {
		return l.Initial
	}
	return l.Idle
}

// Why a stream was stopped, as the cause of its context.
var (
	errQuiet   = errors.New("the stream was silent for too long")
	errExpired = errors.New("the stream reached its lifetime")
)
