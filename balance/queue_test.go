package balance

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

const patience = 3 * time.Second

func asIs(err error) error { return err }

// awaits fails the test unless a pick that waits now is let go after d with err.
func awaits(t *testing.T, q *queue, d time.Duration, err error) {
	t.Helper()
	if err := q.enter(); err != nil {
		t.Fatal(err)
	}
	defer q.leave()
	p, werr := q.wait()
	if werr != nil {
		t.Fatal(werr)
	}
	start := time.Now()
	<-p.over
	if got := time.Since(start); got != d || !errors.Is(p.err, err) {
		t.Errorf("%v after %v, want %v after %v", p.err, got, err, d)
	}
}

// A pick may begin to wait just as an endpoint becomes ready. What it began must
// not shorten the next wait.
func TestWaitBegunWhileReadyIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(patience, 1, asIs)
		q.settle(true)
		_ = q.enter()
		_, _ = q.wait()
		q.leave()
		time.Sleep(patience / 2)
		q.settle(false)
		awaits(t, q, patience, ErrFailFast)
	})
}

// The same, if that pick still waits: time does not shut the gate on the ready.
func TestReadyIsNotFailingFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(patience, 1, asIs)
		q.settle(true)
		awaits(t, q, patience, nil)
		if !q.gate.Load().Open {
			t.Error("the gate is shut")
		}
	})
}

// A timer may fire just as its period ends otherwise.
func TestLateTimerShutsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(patience, 1, asIs)
		_ = q.enter()
		old, _ := q.wait()
		q.settle(true)
		q.settle(false)
		next, _ := q.wait()
		q.expire(old)
		if !q.gate.Load().Open || q.period != next {
			t.Error("the end of another period shut the gate")
		}
		q.leave()
	})
}

// A pick may take its place just before the gate shuts, or the balancer ends.
func TestWaitAfterTheStrike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(patience, 2, asIs)
		_ = q.enter()
		awaits(t, q, patience, ErrFailFast)
		if _, err := q.wait(); !errors.Is(err, ErrFailFast) {
			t.Errorf("err = %v, want ErrFailFast for who came before it", err)
		}
		q.close()
		if _, err := q.wait(); !errors.Is(err, ErrUnavailable) {
			t.Errorf("err = %v, want ErrUnavailable", err)
		}
		q.settle(true)
		if q.gate.Load().Open {
			t.Error("opened again after its end")
		}
	})
}
