package control

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/go-kit/kit/endpoint"
	"github.com/go-kit/kit/sd"
	"github.com/go-kit/kit/sd/lb"
	"google.golang.org/grpc/connectivity"
)

// Here go-kit shares a service's replicas: the finder's sets are its Instancer,
// a replica is its Endpoint, and its round robin chooses. lb.Retry is not used,
// since it cancels streams as it returns; lb.Random races.

// An instancer hands whole sets of replicas to go-kit.
type instancer struct {
	mu    sync.Mutex
	last  []string                 // what was set last
	sinks map[chan<- sd.Event]bool // who gets each set; always one in practice
}

// Register implements sd.Instancer: ch gets the last set at once.
func (i *instancer) Register(ch chan<- sd.Event) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.sinks == nil {
		i.sinks = make(map[chan<- sd.Event]bool)
	}
	i.sinks[ch] = true
	ch <- sd.Event{Instances: slices.Clone(i.last)} // cloned, as go-kit sorts it in place
}

// Deregister implements sd.Instancer.
func (i *instancer) Deregister(ch chan<- sd.Event) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.sinks, ch)
}

// Stop implements sd.Instancer: it takes every replica away, which closes them.
func (i *instancer) Stop() { i.set(nil) }

func (i *instancer) set(instances []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.last = instances
	for ch := range i.sinks {
		ch <- sd.Event{Instances: slices.Clone(instances)} // go-kit is always reading, so this is short
	}
}

// kitLog lets go-kit log through slog.
type kitLog struct{ log *slog.Logger }

// Log implements go-kit's log.Logger.
func (l kitLog) Log(keyvals ...any) error {
	l.log.Warn("control-plane replicas", keyvals...)
	return nil
}

// A call is what is done with a replica: open a stream, or ask once.
type call func(ctx context.Context, r *replica) (any, error)

// replicas are the connections to a service's replicas.
type replicas struct {
	source     *instancer
	endpointer *sd.DefaultEndpointer
	balancer   lb.Balancer
	changed    signal                             // raised when a replica comes or changes its state
	running    sync.WaitGroup                     // one for each replica
	ready      atomic.Int32                       // how many are
	turned     func(*replica, connectivity.State) // told each state of each replica
}

func newReplicas(ctx context.Context, c Config, open func(addr string) (*replica, error), turned func(*replica, connectivity.State)) *replicas {
	rs := &replicas{source: new(instancer), turned: turned}
	factory := func(addr string) (endpoint.Endpoint, io.Closer, error) {
		var r *replica
		var err error
		if lost := c.Guard.Do(stage, func() { r, err = open(addr) }); lost != nil { // go-kit's goroutine is not ours
			return nil, nil, lost
		}
		if err != nil {
			return nil, nil, err
		}
		ctx, cancel := context.WithCancel(ctx)
		r.stop = cancel
		rs.running.Go(func() {
			_ = c.Guard.Keep(ctx, stage, c.Backoff.Start().Wait, func() error {
				rs.attend(ctx, r)
				return nil
			})
		})
		return r.endpoint, r, nil
	}
	rs.endpointer = sd.NewEndpointer(rs.source, factory, kitLog{c.Log})
	rs.balancer = lb.NewRoundRobin(rs.endpointer)
	return rs
}

// attend passes r's changes on until ctx is done, which is when r is closed.
func (rs *replicas) attend(ctx context.Context, r *replica) {
	_, _ = rs.endpointer.Endpoints() // waits for the update that r came with, so that whoever is woken finds r
	was := false
	defer func() { rs.count(was, false) }()
	for going := true; going; {
		state := r.conn.GetState()
		was = rs.count(was, state == connectivity.Ready)
		rs.turned(r, state)
		rs.changed.raise()
		going = r.conn.WaitForStateChange(ctx, state)
	}
}

// count keeps ready in step with one replica, and returns is.
func (rs *replicas) count(was, is bool) bool {
	switch {
	case is && !was:
		rs.ready.Add(1)
	case was && !is:
		rs.ready.Add(-1)
	}
	return is
}

func (rs *replicas) set(addrs []netip.AddrPort) {
	instances := make([]string, len(addrs))
	for i, a := range addrs {
		instances[i] = a.String()
	}
	rs.source.set(instances)
}

// close closes every replica and waits until nothing of them runs any more.
func (rs *replicas) close() {
	rs.source.Stop()
	rs.endpointer.Close()
	rs.running.Wait()
}

// try makes the call on the replica whose turn it is. If that is not ready, any
// other that is will do; if none is, it returns errNotReady.
func (rs *replicas) try(ctx context.Context, c call) (any, error) {
	next, err := rs.balancer.Endpoint()
	if err != nil {
		return nil, errNotReady // lb.ErrNoEndpoints: nothing has been found yet
	}
	v, err := next(ctx, c)
	if errors.Is(err, errNotReady) {
		return rs.tryOthers(ctx, c)
	}
	return v, err
}

func (rs *replicas) tryOthers(ctx context.Context, c call) (any, error) {
	all, err := rs.endpointer.Endpoints()
	if err != nil || len(all) == 0 {
		return nil, errNotReady
	}
	from := rand.IntN(len(all)) //nolint:gosec // spreads load; guards no secret
	for i := range all {
		v, err := all[(from+i)%len(all)](ctx, c)
		if !errors.Is(err, errNotReady) {
			return v, err
		}
	}
	return nil, errNotReady
}
