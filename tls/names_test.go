package tls

import (
	"encoding/asn1"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParseID(t *testing.T) {
	for s, want := range map[string]ID{
		"web.ns":                "web.ns",
		"WEB.Ns":                "web.ns",
		"_x.a-b.c":              "_x.a-b.c",
		"localhost":             "localhost",
		"spiffe://td/ns/x":      "spiffe://td/ns/x",
		"https://x/":            "https://x/",
		"urn:x:y":               "urn:x:y",
		"web.ns.":               "",
		"":                      "",
		".":                     "",
		"a..b":                  "",
		"-a.b":                  "",
		"*.b":                   "",
		"10.0.0.1":              "",
		"a b":                   "",
		"/path":                 "",
		"spiffe://td/\n":        "",
		"spiffe://td/é":         "",
		strings.Repeat("a", 64): "",
		"\u212a.b":              "", // the Kelvin sign, which in lower case is k
		"spiffe:":               "",
		"spiffe://%zz/":         "",
		"x:" + long(maxURI):     "",
		long(maxName + 1):       "",
		"x:" + long(maxURI-2):   ID("x:" + long(maxURI-2)),
		long(maxName - 1):       ID(long(maxName - 1)),
		strings.Repeat("a", 63): ID(strings.Repeat("a", 63)),
	} {
		got, err := ParseID(s)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("ParseID(%q): %q, %v; want %q", s, got, err, want)
		}
	}
	if _, err := ParseID("web.ns."); !errors.Is(err, errFinalDot) {
		t.Errorf("a final dot: %v", err)
	}
}

// long returns n bytes of labels.
func long(n int) string {
	s := strings.Repeat(strings.Repeat("a", 49)+".", n/50+1)[:n]
	if strings.HasSuffix(s, ".") {
		s = s[:n-1] + "a"
	}
	return s
}

func TestParseSANs(t *testing.T) {
	ip := asn1.RawValue{Class: 2, Tag: 7, Bytes: []byte{127, 0, 0, 1}}
	mail := asn1.RawValue{Class: 2, Tag: 1, Bytes: []byte("a@b.c")}
	compound := asn1.RawValue{Class: 2, Tag: tagDNS, IsCompound: true, Bytes: []byte{4, 1, 'a'}}
	many := make([]asn1.RawValue, maxSANs+1)
	for i := range many {
		many[i] = dns("a.b")
	}
	for name, c := range map[string]struct {
		names []asn1.RawValue
		want  []ID
		err   error
	}{
		"none":         {},
		"one":          {names: []asn1.RawValue{dns("a.b")}, want: []ID{"a.b"}},
		"in order":     {names: []asn1.RawValue{uri("x://y/2"), dns("a.b"), uri("x://y/1"), dns("B.A")}, want: []ID{"x://y/2", "a.b", "x://y/1", "b.a"}},
		"others":       {names: []asn1.RawValue{ip, mail, compound, dns("a.b.")}},
		"crossed":      {names: []asn1.RawValue{dns("x://y"), uri("a.b")}},
		"dot, then it": {names: []asn1.RawValue{dns("a.b."), dns("c.d")}, want: []ID{"c.d"}},
		"as many":      {names: many[1:], want: slices.Repeat([]ID{"a.b"}, maxSANs)},
		"too many":     {names: many, err: errSANs},
	} {
		der, err := asn1.Marshal(c.names)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parseSANs(der); !slices.Equal(got, c.want) || !errors.Is(err, c.err) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	good, _ := asn1.Marshal([]asn1.RawValue{dns("a.b")})
	for name, der := range map[string][]byte{
		"empty": {}, "cut": good[:len(good)-1], "more": append(slices.Clone(good), 0), "no sequence": {4, 0}, "a cut name": {0x30, 2, 0x82, 5},
	} {
		if got, err := parseSANs(der); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func FuzzSANs(f *testing.F) {
	good, _ := asn1.Marshal([]asn1.RawValue{uri("spiffe://x/a"), dns("a.b"), {Class: 2, Tag: 7, Bytes: []byte{1, 2, 3, 4}}})
	f.Add(good)
	f.Add([]byte{0x30, 2, 0x82, 5})
	f.Fuzz(func(t *testing.T, der []byte) {
		ids, err := parseSANs(der)
		if err != nil && ids != nil {
			t.Fatalf("%v beside %v", ids, err)
		}
		for _, id := range ids {
			if again, err := ParseID(string(id)); again != id {
				t.Fatalf("%q is no identity: %q, %v", id, again, err)
			}
		}
	})
}

func FuzzParseID(f *testing.F) {
	for _, s := range []string{"web.ns", "WEB.ns.", "spiffe://td/ns/x", "a:b", "-", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseID(s)
		if (err == nil) != (id != "") {
			t.Fatalf("%q: %q, %v", s, id, err)
		}
		if err != nil {
			return
		}
		if again, err := ParseID(string(id)); err != nil || again != id {
			t.Fatalf("%q: then %q, %v", id, again, err)
		}
		for _, c := range []byte(id) {
			if c <= ' ' || c >= 0x7f {
				t.Fatalf("%q is let through", id)
			}
		}
	})
}
