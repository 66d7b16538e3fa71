package telemetry

import "github.com/prometheus/client_golang/prometheus"

// An Overload is one thing that is done for want of another: while Active, and
// Count times so far.
type Overload struct {
	Action, Cause string
	Active        bool
	Count         uint64
}

// Overload shows what read returns, as outrigger_overload_active and
// outrigger_overload_total.
func (m *Metrics) Overload(read func() []Overload) {
	labels := []string{"action", "cause"}
	m.registry.MustRegister(&overloads{
		read:   read,
		active: prometheus.NewDesc("outrigger_overload_active", "Whether this is done now, for want of that (docs/pressure.md).", labels, nil),
		total:  prometheus.NewDesc("outrigger_overload_total", "To how many requests or connections it was done.", labels, nil),
	})
}

// Value shows a number that somebody else keeps.
func (m *Metrics) Value(name, help string, read func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
}

// overloads is the collector of Overloads.
type overloads struct {
	read          func() []Overload
	active, total *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (o *overloads) Describe(ch chan<- *prometheus.Desc) {
	ch <- o.active
	ch <- o.total
}

// Collect implements prometheus.Collector.
func (o *overloads) Collect(ch chan<- prometheus.Metric) {
	for _, v := range o.read() {
		active := 0.0
		if v.Active {
			active = 1
		}
		ch <- prometheus.MustNewConstMetric(o.active, prometheus.GaugeValue, active, v.Action, v.Cause)
		ch <- prometheus.MustNewConstMetric(o.total, prometheus.CounterValue, float64(v.Count), v.Action, v.Cause)
	}
}
