package main

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// sendingDemo is a demonstration to which a request of each service succeeds every
// ten milliseconds, always at workload 1, until ctx is done.
func sendingDemo(ctx context.Context, out *strings.Builder) *demo {
	d := &demo{out: out, began: time.Now(), loads: (&demoMesh{}).loads()}
	go func() {
		for pause(ctx, 10*time.Millisecond) == nil {
			for _, l := range d.loads.all() {
				l.tally.add(1, time.Millisecond, nil)
			}
		}
	}()
	return d
}

func TestScene(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		d := sendingDemo(t.Context(), &out)
		changed := 0
		err := d.play(t.Context(),
			scene{"first", func(context.Context) error { changed++; return nil }, func(v view) bool { return v.web.share(1) == 1 }},
			scene{"second", nil, nil},
			scene{"third", nil, func(v view) bool { return v.web.share(2) > 0 }},
		)
		if err != nil || changed != 1 || strings.Count(out.String(), "\n") != 3 {
			t.Errorf("%v, %d changes, and these rows:\n%s", err, changed, out.String())
		}
		if len(d.amiss) != 1 || d.amiss[0] != `"third" did not show in the shares within 15s` {
			t.Errorf("amiss: %q", d.amiss)
		}
		if told, _ := d.told.total(); told != len(d.loads.all())*d.told.web.done || told == 0 {
			t.Errorf("the rows told of %d requests", told)
		}
	})
}

func TestSceneFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		d := sendingDemo(t.Context(), &out)
		cause := errors.New("a cause")
		err := d.play(t.Context(), scene{"first", func(context.Context) error { return cause }, nil}, scene{"second", nil, nil})
		if !errors.Is(err, cause) || !strings.HasPrefix(err.Error(), `"first": `) || out.Len() > 0 {
			t.Errorf("%v, and these rows:\n%s", err, out.String())
		}
		ctx, stop := context.WithTimeoutCause(t.Context(), time.Second, cause)
		defer stop()
		if err := d.play(ctx, scene{"endless", nil, func(view) bool { return false }}); !errors.Is(err, cause) {
			t.Errorf("interrupted: %v", err)
		}
	})
}

// TestWatch sees that few requests are looked at for longer.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := sendingDemo(t.Context(), &strings.Builder{})
		start := time.Now()
		if _, err := d.watch(t.Context(), 100*time.Millisecond); err != nil || time.Since(start) < 600*time.Millisecond {
			t.Errorf("%v, and sixty requests to web in %s", err, time.Since(start))
		}
		if err := d.least(t.Context()); err != nil || d.loads.of(opaque).done < demoLeast {
			t.Errorf("%v, and %d connections", err, d.loads.of(opaque).done)
		}
	})
}

func TestViewServes(t *testing.T) {
	with, without := counts{done: 2, by: [workloads]int{1, 1, 0}}, counts{done: 2, by: [workloads]int{0, 1, 1}}
	for _, test := range []struct {
		v        view
		all, any bool
	}{
		{view{web: with, db: with, others: with}, true, true},
		{view{web: with, db: with, others: without}, false, true},
		{view{web: without, db: without, others: without, books: with}, false, false},
	} {
		if test.v.serves(true) != test.all || test.v.serves(false) != test.any {
			t.Errorf("%+v: all %v, any %v", test.v, test.v.serves(true), test.v.serves(false))
		}
	}
}

func TestDelay(t *testing.T) {
	d := &demo{loads: (&demoMesh{}).loads()}
	if got := d.delay(); got != demoDelay {
		t.Errorf("on an idle machine %s", got)
	}
	d.loads.web.tally.add(1, 105*time.Millisecond, nil)
	if got := d.delay(); got != 310*time.Millisecond {
		t.Errorf("on a busy machine %s", got)
	}
}

func TestClaimStart(t *testing.T) {
	l, err := net.Listen("tcp", startPort)
	if err != nil {
		t.Skipf("SKIPPED: a demonstration starts at this moment: %v", err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 2*demoTick)
	defer stop()
	claimStart(ctx)()
	if ctx.Err() == nil {
		t.Error("claimed what another holds")
	}
	_ = l.Close()
	release := claimStart(t.Context())
	if other, err := net.Listen("tcp", startPort); err == nil {
		_ = other.Close()
		t.Error("two claims at once")
	}
	release()
}
