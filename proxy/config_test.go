package proxy

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/config.md anew")

const configDoc = "../docs/config.md"

// TestConfigDoc keeps docs/config.md what the table of variables says.
func TestConfigDoc(t *testing.T) {
	want := renderConfigDoc(t)
	if *update {
		if err := os.WriteFile(configDoc, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(configDoc)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/config.md is not what the table says: run go test ./proxy -run TestConfigDoc -update")
	}
}

const configDocHead = `# Configuration

<!-- Printed from the table in proxy/env_table.go by: go test ./proxy -run TestConfigDoc -update -->

The sidecar is configured by its environment, once, at the start. ` + "`LINKERD2_PROXY_*`" + ` variables are those of
linkerd2-proxy, with its names, grammars and defaults; ` + "`OUTRIGGER_*`" + ` ones are for what it has no name for.

**The least to start with** is ` + "`OUTRIGGER_UNMESHED=true`, `LINKERD2_PROXY_DESTINATION_SVC_ADDR`, `LINKERD2_PROXY_POLICY_SVC_ADDR`" + `
and ` + "`LINKERD2_PROXY_POLICY_WORKLOAD`" + `. Unmeshed, the proxy has no identity and speaks in clear text to everyone. That includes
the control plane, wherever it is: ` + "`*_SVC_NAME`" + ` is then not needed, and is ignored with a warning, as is all that is about identity.

**Mistakes** are reported all at once, on standard error, a line each: the variable, its value and the reason. Lines that begin
` + "`Invalid configuration:`" + ` say what they come to. The exit status is 64.

**Set to nothing is set.** Whether nothing is a value depends on the type. Of a variable that occurs twice the last value counts, as it
does for the container runtimes that build environments. A value that is not UTF-8 is a mistake. A variable with our prefixes that is not
listed here is warned of and ignored.

**Obeyed** says what this version does with a variable. *Not yet: warned of* is said in the log, once, if the value is not the default.
*Not yet: refused* is for what somebody relies on for security: unless it asks for nothing, the proxy does not start.

## Types

| Type | Grammar |
|---|---|
`

// grammars says how values of each type are written.
func grammars() [][2]string {
	return [][2]string{
		{"duration", "a whole number and, right after it, `ms`, `s`, `m`, `h` or `d`; blanks around it do not count. `0` needs no unit. No fractions, no `1m30s`. At most 292 years"},
		{"opt-duration", "a duration, or nothing for none"},
		{"bool", "`true` or `false`, and nothing else"},
		{"integer", "decimal digits, before which a `+` may stand. More than 63 bits hold counts as that many; more than 64 is a mistake"},
		{"u32", "an integer up to 4294967295, or up to what the meaning says"},
		{"float", "a decimal number, as `0.1` or `1e-1`"},
		{"workers", "an integer of at least 1. A bad value is warned of and ignored"},
		{"ratio", "a float over 0 and at most 1. A bad value is warned of and ignored"},
		{"text", "anything"},
		{"path", "anything"},
		{"PEM", "anything but nothing"},
		{"empty", "nothing"},
		{"socket addr", "`IP:port` or `[IPv6]:port`. Port 0 is any that is free"},
		{"socket addr list", "one socket addr or two, with a comma and no blanks between them"},
		{"addr", "`IP:port` or `dns-name:port`. The port is not 0"},
		{"IP set", "IP addresses, with commas and no blanks between them"},
		{"networks", "as `10.0.0.0/8,fd00::/8`. Blanks and empty elements do not count; an address is a network of one"},
		{"port set", "as `80,8000-8099`. Blanks and empty elements do not count"},
		{"DNS suffixes", "as `svc.cluster.local.,example.org`. Blanks, empty elements, case and final dots do not count; `.` is every name"},
		{"DNS name", "up to 253 characters: labels of 1 to 63 letters, digits, `_` and `-`, with no `-` at either end, the last not a number; a final dot may follow. Case does not count"},
		{"identity", "a DNS name without a final dot, or an absolute URI as `spiffe://…`"},
		{"identities", "identities, with commas between them"},
		{"named listeners", "`listenIP:port=target`, with commas between them. `target` is `IP:port` or, outbound, `dns-name:port`; its port is not 0. No two listeners of the proxy may share an address, and no inbound target may be one of them"},
		{"policy", "`all-unauthenticated`, `all-authenticated`, `cluster-unauthenticated`, `cluster-authenticated`, `audit` or `deny`"},
		{`"" or unsafe`, "nothing, or `unsafe` in any case"},
		{"plain or json", "`json` in any case; anything else is plain"},
		{"apache or json", "`apache` or `json`. A bad value is warned of and ignored"},
	}
}

func renderConfigDoc(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(configDocHead)
	for _, g := range grammars() {
		fmt.Fprintf(&b, "| %s | %s |\n", g[0], g[1])
	}
	section := ""
	for _, v := range newEnvTable(new(Config)).vars {
		if v.Section != section {
			section = v.Section
			renderHeading(&b, v)
		}
		renderVar(&b, v)
	}
	return b.String()
}

func renderHeading(b *strings.Builder, v *envVar) {
	fmt.Fprintf(b, "\n## %s\n\n", v.Section)
	if v.fixed {
		b.WriteString("No variable sets these; they are fields of `proxy.Config`.\n\n| Field | Type | Value | Unit | Meaning |\n|---|---|---|---|---|\n")
		return
	}
	b.WriteString("| Variable | Type | Default | Unit | Meaning | Obeyed |\n|---|---|---|---|---|---|\n")
}

func renderVar(b *strings.Builder, v *envVar) {
	def := "–"
	if v.Default != "" {
		def = "`" + v.Default + "`"
	}
	name := "`" + v.Name + "`"
	if v.Alias != "" {
		name += ", or `" + v.Alias + "`"
	}
	if v.fixed {
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", name, v.Type, def, v.Unit, v.Meaning)
		return
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", name, v.Type, def, v.Unit, v.Meaning, v.Obeyed)
}

// TestVars keeps the table whole: every row has what the document shows of it,
// and every type has a grammar there that is used.
func TestVars(t *testing.T) {
	unused := make(map[string]bool)
	for _, g := range grammars() {
		unused[g[0]] = true
	}
	types := make(map[string]bool)
	for _, v := range newEnvTable(new(Config)).vars {
		types[v.Type] = true
		if v.Section == "" || v.Name == "" || v.Type == "" || v.Meaning == "" || v.Obeyed == "" {
			t.Errorf("%+v: a part of the row is missing", v.Var)
		}
		if number := slices.Contains([]string{"integer", "u32", "float", "workers", "ratio"}, v.Type); number != (v.Unit != "") {
			t.Errorf("%s: type %s, unit %q: numbers have a unit, and nothing else has", v.Name, v.Type, v.Unit)
		}
		if strings.ContainsAny(v.Meaning, "|\n") {
			t.Errorf("%s: the meaning %q breaks the document's table", v.Name, v.Meaning)
		}
		if strings.HasSuffix(v.Meaning, ".") {
			t.Errorf("%s: the meaning %q ends in a dot, unlike the others", v.Name, v.Meaning)
		}
	}
	for typ := range types {
		if !unused[typ] {
			t.Errorf("type %q has no grammar in the document", typ)
		}
		delete(unused, typ)
	}
	for typ := range unused {
		t.Errorf("grammar %q is of no variable", typ)
	}
}

// TestVarsHaveNames compares the table with the names that linkerd2-proxy reads,
// which were written down apart from it.
func TestVarsHaveNames(t *testing.T) {
	want := make(map[string]bool)
	for name := range strings.FieldsSeq(linkerdNames) {
		want[linkerd+name] = true
	}
	for _, d := range []string{"INBOUND_", "OUTBOUND_"} {
		for name := range strings.FieldsSeq(directionNames) {
			want[linkerd+d+name] = true
		}
	}
	for name := range strings.FieldsSeq(otherNames) {
		want[name] = true
	}
	seen := make(map[string]bool)
	for _, v := range Vars() {
		for _, name := range []string{v.Name, v.Alias} {
			if seen[name] && name != "" {
				t.Errorf("%s stands twice in the table", name)
			}
			if name != "" && !want[name] {
				t.Errorf("%s is in the table alone", name)
			}
			seen[name] = true
		}
	}
	for name := range want {
		if !seen[name] {
			t.Errorf("%s is not in the table", name)
		}
	}
}

// Names that linkerd2-proxy reads for both directions.
const directionNames = `
ACCEPT_KEEPALIVE ACCEPT_USER_TIMEOUT CONNECT_KEEPALIVE CONNECT_USER_TIMEOUT CONNECT_TIMEOUT
CONNECT_EXP_BACKOFF_MIN CONNECT_EXP_BACKOFF_MAX CONNECT_EXP_BACKOFF_JITTER
TCP_LISTEN_BACKLOG LISTEN_ADDR DETECT_TIMEOUT MAX_IN_FLIGHT HTTP_QUEUE_CAPACITY HTTP_FAILFAST_TIMEOUT
HTTP1_CONNECTION_POOL_IDLE_TIMEOUT DISCOVERY_IDLE_TIMEOUT
SERVER_HTTP2_ADAPTIVE_FLOW_CONTROL SERVER_HTTP2_INITIAL_STREAM_WINDOW_SIZE
SERVER_HTTP2_INITIAL_CONNECTION_WINDOW_SIZE SERVER_HTTP2_KEEP_ALIVE_INTERVAL SERVER_HTTP2_KEEP_ALIVE_TIMEOUT
SERVER_HTTP2_MAX_CONCURRENT_STREAMS SERVER_HTTP2_MAX_FRAME_SIZE SERVER_HTTP2_MAX_HEADER_LIST_SIZE
SERVER_HTTP2_MAX_PENDING_ACCEPT_RESET_STREAMS SERVER_HTTP2_MAX_SEND_BUF_SIZE`

// Names that linkerd2-proxy reads once, without its prefix.
const linkerdNames = `
OUTBOUND_LISTEN_ADDRS ADMIN_LISTEN_ADDR CONTROL_LISTEN_ADDR
METRICS_RETAIN_IDLE SHUTDOWN_ENDPOINT_ENABLED SHUTDOWN_GRACE_PERIOD
INGRESS_MODE OUTBOUND_DISABLE_INFORMATIONAL_HEADERS OUTBOUND_METRICS_HOSTNAME_LABELS INBOUND_METRICS_AUTHORITY_LABELS
OUTBOUND_TCP_QUEUE_CAPACITY OUTBOUND_TCP_FAILFAST_TIMEOUT
MAX_IDLE_CONNS_PER_ENDPOINT OUTBOUND_MAX_IDLE_CONNS_PER_ENDPOINT
HTTP2_INITIAL_STREAM_WINDOW_SIZE HTTP2_INITIAL_CONNECTION_WINDOW_SIZE
DESTINATION_SVC_ADDR DESTINATION_SVC_NAME POLICY_SVC_ADDR POLICY_SVC_NAME IDENTITY_SVC_ADDR IDENTITY_SVC_NAME
TRACE_COLLECTOR_SVC_ADDR TRACE_COLLECTOR_SVC_NAME POLICY_WORKLOAD DESTINATION_CONTEXT
DESTINATION_PROFILE_SUFFIXES DESTINATION_PROFILE_NETWORKS DESTINATION_PROFILE_INITIAL_TIMEOUT
POLICY_CLUSTER_NETWORKS CONTROL_STREAM_INITIAL_TIMEOUT CONTROL_STREAM_IDLE_TIMEOUT CONTROL_STREAM_LIFETIME
INBOUND_DEFAULT_POLICY INBOUND_PORTS INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION INBOUND_IPS INBOUND_GATEWAY_SUFFIXES
INBOUND_PORTS_REQUIRE_IDENTITY INBOUND_PORTS_REQUIRE_TLS
IDENTITY_DIR IDENTITY_TRUST_ANCHORS IDENTITY_TOKEN_FILE IDENTITY_MIN_REFRESH IDENTITY_MAX_REFRESH
IDENTITY_LOCAL_NAME IDENTITY_SERVER_ID IDENTITY_SERVER_NAME IDENTITY_SPIRE_WORKLOAD_API_ADDRESS IDENTITY_SPIRE_SOCKET
IDENTITY_SPIRE_EXP_BACKOFF_MIN IDENTITY_SPIRE_EXP_BACKOFF_MAX IDENTITY_SPIRE_EXP_BACKOFF_JITTER
LINKERD2_PROXY_IDENTITY_SPIRE_EXP_BACKOFF_MIN LINKERD2_PROXY_IDENTITY_SPIRE_EXP_BACKOFF_MAX
LINKERD2_PROXY_IDENTITY_SPIRE_EXP_BACKOFF_JITTER IDENTITY_DISABLED
TAP_SVC_NAME DNS_MIN_TTL DNS_MAX_TTL
TRACE_ATTRIBUTES_PATH TRACE_SERVICE_NAME TRACE_EXTRA_ATTRIBUTES TRACE_ANNOTATIONS_PATH TRACE_PROTOCOL
LOG LOG_FORMAT ACCESS_LOG CORES CORES_MIN CORES_MAX CORES_MAX_RATIO`

// Names without the prefix.
const otherNames = `
OTEL_RESOURCE_ATTRIBUTES HOSTNAME
OUTRIGGER_UNMESHED OUTRIGGER_OUTBOUND_NAMED OUTRIGGER_INBOUND_NAMED OUTRIGGER_LAME_DUCK OUTRIGGER_DRAIN_IDLE OUTRIGGER_HTTP_HEAD_BYTES OUTRIGGER_OUTBOUND_SERVER_SPEAKS_FIRST OUTRIGGER_INBOUND_SERVER_SPEAKS_FIRST
OUTRIGGER_STATE_DIR OUTRIGGER_ADMIN_CLIENTS OUTRIGGER_IDENTITY_TRUST_ANCHORS_FILE
OUTRIGGER_TEE_BYTES OUTRIGGER_TEE_MESSAGE_BYTES OUTRIGGER_TEE_CONSUMER_BYTES OUTRIGGER_TEE_CONSUMERS OUTRIGGER_TEE_RUNNING OUTRIGGER_TEE_STALL OUTRIGGER_TEE_GRACE`
