package proxy

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// FuzzEnv sets two variables to anything. Nothing panics, an error is of use,
// and what is taken can be taken again.
func FuzzEnv(f *testing.F) {
	vars := Vars()
	for i, v := range vars {
		f.Add(uint(i), v.Default, uint(i+1), "10s")
	}
	for i, seed := range []string{
		"127.0.0.1:5001=web.demo:80,[::1]:5001=10.0.0.1:80", "10.0.0.0/8,fd00::/8", "80,8000-8099", "svc.cluster.local.,.",
		"linkerd-dst-headless.linkerd.svc.cluster.local.:8086", "spiffe://root/ns", "\xff", "18446744073709551616", "1e999", "-", "=",
	} {
		f.Add(uint(i), seed, uint(2*i), seed)
	}
	f.Fuzz(func(t *testing.T, i uint, a string, j uint, b string) {
		first, second := vars[i%uint(len(vars))].Name, vars[j%uint(len(vars))].Name
		env := leastWith(first+"="+a, second+"="+b)
		c, warnings, err := ReadEnv(env)
		for _, w := range warnings {
			if strings.ContainsAny(w.String(), "\n\x1b") {
				t.Errorf("the warning %q has control characters", w)
			}
		}
		if err == nil {
			if err := c.Outbound.Connect.Backoff.Validate(); err != nil {
				t.Errorf("a backoff was taken that is none: %v", err)
			}
			return
		}
		if !strings.Contains(err.Error(), first) && !strings.Contains(err.Error(), second) {
			t.Errorf("%s=%q, %s=%q: the error names neither: %v", first, a, second, b, err)
		}
		if strings.ContainsRune(err.Error(), '\x1b') {
			t.Errorf("the error has control characters: %q", err)
		}
	})
}

// FuzzDuration has every duration that is taken written and read back.
func FuzzDuration(f *testing.F) {
	for _, s := range []string{"0", "00", "10ms", " 5s ", "1m", "24h", "365d", "106751d", "9223372036854775807ms", "1.5s", "", "ms", "١s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := parseDuration(s)
		if err != nil {
			return
		}
		if d < 0 || d%time.Millisecond != 0 {
			t.Fatalf("%q gives %v", s, d)
		}
		if again, err := parseDuration(fmt.Sprintf("%dms", d.Milliseconds())); err != nil || again != d {
			t.Errorf("%q gives %v, which read back is %v, %v", s, d, again, err)
		}
	})
}

// FuzzPorts has every set of ports that is taken written and read back.
func FuzzPorts(f *testing.F) {
	for _, s := range []string{"", "80", "80,443", "1-65535", "9-8", "1-2,3-4,2-9", " 7 - 8 ,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		set, err := parsePorts(s)
		if err != nil {
			return
		}
		again, err := parsePorts(set.String())
		if err != nil || again.String() != set.String() {
			t.Errorf("%q gives %v, which read back is %v, %v", s, set, again, err)
		}
	})
}
