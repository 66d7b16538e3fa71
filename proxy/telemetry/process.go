package telemetry

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// buildInfo returns proxy_build_info.
func buildInfo(b Build) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "proxy_build_info",
		Help: "What was built.",
		ConstLabels: prometheus.Labels{
			"date": b.Date, "git_sha": b.GitSHA, "profile": b.Profile, "vendor": b.Vendor, "version": b.Version,
		},
	}, func() float64 { return 1 })
}

// A process collects what Linkerd's proxy tells of its process and
// client_golang's collector does not.
type process struct {
	start                  time.Time
	clock, uptime, threads *prometheus.Desc
}

func newProcess(start time.Time) *process {
	return &process{
		start:   start,
		clock:   prometheus.NewDesc("process_clock_time_seconds", "Current time, in seconds of the Unix epoch.", nil, nil),
		uptime:  prometheus.NewDesc("process_uptime_seconds_total", "Time since the process started.", nil, nil),
		threads: prometheus.NewDesc("process_threads", "Number of the system's threads.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (p *process) Describe(ch chan<- *prometheus.Desc) {
	ch <- p.clock
	ch <- p.uptime
	ch <- p.threads
}

// Collect implements prometheus.Collector.
func (p *process) Collect(ch chan<- prometheus.Metric) {
	now := time.Now()
	ch <- prometheus.MustNewConstMetric(p.clock, prometheus.GaugeValue, float64(now.UnixMilli())/1e3)
	ch <- prometheus.MustNewConstMetric(p.uptime, prometheus.CounterValue, now.Sub(p.start).Seconds())
	if stat, err := os.ReadFile("/proc/self/stat"); err == nil { // only where there is /proc
		if n, ok := threads(stat); ok {
			ch <- prometheus.MustNewConstMetric(p.threads, prometheus.GaugeValue, float64(n))
		}
	}
}

// threads returns num_threads of proc_pid_stat(5): the 18th field after the
// command, whose closing parenthesis is the line's last.
func threads(stat []byte) (int, bool) {
	const index = 17
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) <= index {
		return 0, false
	}
	n, err := strconv.Atoi(string(fields[index]))
	return n, err == nil
}
