package codec_test

import (
	"strings"
	"testing"

	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
)

// TestClasses has each class spelled out, and looks at every byte.
func TestClasses(t *testing.T) {
	var visible, high strings.Builder
	for c := '!'; c <= '~'; c++ {
		visible.WriteRune(c)
	}
	for c := 0x80; c <= 0xff; c++ {
		high.WriteByte(byte(c))
	}
	const (
		digits = "0123456789"
		lower  = "abcdefghijklmnopqrstuvwxyz"
		upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	)
	for _, c := range []struct {
		name    string
		class   codec.Class
		members string
	}{
		{"token", codec.Token, digits + lower + upper + "!#$%&'*+-.^_`|~"},
		{"lower", codec.Lower, digits + lower + "!#$%&'*+-.^_`|~"},
		{"value", codec.Value, " \t" + visible.String() + high.String()},
		{"target", codec.Target, strings.NewReplacer("#", "", `\`, "").Replace(visible.String())},
		{"host", codec.Host, digits + lower + upper + "-._~" + "%" + "!$&'()*+;="},
		{"digit", codec.Digit, digits},
	} {
		for b := range 256 {
			want := strings.IndexByte(c.members, byte(b)) >= 0
			if got := c.class.Has(byte(b)); got != want {
				t.Errorf("%s has %q: %t, want %t", c.name, byte(b), got, want)
			}
		}
	}
}

// TestAll puts one byte that does not belong in each place.
func TestAll(t *testing.T) {
	const good = "0123456789"
	if !codec.All("", codec.Digit) || !codec.All(good, codec.Digit) || !codec.All([]byte(good), codec.Digit) {
		t.Error("digits are not all digits")
	}
	for i := range good {
		bad := good[:i] + "x" + good[i+1:]
		if codec.All(bad, codec.Digit) || codec.All([]byte(bad), codec.Digit) {
			t.Errorf("%s is all digits", bad)
		}
		if !codec.All(bad, codec.Digit|codec.Token) {
			t.Errorf("%s is not all of either class", bad)
		}
	}
}

func TestParseLength(t *testing.T) {
	for s, want := range map[string]int64{
		"0": 0, "7": 7, "007": 7, "128": 128, "999999999999999999": 999999999999999999, "000000000000000001": 1,
		"": -1, " 1": -1, "1 ": -1, "+1": -1, "-1": -1, "1,1": -1, "0x1": -1, "1e3": -1, "1_0": -1, "١": -1,
		"1000000000000000000": -1, "9223372036854775808": -1, "0000000000000000001": -1,
	} {
		n, ok := codec.ParseLength(s)
		if ok != (want >= 0) || ok && n != want {
			t.Errorf("%q: got %d, %t, want %d", s, n, ok, want)
		}
	}
}

func TestQuoted(t *testing.T) {
	for s, want := range map[string]string{
		"":                       `""`,
		"a\r\nb\x00":             `"a\r\nb\x00"`,
		strings.Repeat("x", 64):  `"` + strings.Repeat("x", 64) + `"`,
		strings.Repeat("x", 999): `"` + strings.Repeat("x", 64) + `"`,
	} {
		if got := codec.Quoted(s); got != want {
			t.Errorf("%q: got %s, want %s", s, got, want)
		}
		if got := codec.Quoted([]byte(s)); got != want {
			t.Errorf("%q, as bytes: got %s, want %s", s, got, want)
		}
	}
}

func TestAuthority(t *testing.T) {
	for _, c := range []struct {
		authority, host string
		ok              bool // a host with perhaps a port
	}{
		{"a", "a", true},
		{"a.example", "a.example", true},
		{"A.Example.", "A.Example.", true},
		{"a_b-c~1.example:80", "a_b-c~1.example", true},
		{"a:", "a", true}, // the scheme's own port (RFC 3986, section 3.2.3)
		{"a:0", "a", true},
		{"a:65535", "a", true},
		{"a:00080", "a", true},
		{"127.0.0.1:80", "127.0.0.1", true},
		{"%41", "%41", true},
		{"a!$&'()*+;=b", "a!$&'()*+;=b", true},
		{"[::1]", "[::1]", true},
		{"[::1]:80", "[::1]", true},
		{"[::ffff:1.2.3.4]:80", "[::ffff:1.2.3.4]", true},
		{"[fe80::1%25eth0]", "[fe80::1%25eth0]", true},

		// Without a host, which HTTP/1 has a message of its own for.
		{"", "", true},
		{":80", "", true},
		{":65536", "", false},

		{"a:65536", "a", false},
		{"a:000080", "a", false},
		{"a:99999", "a", false},
		{"a:8a", "a", false},
		{"a:+8", "a", false},
		{"a:80:80", "a", false},
		{"::1", "", false},
		{"user@a", "user@a", false},
		{"user:pw@a", "user", false},
		{"a b", "a b", false},
		{"a,b", "a,b", false},
		{"a/b", "a/b", false},
		{"a?b", "a?b", false},
		{"a#b", "a#b", false},
		{`a\b`, `a\b`, false},
		{"a\x00", "a\x00", false},
		{"a\x7f", "a\x7f", false},
		{"é", "é", false},
		{"[::1", "", false},
		{"[]", "[]", false},
		{"[1.2.3.4]", "[1.2.3.4]", false},
		{"[::1]80", "[::1]", false},
		{"[::1]:80a", "[::1]", false},
		{"[::1].example", "[::1]", false},
		{"[::1%a b]", "[::1%a b]", false},
		{"[::1%a@b]", "[::1%a@b]", false},
		{"a[::1]", "a[", false},
	} {
		host, ok := codec.HostOf(c.authority)
		if ok != c.ok || host != c.host {
			t.Errorf("%q: got %q, %t, want %q, %t", c.authority, host, ok, c.host, c.ok)
		}
		if got, want := codec.ValidAuthority(c.authority), c.ok && c.host != ""; got != want {
			t.Errorf("%q is valid: %t, want %t", c.authority, got, want)
		}
	}
}
