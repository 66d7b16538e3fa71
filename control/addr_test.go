package control

import "testing"

func TestParseAddr(t *testing.T) {
	for _, test := range []struct {
		in        string
		want      Addr
		loopback  bool
		authority string
	}{
		{"127.0.0.1:8086", Addr{"127.0.0.1", 8086}, true, "127.0.0.1:8086"},
		{"127.9.9.9:80", Addr{"127.9.9.9", 80}, true, "127.9.9.9"},
		{"[::1]:8086", Addr{"::1", 8086}, true, "[::1]:8086"},
		{"[::1]:80", Addr{"::1", 80}, true, "[::1]"},
		{"[::ffff:127.0.0.1]:1", Addr{"::ffff:127.0.0.1", 1}, true, "[::ffff:127.0.0.1]:1"},
		{"10.0.0.1:8086", Addr{"10.0.0.1", 8086}, false, "10.0.0.1:8086"},
		{"localhost.:8086", Addr{"localhost.", 8086}, true, "localhost:8086"},
		{"LOCALHOST.:8086", Addr{"LOCALHOST.", 8086}, true, "LOCALHOST:8086"},
		{"localhost:8086", Addr{"localhost", 8086}, false, "localhost:8086"}, // not absolute, as in the reference
		{"linkerd-dst-headless.linkerd.svc.cluster.local.:8086", Addr{"linkerd-dst-headless.linkerd.svc.cluster.local.", 8086}, false, "linkerd-dst-headless.linkerd.svc.cluster.local:8086"},
		{"dst.:80", Addr{"dst.", 80}, false, "dst"},
	} {
		got, err := ParseAddr(test.in)
		if err != nil || got != test.want {
			t.Errorf("ParseAddr(%q) = %+v, %v, want %+v", test.in, got, err, test.want)
			continue
		}
		if got.Loopback() != test.loopback {
			t.Errorf("%q: loopback %v, want %v", test.in, got.Loopback(), test.loopback)
		}
		if got.authority() != test.authority {
			t.Errorf("%q: authority %q, want %q", test.in, got.authority(), test.authority)
		}
	}
}

func TestParseAddrErrors(t *testing.T) {
	for _, in := range []string{
		"", "dst", "dst:", "dst:0", "dst:65536", "dst:+1", "dst:http", ":8086", ".:8086", "a..b:1", "-a:1", "a-:1", "a b:1", "a/b:1",
		"http://dst:8086", "10.0.0.1", "::1:8086", "[::1]", "a\x00b:1",
		"a123456789012345678901234567890123456789012345678901234567890123.b:1",
	} {
		if got, err := ParseAddr(in); err == nil {
			t.Errorf("ParseAddr(%q) = %+v, want an error", in, got)
		}
	}
}

func FuzzParseAddr(f *testing.F) {
	for _, s := range []string{"127.0.0.1:1", "[::1%eth0]:2", "a.b.:3", ":", "[", "a:b:c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddr(s)
		if err != nil {
			return
		}
		again, err := ParseAddr(a.String())
		if err != nil || again != a {
			t.Errorf("%q is %+v, which is written %q and read as %+v, %v", s, a, a.String(), again, err)
		}
	})
}
