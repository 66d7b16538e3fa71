package telemetry

import (
	"slices"
	"strings"
	"sync"
	"time"
	"weak"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
)

// A family is all series of one name, or of a few names whose values are counted
// together. To count, one needs a lease on a series, and no lock.
type family struct {
	views     []view
	fresh     func() value
	permanent bool // shown from the first lease on, and never dropped

	limit  int
	retain time.Duration

	mu      sync.Mutex
	series  map[key]*series
	spill   *lease        // takes what finds no room; nil until then
	spilled uint64        // leases that found no room
	swept   time.Duration // when idle series were last looked for
}

// A view is one name under which a family's values are shown.
type view struct {
	name, help string
	kind       dto.MetricType
	write      func(value, *dto.Metric)
}

// A value is where a series stands.
type value interface {
	// progress never falls, and grows whenever something is counted.
	progress() uint64
	// open reports whether something begun is yet to be counted.
	open() bool
}

// A key names a series: the labels that its stack knows, and those that only the
// outcome tells. They are apart so that all series of a stack share the former.
type key struct{ first, second Labels }

// A series is kept while it has a lease, and for some time after its last change.
type series struct {
	value   value
	lease   weak.Pointer[lease] // the one that all users share
	seen    uint64              // progress when last looked at
	touched time.Duration       // when it was last seen to be in use
}

// A lease says that its series is in use, until the garbage collector finds that
// nobody holds it any more: stacks have no Close that could say so.
type lease struct{ value value }

func (s *series) lend() *lease {
	l := s.lease.Value()
	if l == nil {
		l = &lease{s.value}
		s.lease = weak.Make(l)
	}
	return l
}

// lend returns the lease on k's series, which it makes if there is none.
func (f *family) lend(k key, now time.Duration) *lease {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.series[k]; s != nil {
		return s.lend()
	}
	if f.full(now) {
		if f.spill == nil {
			f.spill = &lease{f.fresh()}
		}
		f.spilled++
		return f.spill
	}
	s := &series{value: f.fresh(), touched: now}
	f.series[k] = s
	return s.lend()
}

// full reports whether there is no room for one more. It looks for idle series
// first, since nobody else does if nobody scrapes; but seldom, since it takes long.
func (f *family) full(now time.Duration) bool {
	if len(f.series) >= f.limit && now-f.swept > f.retain {
		f.sweep(now)
	}
	return len(f.series) >= f.limit
}

// sweep drops what has been idle for too long.
func (f *family) sweep(now time.Duration) {
	f.swept = now
	if f.permanent {
		return
	}
	for k, s := range f.series {
		at := s.value.progress()
		switch {
		case at != s.seen || s.value.open() || s.lease.Value() != nil:
			s.seen, s.touched = at, now
		case now-s.touched >= f.retain:
			delete(f.series, k)
		}
	}
}

// gather returns what is shown of f: one family for each view, or none.
func (f *family) gather(now time.Duration) []*dto.MetricFamily {
	shown := f.shown(now)
	if len(shown) == 0 {
		return nil
	}
	families := make([]*dto.MetricFamily, len(f.views))
	for i, v := range f.views {
		families[i] = &dto.MetricFamily{
			Name: proto.String(v.name), Help: proto.String(v.help), Type: v.kind.Enum(),
			Metric: make([]*dto.Metric, len(shown)),
		}
	}
	for n, s := range shown {
		pairs := s.key.pairs()
		for i, v := range f.views {
			metric := &dto.Metric{Label: pairs}
			v.write(s.value, metric)
			families[i].Metric[n] = metric
		}
	}
	return families
}

type shown struct {
	key   key
	value value
}

// shown returns the series that have counted anything, in a steady order.
func (f *family) shown(now time.Duration) []shown {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sweep(now)
	list := make([]shown, 0, len(f.series)+1)
	for k, s := range f.series {
		if f.permanent || s.value.progress() > 0 {
			list = append(list, shown{k, s.value})
		}
	}
	slices.SortFunc(list, func(a, b shown) int {
		if c := strings.Compare(a.key.first.pairs, b.key.first.pairs); c != 0 {
			return c
		}
		return strings.Compare(a.key.second.pairs, b.key.second.pairs)
	})
	if f.spill != nil {
		list = append(list, shown{key{first: Label("overflow", "true")}, f.spill.value})
	}
	return list
}

// gatherOverflow adds to out how often f had no room.
func (f *family) gatherOverflow(out *dto.MetricFamily) {
	f.mu.Lock()
	spilled := f.spilled
	f.mu.Unlock()
	if spilled == 0 {
		return
	}
	for _, v := range f.views {
		out.Metric = append(out.Metric, &dto.Metric{
			Label:   key{first: Label("family", v.name)}.pairs(),
			Counter: &dto.Counter{Value: proto.Float64(float64(spilled))},
		})
	}
}

// overflowFamily returns the family that gatherOverflow adds to.
func overflowFamily() *dto.MetricFamily {
	return &dto.MetricFamily{
		Name: proto.String("outrigger_metrics_overflow_total"),
		Help: proto.String(`Series that found no room in their family, and are counted in its series overflow="true".`),
		Type: dto.MetricType_COUNTER.Enum(),
	}
}

// pairs returns k's labels as the exposition wants them.
func (k key) pairs() []*dto.LabelPair {
	var pairs []*dto.LabelPair
	for _, l := range []Labels{k.first, k.second} {
		for name, value := range l.all() {
			pairs = append(pairs, &dto.LabelPair{Name: proto.String(name), Value: proto.String(value)})
		}
	}
	return pairs
}
