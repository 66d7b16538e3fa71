// Package guard keeps a panic where it happened: it says of which stage it was,
// counts and logs it, and lets whoever owns the stage clean up and go on. It rebuilds
// nothing by itself but what Keep runs. Read Guard first.
package guard

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Guard is told of the panics of one process. A nil Guard, or a zero one, logs to
// the default logger and counts nothing. Goroutines may share it.
type Guard struct {
	Log   *slog.Logger       // nil means the default one
	Count func(stage string) // nil for nobody

	mu   sync.Mutex // guards what follows
	told map[string]time.Time
	down map[string]string
}

// An Error is a panic that was caught: what those are told whose work it ended.
type Error struct {
	Stage string // where it was caught, a name from the code
	Value string // what it said, quoted and bounded
}

// Error implements error.
func (e *Error) Error() string { return "panic in " + e.Stage + ": " + e.Value }

// What is logged of a panic, and how often a stage's stack is.
const (
	maxValue   = 256     // bytes
	maxStack   = 8 << 10 // bytes
	maxFrames  = 64
	stackEvery = time.Second
)

// Caught is told what recover has returned at stage, which must not be nil. It counts
// and logs that, with about, as slog takes it, and with the stack: so it is to be
// called while that of the panic still stands, in the deferred function.
func (g *Guard) Caught(stage string, v any, about ...any) *Error {
	if already, ok := v.(*Error); ok {
		return already
	}
	carried, ok := v.(*Carried)
	if !ok {
		carried = Carry(v)
	}
	e := &Error{stage, carried.value}
	defer func() { _ = recover() }() // a logger's own panic, or a counter's, ends here
	if g != nil && g.Count != nil {
		g.Count(stage)
	}
	log := slog.Default()
	if g != nil && g.Log != nil {
		log = g.Log
	}
	about = append([]any{"stage", stage, "panic", e.Value}, about...)
	if g.tells(stage) {
		about = append(about, "stack", carried.stack())
	}
	log.Error("panic", about...)
	return e
}

// A Carried is a panic on its way to another goroutine, which panics with it.
type Carried struct {
	value string
	pcs   []uintptr
}

// Carry returns v, which recover has returned, with the stack of its panic. It is to be
// called in the deferred function.
func Carry(v any) *Carried {
	pcs := make([]uintptr, maxFrames)
	return &Carried{quoted(v), pcs[:runtime.Callers(1, pcs)]}
}

// stack returns the calls that led to the panic, a line each, the last one first.
func (c *Carried) stack() string {
	var b strings.Builder
	frames := runtime.CallersFrames(c.pcs)
	for {
		f, more := frames.Next()
		fmt.Fprintf(&b, "%s %s:%d\n", f.Function, f.File, f.Line)
		if !more {
			return b.String()[:min(b.Len(), maxStack)]
		}
	}
}

// quoted is v as text. To make that may panic too.
func quoted(v any) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("a %T that has no text", v)
		}
	}()
	s := fmt.Sprint(v)
	return fmt.Sprintf("%q", s[:min(len(s), maxValue)])
}

// tells reports whether a stage's stack is to be logged: of a stage that panics again
// and again the first is enough.
func (g *Guard) tells(stage string) bool {
	if g == nil {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if last, ok := g.told[stage]; ok && now.Sub(last) < stackEvery {
		return false
	}
	if g.told == nil {
		g.told = make(map[string]time.Time)
	}
	g.told[stage] = now
	return true
}

// Do calls f, and returns nil, or its panic as an *Error.
func (g *Guard) Do(stage string, f func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = g.Caught(stage, v)
		}
	}()
	f()
	return nil
}

// Go calls f on a goroutine of its own.
func (g *Guard) Go(stage string, f func()) {
	go func() { _ = g.Do(stage, f) }()
}

// AfterFunc is time.AfterFunc, with f guarded.
func (g *Guard) AfterFunc(d time.Duration, stage string, f func()) *time.Timer {
	return time.AfterFunc(d, func() { _ = g.Do(stage, f) })
}

// AfterDone is context.AfterFunc, with f guarded.
func (g *Guard) AfterDone(ctx context.Context, stage string, f func()) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = g.Do(stage, f) })
}

// Keep calls f, and, for as long as it panics, again after a pause, which must not be
// longer than ctx lasts. It returns what f does, or the cause of ctx.
func (g *Guard) Keep(ctx context.Context, stage string, pause func(context.Context) error, f func() error) error {
	for {
		var err error
		if g.Do(stage, func() { err = f() }) == nil {
			return err
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// Down says that something which must run does not, and why: it panics whenever it is
// begun anew. The process is then better started anew itself.
func (g *Guard) Down(what, why string) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.down == nil {
		g.down = make(map[string]string)
	}
	g.down[what] = why
}

// Up takes Down back.
func (g *Guard) Up(what string) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.down, what)
}

// Live reports whether all runs that must, and else what does not, and why.
func (g *Guard) Live() (ok bool, why string) {
	if g == nil {
		return true, ""
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []string
	for _, what := range slices.Sorted(maps.Keys(g.down)) {
		all = append(all, what+": "+g.down[what])
	}
	return len(all) == 0, strings.Join(all, "\n")
}
