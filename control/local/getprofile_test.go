package local

import (
	"maps"
	"testing"

	"github.com/linkerd/linkerd2-proxy-api/go/destination"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

func TestGetProfile(t *testing.T) {
	r := serve(t, example)
	web := recv(t, r.getProfile(t, "10.96.0.10:80"))
	if !proto.Equal(web, recv(t, r.getProfile(t, "WEB.demo.svc.cluster.local.:80"))) {
		t.Error("a service's profile is another by name than by address")
	}
	ref := web.GetParentRef().GetResource()
	if web.GetFullyQualifiedName() != "web.demo.svc.cluster.local" || web.GetOpaqueProtocol() || web.GetEndpoint() != nil ||
		ref.GetGroup() != "core" || ref.GetKind() != "Service" || ref.GetName() != "web" || ref.GetNamespace() != "demo" || web.GetProfileRef() != nil {
		t.Errorf("the profile of a service is %v", web)
	}
	if b := web.GetRetryBudget(); b.GetRetryRatio() != 0.2 || b.GetMinRetriesPerSecond() != 10 || b.GetTtl().GetSeconds() != 10 {
		t.Errorf("the retry budget is %v, want the controller's default", b)
	}
	if !recv(t, r.getProfile(t, "10.96.0.11:3306")).GetOpaqueProtocol() {
		t.Error("an opaque service is not")
	}
	for _, path := range []string{"10.96.0.10:81", "web.demo.svc.cluster.local:81", "db.demo.svc.cluster.local", "none.demo.svc.cluster.local:80"} {
		if p := recv(t, r.getProfile(t, path)); !proto.Equal(p, new(destination.DestinationProfile)) {
			t.Errorf("GetProfile %s is %v, want an empty message", path, p)
		}
	}
	for _, path := range []string{"", "10.96.0.10", "10.96.0.10:0", "a b:80", "web:99999", "[::1%eth0]:0"} {
		if _, err := r.getProfile(t, path).Recv(); status.Code(err) != codes.InvalidArgument {
			t.Errorf("GetProfile %q: %v, want InvalidArgument", path, err)
		}
	}
}

func TestGetProfileOfEndpoints(t *testing.T) {
	r := serve(t, example)
	for _, test := range []struct {
		path   string
		weight uint32
		labels map[string]string
		hint   string
		opaque bool
	}{
		{"127.0.0.1:8080", 10000, map[string]string{"pod": "web-1", "zone": "a", "namespace": "demo"}, "", false},
		{"127.0.0.1:8081", 5000, map[string]string{"namespace": "demo"}, "h2:{}", false},
		{"[2001:db8::1]:8082", 10000, map[string]string{"namespace": "demo"}, "opaque:{}", true},
		{"127.0.0.1:3306", 10000, map[string]string{"namespace": "other"}, "opaque:{}", true},
		{"127.0.0.1:9000", 10000, map[string]string{"pod": "plain-1"}, "", false},
		{"192.0.2.7:443", 10000, nil, "", false}, // nobody's
	} {
		p := recv(t, r.getProfile(t, test.path))
		e := p.GetEndpoint()
		hint := prototext.MarshalOptions{}.Format(e.GetProtocolHint())
		if e.GetProtocolHint() == nil {
			hint = ""
		}
		if e.GetWeight() != test.weight || !maps.Equal(e.GetMetricLabels(), test.labels) || hint != test.hint ||
			p.GetOpaqueProtocol() != test.opaque || p.GetFullyQualifiedName() != "" {
			t.Errorf("GetProfile %s is %v, want %+v", test.path, p, test)
		}
		if addr, _ := addrPort(e.GetAddr()); addr.String() != test.path {
			t.Errorf("GetProfile %s names %s", test.path, addr)
		}
	}
}

func TestGetProfileRoutesAndOverrides(t *testing.T) {
	p := recv(t, serve(t, example).getProfile(t, "plain:8080"))
	want := new(destination.DestinationProfile)
	err := prototext.Unmarshal([]byte(`
		fully_qualified_name: "plain"
		retry_budget { retry_ratio: 0.2 min_retries_per_second: 10 ttl { seconds: 10 } }
		parent_ref { resource { group: "core" kind: "Service" name: "plain" namespace: "default" port: 8080 } }
		profile_ref { resource { group: "linkerd.io" kind: "ServiceProfile" name: "plain" namespace: "default" } }
		routes {
			condition { all {
				matches { method { registered: GET } }
				matches { path { regex: "/books(/.*)?" } }
			} }
			metrics_labels { key: "route" value: "list" }
		}
		routes {
			condition { any {
				matches { method { unregistered: "PURGE" } }
				matches { all {
					matches { method { registered: HEAD } }
					matches { not { path { regex: "/x" } } }
				} }
			} }
			metrics_labels { key: "route" value: "other" }
		}
		dst_overrides {
			authority: "web.demo.svc.cluster.local:80" weight: 9
			backend_ref { resource { group: "core" kind: "Service" name: "web" namespace: "demo" port: 80 } }
		}
		dst_overrides {
			authority: "plain:8080" weight: 1
			backend_ref { resource { group: "core" kind: "Service" name: "plain" namespace: "default" port: 8080 } }
		}`), want)
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(p, want) {
		t.Errorf("the profile is\n%s\nwant\n%s", prototext.Format(p), prototext.Format(want))
	}
}

func TestGetProfileLive(t *testing.T) {
	r := serve(t, "services: []")
	byName, byIP := r.getProfile(t, "web:80"), r.getProfile(t, "10.0.0.1:80")
	if p := recv(t, byName); p.GetFullyQualifiedName() != "" {
		t.Fatalf("a service that is not there has the profile %v", p)
	}
	if p := recv(t, byIP); p.GetEndpoint() == nil {
		t.Fatalf("an unknown address has the profile %v", p)
	}
	const web = "services:\n- {name: web, port: 80, clusterIP: 10.0.0.1, opaque: "
	for _, opaque := range []string{"false", "true"} {
		r.Set(mesh(t, web+opaque+"}"))
		r.Set(mesh(t, web+opaque+", endpoints: [{address: '127.0.0.1:1'}]}")) // is nothing to a profile
		for _, s := range []interface {
			Recv() (*destination.DestinationProfile, error)
		}{byName, byIP} {
			p, err := s.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if p.GetFullyQualifiedName() != "web" || p.GetOpaqueProtocol() != (opaque == "true") {
				t.Errorf("opaque %s: the profile is %v", opaque, p)
			}
		}
	}
}
