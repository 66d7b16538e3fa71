package control

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/outrigger-mesh/outrigger/tls"
)

const spiffeID = "spiffe://cluster.local/ns/x/sa/web"

// An agent is a SPIRE agent that says what it is given.
type agent struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	t    *testing.T
	says chan any // a response, or an error that ends the stream
}

func (a *agent) FetchX509SVID(_ *workload.X509SVIDRequest, s grpc.ServerStreamingServer[workload.X509SVIDResponse]) error {
	if md, _ := metadata.FromIncomingContext(s.Context()); strings.Join(md.Get("workload.spiffe.io"), "") != "true" {
		a.t.Error("the header that the API asks for is missing")
	}
	for {
		select {
		case <-s.Context().Done():
			return nil
		case say := <-a.says:
			switch say := say.(type) {
			case error:
				return say
			case *workload.X509SVIDResponse:
				if err := s.Send(say); err != nil {
					return err
				}
			}
		}
	}
}

func (a *agent) serve(path string) {
	a.t.Helper()
	l, err := new(net.ListenConfig).Listen(a.t.Context(), "unix", path)
	if err != nil {
		a.t.Fatal(err)
	}
	server := grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(server, a)
	var done sync.WaitGroup
	done.Go(func() { _ = server.Serve(l) })
	a.t.Cleanup(func() { server.Stop(); done.Wait() })
}

func (i *issuer) svid(id string) *workload.X509SVID {
	i.t.Helper()
	u, err := url.Parse(id)
	if err != nil {
		i.t.Fatal(err)
	}
	key := newKey(i.t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs: []*url.URL{u},
	}
	leaf, err := x509.CreateCertificate(rand.Reader, template, i.cert, key.Public(), i.key)
	if err != nil {
		i.t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		i.t.Fatal(err)
	}
	return &workload.X509SVID{SpiffeId: id, X509Svid: append(leaf, i.cert.Raw...), X509SvidKey: der}
}

func TestSpire(t *testing.T) {
	i := newIssuer(t)
	anchors, _, err := tls.ParseAnchors(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.cert.Raw}))
	if err != nil {
		t.Fatal(err)
	}
	store, err := tls.NewStore(spiffeID, workloadID, anchors)
	if err != nil {
		t.Fatal(err)
	}
	var log logbook
	path := filepath.Join(t.TempDir(), "agent.sock")
	s := Spire{Addr: "unix:" + path, Store: store, Backoff: Backoff{Min: time.Millisecond, Max: 10 * time.Millisecond}, Log: log.logger()}
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- s.Run(ctx) }()
	logged := func(what string) {
		t.Helper()
		eventually(t, what, func() bool { return strings.Contains(log.String(), what) })
	}
	logged("no such file") // the agent comes later than its clients

	a := &agent{t: t, says: make(chan any)}
	a.serve(path)
	other, broken, good := i.svid("spiffe://cluster.local/ns/x/sa/other"), i.svid(spiffeID), i.svid(spiffeID)
	broken.X509SvidKey = other.GetX509SvidKey()
	a.says <- &workload.X509SVIDResponse{Svids: []*workload.X509SVID{other}}
	logged("no matching SVID found")
	a.says <- &workload.X509SVIDResponse{Svids: []*workload.X509SVID{{SpiffeId: "not an id"}, broken}}
	logged("another key")
	a.says <- &workload.X509SVIDResponse{Svids: []*workload.X509SVID{{}, other, good}}
	<-store.Certified()
	a.says <- status.Error(codes.Unavailable, "restarting")
	logged("restarting")
	a.says <- &workload.X509SVIDResponse{Svids: []*workload.X509SVID{i.svid(spiffeID)}}
	eventually(t, "a renewed SVID", func() bool { return store.Stats().OK == 2 })
	if got := store.Stats(); got.Errors != 1 || store.Err() != nil {
		t.Errorf("%+v, %v", got, store.Err())
	}
	a.says <- status.Error(codes.InvalidArgument, "no")
	if err := <-ended; status.Code(errors.Unwrap(err)) != codes.InvalidArgument {
		t.Errorf("Run: %v", err)
	}
	go func() { ended <- s.Run(ctx) }()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run after its end: %v", err)
	}
	s.Backoff = Backoff{}
	if err := s.Run(t.Context()); err == nil {
		t.Error("a bad backoff is let through")
	}
}
