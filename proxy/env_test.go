package proxy

import (
	"errors"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/control"
	"github.com/outrigger-mesh/outrigger/profiles"
)

// least is the least environment that a proxy starts with.
func least() map[string]string {
	return map[string]string{
		"OUTRIGGER_UNMESHED":                  "true",
		"LINKERD2_PROXY_DESTINATION_SVC_ADDR": "127.0.0.1:8086",
		"LINKERD2_PROXY_POLICY_SVC_ADDR":      "localhost.:8090",
		"LINKERD2_PROXY_POLICY_WORKLOAD":      "ns:pod",
	}
}

// leastWith is least with name=value pairs added. A pair without a value takes
// its variable away.
func leastWith(pairs ...string) []string {
	env := least()
	for _, p := range pairs {
		name, value, ok := strings.Cut(p, "=")
		delete(env, name)
		if ok {
			env[name] = value
		}
	}
	return environ(env)
}

func environ(m map[string]string) []string {
	var env []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		env = append(env, name+"="+m[name])
	}
	return env
}

func mustRead(t *testing.T, env []string) (Config, []Warning) {
	t.Helper()
	c, warnings, err := ReadEnv(env)
	if err != nil {
		t.Fatal(err)
	}
	return c, warnings
}

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// TestDefaults writes down the default of every variable a second time, as the
// specification has it.
func TestDefaults(t *testing.T) {
	got, _ := mustRead(t, environ(least()))
	inbound := Connect{Timeout: 300 * time.Millisecond, Backoff: control.Backoff{Min: 100 * time.Millisecond, Max: 10 * time.Second, Jitter: 0.1}}
	outbound := Connect{Timeout: time.Second, Backoff: control.Backoff{Min: 100 * time.Millisecond, Max: time.Minute, Jitter: 0.1}}
	server := HTTP2Server{
		StreamWindow: 65535, ConnWindow: 1048576, MaxStreams: 1000, MaxFrameSize: 16384,
		MaxHeaderListSize: 65536, MaxSendBuffer: 400 << 10,
	}
	pool := Pool{MaxIdle: 10000, IdleTimeout: 3 * time.Second}
	want := Config{
		Unmeshed: true,
		Inbound: Direction{
			Listen: []netip.AddrPort{ap("0.0.0.0:4143")}, DetectTimeout: 10 * time.Second, ServerFirst: 50 * time.Millisecond,
			Connect: inbound, Pool: pool, HTTPQueue: Queue{Capacity: 10000, FailFast: time.Second},
			MaxInFlight: 100000, DiscoveryIdle: 90 * time.Second, HTTP2: server,
		},
		Outbound: Direction{
			Listen: []netip.AddrPort{ap("127.0.0.1:4140")}, DetectTimeout: 10 * time.Second, ServerFirst: 200 * time.Millisecond,
			Connect: outbound, Pool: pool, HTTPQueue: Queue{Capacity: 10000, FailFast: 3 * time.Second},
			TCPQueue: Queue{Capacity: 10000, FailFast: 3 * time.Second}, MaxInFlight: 100000,
			DiscoveryIdle: 5 * time.Second, HTTP2: server,
		},
		Policy:  InboundPolicy{Default: "all-unauthenticated", ProfileTimeout: 500 * time.Millisecond},
		HTTP:    HTTP{HeadBytes: 65536},
		HTTP2:   HTTP2Client{StreamWindow: 65535, ConnWindow: 1048576},
		Admin:   Admin{Listen: ap("127.0.0.1:4191")},
		Metrics: Metrics{RetainIdle: 10 * time.Minute},
		Tap:     Tap{Listen: ap("0.0.0.0:4190")},
		Control: Control{
			Destination: ControlService{Addr: control.Addr{Host: "127.0.0.1", Port: 8086}, Connect: inbound},
			Policy:      ControlService{Addr: control.Addr{Host: "localhost.", Port: 8090}, Connect: inbound},
			Workload:    "ns:pod", ProfileSuffixes: []string{"svc.cluster.local"},
		},
		Trace:   Trace{Collector: ControlService{Connect: outbound}},
		Log:     Log{Filter: "warn,linkerd=info,hickory=error"},
		Drain:   Drain{LameDuck: time.Second, Idle: 4 * time.Second, Grace: 2 * time.Minute},
		Workers: Workers{Min: 1},
		Tee:     Tee{Bytes: 64 << 20, MessageBytes: 16 << 20, ConsumerBytes: 16 << 20, Consumers: 4, Running: 10000, Stall: 10 * time.Second, Grace: time.Second},
	}
	fixed(t, &want)
	want.Identity = Identity{} // it is unmeshed
	for i, v := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		g, w := reflect.ValueOf(got).Field(i).Interface(), reflect.ValueOf(want).Field(i).Interface()
		if !reflect.DeepEqual(g, w) {
			t.Errorf("%s\ngot  %+v\nwant %+v", v.Name, g, w)
		}
	}
}

// fixed sets what no variable sets.
func fixed(t *testing.T, c *Config) {
	t.Helper()
	for _, v := range newEnvTable(c).vars {
		if !v.fixed {
			continue
		}
		if err := v.set(v.Default); err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
	}
}

// TestFixed writes down the values that others rely on.
func TestFixed(t *testing.T) {
	var c Config
	fixed(t, &c)
	if c.HTTP.HeadFields != 200 || c.HTTP.HeadTime != 30*time.Second || c.HTTP.Continue != time.Second {
		t.Errorf("got %+v", c.HTTP)
	}
	if c.Balance.DefaultRTT != 30*time.Millisecond || c.Balance.Decay != 10*time.Second {
		t.Errorf("got %+v", c.Balance)
	}
}

// injected is the environment of a pod that the real injector made, with its
// $(…) expanded and every value that is there only if configured, bar those for
// what is not built yet.
func injected() []string {
	networks := "10.0.0.0/8,100.64.0.0/10,172.16.0.0/12,192.168.0.0/16,fd00::/8"
	sa := ".linkerd.serviceaccount.identity.linkerd.cluster.local"
	lines := []string{
		"_pod_name=web-1", "_pod_ns=demo", "_pod_uid=0ea4", "_pod_ip=10.42.0.15", "_pod_nodeName=node-1",
		"_pod_containerName=linkerd-proxy", "_pod_sa=web", "_l5d_ns=linkerd", "_l5d_trustdomain=cluster.local",
		"LINKERD2_PROXY_CORES=1", "LINKERD2_PROXY_CORES_MIN=1", "LINKERD2_PROXY_CORES_MAX=2",
		"LINKERD2_PROXY_SHUTDOWN_ENDPOINT_ENABLED=false",
		"LINKERD2_PROXY_LOG=warn,linkerd=info,hickory=error,[{headers}]=off,[{request}]=off",
		"LINKERD2_PROXY_LOG_FORMAT=plain",
		"LINKERD2_PROXY_DESTINATION_SVC_ADDR=linkerd-dst-headless.linkerd.svc.cluster.local.:8086",
		"LINKERD2_PROXY_DESTINATION_PROFILE_NETWORKS=" + networks,
		"LINKERD2_PROXY_POLICY_SVC_ADDR=linkerd-policy.linkerd.svc.cluster.local.:8090",
		"LINKERD2_PROXY_POLICY_WORKLOAD={\"ns\":\"demo\", \"pod\":\"web-1\"}\n",
		"LINKERD2_PROXY_INBOUND_DEFAULT_POLICY=all-unauthenticated",
		"LINKERD2_PROXY_POLICY_CLUSTER_NETWORKS=" + networks,
		"LINKERD2_PROXY_CONTROL_STREAM_INITIAL_TIMEOUT=3s",
		"LINKERD2_PROXY_CONTROL_STREAM_IDLE_TIMEOUT=5m",
		"LINKERD2_PROXY_CONTROL_STREAM_LIFETIME=1h",
		"LINKERD2_PROXY_INBOUND_CONNECT_TIMEOUT=100ms",
		"LINKERD2_PROXY_OUTBOUND_CONNECT_TIMEOUT=1000ms",
		"LINKERD2_PROXY_OUTBOUND_DISCOVERY_IDLE_TIMEOUT=5s",
		"LINKERD2_PROXY_INBOUND_DISCOVERY_IDLE_TIMEOUT=90s",
		"LINKERD2_PROXY_OUTBOUND_DETECT_TIMEOUT=365d",
		"LINKERD2_PROXY_CONTROL_LISTEN_ADDR=0.0.0.0:4190",
		"LINKERD2_PROXY_ADMIN_LISTEN_ADDR=0.0.0.0:4191",
		"LINKERD2_PROXY_INBOUND_LISTEN_ADDR=0.0.0.0:4143",
		"LINKERD2_PROXY_OUTBOUND_LISTEN_ADDR=127.0.0.1:4140",
		"LINKERD2_PROXY_OUTBOUND_LISTEN_ADDRS=127.0.0.1:4140,[::1]:4140",
		"LINKERD2_PROXY_INBOUND_IPS=10.42.0.15,fd00::15",
		"LINKERD2_PROXY_INBOUND_PORTS=3306,8080",
		"LINKERD2_PROXY_DESTINATION_PROFILE_SUFFIXES=svc.cluster.local.",
		"LINKERD2_PROXY_INBOUND_ACCEPT_KEEPALIVE=10000ms",
		"LINKERD2_PROXY_OUTBOUND_CONNECT_KEEPALIVE=10000ms",
		"LINKERD2_PROXY_INBOUND_ACCEPT_USER_TIMEOUT=30s",
		"LINKERD2_PROXY_OUTBOUND_CONNECT_USER_TIMEOUT=30s",
		"LINKERD2_PROXY_OUTBOUND_METRICS_HOSTNAME_LABELS=false",
		"LINKERD2_PROXY_INBOUND_SERVER_HTTP2_KEEP_ALIVE_INTERVAL=10s",
		"LINKERD2_PROXY_INBOUND_SERVER_HTTP2_KEEP_ALIVE_TIMEOUT=3s",
		"LINKERD2_PROXY_OUTBOUND_SERVER_HTTP2_KEEP_ALIVE_INTERVAL=10s",
		"LINKERD2_PROXY_OUTBOUND_SERVER_HTTP2_KEEP_ALIVE_TIMEOUT=3s",
		"LINKERD2_PROXY_INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION=25,587,3306,4444,5432,6379,9300,11211",
		"LINKERD2_PROXY_DESTINATION_CONTEXT={\"ns\":\"demo\", \"nodeName\":\"node-1\", \"pod\":\"web-1\"}\n",
		"LINKERD2_PROXY_IDENTITY_DIR=/var/run/linkerd/identity/end-entity",
		"LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS=-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
		"LINKERD2_PROXY_IDENTITY_TOKEN_FILE=/var/run/secrets/tokens/linkerd-identity-token",
		"LINKERD2_PROXY_IDENTITY_SVC_ADDR=linkerd-identity-headless.linkerd.svc.cluster.local.:8080",
		"LINKERD2_PROXY_IDENTITY_LOCAL_NAME=web.demo.serviceaccount.identity.linkerd.cluster.local",
		"LINKERD2_PROXY_IDENTITY_SVC_NAME=linkerd-identity" + sa,
		"LINKERD2_PROXY_DESTINATION_SVC_NAME=linkerd-destination" + sa,
		"LINKERD2_PROXY_POLICY_SVC_NAME=linkerd-destination" + sa,
		"LINKERD2_PROXY_SHUTDOWN_GRACE_PERIOD=5000ms",
		"HOSTNAME=web-1", "KUBERNETES_SERVICE_HOST=10.43.0.1",
		"LINKERD2_PROXY_LOG=debug", // additionalEnv comes last
	}
	return lines
}

func TestInjectedPod(t *testing.T) {
	c, warnings := mustRead(t, append(injected(), "OUTRIGGER_UNMESHED=true"))
	want := "{\"ns\":\"demo\", \"pod\":\"web-1\"}\n"
	if c.Control.Workload != want {
		t.Errorf("workload %q, want %q: sent as it stands, line end included", c.Control.Workload, want)
	}
	if c.Log.Filter != "debug" {
		t.Errorf("log filter %q, want the last of two", c.Log.Filter)
	}
	if want := []netip.AddrPort{ap("127.0.0.1:4140"), ap("[::1]:4140")}; !slices.Equal(c.Outbound.Listen, want) {
		t.Errorf("outbound listens on %v, want %v", c.Outbound.Listen, want)
	}
	if c.Outbound.DetectTimeout != 365*24*time.Hour || c.Inbound.Accept.Keepalive != 10*time.Second {
		t.Errorf("detect timeout %v, keepalive %v", c.Outbound.DetectTimeout, c.Inbound.Accept.Keepalive)
	}
	if l := (control.Limits{Initial: 3 * time.Second, Idle: 5 * time.Minute, Lifetime: time.Hour}); c.Control.Limits != l {
		t.Errorf("limits %v, want %v", c.Control.Limits, l)
	}
	if c.Control.Destination.Connect != c.Outbound.Connect {
		t.Error("a controller that is not on loopback is to be connected to as outbound does")
	}
	if c.Identity != (Identity{}) || c.Control.Policy.Name != "" {
		t.Error("something of identity is left, though the proxy is unmeshed")
	}
	for _, name := range []string{"IDENTITY_DIR", "DESTINATION_SVC_NAME", "DESTINATION_SVC_ADDR", "POLICY_CLUSTER_NETWORKS"} {
		if !warned(warnings, linkerd+name) {
			t.Errorf("no warning of %s", name)
		}
	}
	for _, name := range []string{"CONTROL_LISTEN_ADDR", "OUTBOUND_METRICS_HOSTNAME_LABELS", "LOG"} {
		if warned(warnings, linkerd+name) {
			t.Errorf("a warning of %s, which asks for nothing that is not there", name)
		}
	}
}

// TestInjectedPodMeshed has the same pod start with its identity.
func TestInjectedPodMeshed(t *testing.T) {
	c, warnings, err := ReadEnv(injected())
	if err != nil {
		t.Fatal(err)
	}
	const name = "web.demo.serviceaccount.identity.linkerd.cluster.local"
	if c.Unmeshed || c.Identity.ServerID != name || c.Identity.ServerName != name {
		t.Errorf("unmeshed %v, identity %+v", c.Unmeshed, c.Identity)
	}
	if c.Control.Policy.Name == "" || c.Identity.Service.Name == "" {
		t.Error("the control plane need not prove who it is")
	}
	for _, name := range []string{"IDENTITY_DIR", "DESTINATION_SVC_NAME"} {
		if warned(warnings, linkerd+name) {
			t.Errorf("a warning of %s, which is obeyed", name)
		}
	}
}

func warned(warnings []Warning, name string) bool {
	return slices.ContainsFunc(warnings, func(w Warning) bool { return w.Name == name })
}

// TestAllAtOnce has every mistake reported in one error.
func TestAllAtOnce(t *testing.T) {
	_, _, err := ReadEnv([]string{
		"LINKERD2_PROXY_INBOUND_CONNECT_TIMEOUT=1.5s",
		"LINKERD2_PROXY_ADMIN_LISTEN_ADDR=localhost:4191",
		"LINKERD2_PROXY_CORES=none",
		"LINKERD2_PROXY_LOG=\xff",
		"LINKERD2_PROXY_INGRESS_MODE=true",
		"LINKERD2_PROXY_POLICY_WORKLOAD=ns:pod",
		"OUTRIGGER_INBOUND_NAMED=127.0.0.1:6001",
	})
	want := strings.Split(`OUTRIGGER_INBOUND_NAMED="127.0.0.1:6001" is not valid: "127.0.0.1:6001": it is not listenIP:port=target
LINKERD2_PROXY_ADMIN_LISTEN_ADDR="localhost:4191" is not valid: host is not an IP
LINKERD2_PROXY_INBOUND_CONNECT_TIMEOUT="1.5s" is not valid: a duration needs one of the units ms, s, m, h and d right after its number
LINKERD2_PROXY_LOG is not encoded in Unicode
LINKERD2_PROXY_DESTINATION_SVC_ADDR must be set
LINKERD2_PROXY_POLICY_SVC_ADDR must be set
OUTRIGGER_UNMESHED must be true to run without an identity, in clear text
LINKERD2_PROXY_INGRESS_MODE="true" is not supported yet: there is no ingress mode
Invalid configuration: invalid environment variable
Invalid configuration: no destination service configured
Invalid configuration: no policy service configured
Invalid configuration: no identity configured, and not unmeshed on purpose
Invalid configuration: a setting is not supported yet`, "\n")
	if err == nil {
		t.Fatal("no error")
	}
	got := strings.Split(err.Error(), "\n")
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, e := range []error{ErrBadVariable, ErrNoDestination, ErrNoPolicy, ErrNoIdentity, ErrNotSupported} {
		if !errors.Is(err, e) {
			t.Errorf("the error is not %q", e)
		}
	}
}

// TestLeast takes each part of the least environment away in turn.
func TestLeast(t *testing.T) {
	mustRead(t, environ(least()))
	for name := range least() {
		_, _, err := ReadEnv(leastWith(name))
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: got %v, want an error that names it", name, err)
		}
	}
}

// garbage is what each type refuses. Types that refuse nothing have none.
func garbage() map[string][]string {
	return map[string][]string{
		"duration":         {"", "10", "1.5s", "1m30s", "10 s", "-1s", "s", "99999999999999999999s", "293y", "106752d"},
		"opt-duration":     {" ", "10", "1.5s", "later"},
		"bool":             {"", "1", "True", "TRUE", "yes", " true"},
		"integer":          {"", "-1", "1.5", "0x10", "1_000", " 1", "18446744073709551616", "++1"},
		"u32":              {"", "-1", "4294967296", "a"},
		"float":            {"", "a", "-0.1", "inf", "NaN", "101", "0x1p-2", "1_0"},
		"socket addr":      {"", "127.0.0.1", "localhost:80", "127.0.0.1:65536", "::1:80", " 127.0.0.1:80"},
		"socket addr list": {"", "127.0.0.1:1, 127.0.0.1:2", "127.0.0.1:1,", "127.0.0.1:1,[::1]:1,10.0.0.1:1"},
		"addr":             {"", "name", "name:0", "-a:80", "a..b:80", "10.0.0:80", "name:65536"},
		"IP set":           {"", "10.0.0.1,", "10.0.0.1, 10.0.0.2", "name", "10.0.0.0/8"},
		"networks":         {"10.0.0.0/33", "name", "10.0.0.1/"},
		"port set":         {"65536", "2-1", "-1", "a", "1-2-3", "1-"},
		"DNS suffixes":     {"a b", "-a", "..", "a,b..c", "1.2.3.4"},
		"DNS name":         {"", ".", "a..b", "-a", "a-", "1.2.3.4", strings.Repeat("a", 64), "ä"},
		"identity":         {"", "name.", "a b", "/path", "1.2.3.4"},
		"identities":       {"a b", "a,b."},
		"named listeners":  {"127.0.0.1:5001", "127.0.0.1:5001=127.0.0.1:0", "127.0.0.1:5001=web:0", "127.0.0.1:5001=web:65536", "name:5001=127.0.0.1:80", ",", "=", "127.0.0.1:5001=web"},
		"policy":           {"", "all", "Deny", "all-tls-unauthenticated"},
		`"" or unsafe`:     {"safe", " "},
		"PEM":              {"", " \n"},
		"empty":            {"true", "1", "false"},
		"workers":          {"", "0", "-1", "1.5"},
		"ratio":            {"", "0", "1.01", "-1", "nan"},
		"apache or json":   {"", "Apache", "combined"},
	}
}

// TestGarbage sets every variable to what its type refuses.
func TestGarbage(t *testing.T) {
	bad := garbage()
	for _, v := range Vars() {
		for _, value := range append(bad[v.Type], "\xff") {
			checkRefused(t, v, value)
		}
		if len(bad[v.Type]) == 0 && !slices.Contains([]string{"text", "path", "plain or json"}, v.Type) {
			t.Errorf("%s: no garbage for type %q", v.Name, v.Type)
		}
	}
}

// checkRefused sets a variable to what it refuses, which for few of them is no
// more than a warning.
func checkRefused(t *testing.T, v Var, value string) {
	t.Helper()
	_, warnings, err := ReadEnv(leastWith(v.Name + "=" + value))
	if slices.Contains([]string{"workers", "ratio", "apache or json"}, v.Type) {
		if err != nil || !warned(warnings, v.Name) {
			t.Errorf("%s=%q: got %v and %v, want a warning", v.Name, value, err, warnings)
		}
		return
	}
	want := v.Name + "=" + quoted(value) + " is not valid: "
	if value == "\xff" {
		want = v.Name + " is not encoded in Unicode"
	}
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s=%q: got %v, want %q", v.Name, value, err, want)
	}
}

// TestRefused asks for what is not built, and for nothing.
func TestRefused(t *testing.T) {
	asked := map[string]string{
		"INGRESS_MODE": "true", "INBOUND_DEFAULT_POLICY": "deny", "INBOUND_GATEWAY_SUFFIXES": ".",
		"INBOUND_PORTS_REQUIRE_IDENTITY": "80", "INBOUND_PORTS_REQUIRE_TLS": "1-2", "TAP_SVC_NAME": "tap.linkerd",
	}
	nothing := map[string]string{
		"INGRESS_MODE": "false", "INBOUND_DEFAULT_POLICY": "all-unauthenticated", "INBOUND_GATEWAY_SUFFIXES": "",
		"INBOUND_PORTS_REQUIRE_IDENTITY": "", "INBOUND_PORTS_REQUIRE_TLS": " ,",
	}
	for _, v := range Vars() {
		if v.Obeyed != obeyedRefused {
			continue
		}
		name := strings.TrimPrefix(v.Name, linkerd)
		_, _, err := ReadEnv(leastWith(v.Name + "=" + asked[name]))
		if want := v.Name + "=" + quoted(asked[name]) + " is not supported yet"; !errors.Is(err, ErrNotSupported) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", v.Name, err, want)
		}
		if value, ok := nothing[name]; ok {
			mustRead(t, leastWith(v.Name+"="+value))
		}
		delete(asked, name)
	}
	for name := range asked {
		t.Errorf("%s is not said to be refused", name)
	}
}

// TestNotYet has each variable that is not obeyed warned of, once.
func TestNotYet(t *testing.T) {
	other := map[string]string{
		"duration": "7s", "bool": "true", "integer": "7", "u32": "20000", "socket addr": "127.0.0.1:7", "port set": "7",
		"networks": "10.0.0.0/8", `"" or unsafe`: "Unsafe", "path": "/tmp", "identities": "a.b", "addr": "collector:7",
		"apache or json": "json", "text": "x",
	}
	for _, v := range Vars() {
		if v.Obeyed != obeyedNotYet {
			continue
		}
		_, warnings := mustRead(t, leastWith(v.Name+"="+other[v.Type]))
		if n := notObeyed(warnings, v.Name); n != 1 {
			t.Errorf("%s: %d warnings that it is not obeyed, want one", v.Name, n)
		}
		if v.Default != "" {
			_, warnings = mustRead(t, leastWith(v.Name+"="+v.Default))
			if notObeyed(warnings, v.Name) != 0 {
				t.Errorf("%s: a warning of its default", v.Name)
			}
		}
	}
}

func notObeyed(warnings []Warning, name string) int {
	n := 0
	for _, w := range warnings {
		if w == (Warning{name, "is not obeyed yet"}) {
			n++
		}
	}
	return n
}

func TestUnknownNames(t *testing.T) {
	_, warnings := mustRead(t, leastWith("LINKERD2_PROXY_LGO=debug", "OUTRIGGER_UNMESH=true", "PATH=/bin", "LINKERD2_CNI=x"))
	for _, name := range []string{`"LINKERD2_PROXY_LGO"`, `"OUTRIGGER_UNMESH"`} {
		if !warned(warnings, name) {
			t.Errorf("no warning of %s", name)
		}
	}
	if warned(warnings, `"PATH"`) || warned(warnings, `"LINKERD2_CNI"`) {
		t.Error("a warning of a variable that is not ours")
	}
}

func TestListeners(t *testing.T) {
	web := profiles.Target{Name: "web.demo.svc.cluster.local", Port: 80}
	app := profiles.Target{Addr: ap("127.0.0.1:8080")}
	c, _ := mustRead(t, leastWith(
		"OUTRIGGER_OUTBOUND_NAMED=127.0.0.1:5001=Web.demo.svc.cluster.local.:80, [::1]:5001=10.0.0.1:81",
		"OUTRIGGER_INBOUND_NAMED=127.0.0.1:6001=127.0.0.1:8080"))
	want := []NamedListener{{ap("127.0.0.1:5001"), web}, {ap("[::1]:5001"), profiles.Target{Addr: ap("10.0.0.1:81")}}}
	if !slices.Equal(c.Outbound.Named, want) {
		t.Errorf("outbound %v, want %v", c.Outbound.Named, want)
	}
	if want := []NamedListener{{ap("127.0.0.1:6001"), app}}; !slices.Equal(c.Inbound.Named, want) {
		t.Errorf("inbound %v, want %v", c.Inbound.Named, want)
	}
	if len(c.Outbound.Listen)+len(c.Inbound.Listen) != 0 {
		t.Errorf("default listeners %v and %v, though nobody asked for them", c.Outbound.Listen, c.Inbound.Listen)
	}
	c, _ = mustRead(t, leastWith("OUTRIGGER_OUTBOUND_NAMED=127.0.0.1:5001=web:80", "LINKERD2_PROXY_OUTBOUND_LISTEN_ADDR=127.0.0.1:4140"))
	if want := []netip.AddrPort{ap("127.0.0.1:4140")}; !slices.Equal(c.Outbound.Listen, want) || len(c.Inbound.Listen) != 1 {
		t.Errorf("outbound %v, inbound %v: want both", c.Outbound.Listen, c.Inbound.Listen)
	}
}

// TestBadListeners has listeners refused that cannot be.
func TestBadListeners(t *testing.T) {
	for _, pairs := range [][]string{
		{"OUTRIGGER_OUTBOUND_NAMED=127.0.0.1:5001=a:1,127.0.0.1:5001=b:1"},
		{"OUTRIGGER_OUTBOUND_NAMED=127.0.0.1:5001=a:1,[::ffff:127.0.0.1]:5001=b:1"},
		{"OUTRIGGER_OUTBOUND_NAMED=127.0.0.1:4191=a:1"},
		{"OUTRIGGER_OUTBOUND_NAMED=127.0.0.1:4143=a:1"}, // beside 0.0.0.0:4143
		{"OUTRIGGER_OUTBOUND_NAMED=127.0.0.1:5001=a:1", "OUTRIGGER_INBOUND_NAMED=127.0.0.1:5001=127.0.0.1:80"},
		{"OUTRIGGER_INBOUND_NAMED=127.0.0.1:6001=web:80"},
		{"OUTRIGGER_INBOUND_NAMED=127.0.0.1:6001=0.0.0.0:80"},
		{"OUTRIGGER_INBOUND_NAMED=127.0.0.1:6001=127.0.0.1:6001"},
		{"OUTRIGGER_INBOUND_NAMED=127.0.0.1:6001=127.0.0.1:4191"},
		{"LINKERD2_PROXY_ADMIN_LISTEN_ADDR=0.0.0.0:4143"},
		{"LINKERD2_PROXY_OUTBOUND_LISTEN_ADDRS=127.0.0.1:4140,127.0.0.1:4140"},
	} {
		if _, _, err := ReadEnv(leastWith(pairs...)); !errors.Is(err, ErrBadVariable) {
			t.Errorf("%v: got %v, want an error", pairs, err)
		}
	}
	_, _, err := ReadEnv(leastWith("LINKERD2_PROXY_INBOUND_LISTEN_ADDR=0.0.0.0:4191"))
	if want := `LINKERD2_PROXY_INBOUND_LISTEN_ADDR="0.0.0.0:4191" is not valid: 0.0.0.0:4191 cannot be listened on beside 127.0.0.1:4191`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s: it is the one that is set", err, want)
	}
	mustRead(t, leastWith("OUTRIGGER_OUTBOUND_NAMED=127.0.0.1:0=a:1,127.0.0.1:0=b:1"))
	mustRead(t, leastWith("OUTRIGGER_OUTBOUND_NAMED="))
}
