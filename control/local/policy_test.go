package local

import (
	"os"
	"testing"

	"github.com/linkerd/linkerd2-proxy-api/go/destination"
	apinet "github.com/linkerd/linkerd2-proxy-api/go/net"
	"github.com/linkerd/linkerd2-proxy-api/go/outbound"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

const emoji = `
services:
- {name: web.emoji.svc.cluster.local, port: 80, clusterIP: 10.96.0.10}
- {name: db.emoji.svc.cluster.local, port: 3306, clusterIP: "2001:db8::10", opaque: true, endpoints: [{address: "10.1.1.1:3306"}]}
`

// The files in testdata are what Linkerd's policy controller sent.
func TestWatchIsTheControllersDefault(t *testing.T) {
	r := serve(t, emoji)
	for _, test := range []struct {
		file  string
		specs []*outbound.TrafficSpec
	}{
		{"outbound-service-default", []*outbound.TrafficSpec{
			byAddr(t, "10.96.0.10", 80), byAuthority("web.emoji.svc.cluster.local"), byAuthority("Web.emoji.svc.cluster.local.:80"),
		}},
		{"outbound-service-opaque", []*outbound.TrafficSpec{byAddr(t, "2001:db8::10", 3306), byAuthority("db.emoji.svc.cluster.local:3306")}},
		{"outbound-undefined-port", []*outbound.TrafficSpec{byAddr(t, "10.96.0.10", 81), byAuthority("web.emoji.svc.cluster.local:81")}},
	} {
		data, err := os.ReadFile("testdata/" + test.file + ".json")
		if err != nil {
			t.Fatal(err)
		}
		want := new(outbound.OutboundPolicy)
		if err := protojson.Unmarshal(data, want); err != nil {
			t.Fatal(err)
		}
		for _, spec := range test.specs {
			if got := recv(t, r.watch(t, spec)); !proto.Equal(got, want) {
				t.Errorf("%v: the policy is\n%s\nwant\n%s", spec, prototext.Format(got), prototext.Format(want))
			}
			if got, err := r.policies.Get(soon(t), spec); err != nil || !proto.Equal(got, want) {
				t.Errorf("%v: Get says %v, %v", spec, got, err)
			}
		}
	}
}

func TestWatchRefusals(t *testing.T) {
	r := serve(t, emoji)
	badPort := byAddr(t, "10.96.0.10", 80)
	badPort.GetAddr().Port = 65616 // 80 if it were cut to 16 bits
	for _, test := range []struct {
		spec *outbound.TrafficSpec
		want codes.Code
	}{
		{byAddr(t, "10.1.1.1", 3306), codes.NotFound}, // an endpoint's is the usual case
		{byAddr(t, "192.0.2.1", 80), codes.NotFound},
		{byAuthority("none.emoji.svc.cluster.local"), codes.NotFound},
		{byAuthority("10.96.0.10:80"), codes.NotFound},
		{byAuthority(""), codes.InvalidArgument},
		{byAuthority("web:0"), codes.InvalidArgument},
		{byAuthority("web emoji"), codes.InvalidArgument},
		{byAddr(t, "10.96.0.10", 0), codes.InvalidArgument},
		{badPort, codes.InvalidArgument},
		{new(outbound.TrafficSpec), codes.InvalidArgument},
		{&outbound.TrafficSpec{Target: &outbound.TrafficSpec_Addr{Addr: &apinet.TcpAddress{Port: 80}}}, codes.InvalidArgument},
	} {
		if _, err := r.watch(t, test.spec).Recv(); status.Code(err) != test.want {
			t.Errorf("Watch %v: %v, want %v", test.spec, err, test.want)
		}
		if _, err := r.policies.Get(soon(t), test.spec); status.Code(err) != test.want {
			t.Errorf("Get %v: %v, want %v", test.spec, err, test.want)
		}
	}
}

func TestWatchLive(t *testing.T) {
	r := serve(t, emoji)
	s := r.watch(t, byAuthority("web.emoji.svc.cluster.local"))
	if recv(t, s).GetProtocol().GetDetect() == nil {
		t.Fatal("not the default")
	}
	r.Set(mesh(t, "services: []")) // says nothing: the last policy stands
	if _, err := r.watch(t, byAuthority("web.emoji.svc.cluster.local")).Recv(); status.Code(err) != codes.NotFound {
		t.Errorf("a new Watch: %v, want NotFound", err)
	}
	r.Set(mesh(t, emoji)) // nothing new
	r.Set(mesh(t, "services: [{name: web.emoji.svc.cluster.local, port: 80, opaque: true}]"))
	if p := recv(t, s); p.GetProtocol().GetOpaque() == nil {
		t.Errorf("the policy is %v, want opaque", p)
	}
	r.Set(mesh(t, "services: [{name: web.emoji.svc.cluster.local, port: 81}]"))
	if p := recv(t, s); p.GetProtocol().GetOpaque().GetRoutes()[0].GetMetadata().GetDefault() != "undefined-port" {
		t.Errorf("the policy is %v, want undefined-port", p)
	}
}

func TestOthersAreNotServed(t *testing.T) {
	r := serve(t, emoji)
	for _, method := range []string{"/io.linkerd.proxy.identity.Identity/Certify", "/io.linkerd.proxy.inbound.InboundServerPolicies/GetPort"} { // without an identity section
		if err := r.conn.Invoke(soon(t), method, new(destination.GetDestination), new(destination.Update)); status.Code(err) != codes.Unimplemented {
			t.Errorf("%s: %v, want Unimplemented", method, err)
		}
	}
}
