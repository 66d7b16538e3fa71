package telemetry

import "time"

// A Detected is what the first bytes of a connection showed, by Linkerd's name.
type Detected string

// The results of detection.
const (
	DetectedNotHTTP Detected = "not_http"
	DetectedHTTP1   Detected = "http/1"
	DetectedHTTP2   Detected = "http/2"
	DetectTimeout   Detected = "read_timeout"
	DetectError     Detected = "error"
	ServerFirst     Detected = "server_first" // Outrigger's own
)

func detectResultFamily(d Direction) *family {
	return &family{fresh: newCounter, permanent: true, views: []view{
		counterView(string(d)+"_tcp_detect_http_results_total", "Connections of which the protocol was looked for, by what was found."),
	}}
}

func detectSecondsFamily(d Direction) *family {
	s := &scale{time.Second, []float64{0.001, 0.1}}
	return &family{fresh: newHistogram(s), permanent: true, views: []view{
		histogramView(string(d)+"_tcp_detect_http_duration_seconds", "How long it took to find the protocol."),
	}}
}

// A Detection counts what detection finds.
type Detection struct {
	seconds *histogram
	results choice[Detected, *counter]
	lease   *lease // on seconds
}

// Detection returns the counts of detection for those labels: srv_* inbound,
// parent_* outbound. All of its series are there from now on.
func (m *Metrics) Detection(d Direction, l Labels) *Detection {
	t := &Detection{lease: m.detectSeconds.of(d).lend(key{first: l}, m.now())}
	t.seconds = t.lease.value.(*histogram) // a family has values of one type
	t.results.lend = func(result Detected) *lease {
		return m.detectResults.of(d).lend(key{Label("result", string(result)), l}, m.now())
	}
	for _, result := range []Detected{DetectedNotHTTP, DetectedHTTP1, DetectedHTTP2, DetectTimeout, DetectError, ServerFirst} {
		t.results.of(result)
	}
	return t
}

// Observe counts one connection, and how long it took to look.
func (t *Detection) Observe(result Detected, took time.Duration) {
	t.seconds.observe(took)
	t.results.of(result).add()
}

// A Protocol is as what a connection is served, by Linkerd's name.
type Protocol string

// The protocols.
const (
	ProtocolHTTP1  Protocol = "http/1"
	ProtocolHTTP2  Protocol = "http/2"
	ProtocolDetect Protocol = "detect"
	ProtocolOpaque Protocol = "opaq"
	ProtocolTLS    Protocol = "tls"
)

func protocolFamily() *family {
	return &family{fresh: newCounter, permanent: true, views: []view{
		counterView("outbound_tcp_protocol_connections_total", "Connections from the application, by as what they are served."),
	}}
}

// Protocols counts connections by their protocol.
type Protocols struct{ known choice[Protocol, *counter] }

// Protocols returns the counts of outbound_tcp_protocol_connections_total for
// those labels, which are parent_*.
func (m *Metrics) Protocols(l Labels) *Protocols {
	p := new(Protocols)
	p.known.lend = func(protocol Protocol) *lease {
		return m.protocols.lend(key{Label("protocol", string(protocol)), l}, m.now())
	}
	return p
}

// Count counts one connection.
func (p *Protocols) Count(protocol Protocol) { p.known.of(protocol).add() }
