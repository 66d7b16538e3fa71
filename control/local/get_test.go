package local

import (
	"maps"
	"net/netip"
	"testing"

	"github.com/linkerd/linkerd2-proxy-api/go/destination"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func addrOf(t *testing.T, ip string, port uint16) netip.AddrPort {
	t.Helper()
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(addr, port)
}

func TestGetRefusals(t *testing.T) {
	r := serve(t, example)
	for path, want := range map[string]codes.Code{
		"none.demo.svc.cluster.local:80": codes.NotFound,
		"none":                           codes.NotFound,
		"10.96.0.10:80":                  codes.InvalidArgument,
		"10.96.0.10":                     codes.InvalidArgument,
		"[::1]:80":                       codes.InvalidArgument,
		"::1":                            codes.InvalidArgument,
		"":                               codes.InvalidArgument,
		":80":                            codes.InvalidArgument,
		"web.demo.svc.cluster.local:0":   codes.InvalidArgument,
		"web.demo.svc.cluster.local:x":   codes.InvalidArgument,
		"a b:80":                         codes.InvalidArgument,
		"web..demo:80":                   codes.InvalidArgument,
	} {
		if _, err := r.get(t, path).Recv(); status.Code(err) != want {
			t.Errorf("Get %q: %v, want %v", path, err, want)
		}
	}
}

func TestGet(t *testing.T) {
	r := serve(t, example)
	set := recv(t, r.get(t, "Web.demo.svc.cluster.local.:80")).GetAdd()
	if want := map[string]string{"service": "web", "namespace": "demo"}; !maps.Equal(set.GetMetricLabels(), want) {
		t.Errorf("the set's labels are %v, want %v", set.GetMetricLabels(), want)
	}
	a := set.GetAddrs()
	if len(a) != 3 {
		t.Fatalf("%d endpoints, want 3", len(a))
	}
	if a[0].GetWeight() != 10000 || a[1].GetWeight() != 5000 {
		t.Errorf("weights %d and %d, want the default and 5000", a[0].GetWeight(), a[1].GetWeight())
	}
	if want := map[string]string{"pod": "web-1", "zone": "a"}; !maps.Equal(a[0].GetMetricLabels(), want) {
		t.Errorf("labels %v, want %v", a[0].GetMetricLabels(), want)
	}
	if a[0].GetProtocolHint() != nil || a[1].GetProtocolHint().GetH2() == nil || a[2].GetProtocolHint().GetOpaque() == nil {
		t.Errorf("hints %v, %v, %v, want none, h2, opaque", a[0].GetProtocolHint(), a[1].GetProtocolHint(), a[2].GetProtocolHint())
	}
	if a[0].GetTlsIdentity() != nil {
		t.Error("an endpoint has an identity")
	}
	if got := told(t, &destination.Update{Update: &destination.Update_Add{Add: set}}); got != "+127.0.0.1:8080 127.0.0.1:8081 [2001:db8::1]:8082" {
		t.Errorf("endpoints %s", got)
	}
	db := recv(t, r.get(t, "db.demo.svc.cluster.local:3306")).GetAdd()
	if db.GetAddrs()[0].GetProtocolHint().GetOpaque() == nil {
		t.Errorf("an opaque service's hint is %v, want opaque", db.GetAddrs()[0].GetProtocolHint())
	}
	plain := recv(t, r.get(t, "plain:8080")).GetAdd()
	if len(plain.GetMetricLabels()) != 0 {
		t.Errorf("a name that is not of Kubernetes' form has set labels %v", plain.GetMetricLabels())
	}
}

func TestGetSaysWhatChanged(t *testing.T) {
	const head = "services:\n- {name: web, port: 80, endpoints: ["
	r := serve(t, head+"]}\n- {name: db, port: 80}\n")
	web, port81 := r.get(t, "web"), r.get(t, "web:81") // 80 is the default
	for _, step := range []struct{ mesh, want string }{
		{head + "{address: '127.0.0.1:1'}, {address: '127.0.0.1:2'}]}", "+127.0.0.1:1 127.0.0.1:2"},
		{head + "{address: '127.0.0.1:1'}, {address: '127.0.0.1:2', weight: 1}]}", "+127.0.0.1:2"},
		{head + "{address: '127.0.0.1:1'}, {address: '127.0.0.1:2', weight: 1, labels: {a: b}}]}", "+127.0.0.1:2"},
		{head + "{address: '127.0.0.1:1'}]}", "-127.0.0.1:2"},
		{head + "]}", "-127.0.0.1:1"},
		{head + "{address: '127.0.0.1:4'}, {address: '127.0.0.1:3'}]}", "+127.0.0.1:4 127.0.0.1:3"},
		{"services: []", "-127.0.0.1:3 127.0.0.1:4"}, // deleted: one remove of the rest
		{head + "{address: '127.0.0.1:5'}]}", "+127.0.0.1:5"},
	} {
		r.Set(mesh(t, step.mesh))
		if got := told(t, recv(t, web)); got != step.want {
			t.Fatalf("after %s: %s, want %s", step.mesh, got, step.want)
		}
		r.Set(mesh(t, step.mesh)) // says nothing new, and so nothing is said
	}
	r.Set(mesh(t, head+"{address: '127.0.0.1:6'}]}\n- {name: web, port: 81, endpoints: [{address: '127.0.0.1:7'}]}"))
	if got := told(t, recv(t, web)); got != "+127.0.0.1:6" {
		t.Errorf("what is new comes first: %s, want +127.0.0.1:6", got)
	}
	if got := told(t, recv(t, web)); got != "-127.0.0.1:5" {
		t.Errorf("then what is gone: %s, want -127.0.0.1:5", got)
	}
	if got := told(t, recv(t, port81)); got != "+127.0.0.1:7" {
		t.Errorf("a port that the service lacked was told %s, want nothing before it had it", got)
	}
	r.Set(mesh(t, "services: []"))
	if _, err := r.get(t, "web:80").Recv(); status.Code(err) != codes.NotFound {
		t.Errorf("Get of a deleted service: %v, want NotFound", err)
	}
}
