package control

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	gotls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/linkerd/linkerd2-proxy-api/go/destination"
	"github.com/linkerd/linkerd2-proxy-api/go/identity"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/outrigger-mesh/outrigger/tls"
)

const (
	destinationID = "linkerd-destination.linkerd.serviceaccount.identity.linkerd.cluster.local"
	workloadID    = "web.ns.serviceaccount.identity.linkerd.cluster.local"
)

// An issuer is an identity service and its authority.
type issuer struct {
	identity.UnimplementedIdentityServer
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey

	mu    sync.Mutex
	asked []*identity.CertifyRequest
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{t: t, key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "anchor"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, i.key.Public(), i.key)
	if err != nil {
		t.Fatal(err)
	}
	if i.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return i
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (i *issuer) sign(name string, public any) ([]byte, time.Time) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames: []string{name},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, i.cert, public, i.key)
	if err != nil {
		i.t.Error(err)
	}
	return der, template.NotAfter
}

func (i *issuer) Certify(_ context.Context, r *identity.CertifyRequest) (*identity.CertifyResponse, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked = append(i.asked, r)
	csr, err := x509.ParseCertificateRequest(r.GetCertificateSigningRequest())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if !bytes.Equal(r.GetToken(), []byte("token")) {
		return nil, status.Error(codes.FailedPrecondition, "authentication token could not be authenticated")
	}
	leaf, until := i.sign(r.GetIdentity(), csr.PublicKey)
	return &identity.CertifyResponse{LeafCertificate: leaf, ValidUntil: timestamppb.New(until)}, nil
}

func (i *issuer) store() *tls.Store {
	i.t.Helper()
	anchors, _, err := tls.ParseAnchors(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.cert.Raw}))
	if err != nil {
		i.t.Fatal(err)
	}
	s, err := tls.NewStore(workloadID, workloadID, anchors)
	if err != nil {
		i.t.Fatal(err)
	}
	return s
}

// certify gives s a certificate without asking.
func (i *issuer) certify(s *tls.Store) {
	i.t.Helper()
	key, err := tls.NewKey(workloadID)
	if err != nil {
		i.t.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(key.CSR())
	if err != nil {
		i.t.Fatal(err)
	}
	leaf, _ := i.sign(workloadID, csr.PublicKey)
	if err := s.Set(key, leaf, nil); err != nil {
		i.t.Fatal(err)
	}
}

// serveTLS runs a controller behind what its sidecar does: TLS 1.3, with no ALPN.
// It returns where, and who its clients proved to be.
func (i *issuer) serveTLS(name string, register func(*grpc.Server)) (at string, clients chan string) {
	i.t.Helper()
	key := newKey(i.t)
	leaf, _ := i.sign(name, key.Public())
	l, err := new(net.ListenConfig).Listen(i.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		i.t.Fatal(err)
	}
	clients = make(chan string, 100)
	roots := x509.NewCertPool()
	roots.AddCert(i.cert)
	secure := gotls.NewListener(l, &gotls.Config{
		MinVersion: gotls.VersionTLS13, Certificates: []gotls.Certificate{{Certificate: [][]byte{leaf}, PrivateKey: key}},
		ClientAuth: gotls.VerifyClientCertIfGiven, ClientCAs: roots,
		VerifyConnection: func(state gotls.ConnectionState) error {
			if state.ServerName != name || state.NegotiatedProtocol != "" {
				i.t.Errorf("asked for %q, and for protocol %q", state.ServerName, state.NegotiatedProtocol)
			}
			who := ""
			if len(state.PeerCertificates) > 0 {
				who = state.PeerCertificates[0].DNSNames[0]
			}
			clients <- who
			return nil
		},
	})
	server := grpc.NewServer()
	register(server)
	var done sync.WaitGroup
	done.Go(func() { _ = server.Serve(secure) })
	i.t.Cleanup(func() { server.Stop(); done.Wait() })
	return l.Addr().String(), clients
}

// secured is config for a service that is not on loopback, though it is.
func secured(t *testing.T, at string, store *tls.Store, server tls.ID) Config {
	t.Helper()
	conf := config(t, at)
	conf.Plaintext = false
	conf.TLS = &TLS{Store: store, Server: server}
	return conf
}

// remote hides from Dial that an address is on loopback: it is this machine's name
// for itself that only DNS knows.
func remote(t *testing.T, conf Config) Config {
	t.Helper()
	conf.DNS = &Resolver{Servers: []string{nameServer(t, &zone{records: map[string][]string{"A controller.example.": {"controller.example. 60 IN A 127.0.0.1"}}})}}
	conf.Addr.Host = "controller.example."
	return conf
}

func TestClientSpeaksTLS(t *testing.T) {
	i := newIssuer(t)
	at, clients := i.serveTLS(destinationID, func(s *grpc.Server) { destination.RegisterDestinationServer(s, &fake{get: say(1)}) })
	s := i.store()
	conf := remote(t, secured(t, at, s, destinationID))
	conf.Backoff = Backoff{Min: time.Hour, Max: time.Hour} // a dial in vain would be followed by that
	c := dial(t, conf)
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := first(short, c); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("before the first certificate: %v", err)
	}
	select {
	case who := <-clients:
		t.Errorf("it connected before, as %q", who)
	default:
	}
	i.certify(s)
	if _, err := first(soon(t), c); err != nil {
		t.Fatal(err)
	}
	if who := <-clients; who != workloadID {
		t.Errorf("the client is %q", who)
	}
}

func TestClientRefusesOtherController(t *testing.T) {
	i := newIssuer(t)
	at, _ := i.serveTLS(workloadID, func(s *grpc.Server) { destination.RegisterDestinationServer(s, &fake{get: say(1)}) })
	s := i.store()
	i.certify(s)
	conf := remote(t, secured(t, at, s, destinationID))
	conf.TLS.SNI = workloadID
	conf.FailFast = time.Second
	c := dial(t, conf)
	_, err := first(soon(t), c)
	if status.Code(err) != codes.Unavailable || !errors.Is(c.Outage(), tls.ErrWrongID) {
		t.Errorf("%v, %v", err, c.Outage())
	}
}

func TestCertify(t *testing.T) {
	i := newIssuer(t)
	const identityID = "linkerd-identity.linkerd.serviceaccount.identity.linkerd.cluster.local"
	at, clients := i.serveTLS(identityID, func(s *grpc.Server) { identity.RegisterIdentityServer(s, i) })
	s := i.store()
	key, err := tls.NewKey(workloadID)
	if err != nil {
		t.Fatal(err)
	}
	certify := Certify(remote(t, secured(t, at, s, identityID)))
	for _, want := range []string{"", workloadID} { // the first time it has none to show
		issued, err := certify(soon(t), s.ServerName(), []byte("token"), key.CSR())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Set(key, issued.Leaf, issued.Intermediates); err != nil || !issued.ValidUntil.After(time.Now()) {
			t.Errorf("%v, until %v", err, issued.ValidUntil)
		}
		if who := <-clients; who != want {
			t.Errorf("the client is %q, want %q", who, want)
		}
	}
	_, err = certify(soon(t), s.ServerName(), []byte("other"), key.CSR())
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a bad token: %v", err)
	}
	if len(i.asked) != 3 || i.asked[0].GetIdentity() != workloadID {
		t.Errorf("asked %v", i.asked)
	}
}

// TestCertifyOnLoopback is in the clear.
func TestCertifyOnLoopback(t *testing.T) {
	i := newIssuer(t)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	identity.RegisterIdentityServer(server, i)
	var done sync.WaitGroup
	done.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() { server.Stop(); done.Wait() })
	key, err := tls.NewKey(workloadID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Certify(secured(t, l.Addr().String(), i.store(), "x"))(soon(t), workloadID, []byte("token"), key.CSR()); err != nil {
		t.Error(err)
	}
}
