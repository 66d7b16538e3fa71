package proxy

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// TestGrammars has each grammar take what it allows. What it does not allow is
// in garbage.
func TestGrammars(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		got  func() (any, error)
		want string
	}{
		{parsed(parseDuration, "0"), "0s"},
		{parsed(parseDuration, "0d"), "0s"},
		{parsed(parseDuration, "00"), "0s"},
		{parsed(parseDuration, " 10ms\n"), "10ms"},
		{parsed(parseDuration, "007s"), "7s"},
		{parsed(parseDuration, "5m"), "5m0s"},
		{parsed(parseDuration, "106751d"), fmt.Sprint(106751 * day)},
		{parsed(parseDuration, fmt.Sprint(math.MaxInt64/int64(time.Millisecond))+"ms"), "2562047h47m16.854s"},
		{parsed(parseOptDuration, ""), "0s"},
		{parsed(parseOptDuration, "3s"), "3s"},
		{parsed(parseBool, "true"), "true"},
		{parsed(parseBool, "false"), "false"},
		{parsed(parseCount, "+7"), "7"},
		{parsed(parseCount, "007"), "7"},
		{parsed(parseCount, "18446744073709551615"), fmt.Sprint(math.MaxInt)},
		{parsed(parseUint32, "4294967295"), "4294967295"},
		{parsed(parseBacklog, "4294967295"), "2147483647"},
		{parsed(parseJitter, "0"), "0"},
		{parsed(parseJitter, "1e2"), "100"},
		{parsed(parseJitter, ".5"), "0.5"},
		{parsed(parseRatio, "1"), "1"},
		{parsed(parseSocketAddr, "[::1]:4140"), "[::1]:4140"},
		{parsed(parseSocketAddr, "0.0.0.0:0"), "0.0.0.0:0"},
		{parsed(parseSocketAddrs, "127.0.0.1:1,[::1]:1"), "[127.0.0.1:1 [::1]:1]"},
		{parsed(parseControlAddr, "linkerd-dst-headless.linkerd.svc.cluster.local.:8086"), "linkerd-dst-headless.linkerd.svc.cluster.local.:8086"},
		{parsed(parseControlAddr, "[::1]:8086"), "[::1]:8086"},
		{parsed(parseIPs, "10.0.0.1,fd00::1,::ffff:10.0.0.1"), "[10.0.0.1 fd00::1]"},
		{parsed(parseNetworks, ""), "[]"},
		{parsed(parseNetworks, " 10.1.2.3/8, ,10.0.0.0/8,::1,"), "[10.0.0.0/8 ::1/128]"},
		{parsed(parsePorts, ""), ""},
		{parsed(parsePorts, "443, 80 ,,81-82,8000 - 8099,8050-8200,0,+7"), "0,7,80-82,443,8000-8200"},
		{parsed(parsePorts, "1-65535,0"), "0-65535"},
		{parsed(parseSuffixes, ""), "[]"},
		{parsed(parseSuffixes, "."), "[.]"},
		{parsed(parseSuffixes, " SVC.cluster.local., ,example.org"), "[svc.cluster.local example.org]"},
		{parsed(parseDNSName, "Web_1.Demo.svc."), "web_1.demo.svc."},
		{parsed(parseDNSName, strings.Repeat("a", 63)), strings.Repeat("a", 63)},
		{parsed(parseDNSName, "1.2.3.a4"), "1.2.3.a4"},
		{parsed(parseIdentity, "Web.demo"), "web.demo"},
		{parsed(parseIdentity, "spiffe://root.linkerd/ns/Web"), "spiffe://root.linkerd/ns/Web"},
		{parsed(parseUnsafe, "UNSAFE"), "true"},
		{parsed(parseUnsafe, ""), "false"},
		{parsed(parseJSONFormat, "JSON"), "true"},
		{parsed(parseJSONFormat, "xml"), "false"},
	} {
		got, err := c.got()
		if err != nil || fmt.Sprint(got) != c.want {
			t.Errorf("got %v, %v, want %s", got, err, c.want)
		}
	}
}

func parsed[T any](parse func(string) (T, error), s string) func() (any, error) {
	return func() (any, error) {
		v, err := parse(s)
		return v, err
	}
}

func TestPortSetContains(t *testing.T) {
	s, err := parsePorts("80,443,8000-8099,65535")
	if err != nil {
		t.Fatal(err)
	}
	for port, want := range map[uint16]bool{
		0: false, 79: false, 80: true, 81: false, 443: true, 7999: false, 8000: true, 8050: true, 8099: true, 8100: false, 65535: true,
	} {
		if s.Contains(port) != want {
			t.Errorf("contains %d: %v", port, !want)
		}
	}
	if PortSet(nil).Contains(80) {
		t.Error("nothing contains 80")
	}
}

func TestProcs(t *testing.T) {
	for _, c := range []struct {
		w         Workers
		available int
		want      int
	}{
		{Workers{}, 8, 1},
		{Workers{Min: 1}, 8, 1},
		{Workers{Min: 3}, 8, 3},
		{Workers{Min: 9}, 8, 8},
		{Workers{Min: 1, Max: 4}, 8, 4},
		{Workers{Min: 1, Max: 4}, 2, 2},
		{Workers{Min: 4, Max: 2}, 8, 4},
		{Workers{Min: 1, MaxRatio: 0.5}, 8, 4},
		{Workers{Min: 1, MaxRatio: 0.5}, 5, 3}, // rounded away from zero
		{Workers{Min: 1, MaxRatio: 0.01}, 8, 1},
		{Workers{Min: 1, Max: 2, MaxRatio: 1}, 8, 2},
		{Workers{Min: 1, Max: math.MaxInt}, 8, 8},
		{Workers{Min: 1}, 0, 1},
	} {
		if got := c.w.Procs(c.available); got != c.want {
			t.Errorf("%+v of %d: got %d, want %d", c.w, c.available, got, c.want)
		}
	}
}

// TestCores has the newer of two names win, and bad values count as none.
func TestCores(t *testing.T) {
	for _, c := range []struct {
		pairs []string
		want  Workers
	}{
		{[]string{"LINKERD2_PROXY_CORES=2"}, Workers{Min: 2}},
		{[]string{"LINKERD2_PROXY_CORES=2", "LINKERD2_PROXY_CORES_MIN=3"}, Workers{Min: 3}},
		{[]string{"LINKERD2_PROXY_CORES=2", "LINKERD2_PROXY_CORES_MIN=0"}, Workers{Min: 2}},
		{[]string{"LINKERD2_PROXY_CORES=x"}, Workers{Min: 1}},
		{[]string{"LINKERD2_PROXY_CORES_MAX=4", "LINKERD2_PROXY_CORES_MAX_RATIO=2"}, Workers{Min: 1, Max: 4}},
		{[]string{"LINKERD2_PROXY_CORES_MAX_RATIO=0.5"}, Workers{Min: 1, MaxRatio: 0.5}},
	} {
		if got, _ := mustRead(t, leastWith(c.pairs...)); got.Workers != c.want {
			t.Errorf("%v: got %+v, want %+v", c.pairs, got.Workers, c.want)
		}
	}
}
