package proxy

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/control"
)

// TestBindings sets variables to values of which no two are the same, so that
// none can stand for another.
func TestBindings(t *testing.T) {
	var env []string
	for line := range strings.SplitSeq(strings.TrimSpace(everythingSet), "\n") {
		env = append(env, linkerd+line)
	}
	c, _ := mustRead(t, leastWith(append(env, "OUTRIGGER_LAME_DUCK=51s", "OUTRIGGER_DRAIN_IDLE=54s", "OUTRIGGER_INBOUND_SERVER_SPEAKS_FIRST=52ms", "OUTRIGGER_OUTBOUND_SERVER_SPEAKS_FIRST=53ms", "OUTRIGGER_STATE_DIR=/state", "OUTRIGGER_ADMIN_CLIENTS=a.b,c.d")...))
	ms := time.Millisecond
	in, out := c.Inbound, c.Outbound
	in.HTTP2, out.HTTP2 = HTTP2Server{}, HTTP2Server{} // the same code binds both; TestHalves has them
	var plain Config
	fixed(t, &plain)
	for _, v := range []struct{ got, want any }{
		{in, Direction{
			Listen: []netip.AddrPort{ap("127.0.0.1:1")}, Backlog: 11, Accept: Sockets{1 * ms, 2 * ms}, MaxConns: plain.Inbound.MaxConns,
			DetectTimeout: 5 * ms, ServerFirst: 52 * ms,
			Connect:   Connect{Sockets{3 * ms, 4 * ms}, 6 * ms, control.Backoff{Min: 7 * ms, Max: 8 * ms, Jitter: 0.9}},
			Pool:      Pool{12, 13 * ms},
			HTTPQueue: Queue{14, true, 15 * ms}, MaxInFlight: 16, DiscoverTimeout: plain.Inbound.DiscoverTimeout, DiscoveryIdle: 17 * ms,
		}},
		{out, Direction{
			Listen: []netip.AddrPort{ap("127.0.0.1:2")}, Backlog: 31, Accept: Sockets{21 * ms, 22 * ms}, MaxConns: plain.Outbound.MaxConns,
			DetectTimeout: 25 * ms, ServerFirst: 53 * ms,
			Connect:   Connect{Sockets{23 * ms, 24 * ms}, 26 * ms, control.Backoff{Min: 27 * ms, Max: 28 * ms, Jitter: 2.9}},
			Pool:      Pool{32, 33 * ms},
			HTTPQueue: Queue{34, true, 35 * ms}, TCPQueue: Queue{38, true, 39 * ms}, MaxInFlight: 36,
			DiscoverTimeout: plain.Outbound.DiscoverTimeout, DiscoveryIdle: 37 * ms,
		}},
		{c.Policy.Ports.String(), "41"},
		{c.Policy.OpaquePorts.String(), "42"},
		{c.Policy.ProfileTimeout, 43 * ms},
		{c.Policy.Networks, []netip.Prefix{netip.MustParsePrefix("44.0.0.0/8")}},
		{c.Control.ProfileNetworks, []netip.Prefix{netip.MustParsePrefix("45.0.0.0/8")}},
		{c.Control.ProfileSuffixes, []string{"x46"}},
		{c.Control.Context, "47"},
		{c.Control.DNSMinTTL, 48 * ms},
		{c.Control.DNSMaxTTL, 49 * ms},
		{c.LocalIPs, []netip.Addr{netip.MustParseAddr("50.0.0.1")}},
		{c.Drain, Drain{LameDuck: 51 * time.Second, Idle: 54 * time.Second, Grace: 52 * ms}},
		{c.Metrics, Metrics{RetainIdle: 53 * ms, MaxSeries: plain.Metrics.MaxSeries, HostnameLabels: true, AuthorityLabels: true}},
		{c.Admin.Listen, ap("127.0.0.1:54")},
		{c.Admin.ShutdownEndpoint, true},
		{c.Admin.Clients, []string{"a.b", "c.d"}},
		{c.Tap, Tap{Listen: ap("127.0.0.1:55")}},
		{c.HTTP2.StreamWindow, uint32(56)},
		{c.HTTP2.ConnWindow, uint32(57)},
		{c.Log, Log{Filter: "58", JSON: true, Access: "apache"}},
		{c.QuietErrors, true},
		{c.StateDir, "/state"},
		{c.Trace.Collector.Addr, control.Addr{Host: "x59", Port: 59}},
		{c.Trace.AttributesPath + c.Trace.ServiceName + c.Trace.ExtraAttributes, "/60x61x=62"},
		{c.Control.Policy.Addr, control.Addr{Host: "x63", Port: 63}},
	} {
		if !reflect.DeepEqual(v.got, v.want) {
			t.Errorf("got  %+v\nwant %+v", v.got, v.want)
		}
	}
}

const everythingSet = `
INBOUND_LISTEN_ADDR=127.0.0.1:1
INBOUND_ACCEPT_KEEPALIVE=1ms
INBOUND_ACCEPT_USER_TIMEOUT=2ms
INBOUND_CONNECT_KEEPALIVE=3ms
INBOUND_CONNECT_USER_TIMEOUT=4ms
INBOUND_DETECT_TIMEOUT=5ms
INBOUND_CONNECT_TIMEOUT=6ms
INBOUND_CONNECT_EXP_BACKOFF_MIN=7ms
INBOUND_CONNECT_EXP_BACKOFF_MAX=8ms
INBOUND_CONNECT_EXP_BACKOFF_JITTER=0.9
INBOUND_TCP_LISTEN_BACKLOG=11
MAX_IDLE_CONNS_PER_ENDPOINT=12
INBOUND_HTTP1_CONNECTION_POOL_IDLE_TIMEOUT=13ms
INBOUND_HTTP_QUEUE_CAPACITY=14
INBOUND_HTTP_FAILFAST_TIMEOUT=15ms
INBOUND_MAX_IN_FLIGHT=16
INBOUND_DISCOVERY_IDLE_TIMEOUT=17ms
OUTBOUND_LISTEN_ADDR=127.0.0.1:2
OUTBOUND_ACCEPT_KEEPALIVE=21ms
OUTBOUND_ACCEPT_USER_TIMEOUT=22ms
OUTBOUND_CONNECT_KEEPALIVE=23ms
OUTBOUND_CONNECT_USER_TIMEOUT=24ms
OUTBOUND_DETECT_TIMEOUT=25ms
OUTBOUND_CONNECT_TIMEOUT=26ms
OUTBOUND_CONNECT_EXP_BACKOFF_MIN=27ms
OUTBOUND_CONNECT_EXP_BACKOFF_MAX=28ms
OUTBOUND_CONNECT_EXP_BACKOFF_JITTER=2.9
OUTBOUND_TCP_LISTEN_BACKLOG=31
OUTBOUND_MAX_IDLE_CONNS_PER_ENDPOINT=32
OUTBOUND_HTTP1_CONNECTION_POOL_IDLE_TIMEOUT=33ms
OUTBOUND_HTTP_QUEUE_CAPACITY=34
OUTBOUND_HTTP_FAILFAST_TIMEOUT=35ms
OUTBOUND_MAX_IN_FLIGHT=36
OUTBOUND_DISCOVERY_IDLE_TIMEOUT=37ms
OUTBOUND_TCP_QUEUE_CAPACITY=38
OUTBOUND_TCP_FAILFAST_TIMEOUT=39ms
INBOUND_PORTS=41
INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION=42
DESTINATION_PROFILE_INITIAL_TIMEOUT=43ms
POLICY_CLUSTER_NETWORKS=44.0.0.0/8
DESTINATION_PROFILE_NETWORKS=45.0.0.0/8
DESTINATION_PROFILE_SUFFIXES=x46
DESTINATION_CONTEXT=47
DNS_MIN_TTL=48ms
DNS_MAX_TTL=49ms
INBOUND_IPS=50.0.0.1
SHUTDOWN_GRACE_PERIOD=52ms
METRICS_RETAIN_IDLE=53ms
OUTBOUND_METRICS_HOSTNAME_LABELS=true
INBOUND_METRICS_AUTHORITY_LABELS=unsafe
ADMIN_LISTEN_ADDR=127.0.0.1:54
SHUTDOWN_ENDPOINT_ENABLED=true
CONTROL_LISTEN_ADDR=127.0.0.1:55
HTTP2_INITIAL_STREAM_WINDOW_SIZE=56
HTTP2_INITIAL_CONNECTION_WINDOW_SIZE=57
LOG=58
LOG_FORMAT=json
ACCESS_LOG=apache
OUTBOUND_DISABLE_INFORMATIONAL_HEADERS=true
TRACE_COLLECTOR_SVC_ADDR=x59:59
TRACE_ATTRIBUTES_PATH=/60
TRACE_SERVICE_NAME=x61
TRACE_EXTRA_ATTRIBUTES=x=62
POLICY_SVC_ADDR=x63:63
`
