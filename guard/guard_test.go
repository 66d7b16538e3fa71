package guard

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// told is a Guard, and what it was told.
func told() (*Guard, *bytes.Buffer, map[string]int) {
	log, counts := new(bytes.Buffer), map[string]int{}
	return &Guard{
		Log:   slog.New(slog.NewTextHandler(log, nil)),
		Count: func(stage string) { counts[stage]++ },
	}, log, counts
}

func TestDo(t *testing.T) {
	g, log, counts := told()
	if err := g.Do("quiet", func() {}); err != nil || len(counts) > 0 {
		t.Errorf("no panic: %v, %v", err, counts)
	}
	for range 2 {
		var e *Error
		if err := g.Do("loud", func() { panic("evil\n" + strings.Repeat("x", 10_000)) }); !errors.As(err, &e) || e.Stage != "loud" {
			t.Errorf("got %v", err)
		}
	}
	if counts["loud"] != 2 {
		t.Errorf("counted %v", counts)
	}
	if n := strings.Count(log.String(), "guard_test.go"); n == 0 || strings.Count(log.String(), "stack=") != 1 {
		t.Errorf("the stack is to be logged once, with who panicked:\n%s", log)
	}
	if log.Len() > 2*(maxStack+4*maxValue) {
		t.Errorf("%d bytes were logged", log.Len())
	}
}

// TestCaughtTwice: who hands a panic on does not make it two.
func TestCaughtTwice(t *testing.T) {
	g, _, counts := told()
	err := g.Do("above", func() { panic(g.Do("below", func() { panic("evil") })) })
	if want := `panic in below: "evil"`; err == nil || err.Error() != want || len(counts) != 1 {
		t.Errorf("got %v, counted %v", err, counts)
	}
}

type mute struct{}

func (mute) Error() string { panic("no text") }

// TestCaughtIsSafe: neither what is thrown nor who is told of it can make it worse.
func TestCaughtIsSafe(t *testing.T) {
	g := &Guard{Count: func(string) { panic("counter") }}
	for _, g := range []*Guard{nil, {}, g} {
		for _, v := range []any{mute{}, nil, 1} {
			if err := g.Do("test", func() { panic(v) }); err == nil {
				t.Errorf("%v was lost", v)
			}
		}
	}
}

func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _, counts := told()
		pause := func(ctx context.Context) error {
			select {
			case <-time.After(time.Second):
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		calls, done := 0, errors.New("done")
		err := g.Keep(t.Context(), "kept", pause, func() error {
			if calls++; calls < 3 {
				panic("evil")
			}
			return done
		})
		if !errors.Is(err, done) || calls != 3 || counts["kept"] != 2 {
			t.Errorf("%d calls, counted %v: %v", calls, counts, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := g.Keep(ctx, "kept", pause, func() error { panic("evil") }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after the context's end: %v", err)
		}
	})
}

// TestGoroutines: those that a Guard begins do not end the process.
func TestGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _, counts := told()
		ctx, cancel := context.WithCancel(t.Context())
		evil := func() { panic("evil") }
		g.Go("a", evil)
		synctest.Wait()
		g.AfterFunc(time.Second, "b", evil)
		time.Sleep(2 * time.Second)
		g.AfterDone(ctx, "c", evil)
		cancel()
		synctest.Wait()
		if counts["a"] != 1 || counts["b"] != 1 || counts["c"] != 1 {
			t.Errorf("counted %v", counts)
		}
	})
}

func TestLive(t *testing.T) {
	g := new(Guard)
	if ok, why := g.Live(); !ok || why != "" {
		t.Errorf("a Guard that knows of nothing: %t, %q", ok, why)
	}
	g.Down("listener b", "evil")
	g.Down("listener a", "evil")
	if ok, why := g.Live(); ok || why != "listener a: evil\nlistener b: evil" {
		t.Errorf("two are down: %t, %q", ok, why)
	}
	g.Up("listener a")
	g.Up("listener b")
	if ok, _ := g.Live(); !ok {
		t.Error("all are up again, and it is not live")
	}
}
