package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/outrigger-mesh/outrigger/tls"
)

// A Spire has this workload certified by a SPIRE agent, over the SPIFFE Workload
// API, instead of the identity service.
type Spire struct {
	Addr    string // of the agent's Unix socket, with "unix:" before it or not
	Store   *tls.Store
	Backoff Backoff      // between tries to reach the agent
	Log     *slog.Logger // nil means none
}

var errNoSVID = errors.New("no matching SVID found")

// Run keeps the Store's certificate fresh until ctx is done; it then returns nil.
// An agent that is not there yet is waited for. Run returns an error if the agent
// says that it was asked wrongly, for which there is no remedy, or if s is wrong.
func (s Spire) Run(ctx context.Context) error {
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	path := strings.TrimPrefix(strings.TrimPrefix(s.Addr, "unix:"), "//")
	if err := s.Backoff.Validate(); err != nil {
		return fmt.Errorf("SPIRE at %q: %w", s.Addr, err)
	}
	conn, err := s.dial(path)
	if err != nil {
		return fmt.Errorf("SPIRE at %q: %w", s.Addr, err)
	}
	defer conn.Close()
	for delays := s.Backoff.Start(); ; {
		err := s.stream(ctx, conn, delays)
		switch {
		case ctx.Err() != nil:
			return nil
		case status.Code(err) == codes.InvalidArgument:
			return fmt.Errorf("SPIRE at %q refuses for good: %w", s.Addr, err)
		}
		s.Log.WarnContext(ctx, "SPIRE's stream has ended; it is opened again", "addr", s.Addr, "error", err)
		if delays.Wait(ctx) != nil {
			return nil
		}
	}
}

func (s Spire) dial(path string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///localhost",
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the socket's rights are what counts
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithIdleTimeout(0),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{
			BaseDelay: s.Backoff.Min, MaxDelay: s.Backoff.Max, Multiplier: 2, Jitter: min(s.Backoff.Jitter, 1),
		}}),
	)
}

// stream reads one stream to its end.
func (s Spire) stream(ctx context.Context, conn *grpc.ClientConn, delays *Delays) error {
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(ctx, "workload.spiffe.io", "true"))
	defer cancel()
	stream, err := workload.NewSpiffeWorkloadAPIClient(conn).FetchX509SVID(ctx, &workload.X509SVIDRequest{})
	if err != nil {
		return err
	}
	for {
		answer, err := stream.Recv()
		if err != nil {
			return err
		}
		delays.Reset()
		if err := s.take(answer.GetSvids()); err != nil {
			s.Log.ErrorContext(ctx, "Failed to obtain identity", "error", err)
			continue
		}
		s.Log.InfoContext(ctx, "Certified identity", "id", string(s.Store.Local()), "until", s.Store.Expiry())
	}
}

// take sets the one that is ours. Its bundle is not looked at: whom we trust is
// configured.
func (s Spire) take(svids []*workload.X509SVID) error {
	for _, svid := range svids {
		if id, err := tls.ParseID(svid.GetSpiffeId()); err == nil && id == s.Store.Local() {
			return s.Store.SetSVID(svid.GetX509Svid(), svid.GetX509SvidKey())
		}
	}
	return fmt.Errorf("%w for %s among %d", errNoSVID, s.Store.Local(), len(svids))
}
