package l4

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// Why a connection is not admitted.
var (
	ErrDescriptors = fmt.Errorf("no descriptor is to be had: %w", stack.ErrExhausted)
	ErrFull        = errors.New("as many connections are open as there is room for")
	ErrMemory      = errors.New("the proxy is short of memory")
)

// A GateConfig says what a Gate admits. A number that is zero bounds nothing.
type GateConfig struct {
	Conns int // at once
	Data  int // descriptors from this number on are kept for others
	// Patience is how long connections wait for one to end, most of them where the
	// kernel keeps them, until those that come are refused.
	Patience time.Duration
	// Age is what a connection must have reached before it is asked to leave for
	// others.
	Age time.Duration
	// More, if not nil, is called when there is no memory for another by what Spare
	// said, so that it says it again.
	More func()
	// Full, if not nil, is told when connections begin to wait, and when there is
	// room again.
	Full func(bool)
}

// A Gate bounds the connections of all servers that share it, so that the process
// runs out of nothing: each has the descriptors that it may need to serve its
// client, and others have theirs.
//
// While it is full the connections that idle are closed, the oldest first, and all
// others end with what they have in hand. Who comes waits for that, and is reset
// when Patience is over: it had better go elsewhere than time out. How many are
// reset in a second is bounded, and so is what a flood of them costs.
type Gate struct {
	GateConfig
	open  atomic.Int64
	most  atomic.Int64 // as memory has it
	freed chan struct{}

	full    atomic.Bool // since a connection had to wait, until none had to for a while
	refused [2]atomic.Uint64
	evicted atomic.Uint64

	mu      sync.Mutex  // guards what follows
	moved   time.Time   // when it became full, or one that waited was admitted
	short   time.Time   // when a connection last had to wait
	asked   time.Time   // when connections were last asked to leave
	calm    *time.Timer // set while it is full
	servers map[*server]struct{}
}

// NewGate returns a Gate of no server yet.
func NewGate(cfg GateConfig) *Gate {
	g := &Gate{GateConfig: cfg, freed: make(chan struct{}, 1), servers: make(map[*server]struct{})}
	g.most.Store(math.MaxInt64)
	return g
}

// Open is how many connections are.
func (g *Gate) Open() int64 { return g.open.Load() }

// IsFull reports whether connections wait, or are refused, for want of
// descriptors.
func (g *Gate) IsFull() bool { return g.full.Load() }

// Refused is how many connections were refused for want of descriptors, and of
// memory; Evicted how many were asked to leave.
func (g *Gate) Refused() (descriptors, memory uint64) {
	return g.refused[0].Load(), g.refused[1].Load()
}

// Evicted is how many connections were asked to leave.
func (g *Gate) Evicted() uint64 { return g.evicted.Load() }

// Spare says for how many connections there is memory beside those that are open,
// until it is said again. None: not even for those that come when others have
// ended.
func (g *Gate) Spare(n int64) {
	if n > 0 {
		n += g.open.Load()
	}
	g.most.Store(n)
}

// enter counts c, or says why it may not be.
func (g *Gate) enter(c *stack.Conn) error {
	n := g.open.Add(1)
	var err error
	switch {
	case n > g.most.Load() && !g.room(n):
		err = ErrMemory
	case g.Conns > 0 && n > int64(g.Conns), g.Data > 0 && descriptor(c) >= g.Data:
		err = ErrDescriptors
	default:
		return nil
	}
	g.leave()
	return err
}

// room is asked beyond what there was said to be memory for.
func (g *Gate) room(n int64) bool {
	if g.More == nil {
		return false
	}
	g.More()
	return n <= g.most.Load()
}

// leave takes back what enter counted.
func (g *Gate) leave() {
	if g.open.Add(-1); !g.full.Load() {
		return
	}
	select {
	case g.freed <- struct{}{}:
	default:
	}
}

// calmTime is for how long no connection must have had to wait for a Gate to count
// as no longer full.
const calmTime = 3 * time.Second

// fill notes that the Gate is full, and returns until when those that come wait.
func (g *Gate) fill() time.Time {
	g.mu.Lock()
	begins := g.full.CompareAndSwap(false, true)
	g.short = time.Now()
	if begins {
		g.moved = g.short
		g.calm = time.AfterFunc(calmTime, g.look)
	}
	until := g.moved.Add(g.Patience)
	g.mu.Unlock()
	if begins && g.Full != nil {
		g.Full(true)
	}
	return until
}

// look ends what fill began, once it is over.
func (g *Gate) look() {
	g.mu.Lock()
	over := time.Since(g.short) >= calmTime || len(g.servers) == 0
	if over {
		g.full.Store(false)
	} else {
		g.calm.Reset(calmTime)
	}
	g.mu.Unlock()
	if over && g.Full != nil {
		g.Full(false)
	}
}

// move notes that a connection that waited was admitted.
func (g *Gate) move() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.moved = time.Now()
}

// The pauses of a server whose connections are not admitted.
const (
	gateTick    = 50 * time.Millisecond  // between two looks, should nobody have left
	refusePause = 100 * time.Millisecond // after so many that were reset
	refuseBatch = 64
	// Of those that memory has no room for ten times as many are reset: the sooner,
	// the less they hold.
	memoryPause = refusePause / 10
)

// await waits for room for c, and counts it then, or says why there was none in
// time.
func (g *Gate) await(ctx context.Context, c *stack.Conn) error {
	until := g.fill()
	if time.Now().After(until) { // as has everybody who came for a while
		g.evictIfDue()
		return ErrDescriptors
	}
	tick := time.NewTicker(gateTick)
	defer tick.Stop()
	for err := ErrDescriptors; ; {
		g.evictIfDue()
		if errors.Is(err, ErrMemory) || time.Now().After(until) || g.Data > 0 && descriptor(c) >= g.Data {
			return err
		}
		select {
		case <-g.freed:
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
		if err = g.enter(c); err == nil {
			g.move()
			return nil
		}
	}
}

// evictIfDue asks the oldest connections of each server to leave, unless others
// were asked just now.
func (g *Gate) evictIfDue() {
	g.mu.Lock()
	due := time.Since(g.asked) >= gateTick
	g.mu.Unlock()
	if due {
		g.Evict(1)
	}
}

// Evict asks the oldest connections of each server to leave: the share of them
// given, from 0 to 1 of all, in thousandths, or the few that are asked together.
func (g *Gate) Evict(share int) {
	g.mu.Lock()
	g.asked = time.Now()
	servers := make([]*server, 0, len(g.servers))
	for s := range g.servers {
		servers = append(servers, s)
	}
	g.mu.Unlock()
	for _, s := range servers {
		g.evicted.Add(s.evict(share, g.Age))
	}
}

func (g *Gate) add(s *server) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.servers[s] = struct{}{}
}

func (g *Gate) remove(s *server) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.servers, s)
}

// admit reports whether c is to be served. If not it has been refused.
func (s *server) admit(ctx context.Context, c *stack.Conn) bool {
	g := s.Gate
	if g == nil {
		return true
	}
	err := g.enter(c)
	if errors.Is(err, ErrDescriptors) {
		err = g.await(ctx, c)
	}
	if err == nil {
		s.refusals = 0
		return true
	}
	pause := refusePause
	if errors.Is(err, ErrMemory) {
		g.refused[1].Add(1)
		pause = memoryPause
	} else {
		g.refused[0].Add(1)
	}
	_ = Refuse(c, err)
	if s.refusals++; s.refusals%refuseBatch == 0 {
		sleep(ctx, pause)
	}
	return false
}

// descriptor is the number of c's, or -1 if it has none.
func descriptor(c *stack.Conn) int {
	below, ok := innermost(c.Conn).(*Conn)
	if !ok {
		return -1
	}
	n := -1
	_ = below.raw.Control(func(fd uintptr) { n = int(fd) })
	return n
}
