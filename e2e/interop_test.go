package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/orca"
)

// interopCases are gRPC's interoperability cases that a proxy can carry. Left out
// are those that are of credentials, which need TLS and others' accounts, and the
// two soaks, which are other cases again and again, as these are here.
var interopCases = map[string]func(context.Context, *grpc.ClientConn){
	"empty_unary":                 of(interop.DoEmptyUnaryCall),
	"large_unary":                 of(interop.DoLargeUnaryCall),
	"client_streaming":            of(interop.DoClientStreaming),
	"server_streaming":            of(interop.DoServerStreaming),
	"ping_pong":                   of(interop.DoPingPong),
	"empty_stream":                of(interop.DoEmptyStream),
	"timeout_on_sleeping_server":  of(interop.DoTimeoutOnSleepingServer),
	"cancel_after_begin":          of(interop.DoCancelAfterBegin),
	"cancel_after_first_response": of(interop.DoCancelAfterFirstResponse),
	"status_code_and_message":     of(interop.DoStatusCodeAndMessage),
	"special_status_message":      of(interop.DoSpecialStatusMessage),
	"custom_metadata":             of(interop.DoCustomMetadata),
	"unimplemented_method":        func(ctx context.Context, cc *grpc.ClientConn) { interop.DoUnimplementedMethod(ctx, cc) },
	"unimplemented_service": func(ctx context.Context, cc *grpc.ClientConn) {
		interop.DoUnimplementedService(ctx, testgrpc.NewUnimplementedServiceClient(cc))
	},
	"pick_first_unary": func(ctx context.Context, cc *grpc.ClientConn) {
		interop.DoPickFirstUnary(ctx, testgrpc.NewTestServiceClient(cc))
	},
	"orca_per_rpc": func(ctx context.Context, cc *grpc.ClientConn) {
		interop.DoORCAPerRPCTest(ctx, testgrpc.NewTestServiceClient(cc))
	},
	"orca_oob": func(ctx context.Context, cc *grpc.ClientConn) {
		interop.DoORCAOOBTest(ctx, testgrpc.NewTestServiceClient(cc))
	},
}

func of(f func(context.Context, testgrpc.TestServiceClient, ...grpc.CallOption)) func(context.Context, *grpc.ClientConn) {
	return func(ctx context.Context, cc *grpc.ClientConn) { f(ctx, testgrpc.NewTestServiceClient(cc)) }
}

// longCases take seconds each, by their own clock.
var longCases = map[string]bool{"orca_oob": true}

// interopMain runs a case so many times, by some at once. A failure ends the
// process, as the cases are made.
func interopMain(args []string) int {
	addr, name := args[0], args[1]
	times, _ := strconv.Atoi(args[2])
	opts := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if name == "orca_per_rpc" || name == "orca_oob" {
		opts = append(opts, grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"test_backend_metrics_load_balancer":{}}]}`))
	}
	const atOnce = 4
	left := make(chan struct{}, times)
	for range times {
		left <- struct{}{}
	}
	close(left)
	var clients sync.WaitGroup
	for range min(atOnce, times) {
		clients.Go(func() {
			cc, err := grpc.NewClient("passthrough:///"+addr, opts...)
			if err != nil {
				panic(err)
			}
			defer cc.Close()
			for range left {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				interopCases[name](ctx, cc)
				cancel()
			}
		})
	}
	clients.Wait()
	return 0
}

// interopServer is gRPC's own.
func interopServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	metrics := orca.NewServerMetricsRecorder()
	s := grpc.NewServer(orca.CallMetricsServerOption(metrics))
	if err := orca.Register(s, orca.ServiceOptions{MinReportingInterval: time.Second, ServerMetricsProvider: metrics}); err != nil {
		t.Fatal(err)
	}
	testgrpc.RegisterTestServiceServer(s, identified{interop.NewTestServer(interop.NewTestServerOptions{MetricsRecorder: metrics})})
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return l.Addr().String()
}

// identified says who it is, for pick_first_unary, which Go's test server does not.
type identified struct{ testgrpc.TestServiceServer }

func (s identified) UnaryCall(ctx context.Context, r *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	resp, err := s.TestServiceServer.UnaryCall(ctx, r)
	if err == nil && r.GetFillServerId() {
		resp.ServerId = "the only one"
	}
	return resp, err
}

// TestInterop runs gRPC's interoperability cases through an outbound and an inbound
// sidecar.
func TestInterop(t *testing.T) { runInterop(t, 25) }

func runInterop(t *testing.T, times int) {
	t.Helper()
	in := start(t, interopServer(t), "h2")
	out := start(t, in.inbound, "h2")
	for _, name := range slices.Sorted(maps.Keys(interopCases)) {
		t.Run(name, func(t *testing.T) {
			n := times
			if longCases[name] {
				n = 1
			}
			began := time.Now()
			if text, err := other(t, "interop", out.listen, name, fmt.Sprint(n)); err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			t.Logf("%d times in %s", n, time.Since(began).Round(time.Millisecond))
		})
	}
}
