package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/outrigger-mesh/outrigger/guard"
)

// A guardedRegistry guards what is registered: a registry runs collectors on goroutines
// of its own, where nobody else would catch their panics.
type guardedRegistry struct {
	prometheus.Registerer
	guard *guard.Guard
}

// Register implements prometheus.Registerer.
func (r guardedRegistry) Register(c prometheus.Collector) error {
	return r.Registerer.Register(&guardedCollector{c, r.guard})
}

// MustRegister implements prometheus.Registerer.
func (r guardedRegistry) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		r.Registerer.MustRegister(&guardedCollector{c, r.guard})
	}
}

// A guardedCollector collects what it can.
type guardedCollector struct {
	prometheus.Collector
	guard *guard.Guard
}

// Collect implements prometheus.Collector.
func (c *guardedCollector) Collect(to chan<- prometheus.Metric) {
	_ = c.guard.Do("metrics collector", func() {
		guard.Point("metrics collected")
		c.Collector.Collect(to)
	})
}
