package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/outrigger-mesh/outrigger/proxy/tee"
)

// A teeCollector shows what a Tee has counted. Its consumers' names are from the
// code, and so its series are few.
type teeCollector struct {
	stats                                         func() tee.Stats
	bytes, detached, lag, running, terminal, used *prometheus.Desc
}

// Tee shows what stats returns, a tee.Tee's, as outrigger_tee_bytes_total and its
// siblings.
func (m *Metrics) Tee(stats func() tee.Stats) {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("outrigger_tee_"+name, help, labels, nil)
	}
	m.registry.MustRegister(&teeCollector{
		stats:    stats,
		bytes:    desc("bytes_total", "Bytes of contents that consumers have read.", "consumer"),
		detached: desc("detached_total", "Messages that a consumer was shown no more, or not at all, by why.", "consumer", "reason"),
		lag:      desc("lag_bytes", "Bytes that consumers have yet to read.", "consumer"),
		running:  desc("consumers", "Messages that consumers are reading.", "consumer"),
		terminal: desc("terminal_total", "Messages that were shown to consumers, by how they ended.", "state"),
		used:     desc("budget_used_bytes", "Bytes that are held for all consumers."),
	})
}

// Describe implements prometheus.Collector.
func (c *teeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.bytes, c.detached, c.lag, c.running, c.terminal, c.used} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *teeCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.stats()
	count := func(d *prometheus.Desc, n int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, n int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	gauge(c.used, s.BudgetUsed)
	for state, n := range s.Ends {
		count(c.terminal, n, state.String())
	}
	for _, of := range s.Consumers {
		count(c.bytes, of.Bytes, of.Name)
		gauge(c.lag, of.Lag, of.Name)
		gauge(c.running, of.Running, of.Name)
		for why, n := range of.Detached {
			count(c.detached, n, of.Name, why.String())
		}
	}
}
