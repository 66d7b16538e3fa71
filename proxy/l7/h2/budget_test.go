package h2

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestBudget spends one to its end, at a stroke and over a day.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(10, 2)
		for i := range 10 {
			if !b.spend() {
				t.Fatalf("nothing is left after %d", i)
			}
		}
		if b.spend() {
			t.Error("more than there was")
		}
		time.Sleep(time.Second)
		for i, want := range []bool{true, true, false} {
			if b.spend() != want {
				t.Errorf("a second is not worth two: the one at %d", i)
			}
		}
		b = newBudget(10, 2)
		for i := range 100 { // on a connection that lives for long
			if time.Sleep(time.Second); !b.spend() {
				t.Fatalf("nothing is left after %d seconds", i)
			}
		}
	})
}

// TestAfford has a peer that answers each frame of content with a frame of its own.
func TestAfford(t *testing.T) {
	c := &conn{control: newBudget(10, 0), updates: newBudget(10, 0)}
	for i := range 1000 {
		c.sent++
		if !c.afford(&c.control) || !c.afford(&c.updates) || !c.afford(&c.updates) {
			t.Fatalf("after %d frames", i)
		}
	}
	for range 10 + 1 {
		_ = c.afford(&c.control)
	}
	if c.afford(&c.control) {
		t.Error("a peer that is sent nothing may go on")
	}
}

// TestResetFee says which resets count.
func TestResetFee(t *testing.T) {
	now := 5 * time.Second
	for name, test := range map[string]struct {
		st   *serverStream
		want float64
	}{
		"at once":        {&serverStream{began: now}, 1},
		"after a while":  {&serverStream{began: now - time.Millisecond}, patientFee},
		"once answered":  {&serverStream{began: now, send: sender{st: &stream{}}}, 0},
		"of one no more": {nil, patientFee},
	} {
		var st *stream
		if test.st != nil {
			test.st.role = test.st
			st = &test.st.stream
		}
		if got := resetFee(st, now); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
	c := &conn{resets: newBudget(resetBurst, 0)}
	n := 0
	for c.resets.take(resetFee(nil, now)) {
		n++
	}
	if n != resetBurst/patientFee {
		t.Errorf("%d were let pass", n)
	}
}
