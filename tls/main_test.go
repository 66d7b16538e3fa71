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

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t testing.TB, template, parent *x509.Certificate, public any, by crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// newAuthority makes one that signs itself, or that parent signs.
func newAuthority(t testing.TB, name string, parent *authority) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if parent == nil {
		parent = &authority{template, a.key}
	}
	a.cert = sign(t, template, parent.cert, a.key.Public(), parent.key)
	return a
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

func anchors(t testing.TB, of ...*authority) *Anchors {
	t.Helper()
	var bundle bytes.Buffer
	for _, a := range of {
		bundle.Write(a.pem())
	}
	parsed, skipped, err := ParseAnchors(bundle.Bytes())
	if err != nil || len(skipped) > 0 {
		t.Fatal(err, skipped)
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
func sans(t testing.TB, names ...asn1.RawValue) func(*x509.Certificate) {
	t.Helper()
	der, err := asn1.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	return func(c *x509.Certificate) {
		c.DNSNames, c.URIs = nil, nil
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: der}}
	}
}

func dns(s string) asn1.RawValue { return asn1.RawValue{Class: 2, Tag: tagDNS, Bytes: []byte(s)} }
func uri(s string) asn1.RawValue { return asn1.RawValue{Class: 2, Tag: tagURI, Bytes: []byte(s)} }

// issue makes a certificate with a key of its own, as crypto/tls has it.
func (a *authority) issue(t testing.TB, template *x509.Certificate, between ...*authority) gotls.Certificate {
	t.Helper()
	return a.issueFor(t, newKey(t), template, between...)
}

func (a *authority) issueFor(t testing.TB, key crypto.Signer, template *x509.Certificate, between ...*authority) gotls.Certificate {
	t.Helper()
	cert := gotls.Certificate{Certificate: [][]byte{sign(t, template, a.cert, key.Public(), a.key).Raw}, PrivateKey: key}
	for _, b := range between {
		cert.Certificate = append(cert.Certificate, b.cert.Raw)
	}
	return cert
}

// store returns a Store of id, certified by a, that trusts a and others.
func (a *authority) store(t testing.TB, id string, others ...*authority) *Store {
	t.Helper()
	s, err := NewStore(ID(id), webID, anchors(t, append(others, a)...))
	if err != nil {
		t.Fatal(err)
	}
	a.certify(t, s, leaf([]string{id}))
	return s
}

func (a *authority) certify(t testing.TB, s *Store, template *x509.Certificate) {
	t.Helper()
	key, err := NewKey(webID)
	if err != nil {
		t.Fatal(err)
	}
	c := a.issueFor(t, key.signer, template)
	if err := s.Set(key, c.Certificate[0], c.Certificate[1:]); err != nil {
		t.Fatal(err)
	}
}

// tcp returns the two ends of a connection on loopback.
func tcp(t testing.TB) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// soon is a context for what should happen at once.
func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// meet has both of ours shake hands, and returns what became of it.
func meet(t testing.TB, client, server *Store, cp ClientParams, sp ServerParams) (c, s *Conn, cerr, serr error) {
	t.Helper()
	a, b := tcp(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s, serr = server.Server(soon(t), b, sp)
	}()
	c, cerr = client.Client(soon(t), a, cp)
	<-done
	return c, s, cerr, serr
}

// pair is meet where both succeed.
func pair(t testing.TB, client, server *Store) (c, s *Conn) {
	t.Helper()
	c, s, cerr, serr := meet(t, client, server, ClientParams{Server: server.Local(), SNI: server.ServerName()}, ServerParams{})
	if cerr != nil || serr != nil {
		t.Fatal(cerr, serr)
	}
	return c, s
}
