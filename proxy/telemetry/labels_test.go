package telemetry

import (
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/outrigger-mesh/outrigger/discover"
)

func TestLabels(t *testing.T) {
	endpoint := discover.NewLabels(map[string]string{"zone": "a", "pod": "web-1"})
	for want, l := range map[string]Labels{
		``:                                {},
		`a="1",b="2"`:                     Label("a", "1").With("b", "2"),
		`a="1",b="2",a2="3"`:              Label("a", "1").Join(Label("b", "2").With("a", "4").With("a2", "3")),
		`a="1",b="",c="x"`:                Label("a", "1").With("a", "2").With("b", "").With("c", "x"),
		`app_kubernetes_io="x"`:           Label("app.kubernetes-io", "x"),
		`_0a="x",_="y",__="z"`:            Label("0a", "x").With("", "y").With("\x00é", "z"),
		"a=\"x\uFFFDy\uFFFD\"":            Label("a", "x\x00y\xff"),
		`a="\n\"\\"`:                      Label("a", "\n\"\\"),
		`tls="true",server_id=""`:         ServerID(""),
		`tls="true",client_id="web.demo"`: ClientID("web.demo"),
		`direction="outbound",dst_pod="web-1",dst_zone="a"`:                   Outbound.Labels().Prefixed("dst_", endpoint),
		`direction="inbound",peer="src",tls="x"`:                              Inbound.Labels().With("tls", "x").withPeer("src"),
		`peer="dst",tls="x"`:                                                  Label("tls", "x").withPeer("dst"),
		`target_addr="10.0.0.1:80",target_ip="10.0.0.1",target_port="80"`:     Target(netip.MustParseAddrPort("10.0.0.1:80")),
		`tls="no_identity",no_tls_reason="not_provided_by_service_discovery"`: NotDiscovered.Labels(),
	} {
		if got := l.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if a, b := Label("a", "1").Join(Label("b", "2")), Label("a", "1").With("b", "2"); a != b {
		t.Errorf("%v and %v differ", a, b)
	}
}

// TestLongLabel asks for whole characters, and for a bound on what is left after
// the cleaning, which makes three bytes of one.
func TestLongLabel(t *testing.T) {
	for _, value := range []string{"é", "aé", "\U0001F6F6", "\x00", "\xff\x00", "x\xff", "\x80"} {
		got := cleanValue(strings.Repeat(value, maxValue))
		if len(got) > maxValue || !utf8.ValidString(got) || cleanValue(got) != got {
			t.Errorf("%q repeated: %d bytes, valid %v", value, len(got), utf8.ValidString(got))
		}
	}
}

func FuzzLabels(f *testing.F) {
	f.Add("pod", "web-1", "zone", "a")
	f.Add("", "\x00", "a\x00b", "\xff\n\"\\,,")
	f.Add("0", strings.Repeat("P", maxValue-1)+"é", "", strings.Repeat("\xffP", maxValue))
	f.Fuzz(func(t *testing.T, name, value, name2, value2 string) {
		l := Label(name, value).With(name2, value2)
		seen := map[string]bool{}
		for name := range l.all() {
			if name == "" || seen[name] || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") != "" {
				t.Errorf("name %q in %q", name, l.pairs)
			}
			seen[name] = true
		}
		if again := (Labels{}).Join(l); again != l {
			t.Errorf("%q is joined to %q", l.pairs, again.pairs)
		}
	})
}
