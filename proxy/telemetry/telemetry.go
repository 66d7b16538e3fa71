// Package telemetry counts and times connections and requests, under the names
// that Linkerd gave its metrics, and says what the proxy does in a log. It
// changes nothing of what it measures, and it is not tap: nobody's request can
// be seen in it. Read Metrics first, then Labels; the log begins at Logs.
package telemetry

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/outrigger-mesh/outrigger/guard"
)

// Options say how Metrics are kept.
type Options struct {
	// RetainIdle is how long a series is still shown after it was last counted
	// on, once nothing can count on it any more (LINKERD2_PROXY_METRICS_RETAIN_IDLE).
	RetainIdle time.Duration

	// MaxSeries bounds each family. Beyond it, all that is new is counted
	// together in one series, {overflow="true"}. Zero means 10,000.
	MaxSeries int

	// Build is shown by proxy_build_info.
	Build Build

	// Cause gives the label error of a response that failed: "timeout",
	// "h2(CANCEL)" and the like, from a small set, or "" for "unclassified". It
	// may be nil.
	Cause func(error) string

	// Guard is told of the panics of collectors, which cost what they would have
	// shown. It may be nil.
	Guard *guard.Guard
}

// A Build says what was built, as the labels of proxy_build_info.
type Build struct{ Date, GitSHA, Profile, Vendor, Version string }

// maxSeries is enough for some hundreds of destinations, and keeps what anybody
// can make the proxy allocate to a few MiB a family.
const maxSeries = 10_000

// Metrics holds what the proxy counts. Its methods give layers and handles whose
// series are found when a stack is built, so that to count costs a few atomic
// additions. A series is kept for as long as its layer or handle is in use.
type Metrics struct {
	registry *prometheus.Registry
	guard    *guard.Guard
	panics   *prometheus.CounterVec
	cause    func(error) string
	epoch    time.Time
	pool     sync.Pool // of *exchange

	endpoints, routes, tries     httpFamilies
	conns, closed                *family
	httpErrors, tcpErrors        byDirection
	detectResults, detectSeconds byDirection
	protocols                    *family

	families []*family // all of the above, by the first name
}

// byDirection holds the two families that differ only in their name's beginning.
type byDirection struct{ inbound, outbound *family }

func (b byDirection) of(d Direction) *family {
	if d == Inbound {
		return b.inbound
	}
	return b.outbound
}

// New returns Metrics that have counted nothing.
func New(o Options) *Metrics {
	if o.MaxSeries == 0 {
		o.MaxSeries = maxSeries
	}
	m := &Metrics{guard: o.Guard, registry: prometheus.NewRegistry(), cause: o.Cause, epoch: time.Now()}
	m.pool.New = func() any { return new(exchange) }
	m.panics = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "outrigger_panics_total",
		Help: "Panics that were caught, each of which cost one connection, request or update of a watcher, by where they were.",
	}, []string{"stage"})
	for _, c := range []prometheus.Collector{
		m.panics, buildInfo(o.Build), newProcess(m.epoch),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		m.Registry().MustRegister(c)
	}
	m.addFamilies(o)
	return m
}

// addFamilies makes each family once, by its Linkerd name.
func (m *Metrics) addFamilies(o Options) {
	add := func(f *family) *family {
		f.limit, f.retain = o.MaxSeries, o.RetainIdle
		f.series = make(map[key]*series)
		m.families = append(m.families, f)
		return f
	}
	m.endpoints = newHTTPFamilies(add, "", "HTTP requests")
	m.routes = newHTTPFamilies(add, "route_", "HTTP requests to a route, before retries,")
	m.tries = newHTTPFamilies(add, "route_actual_", "HTTP requests to a route, with retries,")
	m.conns, m.closed = add(connFamily()), add(closedFamily())
	both := func(make func(Direction) *family) byDirection {
		return byDirection{add(make(Inbound)), add(make(Outbound))}
	}
	m.httpErrors, m.tcpErrors = both(httpErrorFamily), both(tcpErrorFamily)
	m.detectResults, m.detectSeconds = both(detectResultFamily), both(detectSecondsFamily)
	m.protocols = add(protocolFamily())
	slices.SortFunc(m.families, func(a, b *family) int { return strings.Compare(a.views[0].name, b.views[0].name) })
}

// now returns the time since m was made, which costs half of what time.Now does.
func (m *Metrics) now() time.Duration { return time.Since(m.epoch) }

// Panic counts a panic that was caught at stage, a name from the code.
func (m *Metrics) Panic(stage string) { m.panics.WithLabelValues(stage).Inc() }

// Registry returns where other packages may register collectors of their own.
// What is registered must be bounded by itself.
func (m *Metrics) Registry() prometheus.Registerer { return guardedRegistry{m.registry, m.guard} }

// Gather implements prometheus.Gatherer. It is no prometheus.Collector, because
// a registry would put each series' labels into another order than Linkerd's,
// and would not let them differ within one family.
func (m *Metrics) Gather() ([]*dto.MetricFamily, error) {
	all, err := m.registry.Gather()
	now := m.now()
	spilled := overflowFamily()
	for _, f := range m.families {
		all = append(all, f.gather(now)...)
		f.gatherOverflow(spilled)
	}
	if len(spilled.Metric) > 0 {
		all = append(all, spilled)
	}
	slices.SortFunc(all, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return all, err
}

// Handler serves /metrics in the format that the client asks for: the classic
// text, or Prometheus's protocol buffers; gzip if accepted. At most scrapes are
// answered at a time, and the others with 503.
func (m *Metrics) Handler(scrapes int) http.Handler {
	return promhttp.HandlerFor(m, promhttp.HandlerOpts{
		// What the process collector cannot read must not hide the rest.
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: scrapes,
	})
}

var _ prometheus.Gatherer = (*Metrics)(nil)

// gone reports whether an exchange with that context was given up by its client,
// and not because its time was over.
func gone(ctx context.Context) bool {
	return ctx.Err() != nil && !isDeadline(context.Cause(ctx))
}
