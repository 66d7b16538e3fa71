package tls

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	gotls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	webID = "web.ns.serviceaccount.identity.linkerd.cluster.local"
	appID = "app.ns.serviceaccount.identity.linkerd.cluster.local"
)

// An authority signs what tests ask for.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func sign(tb testing.TB, template, parent *x509.Certificate, public any, by crypto.Signer) *x509.Certificate {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, by)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return cert
}

// newAuthority makes one that signs itself, or that parent signs.
func newAuthority(tb testing.TB, name string, parent *authority) *authority {
	tb.Helper()
	a := &authority{key: newKey(tb)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if parent == nil {
		parent = &authority{template, a.key}
	}
	a.cert = sign(tb, template, parent.cert, a.key.Public(), parent.key)
	return a
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

func anchors(tb testing.TB, of ...*authority) *Anchors {
	tb.Helper()
	var bundle bytes.Buffer
	for _, a := range of {
		bundle.Write(a.pem())
	}
	parsed, skipped, err := ParseAnchors(bundle.Bytes())
	if err != nil || len(skipped) > 0 {
		tb.Fatal(err, skipped)
	}
	return parsed
}

// leaf returns what a workload's certificate says, but for what change does to it.
func leaf(ids []string, change ...func(*x509.Certificate)) *x509.Certificate {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		NotBefore:    time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	for _, id := range ids {
		if u, err := url.Parse(id); err == nil && u.IsAbs() {
			template.URIs = append(template.URIs, u)
		} else {
			template.DNSNames = append(template.DNSNames, id)
		}
	}
	for _, f := range change {
		f(template)
	}
	return template
}

// sans puts names into a certificate in the order given, as crypto/x509 does not.
func sans(tb testing.TB, names ...asn1.RawValue) func(*x509.Certificate) {
	tb.Helper()
	der, err := asn1.Marshal(names)
	if err != nil {
		tb.Fatal(err)
	}
	return func(c *x509.Certificate) {
		c.DNSNames, c.URIs = nil, nil
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: der}}
	}
}

func dns(s string) asn1.RawValue { return asn1.RawValue{Class: 2, Tag: tagDNS, Bytes: []byte(s)} }
func uri(s string) asn1.RawValue { return asn1.RawValue{Class: 2, Tag: tagURI, Bytes: []byte(s)} }

// issue makes a certificate with a key of its own, as crypto/tls has it.
func (a *authority) issue(tb testing.TB, template *x509.Certificate, between ...*authority) gotls.Certificate {
	tb.Helper()
	return a.issueFor(tb, newKey(tb), template, between...)
}

func (a *authority) issueFor(tb testing.TB, key crypto.Signer, template *x509.Certificate, between ...*authority) gotls.Certificate {
	tb.Helper()
	cert := gotls.Certificate{Certificate: [][]byte{sign(tb, template, a.cert, key.Public(), a.key).Raw}, PrivateKey: key}
	for _, b := range between {
		cert.Certificate = append(cert.Certificate, b.cert.Raw)
	}
	return cert
}

// store returns a Store of id, certified by a, that trusts a and others.
func (a *authority) store(tb testing.TB, id string, others ...*authority) *Store {
	tb.Helper()
	s, err := NewStore(ID(id), webID, anchors(tb, append(others, a)...))
	if err != nil {
		tb.Fatal(err)
	}
	a.certify(tb, s, leaf([]string{id}))
	return s
}

func (a *authority) certify(tb testing.TB, s *Store, template *x509.Certificate) {
	tb.Helper()
	key, err := NewKey(webID)
	if err != nil {
		tb.Fatal(err)
	}
	c := a.issueFor(tb, key.signer, template)
	if err := s.Set(key, c.Certificate[0], c.Certificate[1:]); err != nil {
		tb.Fatal(err)
	}
}

// tcp returns the two ends of a connection on loopback.
func tcp(tb testing.TB) (client, server net.Conn) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		tb.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// soon is a context for what should happen at once.
func soon(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	tb.Cleanup(cancel)
	return ctx
}

// meet has both of ours shake hands, and returns what became of it.
func meet(tb testing.TB, client, server *Store, cp ClientParams, sp ServerParams) (c, s *Conn, cerr, serr error) {
	tb.Helper()
	a, b := tcp(tb)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s, serr = server.Server(soon(tb), b, sp)
	}()
	c, cerr = client.Client(soon(tb), a, cp)
	<-done
	return c, s, cerr, serr
}

// pair is meet where both succeed.
func pair(tb testing.TB, client, server *Store) (c, s *Conn) {
	tb.Helper()
	c, s, cerr, serr := meet(tb, client, server, ClientParams{Server: server.Local(), SNI: server.ServerName()}, ServerParams{})
	if cerr != nil || serr != nil {
		tb.Fatal(cerr, serr)
	}
	return c, s
}
