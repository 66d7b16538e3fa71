package local

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	api "github.com/linkerd/linkerd2-proxy-api/go/identity"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	webName   = "web.demo.serviceaccount.identity.linkerd.cluster.local"
	spiffeID  = "spiffe://cluster.local/ns/demo/sa/db"
	tokenFile = "# who may be whom\n" + webName + ": web-secret\n" + spiffeID + ": db-secret\n"
)

// certified is a folder with a mesh file that has an identity section, and its
// tokens; more is put into that section.
func certified(t *testing.T, more string) (file string) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "tokens.yaml"), tokenFile)
	file = filepath.Join(dir, "mesh.yaml")
	write(t, file, "services: []\nidentity:\n  tokens: tokens.yaml\n"+more)
	return file
}

func load(t *testing.T, file string) *Mesh {
	t.Helper()
	m, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func ecKey(t *testing.T, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// asked is a request for id's certificate, as its CSR says.
func asked(t *testing.T, id, token string, key crypto.Signer, csr x509.CertificateRequest) *api.CertifyRequest {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &csr, key)
	if err != nil {
		t.Fatal(err)
	}
	return &api.CertifyRequest{Identity: id, Token: []byte(token), CertificateSigningRequest: der}
}

func dnsCSR(name string) x509.CertificateRequest {
	return x509.CertificateRequest{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}}
}

func uriCSR(t *testing.T, id string) x509.CertificateRequest {
	t.Helper()
	u, err := url.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	return x509.CertificateRequest{URIs: []*url.URL{u}}
}

// verify checks a certificate as a sidecar does, and returns it.
func verify(t *testing.T, anchors []byte, r *api.CertifyResponse) *x509.Certificate {
	t.Helper()
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	if !roots.AppendCertsFromPEM(anchors) {
		t.Fatalf("%q is no trust anchor", anchors)
	}
	for _, der := range r.GetIntermediateCertificates() {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		between.AddCert(c)
	}
	leaf, err := x509.ParseCertificate(r.GetLeafCertificate())
	if err != nil {
		t.Fatal(err)
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
			t.Error(err)
		}
	}
	return leaf
}

func TestCertify(t *testing.T) {
	m := load(t, certified(t, "  directory: made\n  lifetime: 90s\n"))
	anchors, err := m.Anchors()
	if err != nil {
		t.Fatal(err)
	}
	client := api.NewIdentityClient(start(t, Config{Mesh: m}).conn)
	key := ecKey(t, elliptic.P256())
	serials := map[string]bool{}
	for name, r := range map[string]*api.CertifyRequest{
		"a DNS name":                    asked(t, webName, "web-secret", key, dnsCSR(webName)),
		"again, with a file's newline":  asked(t, webName, "web-secret\n", key, dnsCSR(webName)),
		"a SPIFFE ID":                   asked(t, spiffeID, "db-secret", key, uriCSR(t, spiffeID)),
		"a key on P-384":                asked(t, webName, "web-secret", ecKey(t, elliptic.P384()), dnsCSR(webName)),
		"a CSR that has no common name": asked(t, webName, "web-secret", key, x509.CertificateRequest{DNSNames: []string{webName}}),
	} {
		began := time.Now()
		answer, err := client.Certify(soon(t), r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		leaf := verify(t, anchors, answer)
		csr, err := x509.ParseCertificateRequest(r.GetCertificateSigningRequest())
		if err != nil {
			t.Fatal(err)
		}
		if !leaf.PublicKey.(*ecdsa.PublicKey).Equal(csr.PublicKey) || leaf.IsCA || leaf.Subject.CommonName != csr.Subject.CommonName {
			t.Errorf("%s: another key, a CA, or another name: %v", name, leaf.Subject)
		}
		names := append([]string{}, leaf.DNSNames...)
		for _, u := range leaf.URIs {
			names = append(names, u.String())
		}
		if len(names) != 1 || names[0] != r.GetIdentity() || len(leaf.IPAddresses)+len(leaf.EmailAddresses) > 0 {
			t.Errorf("%s: it is for %q", name, names)
		}
		life, slack := leaf.NotAfter.Sub(began), began.Sub(leaf.NotBefore)
		if life < 90*time.Second || life > 100*time.Second || slack < 19*time.Second || slack > 22*time.Second {
			t.Errorf("%s: from %v to %v", name, leaf.NotBefore, leaf.NotAfter)
		}
		if !answer.GetValidUntil().AsTime().Equal(leaf.NotAfter) {
			t.Errorf("%s: said to be valid until %v", name, answer.GetValidUntil().AsTime())
		}
		if serials[leaf.SerialNumber.String()] {
			t.Errorf("%s: the serial is another's", name)
		}
		serials[leaf.SerialNumber.String()] = true
	}
}

func TestCertifyRefuses(t *testing.T) {
	m := load(t, certified(t, "  directory: made\n"))
	if _, err := m.Anchors(); err != nil {
		t.Fatal(err)
	}
	client := api.NewIdentityClient(start(t, Config{Mesh: m}).conn)
	key := ecKey(t, elliptic.P256())
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := asked(t, webName, "web-secret", key, dnsCSR(webName))
	forged := bytes.Clone(good.GetCertificateSigningRequest())
	forged[len(forged)-1] ^= 1
	both := dnsCSR(webName)
	both.DNSNames = append(both.DNSNames, "db.demo")
	withIP, withMail, withURI, otherCN := dnsCSR(webName), dnsCSR(webName), dnsCSR(webName), dnsCSR(webName)
	withIP.IPAddresses = []net.IP{net.IPv4(10, 0, 0, 1)}
	withMail.EmailAddresses = []string{"root@" + webName}
	withURI.URIs = uriCSR(t, spiffeID).URIs
	otherCN.Subject.CommonName = "db.demo"
	for name, tt := range map[string]struct {
		r    *api.CertifyRequest
		code codes.Code
	}{
		"no identity":             {asked(t, "", "web-secret", key, dnsCSR(webName)), codes.InvalidArgument},
		"no token":                {asked(t, webName, "", key, dnsCSR(webName)), codes.InvalidArgument},
		"no CSR":                  {&api.CertifyRequest{Identity: webName, Token: []byte("web-secret")}, codes.InvalidArgument},
		"a CSR that is none":      {&api.CertifyRequest{Identity: webName, Token: []byte("web-secret"), CertificateSigningRequest: []byte("x")}, codes.InvalidArgument},
		"a CSR in PEM":            {&api.CertifyRequest{Identity: webName, Token: []byte("web-secret"), CertificateSigningRequest: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: good.GetCertificateSigningRequest()})}, codes.InvalidArgument},
		"an identity that's none": {asked(t, "10.0.0.1", "web-secret", key, dnsCSR(webName)), codes.InvalidArgument},
		"a token that's unknown":  {asked(t, webName, "secret", key, dnsCSR(webName)), codes.FailedPrecondition},
		"another's token":         {asked(t, webName, "db-secret", key, dnsCSR(webName)), codes.FailedPrecondition},
		"another's name":          {asked(t, spiffeID, "web-secret", key, uriCSR(t, spiffeID)), codes.FailedPrecondition},
		"a name that's unknown":   {asked(t, "db.demo", "web-secret", key, dnsCSR("db.demo")), codes.FailedPrecondition},
		"another's CSR":           {asked(t, webName, "web-secret", key, dnsCSR("db.demo")), codes.FailedPrecondition},
		"a CSR for two":           {asked(t, webName, "web-secret", key, both), codes.FailedPrecondition},
		"a CSR for nobody":        {asked(t, webName, "web-secret", key, x509.CertificateRequest{}), codes.FailedPrecondition},
		"a CSR for a host":        {asked(t, webName, "web-secret", key, withIP), codes.FailedPrecondition},
		"a CSR for a mailbox":     {asked(t, webName, "web-secret", key, withMail), codes.FailedPrecondition},
		"a CSR for a URI, too":    {asked(t, webName, "web-secret", key, withURI), codes.FailedPrecondition},
		"another common name":     {asked(t, webName, "web-secret", key, otherCN), codes.FailedPrecondition},
		"a bad signature":         {&api.CertifyRequest{Identity: webName, Token: []byte("web-secret"), CertificateSigningRequest: forged}, codes.FailedPrecondition},
		"a key of RSA":            {asked(t, webName, "web-secret", rsaKey, dnsCSR(webName)), codes.FailedPrecondition},
		"a key of Ed25519":        {asked(t, webName, "web-secret", edKey, dnsCSR(webName)), codes.FailedPrecondition},
		"a weak key":              {asked(t, webName, "web-secret", ecKey(t, elliptic.P224()), dnsCSR(webName)), codes.FailedPrecondition},
	} {
		if answer, err := client.Certify(soon(t), tt.r); status.Code(err) != tt.code || answer != nil {
			t.Errorf("%s: %v, %v; want %v", name, answer, err, tt.code)
		}
	}
	if _, err := client.Certify(soon(t), good); err != nil {
		t.Errorf("what all these differ from: %v", err)
	}
}

// TestCertifyGoesByTheFiles: tokens and issuer are read anew, and while they cannot
// be, nobody is certified.
func TestCertifyGoesByTheFiles(t *testing.T) {
	file := certified(t, "  directory: made\n")
	m := load(t, file)
	r := start(t, Config{Mesh: m})
	client := api.NewIdentityClient(r.conn)
	key := ecKey(t, elliptic.P256())
	certify := func(token string) codes.Code {
		_, err := client.Certify(soon(t), asked(t, webName, token, key, dnsCSR(webName)))
		return status.Code(err)
	}
	if got := certify("web-secret"); got != codes.OK {
		t.Fatalf("an issuer that is still to be made: %v", got)
	}
	tokens := filepath.Join(filepath.Dir(file), "tokens.yaml")
	write(t, tokens, webName+": another\n")
	if was, now := certify("web-secret"), certify("another"); was != codes.FailedPrecondition || now != codes.OK {
		t.Errorf("after the token has changed: %v, %v", was, now)
	}
	write(t, tokens, "[]")
	if got := certify("another"); got != codes.Unavailable {
		t.Errorf("tokens that cannot be read: %v", got)
	}
	write(t, tokens, webName+": another\n")
	issuer := filepath.Join(filepath.Dir(file), "made", "issuer.key")
	if err := os.Remove(issuer); err != nil {
		t.Fatal(err)
	}
	if got := certify("another"); got != codes.Unavailable {
		t.Errorf("no issuer: %v", got)
	}
	if _, err := os.Stat(issuer); err == nil {
		t.Error("what was lost is made anew, under anchors that nobody trusts")
	}
	r.Set(mesh(t, "services: []"))
	if got := certify("another"); got != codes.Unimplemented {
		t.Errorf("without an identity section: %v", got)
	}
}

func TestAnchorsAreMadeOnce(t *testing.T) {
	file := certified(t, "  directory: made\n  trustDomain: mesh.test\n")
	var all [4][]byte
	var makers sync.WaitGroup
	first, err := load(t, file).Anchors()
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		makers.Go(func() { all[i], _ = load(t, file).Anchors() })
	}
	makers.Wait()
	for _, a := range all {
		if !bytes.Equal(a, first) {
			t.Error("other anchors")
		}
	}
	block, _ := pem.Decode(first)
	if block == nil {
		t.Fatalf("%q is not PEM", first)
	}
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil || root.Subject.CommonName != "root.linkerd.mesh.test" || !root.IsCA || root.PublicKey.(*ecdsa.PublicKey).Curve != elliptic.P256() {
		t.Errorf("%v, %v", root.Subject, err)
	}
	info, err := os.Stat(filepath.Join(filepath.Dir(file), "made", "issuer.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestAnchorsOfOthers loads what was made elsewhere, and refuses what does not fit
// together.
func TestAnchorsOfOthers(t *testing.T) {
	one, two := filepath.Dir(certified(t, "  directory: made\n")), filepath.Dir(certified(t, "  directory: made\n"))
	for _, dir := range []string{one, two} {
		if _, err := load(t, filepath.Join(dir, "mesh.yaml")).Anchors(); err != nil {
			t.Fatal(err)
		}
	}
	empty := filepath.Join(t.TempDir(), "empty")
	write(t, empty, "")
	in := func(dir, name string) string { return filepath.Join(dir, "made", name) }
	for name, tt := range map[string]struct{ anchors, issuer, key, want string }{
		"all of one":           {in(one, "ca.crt"), in(one, "issuer.crt"), in(one, "issuer.key"), ""},
		"another's anchors":    {in(two, "ca.crt"), in(one, "issuer.crt"), in(one, "issuer.key"), "unknown authority"},
		"another's key":        {in(one, "ca.crt"), in(one, "issuer.crt"), in(two, "issuer.key"), "is not the key of"},
		"no anchors":           {empty, in(one, "issuer.crt"), in(one, "issuer.key"), "has no certificate"},
		"no issuer":            {in(one, "ca.crt"), empty, in(one, "issuer.key"), "has no certificate"},
		"no key":               {in(one, "ca.crt"), in(one, "issuer.crt"), empty, "has no key"},
		"a certificate as key": {in(one, "ca.crt"), in(one, "issuer.crt"), in(one, "issuer.crt"), "issuer.crt"},
		"a file that's gone":   {in(one, "ca.crt"), in(one, "issuer.crt"), empty + "x", "no such file"},
	} {
		m := load(t, certified(t, "  anchors: "+tt.anchors+"\n  issuer: "+tt.issuer+"\n  issuerKey: "+tt.key+"\n"))
		anchors, err := m.Anchors()
		if tt.want == "" {
			if want, _ := os.ReadFile(tt.anchors); err != nil || !bytes.Equal(anchors, want) {
				t.Errorf("%s: %q, %v", name, anchors, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func TestTokensAreChecked(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "1: the file is empty",
		"[]":                        "1: the file is a list, not a mapping",
		"a: x\nb: x":                "2: the token of b is that of a",
		"a: x\nA: y":                "2: identity a is there twice",
		"a: ''":                     "1: the token of a is empty",
		"a: []":                     "1: token is a list",
		"a b: x":                    `1: identity "a b" is neither`,
		"'spiffe://a b/': x":        `identity "spiffe://a b/" is neither`,
		"a: x\n---\nb: y":           "more than one document",
		"ok.test: x\n'http:///': y": "2: identity",
	} {
		file := certified(t, "  directory: made\n")
		write(t, filepath.Join(filepath.Dir(file), "tokens.yaml"), text)
		if _, err := load(t, file).Anchors(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestEndpointsOfTheMesh: what an endpoint with a sidecar has is sent as the real
// controller sends it.
func TestEndpointsOfTheMesh(t *testing.T) {
	r := serve(t, `
services:
- name: web.demo.svc.cluster.local
  port: 80
  endpoints:
  - {address: '127.0.0.1:8080', identity: Web.demo, inboundPort: 4143, protocol: h2}
  - {address: '127.0.0.1:8081', identity: 'spiffe://a/b', serverName: DB.demo, inboundPort: 4144}
  - {address: '127.0.0.1:8082', identity: web.demo, protocol: opaque}
  - {address: '127.0.0.1:8083'}
`)
	all := recv(t, r.get(t, "web.demo.svc.cluster.local")).GetAdd().GetAddrs()
	if len(all) != 4 {
		t.Fatal(all)
	}
	if e := all[0]; e.GetTlsIdentity().GetDnsLikeIdentity().GetName() != "web.demo" || e.GetTlsIdentity().GetServerName().GetName() != "web.demo" ||
		e.GetProtocolHint().GetOpaqueTransport().GetInboundPort() != 4143 || e.GetProtocolHint().GetH2() == nil {
		t.Errorf("%v", e)
	}
	if e := all[1]; e.GetTlsIdentity().GetUriLikeIdentity().GetUri() != "spiffe://a/b" || e.GetTlsIdentity().GetServerName().GetName() != "db.demo" ||
		e.GetProtocolHint().GetOpaqueTransport().GetInboundPort() != 4144 || e.GetProtocolHint().GetProtocol() != nil {
		t.Errorf("%v", e)
	}
	if e := all[2]; e.GetTlsIdentity().GetDnsLikeIdentity().GetName() != "web.demo" || e.GetProtocolHint().GetOpaqueTransport() != nil || e.GetProtocolHint().GetOpaque() == nil {
		t.Errorf("%v", e)
	}
	if e := all[3]; e.GetTlsIdentity() != nil || e.GetProtocolHint() != nil {
		t.Errorf("%v", e)
	}
	if e := recv(t, r.getProfile(t, "127.0.0.1:8080")).GetEndpoint(); e.GetTlsIdentity() == nil || e.GetProtocolHint().GetOpaqueTransport().GetInboundPort() != 4143 {
		t.Errorf("%v", e)
	}
}
