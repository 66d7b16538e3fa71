package discover

import (
	"maps"
	"net/netip"
	"testing"
)

func TestLabels(t *testing.T) {
	for _, m := range []map[string]string{{}, {"a": "1"}, {"b": "", "a": "x=y,z"}, {"": "v"}} {
		l := NewLabels(m)
		if got := maps.Collect(l.All()); !maps.Equal(got, m) {
			t.Errorf("%v became %v", m, got)
		}
		for k, v := range m {
			if l.Get(k) != v {
				t.Errorf("%q is %q, want %q", k, l.Get(k), v)
			}
		}
	}
	if NewLabels(map[string]string{"a": "1", "b": "2"}) != NewLabels(map[string]string{"b": "2", "a": "1"}) {
		t.Error("equal labels differ")
	}
	if NewLabels(map[string]string{"a": "1\x00b\x002"}).Get("b") != "" {
		t.Error("a value broke out into a label of its own")
	}
}

func TestSameClient(t *testing.T) {
	e := Endpoint{Addr: netip.MustParseAddrPort("10.0.0.1:80"), ID: "a", ServerName: "a"}
	same := e
	same.Weight, same.Zone, same.Labels = 5, ZoneLocal, NewLabels(map[string]string{"a": "b"})
	if !e.SameClient(same) {
		t.Error("weight, zone and labels need a new client")
	}
	for name, change := range map[string]func(*Endpoint){
		"hint": func(e *Endpoint) { e.Hint = HTTP2 }, "port": func(e *Endpoint) { e.InboundPort = 1 },
		"SNI": func(e *Endpoint) { e.ServerName = "b" }, "authority": func(e *Endpoint) { e.Authority = "b" },
		"HTTP/2": func(e *Endpoint) { e.HTTP2.MaxFrameSize = 1 }, "identity": func(e *Endpoint) { e.ID = "b" },
	} {
		other := e
		if change(&other); e.SameClient(other) {
			t.Errorf("another %s does not need a new client", name)
		}
	}
}
