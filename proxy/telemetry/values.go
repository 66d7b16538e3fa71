package telemetry

import (
	"sync/atomic"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
)

// A counter is a number that grows.
type counter struct{ n atomic.Uint64 }

func newCounter() value             { return new(counter) }
func (c *counter) add()             { c.n.Add(1) }
func (c *counter) progress() uint64 { return c.n.Load() }
func (c *counter) open() bool       { return false }

// counterView shows a counter.
func counterView(name, help string) view {
	return view{name, help, dto.MetricType_COUNTER, func(v value, m *dto.Metric) {
		m.Counter = &dto.Counter{Value: proto.Float64(float64(v.progress()))}
	}}
}

// Scale is how the durations of a histogram are shown: their unit, and the upper
// bounds of the buckets in that unit.
type scale struct {
	unit   time.Duration
	bounds []float64
}

// A histogram counts durations by how long they are.
type histogram struct {
	scale  *scale
	counts []atomic.Uint64 // one for each bound, and one for what is above
	sum    atomic.Int64    // nanoseconds
}

func newHistogram(s *scale) func() value {
	return func() value {
		return &histogram{scale: s, counts: make([]atomic.Uint64, len(s.bounds)+1)}
	}
}

// observe looks from the bottom up, where nearly all durations are.
func (h *histogram) observe(d time.Duration) {
	in, i := float64(d)/float64(h.scale.unit), 0
	for i < len(h.scale.bounds) && in > h.scale.bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

func (h *histogram) progress() uint64 {
	var n uint64
	for i := range h.counts {
		n += h.counts[i].Load()
	}
	return n
}

func (h *histogram) open() bool { return false }

// write shows h. The count is what the buckets add up to, whatever is counted
// meanwhile.
func (h *histogram) write(m *dto.Metric) {
	buckets := make([]dto.Bucket, len(h.scale.bounds))
	out := &dto.Histogram{Bucket: make([]*dto.Bucket, len(buckets))}
	var n uint64
	for i := range buckets {
		n += h.counts[i].Load()
		buckets[i].CumulativeCount = proto.Uint64(n)
		buckets[i].UpperBound = &h.scale.bounds[i]
		out.Bucket[i] = &buckets[i]
	}
	out.SampleCount = proto.Uint64(n + h.counts[len(buckets)].Load())
	out.SampleSum = proto.Float64(float64(h.sum.Load()) / float64(h.scale.unit))
	m.Histogram = out
}

// histogramView shows a histogram.
func histogramView(name, help string) view {
	return view{name, help, dto.MetricType_HISTOGRAM, func(v value, m *dto.Metric) {
		v.(*histogram).write(m)
	}}
}
