package proxy

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/outrigger-mesh/outrigger/proxy/l4"
	"github.com/outrigger-mesh/outrigger/proxy/l7"
	"github.com/outrigger-mesh/outrigger/proxy/pressure"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// overloaded returns what guards a group of 64 MiB, and a function that says how much
// of it is used.
func overloaded(t *testing.T) (*overload, func(percent int)) {
	t.Helper()
	root := t.TempDir()
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const limit = 64 << 20
	put("cgroup", "0::/\n")
	put("mountinfo", "30 25 0:26 / / rw - cgroup2 cgroup2 rw\n")
	put("memory.max", strconv.Itoa(limit))
	put("memory.stat", "")
	use := func(percent int) { put("memory.current", strconv.Itoa(limit/100*percent)) }
	use(10)
	m, err := pressure.OpenMemory(root, root)
	if err != nil || m == nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	c, _, err := ReadEnv([]string{
		"OUTRIGGER_UNMESHED=true", "LINKERD2_PROXY_DESTINATION_SVC_ADDR=127.0.0.1:1", "LINKERD2_PROXY_POLICY_SVC_ADDR=127.0.0.1:1", "LINKERD2_PROXY_POLICY_WORKLOAD=a",
	})
	if err != nil {
		t.Fatal(err)
	}
	o := &overload{cfg: c.Overload, log: slog.New(slog.DiscardHandler), memory: m, inFlight: []*l7.InFlight{l7.NewInFlight(100_000)}}
	o.gate = l4.NewGate(l4.GateConfig{More: o.more})
	return o, use
}

// TestOverload goes through the levels, and shows each.
func TestOverload(t *testing.T) {
	o, use := overloaded(t)
	for _, step := range []struct {
		percent      int
		level        pressure.Level
		shed, refuse bool
	}{{10, pressure.Calm, false, false}, {91, pressure.High, true, false}, {96, pressure.Acute, true, true}, {91, pressure.Acute, true, true}, {86, pressure.High, true, false}, {84, pressure.Calm, false, false}} {
		use(step.percent)
		if level, _ := o.look(true); level != step.level {
			t.Errorf("%d %%: level %d, want %d", step.percent, level, step.level)
		}
		for _, c := range o.counts() {
			if c.Cause == "memory" && c.Active != map[string]bool{"shed": step.shed, "refuse": step.refuse}[c.Action] {
				t.Errorf("%d %%: %+v", step.percent, c)
			}
		}
	}
}

// TestOverloadOfTheYoung thinks of what those that have just come will take: there is
// room for no more than that allows, although nothing is used yet.
func TestOverloadOfTheYoung(t *testing.T) {
	o, _ := overloaded(t)
	o.look(true)
	f, n := o.inFlight[0], 0
	f.Ask(o.more)
	svc := f.Shed(func(context.Context, *stack.Request) (*stack.Response, error) {
		return &stack.Response{Status: 200, Body: stack.Bytes([]byte("a"))}, nil
	})
	for range 10_000 {
		if _, err := svc(t.Context(), &stack.Request{Body: stack.Empty()}); err != nil { // it is in flight while nobody reads it
			break
		}
		n++
	}
	if most := 64 << 20 / o.cfg.RequestBytes; n < most/2 || n > most {
		t.Errorf("%d requests at once, want up to %d", n, most)
	}
}
