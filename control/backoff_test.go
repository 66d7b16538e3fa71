package control

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestBackoffSequence(t *testing.T) {
	const s = time.Second
	for _, test := range []struct {
		name   string
		b      Backoff
		random float64
		want   []time.Duration
	}{
		{"doubles to its maximum", Backoff{Min: s, Max: 10 * s}, 0.9, []time.Duration{s, 2 * s, 4 * s, 8 * s, 10 * s, 10 * s}},
		{"jitter is on total nanoseconds", Backoff{s, 60 * s, 0.5}, 0.5, []time.Duration{s * 5 / 4, s * 5 / 2, 5 * s}},
		{"jitter never passes the maximum", Backoff{s, 3 * s, 100}, 0.5, []time.Duration{3 * s, 3 * s}},
		{"a minimum of zero stays zero", Backoff{0, s, 1}, 0.9, []time.Duration{0, 0, 0}},
		{"nothing overflows", Backoff{math.MaxInt64/2 + 1, math.MaxInt64, 100}, 0.999, []time.Duration{math.MaxInt64, math.MaxInt64, math.MaxInt64}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := test.b.Validate(); err != nil {
				t.Fatal(err)
			}
			d := test.b.Start()
			d.random = func() float64 { return test.random }
			var got []time.Duration
			for range test.want {
				got = append(got, d.Next())
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestBackoffNeverShrinks(t *testing.T) {
	d := Backoff{Min: time.Millisecond, Max: time.Hour}.Start()
	last := time.Duration(0)
	for i := range 200 {
		if next := d.Next(); next < last {
			t.Fatalf("delay %d is %v, after %v", i, next, last)
		} else {
			last = next
		}
	}
	if last != time.Hour {
		t.Errorf("it ends at %v, want the maximum", last)
	}
	d.Reset()
	if got := d.Next(); got != time.Millisecond {
		t.Errorf("after Reset %v, want the minimum", got)
	}
}

func TestBackoffValidate(t *testing.T) {
	for _, b := range []Backoff{
		{},
		{Min: -1, Max: 1},
		{Min: 2, Max: 1},
		{Max: -1},
		{Max: 1, Jitter: -0.1},
		{Max: 1, Jitter: 100.1},
		{Max: 1, Jitter: math.NaN()},
		{Max: 1, Jitter: math.Inf(1)},
	} {
		if b.Validate() == nil {
			t.Errorf("%+v is valid, want an error", b)
		}
	}
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := Backoff{Min: time.Second, Max: time.Minute}.Start()
		began := time.Now()
		if err := errors.Join(d.Wait(t.Context()), d.Wait(t.Context())); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("two delays took %v, want 3s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := d.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a wait cut short: %v, want DeadlineExceeded", err)
		}
		if got := d.Next(); got != 4*time.Second {
			t.Errorf("then %v, want the same delay again, 4s", got)
		}
	})
}
