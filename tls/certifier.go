package tls

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Issued is what the identity service answers.
type Issued struct {
	Leaf          []byte   // DER
	Intermediates [][]byte // DER, from the leaf's issuer on
	ValidUntil    time.Time
}

// A Certifier keeps a Store's certificate fresh. Its fields are set before Run.
type Certifier struct {
	Store     *Store
	Key       *Key
	TokenFile string // read anew for each try
	// Certify asks the identity service once. It ends when its context does.
	Certify func(ctx context.Context, identity string, token, csr []byte) (Issued, error)
	// MinRefresh and MaxRefresh bound the time between two certificates, and so
	// between two tries to renew one. MinRefresh is not zero.
	MinRefresh, MaxRefresh time.Duration
	// Retry is how soon to try again while there is no certificate that is valid:
	// it doubles each time, up to MinRefresh. Zero means MinRefresh.
	Retry   time.Duration
	Timeout time.Duration // of one try; not zero
	Log     *slog.Logger  // nil means none
}

// refreshAt is the share of a certificate's life after which it is renewed, in
// percent.
const refreshAt = 70

// nap is how long at most nobody looks at the clock: one that is set, or that
// stood still while the machine was suspended, is noticed then.
const nap = 30 * time.Second

// maxToken bounds the token. Kubernetes' has a few kilobytes.
const maxToken = 1 << 20

// Run asks for certificates until ctx is done. It never gives up: what fails is
// logged, and tried again.
func (c *Certifier) Run(ctx context.Context) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	var until time.Time // when the certificate at hand runs out
	for failures := 0; ; {
		issued, err := c.once(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			until, failures = issued, 0
			c.Log.InfoContext(ctx, "Certified identity", "id", string(c.Store.Local()), "until", until)
		default:
			failures++
			c.Log.ErrorContext(ctx, "Failed to obtain identity", "error", err)
		}
		if !c.wait(ctx, c.delay(until, time.Now(), failures)) {
			return
		}
	}
}

// once returns until when the new certificate may be used.
func (c *Certifier) once(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.Timeout, fmt.Errorf("the identity service has not answered in %v", c.Timeout))
	defer cancel()
	token, err := readBounded(c.TokenFile, maxToken)
	if err != nil {
		return time.Time{}, fmt.Errorf("token: %w", err)
	}
	issued, err := c.Certify(ctx, c.Store.ServerName(), token, c.Key.CSR())
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		return time.Time{}, err
	}
	if err := c.Store.take(c.Key, issued, time.Now()); err != nil {
		return time.Time{}, err
	}
	if until := c.Store.Expiry(); until.Before(issued.ValidUntil) {
		return until, nil
	}
	return issued.ValidUntil, nil
}

var errNoLife = errors.New("it may not be used now, the identity service says")

// take is Set for what the identity service has answered.
func (s *Store) take(key *Key, issued Issued, now time.Time) error {
	if !issued.ValidUntil.After(now) {
		s.mu.Lock()
		s.stats.Errors++
		s.mu.Unlock()
		return fmt.Errorf("the certificate that came for %s: %w, but until %v", s.local, errNoLife, issued.ValidUntil)
	}
	return s.Set(key, issued.Leaf, issued.Intermediates)
}

// delay is how long to wait for the next try: 70 % of what is left of the
// certificate's life, within the bounds. So tries come faster toward its end.
func (c *Certifier) delay(until, now time.Time, failures int) time.Duration {
	left := until.Sub(now)
	if left > 0 {
		return max(min(left/100*refreshAt, c.MaxRefresh), c.MinRefresh)
	}
	if c.Retry <= 0 || failures > 60 || c.Retry > c.MinRefresh>>max(failures-1, 0) { // as Retry<<n > MinRefresh, but it cannot overflow
		return c.MinRefresh
	}
	return c.Retry << max(failures-1, 0)
}

// wait goes by the clock on the wall, which is what certificates go by, as well as
// by the time that passes: whichever comes first, should the one be set. It
// reports false if ctx was done first.
func (c *Certifier) wait(ctx context.Context, delay time.Duration) bool {
	began := time.Now()
	until := began.Round(0).Add(delay) // without the monotonic clock
	for {
		left := min(until.Sub(time.Now().Round(0)), delay-time.Since(began))
		if left <= 0 {
			return true
		}
		timer := time.NewTimer(min(left, nap))
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
		}
	}
}
