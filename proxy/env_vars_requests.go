package proxy

import "strconv"

// lifecycle adds the admin port and the proxy's end.
func (t *envTable) lifecycle(c *Config) {
	t.section("Admin and lifecycle", linkerd)
	t.duration(&c.Metrics.RetainIdle, "METRICS_RETAIN_IDLE", "10m", "for a series that nothing adds to, to be dropped")
	t.boolean(&c.Admin.ShutdownEndpoint, "SHUTDOWN_ENDPOINT_ENABLED", "false", "obey POST /shutdown on the admin port")
	t.duration(&c.Drain.Grace, "SHUTDOWN_GRACE_PERIOD", "2m", "at shutdown, for what is in flight to end; then the proxy ends all the same")
}

// modes adds what changes the stacks as a whole.
func (t *envTable) modes(c *Config) {
	t.section("Modes", linkerd)
	t.boolean(&c.Ingress, "INGRESS_MODE", "false", "route outbound requests by their l5d-dst-override header").refused()
	t.boolean(&c.QuietErrors, "OUTBOUND_DISABLE_INFORMATIONAL_HEADERS", "false",
		"keep l5d-proxy-error and its like off the answers that the proxy itself gives to the application; in ingress mode, true unless set")
	t.boolean(&c.Metrics.HostnameLabels, "OUTBOUND_METRICS_HOSTNAME_LABELS", "false", "label outbound route metrics with the hostname").notYet()
	bind(t, `"" or unsafe`, parseUnsafe, &c.Metrics.AuthorityLabels, "INBOUND_METRICS_AUTHORITY_LABELS", "",
		"label inbound request metrics with the authority, which clients choose").notYet()
}

// queues adds what may wait, and what may be under way.
func (t *envTable) queues(c *Config) {
	t.section("Queues and load", linkerd)
	const waiting = "that may wait for a destination without a ready endpoint; 0 for none. If set, it wins over a policy's"
	const failFast = "without a ready endpoint until those that wait are refused, and others at once"
	t.count(&c.Inbound.HTTPQueue.Capacity, "INBOUND_HTTP_QUEUE_CAPACITY", "10000", "requests", "that may wait for an application that speaks HTTP/2 and cannot be reached; 0 for none")
	t.duration(&c.Inbound.HTTPQueue.FailFast, "INBOUND_HTTP_FAILFAST_TIMEOUT", "1s", "without a connection to an application that speaks HTTP/2 until requests that wait for it are refused, and others at once")
	t.count(&c.Outbound.TCPQueue.Capacity, "OUTBOUND_TCP_QUEUE_CAPACITY", "10000", "opaque connections", waiting)
	t.duration(&c.Outbound.TCPQueue.FailFast, "OUTBOUND_TCP_FAILFAST_TIMEOUT", "3s", failFast+", of opaque connections")
	t.count(&c.Outbound.HTTPQueue.Capacity, "OUTBOUND_HTTP_QUEUE_CAPACITY", "10000", "requests", waiting)
	t.duration(&c.Outbound.HTTPQueue.FailFast, "OUTBOUND_HTTP_FAILFAST_TIMEOUT", "3s", failFast+", of requests")
	t.count(&c.Inbound.MaxInFlight, "INBOUND_MAX_IN_FLIGHT", "100000", "requests", "that may be without a response at once; further ones get 503")
	t.count(&c.Outbound.MaxInFlight, "OUTBOUND_MAX_IN_FLIGHT", "100000", "requests", "that may be without a response at once; further ones get 503")
}

// pools adds what is kept though nobody uses it.
func (t *envTable) pools(c *Config) {
	t.section("Pools and idle caches", linkerd)
	t.count(&c.Inbound.Pool.MaxIdle, "MAX_IDLE_CONNS_PER_ENDPOINT", "10000", "connections", "that may be idle, by HTTP/1 to each port of the application")
	t.count(&c.Outbound.Pool.MaxIdle, "OUTBOUND_MAX_IDLE_CONNS_PER_ENDPOINT", "10000", "connections", "that may be idle, by HTTP/1 to each endpoint")
	t.duration(&c.Inbound.Pool.IdleTimeout, "INBOUND_HTTP1_CONNECTION_POOL_IDLE_TIMEOUT", "3s", "for an idle HTTP/1 connection to the application to be closed")
	t.duration(&c.Outbound.Pool.IdleTimeout, "OUTBOUND_HTTP1_CONNECTION_POOL_IDLE_TIMEOUT", "3s", "for an idle HTTP/1 connection to an endpoint to be closed")
	t.duration(&c.Inbound.DiscoveryIdle, "INBOUND_DISCOVERY_IDLE_TIMEOUT", "90s", "for a port of the application that nobody uses to be forgotten")
	t.duration(&c.Outbound.DiscoveryIdle, "OUTBOUND_DISCOVERY_IDLE_TIMEOUT", "5s", "for a destination that nobody uses to be forgotten; its last answers are remembered")
}

// The windows, in bytes, unless they are set.
const (
	http2StreamWindow = 1<<16 - 1
	http2ConnWindow   = 1 << 20
)

// maxHeadBytes bounds what may be asked for.
const maxHeadBytes = 16 << 20

// The bounds of RFC 9113, sections 6.5.2 and 6.9.1.
const (
	maxHTTP2Window = 1<<31 - 1
	minHTTP2Frame  = 1 << 14
	maxHTTP2Frame  = 1<<24 - 1
)

// http2 adds the settings of HTTP/2 connections.
func (t *envTable) http2(c *Config) {
	t.section("HTTP/2", linkerd)
	window := between(parseUint32, 0, maxHTTP2Window)
	bind(t, "u32", window, &c.HTTP2.StreamWindow, "HTTP2_INITIAL_STREAM_WINDOW_SIZE", strconv.Itoa(http2StreamWindow),
		"that a server may send in a stream before they are read, up to 2147483647; the control plane's too. What it says of an endpoint wins").in("bytes")
	bind(t, "u32", window, &c.HTTP2.ConnWindow, "HTTP2_INITIAL_CONNECTION_WINDOW_SIZE", strconv.Itoa(http2ConnWindow),
		"that a server may send in all streams before they are read, from 65535 to 2147483647; the control plane's too. What it says of an endpoint wins").in("bytes")
	t.http2Server("INBOUND", &c.Inbound.HTTP2)
	t.http2Server("OUTBOUND", &c.Outbound.HTTP2)
}

// http2Server adds the settings that one direction's clients are told.
func (t *envTable) http2Server(direction string, h *HTTP2Server) {
	prefix := direction + "_SERVER_HTTP2_"
	window := between(parseUint32, 0, maxHTTP2Window)
	frame := between(parseUint32, minHTTP2Frame, maxHTTP2Frame)
	stream, conn := strconv.Itoa(http2StreamWindow), strconv.Itoa(http2ConnWindow)
	const both = ". Counts only if both windows are set"
	const pings = ". No pings unless both are set"
	t.boolean(&h.AdaptiveWindows, prefix+"ADAPTIVE_FLOW_CONTROL", "", "let windows grow with a connection's bandwidth and delay, instead of the next two").notYet()
	bind(t, "u32", window, &h.StreamWindow, prefix+"INITIAL_STREAM_WINDOW_SIZE", stream,
		"that a client may send in a stream before they are read, up to 2147483647"+both).in("bytes")
	bind(t, "u32", window, &h.ConnWindow, prefix+"INITIAL_CONNECTION_WINDOW_SIZE", conn,
		"that a client may send in all streams before they are read, up to 2147483647"+both).in("bytes")
	t.duration(&h.KeepAliveInterval, prefix+"KEEP_ALIVE_INTERVAL", "", "between two pings to a client, on idle connections too"+pings)
	t.duration(&h.KeepAliveTimeout, prefix+"KEEP_ALIVE_TIMEOUT", "", "for a ping to be answered, or the connection is closed"+pings)
	t.uint32(&h.MaxStreams, prefix+"MAX_CONCURRENT_STREAMS", "1000", "streams", "that a connection may have at once; linkerd2-proxy has no limit unless it is set")
	bind(t, "u32", frame, &h.MaxFrameSize, prefix+"MAX_FRAME_SIZE", "16384", "that a frame may have, from 16384 to 16777215").in("bytes")
	t.uint32(&h.MaxHeaderListSize, prefix+"MAX_HEADER_LIST_SIZE", "", "bytes", "that a request's head or trailer may have, up to 16777216; OUTRIGGER_HTTP_HEAD_BYTES unless set")
	t.count(&h.MaxPendingResets, prefix+"MAX_PENDING_ACCEPT_RESET_STREAMS", "", "streams",
		"that a client may reset before they are answered, in one burst; unless set, as docs/http2.md says. linkerd2-proxy, whose default is 20, counts only those that it has not looked at")
	t.count(&h.MaxSendBuffer, prefix+"MAX_SEND_BUF_SIZE", "409600", "bytes", "of one connection that may wait to be sent; linkerd2-proxy counts them by stream")
}
