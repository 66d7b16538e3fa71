package discover

import (
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"

	pb "github.com/linkerd/linkerd2-proxy-api/go/destination"
)

// A fold makes whole sets of the differences that the control plane sends. The
// goroutine that reads a stream applies messages, and the one that serves the
// stream's consumer takes sets. A consumer that is slower than the messages sees
// fewer sets, and never an old one.
type fold struct {
	limit int // of endpoints
	local []netip.Addr
	log   *slog.Logger
	ready chan struct{} // something may be there to take; one signal is enough for any number of changes

	mu      sync.Mutex                  // guards what follows
	base    []Endpoint                  // sorted by address, and shared with the Set that was taken last
	pending map[netip.AddrPort]Endpoint // changes to base; the zero Endpoint stands for one that is gone
	count   int                         // of endpoints, once pending is applied to base
	exists  bool
	spoken  bool // the control plane has said anything
	reset   bool // what comes next replaces all that is known
	warned  bool // of endpoints that were left out, since the stream was opened
	err     error
	taken   Set
	given   bool // taken has been given to the consumer
}

func newFold(limit int, local []netip.Addr, log *slog.Logger) *fold {
	return &fold{
		limit:   limit,
		local:   local,
		log:     log,
		ready:   make(chan struct{}, 1),
		pending: map[netip.AddrPort]Endpoint{},
	}
}

// apply takes in a message. The first one after a connection states all that
// there is: what was known before and is not in it has gone meanwhile.
func (f *fold) apply(u *pb.Update, first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reset = f.reset || first
	f.warned = f.warned && !first
	switch m := u.GetUpdate().(type) {
	case *pb.Update_Add:
		f.add(m.Add)
	case *pb.Update_Remove:
		f.remove(m.Remove)
	case *pb.Update_NoEndpoints:
		f.empty(m.NoEndpoints.GetExists())
	default:
		return
	}
	f.signal()
}

// unknown takes in the control plane's word that there is no such destination.
func (f *fold) unknown() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.empty(false)
	f.signal()
}

// fail makes err the last thing that is taken.
func (f *fold) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
	f.signal()
}

func (f *fold) signal() {
	select {
	case f.ready <- struct{}{}:
	default:
	}
}

func (f *fold) add(set *pb.WeightedAddrSet) {
	usable := make([]Endpoint, 0, len(set.GetAddrs()))
	for _, w := range set.GetAddrs() {
		e, err := FromWeightedAddr(w, set.GetMetricLabels())
		if err != nil {
			f.warn("endpoint left out", err)
			continue
		}
		if slices.Contains(f.local, e.Addr.Addr()) {
			e = e.Local()
		}
		usable = append(usable, e)
	}
	// A set of which nothing can be used says nothing. An empty one, by itself,
	// does: there are no endpoints.
	if len(usable) == 0 && len(set.GetAddrs()) > 0 {
		return
	}
	f.startOver()
	f.exists, f.spoken = true, true
	for _, e := range usable {
		f.put(e)
	}
}

func (f *fold) put(e Endpoint) {
	if !f.has(e.Addr) {
		if f.count >= f.limit {
			f.warn("endpoints beyond the limit left out", nil)
			return
		}
		f.count++
	}
	f.pending[e.Addr] = e
}

// remove does nothing if it comes first: there is nothing yet to remove from,
// and what was known before the connection ended may be all gone or all there.
func (f *fold) remove(set *pb.AddrSet) {
	if f.reset {
		return
	}
	for _, a := range set.GetAddrs() {
		addr, err := FromTCPAddress(a)
		if err != nil || !f.has(addr) {
			continue
		}
		f.pending[addr] = Endpoint{}
		f.count--
	}
}

func (f *fold) empty(exists bool) {
	f.reset = true
	f.startOver()
	f.exists, f.spoken = exists, true
}

func (f *fold) startOver() {
	if !f.reset {
		return
	}
	f.reset = false
	f.base, f.count = nil, 0
	clear(f.pending)
}

func (f *fold) has(addr netip.AddrPort) bool {
	if e, ok := f.pending[addr]; ok {
		return e.Addr.IsValid()
	}
	_, ok := find(f.base, addr)
	return ok
}

func (f *fold) warn(msg string, err error) {
	if f.warned {
		return
	}
	f.warned = true
	f.log.Warn(msg, "limit", f.limit, "error", err)
}

// take returns the newest set, if it is another than the one taken before.
func (f *fold) take() (set Set, ok bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil || !f.spoken || f.given && f.exists == f.taken.Exists && !f.differs() {
		return Set{}, false, f.err
	}
	f.base = f.merge()
	clear(f.pending)
	f.taken, f.given = Set{Endpoints: f.base, Exists: f.exists}, true
	return f.taken, true, nil
}

// differs reports whether merge would return something else than what was taken
// last. To compare all endpoints costs more than to copy them, so that it looks
// at the changes alone, unless all were stated anew.
func (f *fold) differs() bool {
	if len(f.base) == 0 && len(f.taken.Endpoints) > 0 {
		return !slices.Equal(f.merge(), f.taken.Endpoints)
	}
	for addr, e := range f.pending {
		i, found := find(f.base, addr)
		if found != e.Addr.IsValid() || found && f.base[i] != e {
			return true
		}
	}
	return false
}

// merge returns base with pending applied, in new memory: the old base is in the
// hands of the consumer. It copies what has not changed in runs, so that a few
// changes among many endpoints cost a copy and no more.
func (f *fold) merge() []Endpoint {
	if len(f.pending) == 0 {
		return f.base
	}
	merged := make([]Endpoint, 0, f.count)
	rest := f.base
	for _, addr := range slices.SortedFunc(maps.Keys(f.pending), netip.AddrPort.Compare) {
		i, found := find(rest, addr)
		merged = append(merged, rest[:i]...)
		if found {
			i++
		}
		rest = rest[i:]
		if e := f.pending[addr]; e.Addr.IsValid() {
			merged = append(merged, e)
		}
	}
	return append(merged, rest...)
}

func find(sorted []Endpoint, addr netip.AddrPort) (int, bool) {
	return slices.BinarySearchFunc(sorted, addr, func(e Endpoint, a netip.AddrPort) int {
		return e.Addr.Compare(a)
	})
}
