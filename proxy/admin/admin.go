// Package admin serves the operator's port: /live, /ready, /metrics, the log's
// level and /shutdown. It is off the data path, and so may be net/http's; what
// it shows is made elsewhere. Read Options first.
package admin

import (
	"io"
	"log/slog"
	"net/http"
	"strings"

	"github.com/outrigger-mesh/outrigger/guard"
	"github.com/outrigger-mesh/outrigger/proxy/telemetry"
)

// Options say what is behind the port.
type Options struct {
	// Ready reports whether the proxy can take work, and why not, or what is
	// wrong although it can. It must not block.
	Ready func() (ok bool, why string)

	// Live reports whether all runs that must, and else what does not, which only a
	// new process would mend. Nil means that it does. It must not block.
	Live func() (ok bool, why string)

	// Guard is told of panics, each of which costs one request. It may be nil.
	Guard *guard.Guard

	// Metrics answers /metrics.
	Metrics http.Handler

	// Shutdown begins to end the process, and does not wait for that. It may be
	// called more than once. If it is nil, POST /shutdown is answered with 404,
	// as LINKERD2_PROXY_SHUTDOWN_ENDPOINT_ENABLED=false asks for.
	Shutdown func()

	// Filter is what the log lets through. If it is nil, nothing is logged, and
	// /proxy-log-level is answered with 404.
	Filter *telemetry.Filter

	// FilterBytes bounds a new filter's text.
	FilterBytes int64

	// Log is told of each change.
	Log *slog.Logger

	// PodName is a Host by which this port may be asked to change something,
	// beside IP addresses and localhost. It may be empty.
	PodName string
}

// Handler returns what answers the port, at the paths that Linkerd has.
func Handler(o Options) http.Handler {
	return &admin{o, map[string]http.HandlerFunc{
		"/":        index,
		"/live":    live(o.Live),
		"/ready":   ready(o.Ready),
		"/metrics": o.Metrics.ServeHTTP,
		"/shutdown": methods(map[string]http.HandlerFunc{
			http.MethodPost: local(o.PodName, shutdown(o.Shutdown)),
		}),
		"/proxy-log-level": level(o),
	}}
}

type admin struct {
	Options

	paths map[string]http.HandlerFunc
}

// ServeHTTP goes by the exact path: there is nothing to clean, or to redirect to.
func (a *admin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if a.Guard.Do("admin", func() { a.serve(w, r) }) != nil {
		w.WriteHeader(http.StatusInternalServerError) // no more than a complaint in the log, if another status is written
	}
}

func (a *admin) serve(w http.ResponseWriter, r *http.Request) {
	guard.Point("admin")
	if serve := a.paths[r.URL.Path]; serve != nil {
		serve(w, r)
		return
	}
	w.WriteHeader(http.StatusNotFound)
}

// index says what is here.
func index(w http.ResponseWriter, _ *http.Request) {
	text(w, http.StatusOK, `Outrigger, a service-mesh proxy. Here are:

/live             200 while the process can go on, else 503 and why
/ready            200 once it can take work, else 503
/metrics          what it has counted, for Prometheus
/proxy-log-level  GET or PUT what is logged; from this machine only
/shutdown         POST to end the process, if that is enabled; from this machine only
`)
}

func live(is func() (bool, string)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if is != nil {
			if ok, why := is(); !ok {
				text(w, http.StatusServiceUnavailable, "not live\n"+why+"\n")
				return
			}
		}
		text(w, http.StatusOK, "live\n")
	}
}

func ready(is func() (bool, string)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		ok, why := is()
		if why != "" {
			why += "\n"
		}
		if ok {
			text(w, http.StatusOK, "ready\n"+why)
			return
		}
		text(w, http.StatusServiceUnavailable, "not ready\n"+why)
	}
}

func shutdown(begin func()) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if begin == nil {
			text(w, http.StatusNotFound, "shutdown endpoint is not enabled\n")
			return
		}
		text(w, http.StatusOK, "shutdown\n")
		begin() // ends this connection too, once it is answered
	}
}

// level shows and changes what is logged.
func level(o Options) http.HandlerFunc {
	if o.Filter == nil {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }
	}
	return local(o.PodName, methods(map[string]http.HandlerFunc{
		http.MethodGet: func(w http.ResponseWriter, _ *http.Request) {
			text(w, http.StatusOK, o.Filter.String())
		},
		http.MethodPut: o.setLevel,
	}))
}

// setLevel reads all of the content, where Linkerd reads what comes first.
func (o Options) setLevel(w http.ResponseWriter, r *http.Request) {
	content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, o.FilterBytes))
	if err != nil {
		text(w, http.StatusBadRequest, err.Error()+"\n")
		return
	}
	filter := strings.TrimSpace(string(content))
	if err := o.Filter.Set(filter); err != nil {
		text(w, http.StatusBadRequest, err.Error()+"\n")
		return
	}
	o.Log.Info("set new log level", "filter", filter)
	w.WriteHeader(http.StatusNoContent)
}

// text answers with text that no browser takes for anything else.
func text(w http.ResponseWriter, status int, content string) {
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, content)
}
