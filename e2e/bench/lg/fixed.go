package main

import (
	"fmt"
	"net"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// fix sends requests at a constant rate, whether or not those before are answered
// (an open loop): one that is held up by an earlier one counts from when it was
// due, so that a stall is seen for what it is.
func fix(o options) error {
	debug.SetGCPercent(-1)
	runtime.GOMAXPROCS(4)
	total := int(float64(o.rate) * o.dur.Seconds())
	l := &latencies{skip: int64(total / 5), sorted: make([]int64, 0, total)}
	senders := make([]sender, o.conns)
	for i := range senders {
		c, err := dial(o.addr)
		if err != nil {
			return err
		}
		if senders[i], err = newSender(o, c, l); err != nil {
			return err
		}
	}
	elapsed := pace(senders, total, float64(time.Second)/float64(o.rate))
	for range 100 { // a second at most, for those that are still out
		if int(l.done.Load()) >= total {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return l.report(total, elapsed)
}

// A sender sends requests on one connection. A reader of its own records what
// comes back.
type sender interface {
	// send sends the next request. It was due at that time, in nanoseconds, and
	// it is now the other.
	send(due, now int64)
}

func newSender(o options, c net.Conn, l *latencies) (sender, error) {
	switch o.proto {
	case "h1":
		return newTurns(c, l, getRequest(o.path, "User-Agent: lg/1\r\nAccept: */*\r\n"), readHTTP1), nil
	case "tcp":
		return newTurns(c, l, make([]byte, o.size), readEchoes), nil
	case "h2", "grpc":
		return newStreams(o, c, l), nil
	default:
		return nil, fmt.Errorf("unknown protocol %q", o.proto)
	}
}

// pace sends total requests, one each interval, on the senders in turn.
func pace(senders []sender, total int, interval float64) time.Duration {
	runtime.LockOSThread()
	syscall.RawSyscall6(syscall.SYS_PRCTL, syscall.PR_SET_TIMERSLACK, 1, 0, 0, 0, 0)
	time.Sleep(100 * time.Millisecond) // the readers are at their reads by then
	start := monotonic()
	for k := range total {
		due := start + int64(float64(k)*interval)
		now := monotonic()
		if due > now {
			sleep(due - now)
			now = monotonic()
		}
		senders[k%len(senders)].send(due, now)
	}
	return time.Duration(monotonic() - start)
}

// sleep is the system's own: the runtime's timers are coarser.
func sleep(nanoseconds int64) {
	ts := syscall.NsecToTimespec(nanoseconds)
	syscall.Syscall6(syscall.SYS_CLOCK_NANOSLEEP, clockMonotonic, 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
}

const clockMonotonic = 1

func monotonic() int64 {
	var ts syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&ts)), 0)
	return ts.Nano()
}

// latencies are those of all connections, but for the first, which warm up.
type latencies struct {
	done, bad atomic.Int64
	skip      int64

	mu     sync.Mutex
	sorted []int64 // nanoseconds; sorted when it is reported
}

func (l *latencies) record(nanoseconds int64) {
	if l.done.Add(1) <= l.skip {
		return
	}
	l.mu.Lock()
	l.sorted = append(l.sorted, nanoseconds)
	l.mu.Unlock()
}

func (l *latencies) report(want int, elapsed time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.Sort(l.sorted)
	var sum int64
	for _, v := range l.sorted {
		sum += v
	}
	n := l.done.Load()
	return report(map[string]any{
		"reqs": n, "want": want, "rps": float64(n) / elapsed.Seconds(), "bad": l.bad.Load(),
		"p50": l.quantile(.5), "p90": l.quantile(.9), "p99": l.quantile(.99), "p999": l.quantile(.999), "max": l.quantile(1),
		"mean": float64(sum) / float64(max(len(l.sorted), 1)) / 1000,
	})
}

// quantile is in microseconds.
func (l *latencies) quantile(q float64) float64 {
	if len(l.sorted) == 0 {
		return 0
	}
	i := min(int(q*float64(len(l.sorted))), len(l.sorted)-1)
	return float64(l.sorted[i]) / 1000
}
