package proxy

import (
	"context"
	"log/slog"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/l4"
	"github.com/outrigger-mesh/outrigger/proxy/l7"
	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/pressure"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
	"github.com/outrigger-mesh/outrigger/proxy/telemetry"
)

// An overload is what is done before the process runs out of descriptors or of
// memory (docs/pressure.md).
type overload struct {
	cfg         Overload
	log         *slog.Logger
	descriptors pressure.Descriptors
	memory      *pressure.Memory // nil if there is no limit
	gate        *l4.Gate         // of all listeners
	inFlight    []*l7.InFlight   // of both directions

	ownsHeap bool // GOMEMLIMIT is not set

	freed time.Time // when what is free was last given back; watch's own, as what follows
	heap  int64     // what the collector keeps to

	level       atomic.Uint32 // a pressure.Level; look writes it, as what follows
	used, limit atomic.Int64  // of memory
	wait        atomic.Int64  // until when there is no use in looking again

	mu      sync.Mutex                      // guards memory, and what follows
	told    pressure.Level                  // at the last tick
	grown   struct{ conns, requests int64 } // that have taken what they need
	failing bool                            // what is used could not be read
}

// findMemory finds the limit of memory. It returns nil if there is none.
func findMemory(log *slog.Logger) *pressure.Memory {
	m, err := pressure.OpenMemory("/proc/self", "/")
	if err != nil {
		log.Warn("the limit on memory is not known, and not kept to", "err", err)
		return nil
	}
	if m == nil {
		return nil
	}
	log.Info("memory is limited", "bytes", m.Limit())
	return m
}

// bulk is how large a buffer a long content may have, given the limit of memory.
func bulk(m *pressure.Memory) int {
	const share = 4096 // so that this many slow clients can be served at once
	if m == nil {
		return codec.Bulk
	}
	return int(min(max(m.Limit()/share, codec.Head), codec.Bulk))
}

// bound says what is done when the process has little left. It is called when all
// listeners are open.
func (p *Proxy) bound(inFlight ...*l7.InFlight) error {
	d, err := pressure.ReadDescriptors()
	if err != nil {
		return err
	}
	o := &overload{cfg: p.Config.Overload, log: p.Log, descriptors: d, memory: p.memory, inFlight: inFlight, ownsHeap: debug.SetMemoryLimit(-1) == math.MaxInt64}
	conns := d.Conns
	if o.memory != nil { // an idle one needs half of that, but many may be busy at once
		conns = min(conns, max(int(o.memory.Limit()/int64(o.cfg.ConnShare)), 1))
	}
	o.gate = l4.NewGate(l4.GateConfig{Conns: conns, Data: d.Data, Patience: o.cfg.Patience, Age: o.cfg.Age, Full: o.full, More: o.more})
	for _, f := range inFlight {
		f.Ask(o.more)
	}
	p.overload = o
	p.Metrics.Overload(o.counts)
	if o.memory != nil {
		p.Metrics.Value("outrigger_memory_limit_bytes", "Memory that the control group allows.", func() float64 { return float64(o.limit.Load()) })
		p.Metrics.Value("outrigger_memory_used_bytes", "What counts against that limit, without what can be dropped at once.", func() float64 { return float64(o.used.Load()) })
	}
	p.Metrics.Value("outrigger_clients_limit", "Connections of clients that there may be at once.", func() float64 { return float64(conns) })
	p.Metrics.Value("outrigger_clients", "Connections of clients that are open.", func() float64 { return float64(o.gate.Open()) })
	return nil
}

// full tells of descriptors.
func (o *overload) full(full bool) {
	if full {
		o.log.Warn("as many connections as may be: others wait, and are then refused", "descriptors", o.descriptors.Limit, "clients", o.gate.Conns)
	} else {
		o.log.Info("there is room for connections again", "clients", o.gate.Open())
	}
}

// counts are what is shown of all this.
func (o *overload) counts() []telemetry.Overload {
	descriptors, memory := o.gate.Refused()
	shed := uint64(0)
	for _, f := range o.inFlight {
		shed += f.Shorted()
	}
	level := pressure.Level(o.level.Load())
	return []telemetry.Overload{
		{Action: "shed", Cause: "memory", Active: level >= pressure.High, Count: shed},
		{Action: "refuse", Cause: "memory", Active: level >= pressure.Acute, Count: memory},
		{Action: "refuse", Cause: "connections", Active: o.gate.IsFull(), Count: descriptors},
		{Action: "evict", Cause: "any", Active: level >= pressure.Acute || o.gate.IsFull(), Count: o.gate.Evicted()},
	}
}

// watch looks at memory until ctx is done.
func (o *overload) watch(ctx context.Context) {
	if o.memory == nil {
		return
	}
	collecting := make(chan int64, 1)
	var collector sync.WaitGroup
	collector.Go(func() { collect(collecting) })
	defer func() {
		close(collecting)
		collector.Wait()
		o.mu.Lock()
		defer o.mu.Unlock()
		_ = o.memory.Close()
		o.memory = nil
	}()
	tick := time.NewTicker(o.cfg.Interval)
	defer tick.Stop()
	for {
		level, changed := o.look(true)
		if changed {
			o.tell(level)
		}
		if level == pressure.Acute {
			o.gate.Evict(o.cfg.EvictShare)
		}
		o.keepHeap(level, collecting)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// more looks between two ticks, since as many requests or connections came as
// there was said to be room for.
func (o *overload) more() {
	if now := stack.Clock(); now >= time.Duration(o.wait.Load()) {
		o.look(false)
	}
}

// look reads what is used, and says how much more there is room for. It reports
// whether the level is another than at the last tick.
func (o *overload) look(tick bool) (level pressure.Level, changed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.memory == nil {
		return pressure.Calm, false
	}
	was := pressure.Level(o.level.Load())
	used, limit, err := o.memory.Used()
	if err != nil {
		o.failed(err)
		used, limit = 0, o.memory.Limit()
	}
	level = o.marks().Next(was, used, limit)
	o.used.Store(used)
	o.limit.Store(limit)
	o.level.Store(uint32(level))
	if tick {
		o.grown.conns += ageing(o.gate.Open() - o.grown.conns)
		o.grown.requests += ageing(o.flying() - o.grown.requests)
		changed = o.told != level
		o.told = level
	}
	o.spare(level, used, limit)
	return level, changed
}

// failed tells of err, once.
func (o *overload) failed(err error) {
	if !o.failing {
		o.failing = true
		o.log.Warn("what memory is used cannot be read", "err", err)
	}
}

func (o *overload) marks() pressure.Marks {
	return pressure.Marks{High: o.cfg.ShedAt, Acute: o.cfg.RefuseAt}
}

func (o *overload) flying() (n int64) {
	for _, f := range o.inFlight {
		n += f.Flying()
	}
	return n
}

// batch is for how many requests, or connections, there is room at most without
// another look.
const batch = 64

// lookPause is for how long what was seen holds, if there is no room.
const lookPause = 5 * time.Millisecond

// ageing is how many of those that came lately have taken what they need by the next
// tick: not all, since where much is to be done they have yet to run.
func ageing(young int64) int64 {
	if young <= 0 {
		return young
	}
	return (young + 7) / 8
}

// spare says how many requests and connections there is memory for until the next
// look. Those that came lately may have yet to take what they need.
func (o *overload) spare(level pressure.Level, used, limit int64) {
	high, acute := o.marks().Room(used, limit)
	young := max(o.flying()-o.grown.requests, 0)*int64(o.cfg.RequestBytes) + max(o.gate.Open()-o.grown.conns, 0)*int64(o.cfg.ConnBytes)
	requests := min(max(high-young, 0)/int64(o.cfg.RequestBytes), batch)
	conns := min(max(acute-young, 0)/int64(o.cfg.ConnBytes), batch)
	if level >= pressure.High {
		requests = 0
	}
	if level >= pressure.Acute {
		conns = 0
	}
	if requests == 0 || conns == 0 {
		o.wait.Store(int64(stack.Clock() + lookPause))
	}
	for _, f := range o.inFlight {
		f.Spare(requests)
	}
	o.gate.Spare(conns)
}

// collect has the collector keep to what it is told, and free what nobody uses if
// that is negative. Either waits for a collection, which may take long where there is
// much to do, and nobody else is to wait for that.
func collect(told <-chan int64) {
	for n := range told {
		if n < 0 {
			debug.FreeOSMemory()
		} else {
			debug.SetMemoryLimit(n)
		}
	}
}

// keepHeap has the collector leave room for what is not the heap's: most of all the
// kernel's part of each connection. That is the operator's to say if GOMEMLIMIT is
// set. While memory is short, what is pooled is given back.
func (o *overload) keepHeap(level pressure.Level, collecting chan<- int64) {
	n := o.heapLimit()
	due := level > pressure.Calm && time.Since(o.freed) >= o.cfg.Free
	if due {
		n = -1
	}
	if n == 0 {
		return
	}
	select {
	case collecting <- n:
		if due {
			o.freed = time.Now()
		} else {
			o.heap = n
		}
	default: // it has not done what it was told before
	}
}

// heapLimit returns what the heap may have, or zero if that is as it was.
func (o *overload) heapLimit() int64 {
	if !o.ownsHeap {
		return 0
	}
	used, limit := o.used.Load(), o.limit.Load()
	s := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/gc/heap/live:bytes"},
	}
	metrics.Read(s)
	value := func(i int) int64 { return int64(s[i].Value.Uint64()) }
	mapped, live := value(0)-value(1), value(4)
	want := limit/100*int64(o.cfg.HeapShare) - max(used-mapped, 0)
	// With less room than that for garbage it would do little but collect, and what is
	// used would never come to where requests are shed.
	want = max(want, mapped-value(2)-value(3)+live*3/2)
	if diff := want - o.heap; diff > limit/64 || diff < -limit/64 {
		return want
	}
	return 0
}

// tell logs that a level has begun.
func (o *overload) tell(level pressure.Level) {
	log := o.log.With("used", o.used.Load(), "limit", o.limit.Load(), "clients", o.gate.Open())
	switch level {
	case pressure.Acute:
		log.Warn("memory runs out: connections are refused, requests shed, idle connections closed")
	case pressure.High:
		log.Warn("memory is short: requests are shed")
	case pressure.Calm:
		log.Info("there is memory again")
	}
}
