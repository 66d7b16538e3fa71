package codec_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

var errRefused = errors.New("refused")

// growing pauses for a second, two, three and so on, and counts the sequences.
func growing(sequences *int) func() func() time.Duration {
	return func() func() time.Duration {
		*sequences++
		n := time.Duration(0)
		return func() time.Duration { n += time.Second; return n }
	}
}

// A dialled is what is to be tested, with what it tells.
type dialled struct {
	*codec.Dialling
	t         *testing.T
	sequences int          // of pauses that were begun
	changes   atomic.Int64 // that were told of
}

func newDialled(t *testing.T) *dialled {
	t.Helper()
	d := &dialled{t: t}
	d.Dialling = codec.NewDialling(growing(&d.sequences), func() { d.changes.Add(1) })
	t.Cleanup(d.Close)
	return d
}

// expect looks at what is to be seen of it, once all has come to rest.
func (d *dialled) expect(ready bool, changes int64, sequences int) {
	d.t.Helper()
	synctest.Wait()
	if d.Ready() != ready || d.changes.Load() != changes || d.sequences != sequences {
		d.t.Errorf("ready %t, %d changes, %d sequences of pauses; want %t, %d, %d",
			d.Ready(), d.changes.Load(), d.sequences, ready, changes, sequences)
	}
}

// TestDialling fails dials again and again: the pauses grow, until one succeeds.
func TestDialling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDialled(t)
		d.expect(true, 0, 0)
		d.Dialled(t.Context(), nil) // nothing has changed, and nobody is told
		d.expect(true, 0, 0)

		d.Dialled(t.Context(), errRefused)
		d.expect(false, 1, 1)
		time.Sleep(time.Second - time.Nanosecond)
		d.expect(false, 1, 1)
		time.Sleep(time.Nanosecond)
		d.expect(true, 2, 1)

		d.Dialled(t.Context(), errRefused)
		time.Sleep(2*time.Second - time.Nanosecond)
		d.expect(false, 3, 1)
		time.Sleep(time.Nanosecond)
		d.expect(true, 4, 1)

		d.Dialled(t.Context(), nil) // after which the pauses begin anew
		d.expect(true, 5, 1)
		d.Dialled(t.Context(), errRefused)
		d.expect(false, 6, 2)
		time.Sleep(time.Second)
		d.expect(true, 7, 2)
	})
}

// TestDiallingOfMany has dials under way fail when one has failed already: they do
// not make the pause longer.
func TestDiallingOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDialled(t)
		for range 5 {
			d.Dialled(t.Context(), errRefused)
		}
		d.expect(false, 5, 1)
		time.Sleep(time.Second)
		d.expect(true, 6, 1)
		time.Sleep(time.Minute)
		d.expect(true, 6, 1) // there was one timer
	})
}

// TestDiallingSucceeds has a dial succeed amid the pause, which ends it.
func TestDiallingSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDialled(t)
		d.Dialled(t.Context(), errRefused)
		d.Dialled(t.Context(), nil)
		d.expect(true, 2, 1)
		time.Sleep(time.Minute)
		d.expect(true, 2, 1) // the timer was stopped
	})
}

// TestDiallingGivenUp has requests leave while their dials are under way: that says
// nothing of the server, unless a dial has succeeded.
func TestDiallingGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone, leave := context.WithCancel(t.Context())
		leave()
		d := newDialled(t)
		d.Dialled(gone, gone.Err())
		d.expect(true, 0, 0)
		d.Dialled(t.Context(), errRefused)
		d.Dialled(gone, nil)
		d.expect(true, 2, 1)
	})
}

func TestDiallingClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDialled(t)
		d.Dialled(t.Context(), errRefused)
		d.Close()
		time.Sleep(time.Minute)
		d.expect(false, 1, 1) // the pause's timer has ended with it
		d.Dialled(t.Context(), nil)
		d.Dialled(t.Context(), errRefused)
		d.expect(true, 3, 1) // and no other begins
	})
}

// TestDiallingWithout has neither pauses nor anybody to tell.
func TestDiallingWithout(t *testing.T) {
	d := codec.NewDialling(nil, nil)
	d.Dialled(t.Context(), errRefused)
	if !d.Ready() {
		t.Error("not ready without pauses")
	}
	sequences := 0
	d = codec.NewDialling(growing(&sequences), nil)
	defer d.Close()
	d.Dialled(t.Context(), errRefused)
	if d.Ready() {
		t.Error("ready after a failed dial")
	}
}

// TestDiallingExhausted: what is lacking here is not the server's fault.
func TestDiallingExhausted(t *testing.T) {
	d := codec.NewDialling(func() func() time.Duration { return func() time.Duration { return time.Hour } }, nil)
	defer d.Close()
	if d.Dialled(t.Context(), fmt.Errorf("dial: %w", stack.ErrExhausted)); !d.Ready() {
		t.Error("the server is not dialled again though it was not to blame")
	}
	if d.Dialled(t.Context(), errors.New("refused")); d.Ready() {
		t.Error("a server that refused is ready")
	}
}
