package proxy

import (
	"net"
	"testing"

	destpb "github.com/linkerd/linkerd2-proxy-api/go/destination"
	pb "github.com/linkerd/linkerd2-proxy-api/go/outbound"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A fakeControl is a control plane that says what no real one would, or what a
// mesh file cannot. What is nil it knows nothing of.
type fakeControl struct {
	update  *destpb.Update             // of every destination
	profile *destpb.DestinationProfile // of every target
	policy  *pb.OutboundPolicy         // of every target
}

// start serves it until the test ends.
func (f *fakeControl) start(tb testing.TB) (addr string) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := grpc.NewServer(grpc.WaitForHandlers(true))
	destpb.RegisterDestinationServer(s, fakeDestination{f: f})
	pb.RegisterOutboundPoliciesServer(s, fakePolicies{f: f})
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	tb.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	return l.Addr().String()
}

// once sends a message, and no other until the client leaves.
func once[M any](m *M, s grpc.ServerStreamingServer[M]) error {
	if m == nil {
		return status.Error(codes.NotFound, "known to nobody")
	}
	if err := s.Send(m); err != nil {
		return err
	}
	<-s.Context().Done()
	return s.Context().Err()
}

type fakeDestination struct {
	destpb.UnimplementedDestinationServer
	f *fakeControl
}

func (d fakeDestination) Get(_ *destpb.GetDestination, s grpc.ServerStreamingServer[destpb.Update]) error {
	return once(d.f.update, s)
}

func (d fakeDestination) GetProfile(_ *destpb.GetDestination, s grpc.ServerStreamingServer[destpb.DestinationProfile]) error {
	return once(d.f.profile, s)
}

type fakePolicies struct {
	pb.UnimplementedOutboundPoliciesServer
	f *fakeControl
}

func (p fakePolicies) Watch(_ *pb.TrafficSpec, s grpc.ServerStreamingServer[pb.OutboundPolicy]) error {
	return once(p.f.policy, s)
}
