package local

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/linkerd/linkerd2-proxy-api/go/destination"
	apinet "github.com/linkerd/linkerd2-proxy-api/go/net"
	"github.com/linkerd/linkerd2-proxy-api/go/outbound"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const example = `
services:
- name: web.demo.svc.cluster.local
  port: 80
  clusterIP: 10.96.0.10
  endpoints:
  - address: 127.0.0.1:8080
    labels: {pod: web-1, zone: a}
  - address: 127.0.0.1:8081
    weight: 5000
    protocol: h2
  - address: "[2001:db8::1]:8082"
    protocol: opaque
- name: web.demo.svc.cluster.local
  port: 9090
  clusterIP: 10.96.0.10
- name: db.demo.svc.cluster.local.
  port: 3306
  clusterIP: 10.96.0.11
  opaque: true
  endpoints:
  - address: 127.0.0.1:3306
    protocol: h2
    labels: {namespace: other}
- name: Plain
  port: 8080
  endpoints: [{address: 127.0.0.1:9000, labels: {pod: plain-1}}]
  profile:
    routes:
    - name: list
      condition: {method: GET, pathRegex: "/books(/.*)?"}
    - name: other
      condition:
        any:
        - method: PURGE
        - all: [{method: HEAD}, {not: {pathRegex: /x}}]
    overrides:
    - {authority: "web.demo.svc.cluster.local:80", weight: 9}
    - {authority: plain, weight: 1}
`

func mesh(t *testing.T, text string) *Mesh {
	t.Helper()
	m, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A rig is a Server on loopback and clients of it.
type rig struct {
	*Server
	destinations destination.DestinationClient
	policies     outbound.OutboundPoliciesClient
	conn         *grpc.ClientConn
}

func start(t *testing.T, c Config) rig {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(c)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := s.Serve(ctx, l); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); done.Wait() })
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return rig{s, destination.NewDestinationClient(conn), outbound.NewOutboundPoliciesClient(conn), conn}
}

func serve(t *testing.T, text string) rig {
	t.Helper()
	return start(t, Config{Mesh: mesh(t, text)})
}

// soon is a context for what should happen at once.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func (r rig) get(t *testing.T, path string) grpc.ServerStreamingClient[destination.Update] {
	t.Helper()
	s, err := r.destinations.Get(soon(t), &destination.GetDestination{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (r rig) getProfile(t *testing.T, path string) grpc.ServerStreamingClient[destination.DestinationProfile] {
	t.Helper()
	s, err := r.destinations.GetProfile(soon(t), &destination.GetDestination{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (r rig) watch(t *testing.T, spec *outbound.TrafficSpec) grpc.ServerStreamingClient[outbound.OutboundPolicy] {
	t.Helper()
	s, err := r.policies.Watch(soon(t), spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func recv[M any](t *testing.T, s grpc.ServerStreamingClient[M]) *M {
	t.Helper()
	m, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// addrs writes addresses as "ip:port", separated by spaces.
func addrs(t *testing.T, all []*apinet.TcpAddress) string {
	t.Helper()
	var texts []string
	for _, a := range all {
		addr, ok := addrPort(a)
		if !ok {
			t.Fatalf("%v is not an address", a)
		}
		texts = append(texts, addr.String())
	}
	return strings.Join(texts, " ")
}

// told writes an update as "+a b" or "-a b".
func told(t *testing.T, u *destination.Update) string {
	t.Helper()
	switch u := u.GetUpdate().(type) {
	case *destination.Update_Add:
		var all []*apinet.TcpAddress
		for _, a := range u.Add.GetAddrs() {
			all = append(all, a.GetAddr())
		}
		return "+" + addrs(t, all)
	case *destination.Update_Remove:
		return "-" + addrs(t, u.Remove.GetAddrs())
	default:
		t.Fatalf("the update is %v", u)
		return ""
	}
}

func byAddr(t *testing.T, ip string, port uint16) *outbound.TrafficSpec {
	t.Helper()
	return &outbound.TrafficSpec{SourceWorkload: "test", Target: &outbound.TrafficSpec_Addr{Addr: tcpAddress(addrOf(t, ip, port))}}
}

func byAuthority(authority string) *outbound.TrafficSpec {
	return &outbound.TrafficSpec{SourceWorkload: "test", Target: &outbound.TrafficSpec_Authority{Authority: authority}}
}
