package proxy

import "net/netip"

// own adds the variables that linkerd2-proxy does not have.
func (t *envTable) own(c *Config) {
	t.section("Outrigger's own", outrigger)
	t.boolean(&c.Unmeshed, "UNMESHED", "false",
		"run without an identity, everything in clear text, the control plane included. This version cannot do otherwise, and says so unless it is told to")
	bind(t, "named listeners", parseNamed, &c.Outbound.Named, "OUTBOUND_NAMED", "",
		"outbound listeners whose destination is given: a service's name and port, or an address")
	bind(t, "named listeners", parseNamed, &c.Inbound.Named, "INBOUND_NAMED", "",
		"inbound listeners whose destination is given: the application's address")
	t.duration(&c.Drain.LameDuck, "LAME_DUCK", "1s",
		"at shutdown, how long to go on accepting connections while clients are asked to leave")
	const first = "of a client's silence, until the server is dialled to hear whether it speaks first; then the connection is opaque. 0 turns it off"
	t.duration(&c.Outbound.ServerFirst, "OUTBOUND_SERVER_SPEAKS_FIRST", "200ms", first)
	t.duration(&c.Inbound.ServerFirst, "INBOUND_SERVER_SPEAKS_FIRST", "50ms",
		first+". Shorter than outbound's, since both sidecars wait, one after the other, and this one dials only its application")
	t.duration(&c.Drain.Idle, "DRAIN_IDLE", "4s",
		"at shutdown, how long a connection of HTTP/1 may idle, once clients are asked to leave, before it is closed: longer than sidecars keep theirs (3 s), since a request may cross a close. It is not closed while connections are accepted")
	bind(t, "integer", between(parseCount, 1<<10, maxHeadBytes), &c.HTTP.HeadBytes, "HTTP_HEAD_BYTES", "65536",
		"that a head or trailer of a message may have, in both directions and all versions of HTTP; from 1024 to 16777216").in("bytes")
	t.tee(&c.Tee)
	t.path(&c.StateDir, "STATE_DIR", "where snapshots and cached responses are kept").notYet()
	bind(t, "identities", parseIdentities, &c.Admin.Clients, "ADMIN_CLIENTS", "",
		"who else, beside loopback, may use the admin port's private paths").notYet()
	t.path(&c.Identity.TrustAnchorsFile, "IDENTITY_TRUST_ANCHORS_FILE",
		"a file of trust anchors that is read again when it changes").identity()
}

// listenersOf adds where connections are accepted, and the options of sockets.
func (t *envTable) listenersOf(c *Config) {
	t.section("Listeners", linkerd)
	bind(t, "socket addr", parseOneSocketAddr, &c.Outbound.Listen, "OUTBOUND_LISTEN_ADDR", "127.0.0.1:4140",
		"where the application's connections arrive. Beside OUTRIGGER_OUTBOUND_NAMED, opened only if set")
	bind(t, "socket addr list", parseSocketAddrs, &c.Outbound.Listen, "OUTBOUND_LISTEN_ADDRS", "",
		"the same for both families of IP; wins over OUTBOUND_LISTEN_ADDR")
	bind(t, "socket addr", parseOneSocketAddr, &c.Inbound.Listen, "INBOUND_LISTEN_ADDR", "0.0.0.0:4143",
		"where connections for the application arrive. Beside OUTRIGGER_INBOUND_NAMED, opened only if set")
	t.socketAddr(&c.Admin.Listen, "ADMIN_LISTEN_ADDR", "127.0.0.1:4191", "the operator's port: metrics, probes, shutdown")
	t.socketAddr(&c.Tap.Listen, "CONTROL_LISTEN_ADDR", "0.0.0.0:4190", "where tap is served").notYet()
	t.sockets("INBOUND", &c.Inbound)
	t.sockets("OUTBOUND", &c.Outbound)
}

// parseOneSocketAddr reads the only address of a list.
func parseOneSocketAddr(s string) ([]netip.AddrPort, error) {
	a, err := parseSocketAddr(s)
	return []netip.AddrPort{a}, err
}

// sockets adds the options of one direction's sockets. They have none of our
// own defaults: unset leaves them to the kernel, and so does 0.
func (t *envTable) sockets(direction string, d *Direction) {
	bind(t, "u32", parseBacklog, &d.Backlog, direction+"_TCP_LISTEN_BACKLOG", "",
		"that the kernel holds unaccepted (listen(2)); at most net.core.somaxconn").in("connections")
	t.duration(&d.Accept.Keepalive, direction+"_ACCEPT_KEEPALIVE", "",
		"silence on an accepted connection until the first keepalive probe (TCP_KEEPIDLE). Probes are always on")
	t.duration(&d.Accept.UserTimeout, direction+"_ACCEPT_USER_TIMEOUT", "",
		"for what is written to an accepted connection to be acknowledged (TCP_USER_TIMEOUT)")
	t.duration(&d.Connect.Keepalive, direction+"_CONNECT_KEEPALIVE", "",
		"as ACCEPT_KEEPALIVE, of connections that the proxy opens")
	t.duration(&d.Connect.UserTimeout, direction+"_CONNECT_USER_TIMEOUT", "",
		"as ACCEPT_USER_TIMEOUT, of connections that the proxy opens")
}

// connecting adds how protocols are detected and connections opened.
func (t *envTable) connecting(c *Config) {
	t.section("Detection and connecting", linkerd)
	const detect = "for a connection to show whether it is HTTP; then it is opaque"
	t.duration(&c.Inbound.DetectTimeout, "INBOUND_DETECT_TIMEOUT", "10s", detect)
	t.duration(&c.Outbound.DetectTimeout, "OUTBOUND_DETECT_TIMEOUT", "10s", detect)
	t.duration(&c.Inbound.Connect.Timeout, "INBOUND_CONNECT_TIMEOUT", "300ms",
		"to open a connection to the application, or to a control plane on loopback")
	t.duration(&c.Outbound.Connect.Timeout, "OUTBOUND_CONNECT_TIMEOUT", "1s",
		"to open a connection to an endpoint, or to the control plane")
	t.backoff(&c.Inbound.Connect.Backoff, "INBOUND_CONNECT_EXP_BACKOFF", "100ms", "10s",
		"between two tries to connect to the application, or to a control plane on loopback")
	t.backoff(&c.Outbound.Connect.Backoff, "OUTBOUND_CONNECT_EXP_BACKOFF", "100ms", "60s",
		"between two tries to connect to an endpoint, or to the control plane")
}
