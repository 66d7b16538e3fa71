package local

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"

	"github.com/linkerd/linkerd2-proxy-api/go/destination"
	api "github.com/linkerd/linkerd2-proxy-api/go/identity"
	"github.com/linkerd/linkerd2-proxy-api/go/outbound"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// A Config says what a Server serves.
type Config struct {
	Mesh *Mesh        // at first; nil means one without services
	Log  *slog.Logger // nil means none
	// MaxStreams bounds the streams of one connection. Zero means 65,536: a proxy
	// has three for each destination that it knows.
	MaxStreams uint32
}

const defaultMaxStreams = 1 << 16

// A Server answers for Linkerd's Destination, OutboundPolicies and Identity services
// from a Mesh, on one listener. A changed Mesh goes to the streams that are open, each
// of which is sent only what changed for it. A client that reads slowly has
// nothing queued for it: it is sent the newest state when it has taken the last.
//
// Identity is served if the Mesh has an identity section. InboundServerPolicies is
// not: Unimplemented.
type Server struct {
	log     *slog.Logger
	streams uint32
	setting sync.Mutex // held to write state
	state   atomic.Pointer[state]
	issuing sync.Mutex // held while the issuer of identities is read, or made
}

// A state is what the Server says at one moment.
type state struct {
	mesh *Mesh
	over chan struct{} // closed when another has taken its place
}

// New returns a Server that is ready to serve.
func New(c Config) *Server {
	s := &Server{log: c.Log, streams: c.MaxStreams}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.streams == 0 {
		s.streams = defaultMaxStreams
	}
	if c.Mesh == nil {
		c.Mesh = newMesh(nil)
	}
	s.state.Store(&state{c.Mesh, make(chan struct{})})
	return s
}

// Set puts m in place of the Mesh that is served.
func (s *Server) Set(m *Mesh) {
	s.setting.Lock()
	defer s.setting.Unlock()
	last := s.state.Swap(&state{m, make(chan struct{})})
	close(last.over)
}

// Serve answers on l until ctx is done, when it closes every connection and
// returns nil. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := grpc.NewServer(grpc.MaxConcurrentStreams(s.streams), grpc.WaitForHandlers(true))
	destination.RegisterDestinationServer(server, destinations{s: s})
	outbound.RegisterOutboundPoliciesServer(server, policies{s: s})
	api.RegisterIdentityServer(server, identities{s: s})
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		server.Stop() // at once, since the streams have no end of their own
	})
	err := server.Serve(l)
	if !stop() {
		<-stopped
	}
	if ctx.Err() == nil && err != nil {
		return fmt.Errorf("control plane on %s: %w", l.Addr(), err)
	}
	return nil
}

// each calls send with the Mesh, and again whenever that changes, until send
// fails or ctx is done.
func (s *Server) each(ctx context.Context, send func(*Mesh) error) error {
	for {
		now := s.state.Load()
		if err := send(now.mesh); err != nil {
			return err
		}
		select {
		case <-now.over:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// changes returns a function that sends what differs from what it sent last.
func changes[M proto.Message](send func(M) error) func(M) error {
	var last M
	sent := false
	return func(m M) error {
		if sent && proto.Equal(last, m) {
			return nil
		}
		last, sent = m, true
		return send(m)
	}
}
