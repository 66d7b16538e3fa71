package proxy

// controlPlane adds where the control plane is and what it is asked.
func (t *envTable) controlPlane(c *Config) {
	t.section("Control plane", linkerd)
	t.service(&c.Control.Destination, "DESTINATION_SVC", "the destination service. Required")
	t.service(&c.Control.Policy, "POLICY_SVC", "the policy service. Required")
	t.text(&c.Control.Workload, "POLICY_WORKLOAD", "", "who this workload is, sent to the policy service as it stands. Required")
	t.text(&c.Control.Context, "DESTINATION_CONTEXT", "", "who this workload is, sent to the destination service as it stands")
	t.suffixes(&c.Control.ProfileSuffixes, "DESTINATION_PROFILE_SUFFIXES", "svc.cluster.local.", "the names that may have a ServiceProfile: those that end so. Others are asked of the policy service only")
	t.networks(&c.Control.ProfileNetworks, "DESTINATION_PROFILE_NETWORKS", "the addresses that may have a ServiceProfile; others are asked of the policy service only")
	t.duration(&c.Policy.ProfileTimeout, "DESTINATION_PROFILE_INITIAL_TIMEOUT", "500ms", "for inbound to wait for a profile before it does without").notYet()
	t.networks(&c.Policy.Networks, "POLICY_CLUSTER_NETWORKS", "the networks that the cluster-… policies admit").notYet()
	const ignored = ". Not of a control plane on loopback"
	t.optDuration(&c.Control.Limits.Initial, "CONTROL_STREAM_INITIAL_TIMEOUT", "for a watch to say something for the first time"+ignored)
	t.optDuration(&c.Control.Limits.Idle, "CONTROL_STREAM_IDLE_TIMEOUT", "for a watch to say something again; then it is opened anew. Not under the initial timeout"+ignored)
	t.optDuration(&c.Control.Limits.Lifetime, "CONTROL_STREAM_LIFETIME", "for a watch to be opened anew in any case. Not under the other two"+ignored)
	t.duration(&c.Control.DNSMinTTL, "DNS_MIN_TTL", "", "the least time for which a DNS answer, or its absence, is believed")
	t.duration(&c.Control.DNSMaxTTL, "DNS_MAX_TTL", "", "the most time for which a DNS answer, or its absence, is believed")
}

// service adds the two variables of a service of the control plane.
func (t *envTable) service(into *ControlService, name, meaning string) {
	t.addr(&into.Addr, name+"_ADDR", meaning)
	t.dnsName(&into.Name, name+"_NAME", "the identity that it must prove. Required, unless it is on loopback or this proxy is unmeshed").identity()
}

// policy adds who may reach this workload.
func (t *envTable) policy(c *Config) {
	t.section("Inbound policy and tap", linkerd)
	bind(t, "policy", oneOf(defaultPolicies()...), &c.Policy.Default, "INBOUND_DEFAULT_POLICY", allUnauthenticated,
		"what holds for ports of which the policy service says nothing").refused()
	t.ports(&c.Policy.Ports, "INBOUND_PORTS", "ports whose policy is watched from the start").notYet()
	t.ports(&c.Policy.OpaquePorts, "INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION", "ports whose connections are opaque, unless the policy service says otherwise")
	bind(t, "IP set", parseIPs, &c.LocalIPs, "INBOUND_IPS", "",
		"this workload's addresses: inbound connections meant for another are refused, and outbound ones to them are not meshed. Any, unless set")
	t.suffixes(&c.Policy.GatewaySuffixes, "INBOUND_GATEWAY_SUFFIXES", "", "the names that this proxy serves as a multicluster gateway").refused()
	t.ports(&c.Policy.RequireIdentity, "INBOUND_PORTS_REQUIRE_IDENTITY", "ports that only clients with an identity may reach. linkerd2-proxy never reads it").refused()
	t.ports(&c.Policy.RequireTLS, "INBOUND_PORTS_REQUIRE_TLS", "ports that may be reached by TLS alone. linkerd2-proxy never reads it").refused()
	t.id(&c.Tap.Client, "TAP_SVC_NAME", "the client that may tap. Unless it is set, nobody may").refused()
}

// allUnauthenticated admits every client.
const allUnauthenticated = "all-unauthenticated"

// defaultPolicies are linkerd's names for what holds without a word from the
// policy service.
func defaultPolicies() []string {
	return []string{
		allUnauthenticated, "all-authenticated", "cluster-unauthenticated", "cluster-authenticated", "audit", "deny",
	}
}

// identity adds how this workload comes by a certificate.
func (t *envTable) identity(c *Config) {
	id := &c.Identity
	t.section("Identity", linkerd)
	t.addr(&id.Service.Addr, "IDENTITY_SVC_ADDR", "the identity service. Required, unless there is SPIRE").identity()
	t.dnsName(&id.Service.Name, "IDENTITY_SVC_NAME", "the identity that it must prove").identity()
	t.path(&id.Dir, "IDENTITY_DIR", "where csr.der and key.p8 are. Required, unless there is SPIRE").identity()
	bind(t, "PEM", parseFull, &id.TrustAnchors, "IDENTITY_TRUST_ANCHORS", "", "the certificates that vouch for others. Required").identity()
	t.path(&id.TokenFile, "IDENTITY_TOKEN_FILE", "the token that is shown to the identity service. Required, unless there is SPIRE").identity()
	t.duration(&id.MinRefresh, "IDENTITY_MIN_REFRESH", "10s", "the least time between two certificates, or two tries").identity()
	t.duration(&id.MaxRefresh, "IDENTITY_MAX_REFRESH", "24h", "the most time between two certificates, or two tries").identity()
	t.id(&id.ServerID, "IDENTITY_SERVER_ID", "this workload's identity, unless IDENTITY_LOCAL_NAME says it").identity()
	t.dnsName(&id.ServerName, "IDENTITY_SERVER_NAME", "the name by which TLS clients ask for this workload, unless IDENTITY_LOCAL_NAME says it").identity()
	t.dnsName(&id.ServerName, "IDENTITY_LOCAL_NAME", "both of the former").identity() // after them, to win
	t.path(&id.SpireAddr, "IDENTITY_SPIRE_WORKLOAD_API_ADDRESS", "the socket of the SPIFFE Workload API, used instead of the identity service").
		identity().alias(linkerd + "IDENTITY_SPIRE_SOCKET")
	const spire = "IDENTITY_SPIRE_EXP_BACKOFF"
	for _, v := range t.backoff(&id.SpireBackoff, linkerd+spire, "100ms", "1s", "between two tries to reach SPIRE") {
		v.identity().alias(v.Name[len(linkerd):]) // linkerd2-proxy's own name has the prefix twice
	}
	bind(t, "empty", parseNothing, new(string), "IDENTITY_DISABLED", "", "identity can no longer be disabled so: any value stops the start")
}

// tracing adds where spans go.
func (t *envTable) tracing(c *Config) {
	t.section("Tracing", linkerd)
	t.addr(&c.Trace.Collector.Addr, "TRACE_COLLECTOR_SVC_ADDR", "where spans are sent. Unless it is set, there are none").notYet()
	t.dnsName(&c.Trace.Collector.Name, "TRACE_COLLECTOR_SVC_NAME", "the identity that it must prove").traces()
	t.path(&c.Trace.AttributesPath, "TRACE_ATTRIBUTES_PATH", `a file of key="value" lines, which become attributes`).traces()
	t.text(&c.Trace.ServiceName, "TRACE_SERVICE_NAME", "", "the attribute service.name").traces()
	t.text(&c.Trace.ExtraAttributes, "TRACE_EXTRA_ATTRIBUTES", "", "further attributes, a key=value on each line").traces()
	t.text(new(string), "TRACE_ANNOTATIONS_PATH", "", "set by older charts").never()
	t.text(new(string), "TRACE_PROTOCOL", "", "set by older charts").never()
	t.section(t.heading, "")
	t.text(&c.Trace.OTelAttributes, "OTEL_RESOURCE_ATTRIBUTES", "", "further attributes, which win; between them commas or line ends").traces()
	t.text(&c.Trace.Hostname, "HOSTNAME", "", "the attribute host.name").traces()
}

// logging adds what is written, and what may be used.
func (t *envTable) logging(c *Config) {
	t.section("Logging and CPUs", linkerd)
	t.text(&c.Log.Filter, "LOG", "warn,linkerd=info,hickory=error", "what is logged, in the directives of linkerd2-proxy")
	bind(t, "plain or json", parseJSONFormat, &c.Log.JSON, "LOG_FORMAT", "plain", "how it is written; anything but json is plain")
	bind(t, "apache or json", oneOf("apache", "json"), &c.Log.Access, "ACCESS_LOG", "", "write a line for each inbound request").notYet().leniently()
	const workers, cpus = "workers", "CPUs"
	bind(t, workers, parseWorkers, &c.Workers.Min, "CORES", "1", "CORES_MIN, if that is not set").in(cpus).leniently()
	bind(t, workers, parseWorkers, &c.Workers.Min, "CORES_MIN", "", "the fewest to use").in(cpus).leniently()
	bind(t, workers, parseWorkers, &c.Workers.Max, "CORES_MAX", "", "the most to use. Unless this or the next is set, CORES_MIN is used").in(cpus).leniently()
	bind(t, "ratio", parseRatio, &c.Workers.MaxRatio, "CORES_MAX_RATIO", "", "the most to use, if CORES_MAX is not set").in("of available CPUs").leniently()
}
