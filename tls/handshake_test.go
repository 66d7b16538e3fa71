package tls

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	gotls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// refusals are peers that an anchor vouches for, or nearly. Each is shown to our
// server as a client, and to our client as a server.
func refusals(t *testing.T, good, bad *authority) map[string]struct {
	cert gotls.Certificate
	says string
} {
	t.Helper()
	id := []string{appID}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	selfSigned := newKey(t)
	self := leaf(id)
	middle := newAuthority(t, "middle", good)
	notCA := good.issue(t, leaf([]string{webID}))
	notCALeaf, _ := x509.ParseCertificate(notCA.Certificate[0])
	forger := &authority{notCALeaf, notCA.PrivateKey.(*ecdsa.PrivateKey)}
	return map[string]struct {
		cert gotls.Certificate
		says string
	}{
		"expired": {good.issue(t, leaf(id, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) })), "has expired"},
		"not yet valid": {good.issue(t, leaf(id, func(c *x509.Certificate) {
			c.NotBefore = time.Now().Add(time.Minute)
		})), "not yet valid"},
		"wrong anchor":              {bad.issue(t, leaf(id)), "unknown authority"},
		"self-signed":               {gotls.Certificate{Certificate: [][]byte{sign(t, self, self, selfSigned.Public(), selfSigned).Raw}, PrivateKey: selfSigned}, "unknown authority"},
		"without its intermediate":  {middle.issue(t, leaf(id)), "unknown authority"},
		"signed by a workload":      {forger.issue(t, leaf(id), forger), "cannot sign"},
		"other use":                 {good.issue(t, leaf(id, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} })), "key usage"},
		"an authority's":            {gotls.Certificate{Certificate: [][]byte{middle.cert.Raw}, PrivateKey: middle.key}, "authority's"},
		"the anchor itself":         {gotls.Certificate{Certificate: [][]byte{good.cert.Raw}, PrivateKey: good.key}, "authority's"},
		"RSA":                       {good.issueFor(t, rsaKey, leaf(id)), "key"},
		"a chain of eleven":         {good.issue(t, leaf(id), middle, middle, middle, middle, middle, middle, middle, middle, middle, middle), "more than 10"},
		"a critical extension more": {good.issue(t, leaf(id, criticalExtension)), "unhandled critical extension"},
	}
}

// criticalExtension adds one that nobody knows.
func criticalExtension(c *x509.Certificate) {
	c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}})
}

// strange makes a client or a server of crypto/tls's that wants nothing.
func strange(cert ...gotls.Certificate) *gotls.Config {
	return &gotls.Config{MinVersion: gotls.VersionTLS13, InsecureSkipVerify: true, Certificates: cert, ServerName: webID}
}

// asClient shows our server a client of crypto/tls's.
func asClient(t *testing.T, s *Store, p ServerParams, conf *gotls.Config) (*Conn, error) {
	t.Helper()
	a, b := tcp(t)
	client := gotls.Client(a, conf)
	done := make(chan struct{})
	go func() { defer close(done); _ = client.HandshakeContext(soon(t)) }()
	conn, err := s.Server(soon(t), b, p)
	<-done
	return conn, err
}

// asServer shows our client a server of crypto/tls's.
func asServer(t *testing.T, s *Store, p ClientParams, conf *gotls.Config) (*Conn, error) {
	t.Helper()
	a, b := tcp(t)
	server := gotls.Server(b, conf)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.HandshakeContext(soon(t)) }()
	conn, err := s.Client(soon(t), a, p)
	<-done
	return conn, err
}

func refused(t *testing.T, what string, conn *Conn, err, want error, says string) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("%s is accepted as %q", what, conn.Peer())
	case conn != nil:
		t.Errorf("%s: a connection beside %v", what, err)
	case want != nil && !errors.Is(err, want) || !strings.Contains(err.Error(), says):
		t.Errorf("%s: %v; want %v, %q", what, err, want, says)
	}
}

func TestRefused(t *testing.T) {
	good, bad := newAuthority(t, "good", nil), newAuthority(t, "bad", nil)
	s := good.store(t, webID)
	for name, r := range refusals(t, good, bad) {
		conn, err := asClient(t, s, ServerParams{}, strange(r.cert))
		refused(t, "a client, "+name+",", conn, err, ErrPeerRefused, r.says)
		conn, err = asServer(t, s, ClientParams{Server: appID}, strange(r.cert))
		refused(t, "a server, "+name+",", conn, err, ErrPeerRefused, r.says)
	}
}

func TestAccepted(t *testing.T) {
	good, other := newAuthority(t, "good", nil), newAuthority(t, "other", nil)
	middle := newAuthority(t, "middle", other)
	s := good.store(t, webID, other)
	for name, cert := range map[string]gotls.Certificate{
		"one anchor":          good.issue(t, leaf([]string{appID})),
		"by way of another":   middle.issue(t, leaf([]string{appID}), middle),
		"the anchor sent too": other.issue(t, leaf([]string{appID}), other),
		"no usage at all":     good.issue(t, leaf([]string{appID}, func(c *x509.Certificate) { c.ExtKeyUsage = nil })),
	} {
		conn, err := asClient(t, s, ServerParams{RequireClient: true}, strange(cert))
		if err != nil || conn.Peer() != appID {
			t.Errorf("a client, %s: %v", name, err)
		}
		if conn, err = asServer(t, s, ClientParams{Server: appID, SNI: "other.name"}, strange(cert)); err != nil || conn.Peer() != appID {
			t.Errorf("a server, %s: %v", name, err)
		}
	}
}

// TestUses has each end refuse a certificate that is for the other.
func TestUses(t *testing.T) {
	good := newAuthority(t, "good", nil)
	s := good.store(t, webID)
	only := func(u x509.ExtKeyUsage) gotls.Certificate {
		return good.issue(t, leaf([]string{appID}, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{u} }))
	}
	forServers, forClients := only(x509.ExtKeyUsageServerAuth), only(x509.ExtKeyUsageClientAuth)
	conn, err := asClient(t, s, ServerParams{}, strange(forServers))
	refused(t, "a client with a server's", conn, err, ErrPeerRefused, "key usage")
	conn, err = asServer(t, s, ClientParams{Server: appID}, strange(forClients))
	refused(t, "a server with a client's", conn, err, ErrPeerRefused, "key usage")
	if _, err = asClient(t, s, ServerParams{}, strange(forClients)); err != nil {
		t.Errorf("a client with a client's: %v", err)
	}
	if _, err = asServer(t, s, ClientParams{Server: appID}, strange(forServers)); err != nil {
		t.Errorf("a server with a server's: %v", err)
	}
}

func TestServerName(t *testing.T) {
	good := newAuthority(t, "good", nil)
	s := good.store(t, webID)
	const spiffe = "spiffe://cluster.local/ns/x/sa/app"
	for name, c := range map[string]struct {
		sans []string
		want ID
		err  error
	}{
		"DNS":                  {[]string{appID}, appID, nil},
		"SPIFFE":               {[]string{spiffe}, spiffe, nil},
		"second DNS":           {[]string{webID, appID}, appID, nil},
		"SPIFFE beside DNS":    {[]string{webID, spiffe}, spiffe, nil},
		"other":                {[]string{webID}, appID, ErrWrongID},
		"none":                 {nil, appID, ErrWrongID},
		"wildcard":             {[]string{"*.ns.serviceaccount.identity.linkerd.cluster.local"}, appID, ErrWrongID},
		"longer":               {[]string{"x." + appID}, appID, ErrWrongID},
		"SPIFFE of other case": {[]string{spiffe}, "spiffe://cluster.local/ns/x/sa/APP", ErrWrongID},
		"upper case":           {[]string{strings.ToUpper(appID)}, appID, nil},
		"nobody named":         {[]string{appID}, "", errNoServer},
	} {
		cert := good.issue(t, leaf(c.sans, func(x *x509.Certificate) { x.Subject.CommonName = appID }))
		conn, err := asServer(t, s, ClientParams{Server: c.want, SNI: appID}, strange(cert))
		if c.err != nil {
			refused(t, name, conn, err, c.err, "")
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestClientIdentity(t *testing.T) {
	good := newAuthority(t, "good", nil)
	s := good.store(t, webID)
	for name, c := range map[string]struct {
		certs []gotls.Certificate
		want  ID // "" means that it is refused where it is required
	}{
		"no certificate":     {nil, ""},
		"no names":           {[]gotls.Certificate{good.issue(t, leaf(nil, func(x *x509.Certificate) { x.Subject.CommonName = appID }))}, ""},
		"no usable name":     {[]gotls.Certificate{good.issue(t, leaf([]string{appID + "."}))}, ""},
		"DNS":                {[]gotls.Certificate{good.issue(t, leaf([]string{appID}))}, appID},
		"URI first":          {[]gotls.Certificate{good.issue(t, leaf(nil, sans(t, uri("spiffe://x/a"), dns(appID))))}, "spiffe://x/a"},
		"DNS first":          {[]gotls.Certificate{good.issue(t, leaf(nil, sans(t, dns(appID), uri("spiffe://x/a"))))}, appID},
		"trailing dot first": {[]gotls.Certificate{good.issue(t, leaf(nil, sans(t, dns(webID+"."), uri("spiffe://x/a"), dns(appID))))}, "spiffe://x/a"},
	} {
		conn, err := asClient(t, s, ServerParams{}, strange(c.certs...))
		if err != nil || conn.Peer() != c.want {
			t.Errorf("%s: %v", name, err)
		}
		conn, err = asClient(t, s, ServerParams{RequireClient: true}, strange(c.certs...))
		if c.want == "" {
			refused(t, name, conn, err, ErrNoClientID, "")
		} else if err != nil || conn.Peer() != c.want {
			t.Errorf("%s, required: %v", name, err)
		}
	}
}

// TestStolenCertificate shows a good certificate without its key.
func TestStolenCertificate(t *testing.T) {
	good := newAuthority(t, "good", nil)
	s := good.store(t, webID)
	stolen := good.issue(t, leaf([]string{appID}))
	stolen.PrivateKey = newKey(t)
	conn, err := asClient(t, s, ServerParams{}, strange(stolen))
	refused(t, "a client", conn, err, nil, "invalid signature")
	conn, err = asServer(t, s, ClientParams{Server: appID}, strange(stolen))
	refused(t, "a server", conn, err, nil, "invalid signature")
}

func TestTLS12Refused(t *testing.T) {
	good := newAuthority(t, "good", nil)
	s := good.store(t, webID)
	old := strange(good.issue(t, leaf([]string{appID})))
	old.MinVersion, old.MaxVersion = gotls.VersionTLS12, gotls.VersionTLS12
	conn, err := asClient(t, s, ServerParams{}, old)
	refused(t, "a client of TLS 1.2", conn, err, nil, "unsupported versions")
	conn, err = asServer(t, s, ClientParams{Server: appID}, old)
	refused(t, "a server of TLS 1.2", conn, err, nil, "protocol version")
}

func TestALPN(t *testing.T) {
	good := newAuthority(t, "good", nil)
	s := good.store(t, webID)
	direct := ServerParams{ALPN: TransportALPN, RequireClient: true}
	offer := func(protocols ...string) *gotls.Config {
		conf := strange(good.issue(t, leaf([]string{appID})))
		conf.NextProtos = protocols
		return conf
	}
	conn, err := asClient(t, s, direct, offer("h2", TransportALPN))
	if err != nil || conn.ALPN() != TransportALPN {
		t.Errorf("offered: %v", err)
	}
	conn, err = asClient(t, s, direct, offer("h2"))
	refused(t, "another protocol", conn, err, nil, "protocol")
	conn, err = asClient(t, s, direct, offer())
	refused(t, "no protocol", conn, err, ErrNoALPN, TransportALPN)
	conn, err = asClient(t, s, ServerParams{}, offer("h2", TransportALPN))
	if err != nil || conn.ALPN() != "" {
		t.Errorf("not asked for: %v", err)
	}
	conn, _, cerr, serr := meet(t, s, s, ClientParams{Server: webID, ALPN: []string{TransportALPN}}, direct)
	if cerr != nil || serr != nil || conn.ALPN() != TransportALPN {
		t.Errorf("our own: %v, %v", cerr, serr)
	}
}

// TestNothingResumed has a client offer to resume, which must change nothing.
func TestNothingResumed(t *testing.T) {
	good := newAuthority(t, "good", nil)
	s := good.store(t, webID)
	conf := strange(good.issue(t, leaf([]string{appID})))
	conf.ClientSessionCache = gotls.NewLRUClientSessionCache(10)
	for range 2 {
		a, b := tcp(t)
		client := gotls.Client(a, conf)
		said := make(chan error, 1)
		go func() {
			_, err := client.Read(make([]byte, 1)) // a ticket would come before
			said <- err
		}()
		conn, err := s.Server(soon(t), b, ServerParams{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := <-said; err != nil {
			t.Fatal(err)
		}
		if client.ConnectionState().DidResume {
			t.Error("a session was resumed")
		}
	}
	if _, ok := conf.ClientSessionCache.Get(webID); ok {
		t.Error("a ticket was sent")
	}
	// A server that does give tickets gives them in vain.
	c, server := asServerOf(t, s, strange(good.issue(t, leaf([]string{appID}))))
	defer server.Close()
	if _, err := server.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 10)); n != 1 || err != nil {
		t.Errorf("after a ticket: %d, %v", n, err)
	}
}

// asServerOf is asServer where it succeeds, and returns the server too.
func asServerOf(t *testing.T, s *Store, conf *gotls.Config) (*Conn, *gotls.Conn) {
	t.Helper()
	a, b := tcp(t)
	server := gotls.Server(b, conf)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.HandshakeContext(soon(t)) }()
	conn, err := s.Client(soon(t), a, ClientParams{Server: appID})
	<-done
	if err != nil {
		t.Fatal(err)
	}
	return conn, server
}

func TestKeyExchange(t *testing.T) {
	good := newAuthority(t, "good", nil)
	s := good.store(t, webID)
	c, server := pair(t, s, s)
	for _, conn := range []*Conn{c, server} {
		if state := conn.tls.ConnectionState(); state.CurveID != gotls.X25519MLKEM768 || state.Version != gotls.VersionTLS13 {
			t.Errorf("%v, version %x", state.CurveID, state.Version)
		}
	}
	for curve, ok := range map[gotls.CurveID]bool{gotls.X25519: true, gotls.CurveP256: true, gotls.CurveP384: true, gotls.CurveP521: false} {
		conf := strange(good.issue(t, leaf([]string{appID})))
		conf.CurvePreferences = []gotls.CurveID{curve}
		if _, err := asClient(t, s, ServerParams{}, conf); (err == nil) != ok {
			t.Errorf("%v: %v", curve, err)
		}
	}
}

// TestBootstrap: without a certificate of its own a client can reach the identity
// service, if it says so, and nothing else works.
func TestBootstrap(t *testing.T) {
	good := newAuthority(t, "good", nil)
	fresh, err := NewStore(webID, webID, anchors(t, good))
	if err != nil {
		t.Fatal(err)
	}
	if err := fresh.Err(); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("Err: %v", err)
	}
	conf := strange(good.issue(t, leaf([]string{appID})))
	conf.ClientAuth = gotls.RequestClientCert
	conn, err := asServer(t, fresh, ClientParams{Server: appID}, conf)
	refused(t, "a client without certificate", conn, err, ErrNoIdentity, webID)
	if _, err = asServer(t, fresh, ClientParams{Server: appID, WithoutCertificate: true}, conf); err != nil {
		t.Error(err)
	}
	conn, err = asServer(t, fresh, ClientParams{Server: webID, WithoutCertificate: true}, conf)
	refused(t, "a client that must know its server all the same", conn, err, ErrWrongID, "")
	conn, err = asClient(t, fresh, ServerParams{}, strange())
	refused(t, "a server without certificate", conn, err, ErrNoIdentity, webID)
	select {
	case <-fresh.Certified():
		t.Error("certified by nobody")
	default:
	}
	good.certify(t, fresh, leaf([]string{webID}))
	<-fresh.Certified()
	_, server := asServerOf(t, fresh, conf)
	if got := server.ConnectionState().PeerCertificates; len(got) != 1 || identity(got[0]) != webID {
		t.Error("the certificate is not shown once it is there")
	}
}

// TestHandshakeEnds has a peer that says nothing.
func TestHandshakeEnds(t *testing.T) {
	s := newAuthority(t, "good", nil).store(t, webID)
	for name, shake := range map[string]func(context.Context, net.Conn) (*Conn, error){
		"server": func(ctx context.Context, c net.Conn) (*Conn, error) { return s.Server(ctx, c, ServerParams{}) },
		"client": func(ctx context.Context, c net.Conn) (*Conn, error) {
			return s.Client(ctx, c, ClientParams{Server: appID})
		},
	} {
		a, b := tcp(t)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		_, err := shake(ctx, a)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		if name == "client" {
			continue
		}
		b.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := b.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection is left open: %v", name, err)
		}
	}
}

// TestGarbage has peers that do not speak TLS.
func TestGarbage(t *testing.T) {
	s := newAuthority(t, "good", nil).store(t, webID)
	a, b := tcp(t)
	go a.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	conn, err := s.Server(soon(t), b, ServerParams{})
	refused(t, "a client of HTTP", conn, err, nil, "TLS handshake with a client: ")
	a, b = tcp(t)
	go b.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	conn, err = s.Client(soon(t), a, ClientParams{Server: appID})
	refused(t, "a server of HTTP", conn, err, nil, "TLS handshake with "+appID+": ")
}

// TestVerifyWithoutAnchors: crypto/x509 would trust the system's.
func TestVerifyWithoutAnchors(t *testing.T) {
	good := newAuthority(t, "good", nil)
	c := good.issue(t, leaf([]string{appID}))
	cert, _ := x509.ParseCertificate(c.Certificate[0])
	for _, none := range []*Anchors{nil, {}} {
		if err := verify([]*x509.Certificate{cert}, none, x509.ExtKeyUsageServerAuth, time.Now()); !errors.Is(err, errNoRoots) {
			t.Errorf("%v", err)
		}
	}
	if err := verify(nil, anchors(t, good), x509.ExtKeyUsageServerAuth, time.Now()); !errors.Is(err, errNoChain) {
		t.Errorf("%v", err)
	}
}
