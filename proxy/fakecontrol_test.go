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
	destpb.UnimplementedDestinationServer
	pb.UnimplementedOutboundPoliciesServer
	update  *destpb.Update             // of every destination
	profile *destpb.DestinationProfile // of every target
	policy  *pb.OutboundPolicy         // of every target
}

// start serves it until the test ends.
func (f *fakeControl) start(t testing.TB) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.WaitForHandlers(true))
	destpb.RegisterDestinationServer(s, f)
	pb.RegisterOutboundPoliciesServer(s, f)
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
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

func (f *fakeControl) Get(_ *destpb.GetDestination, s grpc.ServerStreamingServer[destpb.Update]) error {
	return once(f.update, s)
}

func (f *fakeControl) GetProfile(_ *destpb.GetDestination, s grpc.ServerStreamingServer[destpb.DestinationProfile]) error {
	return once(f.profile, s)
}

func (f *fakeControl) Watch(_ *pb.TrafficSpec, s grpc.ServerStreamingServer[pb.OutboundPolicy]) error {
	return once(f.policy, s)
}
