package main

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// shells are processes that run scripts, and what was told of those that ended.
func shells(t *testing.T) (*processes, <-chan error) {
	t.Helper()
	died := make(chan error, 10)
	p := newProcesses("/bin/sh", t.TempDir(), func(err error) { died <- err })
	t.Cleanup(p.stop)
	return p, died
}

func script(name, text string) program {
	return program{name: name, args: []string{"-c", text}, ready: probe{addr: "127.0.0.1:1"}} // where nobody listens
}

func TestProcessDies(t *testing.T) {
	p, died := shells(t)
	for _, s := range []program{script("early", "echo why; exit 3"), script("late", "read x")} {
		if err := p.start(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.ready(t.Context(), p.all[0].program); err == nil || !strings.Contains(err.Error(), "early ended: exit status 3") {
		t.Errorf("ready: %v", err)
	}
	<-p.all[1].done // its standard input is empty
	if len(died) > 0 {
		t.Errorf("told before they were guarded: %v", <-died)
	}
	p.guard()
	told := (<-died).Error() + (<-died).Error()
	if !strings.Contains(told, "early ended: exit status 3") || !strings.Contains(told, "late ended: exit status 1") {
		t.Errorf("told: %s", told)
	}
	if got := strings.Join(p.tails(), "|"); got != "early: why" {
		t.Errorf("tails: %q", got)
	}
}

func TestProcessPortTaken(t *testing.T) {
	p, _ := shells(t)
	if err := p.start(script("late", "echo listen: address already in use; exit 1")); err != nil {
		t.Fatal(err)
	}
	if err := p.ready(t.Context(), p.all[0].program); !errors.Is(err, errPortTaken) {
		t.Errorf("ready: %v", err)
	}
}

func TestProcessNotReady(t *testing.T) {
	p, _ := shells(t)
	if err := p.start(script("slow", "exec sleep 100")); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 2*demoTick)
	defer stop()
	if err := p.ready(ctx, p.all[0].program); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ready: %v", err)
	}
}

// TestProcessStops kills one, as the demonstration does, and stops two others, of
// which one does not want to.
func TestProcessStops(t *testing.T) {
	p, died := shells(t)
	for _, s := range []program{
		script("killed", "exec sleep 100"),
		script("obedient", "exec sleep 100"),
		script("stubborn", `trap "" TERM; echo up; while :; do sleep 0.2; done`),
	} {
		if err := p.start(s); err != nil {
			t.Fatal(err)
		}
	}
	p.guard()
	if err := p.kill("killed"); err != nil {
		t.Error(err)
	}
	if err := p.kill("killed"); err == nil {
		t.Error("what does not run cannot be killed")
	}
	for len(p.tails()) == 0 { // until the trap is set
		if err := pause(t.Context(), demoTick); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	p.stop()
	if took := time.Since(start); took < demoStop || took > 3*demoStop {
		t.Errorf("it took %s", took)
	}
	if len(died) > 0 {
		t.Errorf("their end was meant, and yet: %v", <-died)
	}
}

func TestPlainEnviron(t *testing.T) {
	got := plainEnviron([]string{"HOME=/", "OUTRIGGER_UNMESHED=false", "LINKERD2_PROXY_LOG=off"})
	if len(got) != 1 || got[0] != "HOME=/" {
		t.Errorf("got %q", got)
	}
}

func TestProbe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := probe{addr: l.Addr().String()}
	if err := p.try(t.Context()); err != nil {
		t.Error(err)
	}
	_ = l.Close()
	if p.try(t.Context()) == nil {
		t.Error("nobody listens there")
	}
}
