package proxy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen, on a busy machine.
const patience = 30 * time.Second

// A ledger notes, for each piece of work, how often it was sent, executed and
// answered. Whoever does the work executes it once, or the proxy has sent it
// twice.
type ledger struct {
	mu       sync.Mutex
	changed  *sync.Cond
	work     map[string]*fate
	executed int            // in all
	answered int            // in all
	by       map[string]int // executed, by whom
	last     map[string]int // what executed was when they did so last
	failures []string       // the first few
}

// A fate is what became of one piece of work.
type fate struct{ sent, executed, answered int }

func newLedger() *ledger {
	l := &ledger{work: map[string]*fate{}, by: map[string]int{}, last: map[string]int{}}
	l.changed = sync.NewCond(&l.mu)
	return l
}

// of is called with mu held.
func (l *ledger) of(id string) *fate {
	f := l.work[id]
	if f == nil {
		f = new(fate)
		l.work[id] = f
	}
	return f
}

func (l *ledger) send(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of(id).sent++
}

func (l *ledger) execute(id, who string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of(id).executed++
	l.executed++
	l.by[who]++
	l.last[who] = l.executed
}

func (l *ledger) answer(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of(id).answered++
	l.answered++
	l.changed.Broadcast()
}

// lose notes why a piece of work has no answer.
func (l *ledger) lose(id string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.failures) < 10 {
		l.failures = append(l.failures, fmt.Sprintf("%s: %v", id, err))
	}
	l.changed.Broadcast()
}

// until waits until a condition holds, and fails the test if that takes too long
// or work is lost meanwhile. The condition is asked with the ledger locked,
// after each answer.
func (l *ledger) until(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	defer context.AfterFunc(ctx, l.changed.Broadcast)()
	l.mu.Lock()
	defer l.mu.Unlock()
	for !holds() {
		if len(l.failures) > 0 {
			tb.Fatalf("waiting until %s: work was lost:\n%s", what, strings.Join(l.failures, "\n"))
		}
		if ctx.Err() != nil {
			tb.Fatalf("waited in vain until %s; executed %v", what, l.by)
		}
		l.changed.Wait()
	}
}

// progress waits until n more pieces of work are answered.
func (l *ledger) progress(tb testing.TB, n int) {
	tb.Helper()
	l.mu.Lock()
	goal := l.answered + n
	l.mu.Unlock()
	l.until(tb, fmt.Sprintf("%d are answered", goal), func() bool { return l.answered >= goal })
}

// takesPart waits until n more pieces of work are executed by who.
func (l *ledger) takesPart(tb testing.TB, n int, who ...string) {
	tb.Helper()
	l.mu.Lock()
	before := maps.Clone(l.by)
	l.mu.Unlock()
	for _, w := range who {
		l.until(tb, w+" takes part", func() bool { return l.by[w] >= before[w]+n })
	}
}

// leaves waits until none of the last n pieces of work was executed by who.
func (l *ledger) leaves(tb testing.TB, n int, who ...string) {
	tb.Helper()
	l.mu.Lock()
	from := l.executed
	l.mu.Unlock()
	for _, w := range who {
		l.until(tb, w+" takes no part any more", func() bool { return l.executed-max(l.last[w], from) >= n })
	}
}

// check fails the test for work that was lost or done twice, and logs the sums.
func (l *ledger) check(tb testing.TB) {
	tb.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var sent, lost, twice, unexecuted int
	for id, f := range l.work {
		sent += f.sent
		if f.sent != 1 {
			tb.Errorf("%s was sent %d times: the test's own mistake", id, f.sent)
		}
		if f.answered != 1 {
			lost++
		}
		if f.executed > 1 {
			twice++
		}
		if f.executed == 0 && f.answered > 0 {
			unexecuted++
		}
	}
	tb.Logf("sent %d, executed %d, answered %d; lost %d, executed twice %d, answered though not executed %d",
		sent, l.executed, l.answered, lost, twice, unexecuted)
	for _, who := range slices.Sorted(maps.Keys(l.by)) {
		tb.Logf("  %-24s %d", who, l.by[who])
	}
	if lost+twice+unexecuted > 0 || sent == 0 {
		tb.Errorf("of %d sent, %d were lost, %d executed twice and %d answered though not executed:\n%s",
			sent, lost, twice, unexecuted, strings.Join(l.failures, "\n"))
	}
}
