package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/outrigger-mesh/outrigger/tls"
)

// Identity has the certificate in store shown: control_identity_cert_*.
func (m *Metrics) Identity(store *tls.Store) {
	m.registry.MustRegister(&identity{
		store:     store,
		expires:   prometheus.NewDesc("control_identity_cert_expiration_timestamp_seconds", "When this workload's certificate runs out, in seconds of the Unix epoch.", nil, nil),
		refreshed: prometheus.NewDesc("control_identity_cert_refresh_timestamp_seconds", "When this workload's certificate was taken, in seconds of the Unix epoch.", nil, nil),
		refreshes: prometheus.NewDesc("control_identity_cert_refreshes_total", "Certificates that came, by whether they could be used.", []string{"result"}, nil),
	})
}

// An identity collects what a Store knows of its certificate.
type identity struct {
	store                         *tls.Store
	expires, refreshed, refreshes *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (i *identity) Describe(ch chan<- *prometheus.Desc) {
	ch <- i.expires
	ch <- i.refreshed
	ch <- i.refreshes
}

// Collect implements prometheus.Collector.
func (i *identity) Collect(ch chan<- prometheus.Metric) {
	s := i.store.Stats()
	if !s.Expires.IsZero() {
		ch <- prometheus.MustNewConstMetric(i.expires, prometheus.GaugeValue, float64(s.Expires.UnixMilli())/1e3)
		ch <- prometheus.MustNewConstMetric(i.refreshed, prometheus.GaugeValue, float64(s.Refreshed.UnixMilli())/1e3)
	}
	ch <- prometheus.MustNewConstMetric(i.refreshes, prometheus.CounterValue, float64(s.OK), "ok")
	ch <- prometheus.MustNewConstMetric(i.refreshes, prometheus.CounterValue, float64(s.Errors), "error")
}
