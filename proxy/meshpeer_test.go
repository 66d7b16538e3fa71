package proxy

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// Here is another sidecar, made of the standard library and of Linkerd's
// specification alone: it shares no code with this one. It speaks to a sidecar at
// any address, in either direction.

// A meshCA certifies such sidecars.
type meshCA struct {
	tb    testing.TB
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	roots *x509.CertPool
	pem   []byte // the trust anchor
}

func newMeshCA(tb testing.TB) *meshCA {
	tb.Helper()
	ca := &meshCA{tb: tb, roots: x509.NewCertPool()}
	ca.key = meshKey(tb)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, ca.key.Public(), ca.key)
	if err != nil {
		tb.Fatal(err)
	}
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		tb.Fatal(err)
	}
	ca.roots.AddCert(ca.cert)
	ca.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return ca
}

func meshKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// certify returns a certificate for a DNS name.
func (ca *meshCA) certify(name string) tls.Certificate {
	ca.tb.Helper()
	key := meshKey(ca.tb)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{name}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		ca.tb.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

const (
	peerALPN    = "transport.l5d.io/v1"
	peerPreface = peerALPN + "\r\n\r\n"
)

// A peerSession is what a header says that follows.
type peerSession byte

const (
	peerBytes peerSession = 0
	peerHTTP1 peerSession = 1
	peerHTTP2 peerSession = 2
)

// peerHeader writes a transport header.
func peerHeader(port int, name string, s peerSession) []byte {
	var m []byte
	m = binary.AppendUvarint(append(m, 0x08), uint64(port))
	if name != "" {
		m = append(binary.AppendUvarint(append(m, 0x12), uint64(len(name))), name...)
	}
	if s != peerBytes {
		m = append(m, 0x1a, 2, byte(s)<<3|2, 0)
	}
	return append(binary.BigEndian.AppendUint32([]byte(peerPreface), uint32(len(m))), m...)
}

// peerReadHeader reads what peerHeader writes.
func peerReadHeader(r io.Reader) (port int, s peerSession, err error) {
	first := make([]byte, len(peerPreface)+4)
	if _, err := io.ReadFull(r, first); err != nil {
		return 0, 0, err
	}
	if !bytes.HasPrefix(first, []byte(peerPreface)) {
		return 0, 0, fmt.Errorf("%q is no transport header", first)
	}
	m := make([]byte, binary.BigEndian.Uint32(first[len(peerPreface):]))
	if _, err := io.ReadFull(r, m); err != nil {
		return 0, 0, err
	}
	for len(m) > 0 {
		tag := m[0]
		v, n := binary.Uvarint(m[1:])
		if n <= 0 {
			return 0, 0, errors.New("no number")
		}
		m = m[1+n:]
		switch {
		case tag == 0x08:
			port = int(v)
		case tag == 0x1a && v == 2 && len(m) >= 2:
			s = peerSession(m[0] >> 3)
			m = m[2:]
		default:
			return 0, 0, fmt.Errorf("field %#x", tag)
		}
	}
	return port, s, nil
}

// A meshClient is another sidecar's outbound half.
type meshClient struct {
	ca   *meshCA
	name string // "" is a client without a certificate
}

// dial opens TLS to addr, which must prove to be server. With alpn, it must be
// agreed on.
func (m meshClient) dial(ctx context.Context, addr, server string, alpn ...string) (*tls.Conn, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: m.ca.roots, ServerName: server, NextProtos: alpn}
	if m.name != "" {
		cfg.Certificates = []tls.Certificate{m.ca.certify(m.name)}
	}
	c, err := (&tls.Dialer{Config: cfg}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	secured := c.(*tls.Conn)
	if got := secured.ConnectionState().NegotiatedProtocol; len(alpn) > 0 && got != alpn[0] {
		return nil, errors.Join(fmt.Errorf("agreed on %q", got), c.Close())
	}
	return secured, secured.SetDeadline(time.Now().Add(patience))
}

// header opens a connection that begins with a transport header.
func (m meshClient) header(ctx context.Context, addr, server string, port int, s peerSession) (*tls.Conn, error) {
	c, err := m.dial(ctx, addr, server, peerALPN)
	if err != nil {
		return nil, err
	}
	if _, err := c.Write(peerHeader(port, "", s)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// carried sends one request of HTTP/1 over HTTP/2 on c, as orig-proto has it.
func (m meshClient) carried(ctx context.Context, c net.Conn, host, path, body string) (*http.Response, string, error) {
	t := &http2.Transport{AllowHTTP: true} //nolint:staticcheck // the connection is open already
	defer t.CloseIdleConnections()         //nolint:staticcheck // the connection is open already
	conn, err := t.NewClientConn(c)        //nolint:staticcheck // the connection is open already
	if err != nil {
		return nil, "", err
	}
	defer conn.Close()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+host+path, strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	r.Header.Set("l5d-orig-proto", "HTTP/1.1")
	resp, err := conn.RoundTrip(r)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp, string(text), err
}

// A meshServer is another sidecar's inbound half, with an application behind it that
// says what has come.
type meshServer struct {
	addr string
	mu   sync.Mutex
	seen []string // "CLIENT: PORT SESSION", one a connection with a header
}

// newMeshServer starts one that proves to be name, until the test ends.
func newMeshServer(ca *meshCA, name string) *meshServer {
	ca.tb.Helper()
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		ca.tb.Fatal(err)
	}
	s := &meshServer{addr: l.Addr().String()}
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{ca.certify(name)},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.roots, NextProtos: []string{peerALPN},
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				if err := s.serve(tls.Server(c, cfg)); err != nil && !errors.Is(err, io.EOF) {
					ca.tb.Logf("the other sidecar: %v", err)
				}
			})
		}
	})
	ca.tb.Cleanup(func() { l.Close(); conns.Wait() })
	return s
}

func (s *meshServer) serve(c *tls.Conn) error {
	if err := c.Handshake(); err != nil {
		return err
	}
	client, port, session := c.ConnectionState().PeerCertificates[0].DNSNames[0], 0, peerHTTP2
	if c.ConnectionState().NegotiatedProtocol == peerALPN {
		var err error
		if port, session, err = peerReadHeader(c); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.seen = append(s.seen, fmt.Sprintf("%s: %d %d", client, port, session))
	s.mu.Unlock()
	if session == peerBytes {
		_, err := io.Copy(c, c)
		return errors.Join(err, c.CloseWrite())
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if p := r.Header.Get("l5d-orig-proto"); p != "" {
			w.Header().Set("l5d-orig-proto", "HTTP/1.1")
		}
		fmt.Fprintf(w, "%s %s%s %s %q", r.Method, r.Host, r.URL.Path, r.Header.Get("l5d-orig-proto"), body)
	})
	if session == peerHTTP1 {
		return errors.New("HTTP/1 without orig-proto is not served here")
	}
	new(http2.Server).ServeConn(c, &http2.ServeConnOpts{Handler: h}) //nolint:staticcheck // the connection is open already
	return nil
}

func (s *meshServer) clients() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.seen, ", ")
}

// openssl runs openssl s_client to addr as name, saying input, and returns what it
// prints.
func (ca *meshCA) openssl(addr, server, name, input string, args ...string) string {
	ca.tb.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		ca.tb.Skip("there is no openssl here")
	}
	dir := ca.tb.TempDir()
	args = append([]string{"s_client", "-connect", addr, "-servername", server, "-CAfile", filepath.Join(dir, "ca.crt"), "-verify_return_error", "-ign_eof"}, args...)
	all := map[string][]byte{"ca.crt": ca.pem}
	if name != "" {
		cert := ca.certify(name)
		key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
		if err != nil {
			ca.tb.Fatal(err)
		}
		all["cert.crt"] = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
		all["cert.key"] = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
		args = append(args, "-cert", filepath.Join(dir, "cert.crt"), "-key", filepath.Join(dir, "cert.key"))
	}
	for file, text := range all {
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
			ca.tb.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "openssl", args...)
	cmd.Stdin = strings.NewReader(input)
	out, _ := cmd.CombinedOutput() // it fails when it is refused, and says so
	return string(out)
}

// echoed says text on c, ends its half, and returns what comes back.
func echoed(c *tls.Conn, text string) (string, error) {
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	if err := c.CloseWrite(); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	return string(b), err
}

// TestMeshPeers tries the other sidecar's two halves on each other.
func TestMeshPeers(t *testing.T) {
	ca := newMeshCA(t)
	s := newMeshServer(ca, "web.test")
	client := meshClient{ca, "client.test"}
	c, err := client.header(t.Context(), s.addr, "web.test", 8080, peerBytes)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := echoed(c, "hi"); err != nil || got != "hi" {
		t.Errorf("%q, %v", got, err)
	}
	if c, err = client.header(t.Context(), s.addr, "web.test", 8081, peerHTTP2); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	resp, body, err := client.carried(t.Context(), c, "app.test", "/x", "body")
	if err != nil || resp.Header.Get("l5d-orig-proto") != "HTTP/1.1" || body != `POST app.test/x HTTP/1.1 "body"` {
		t.Errorf("%v, %q, %v", resp, body, err)
	}
	if got := s.clients(); got != "client.test: 8080 0, client.test: 8081 2" {
		t.Error(got)
	}
	if _, err := client.dial(t.Context(), s.addr, "db.test", peerALPN); err == nil {
		t.Error("a server with another name is believed")
	}
	if out := ca.openssl(s.addr, "web.test", "client.test", "", "-alpn", "h2"); !strings.Contains(out, "no application protocol") {
		t.Errorf("openssl is not told that no protocol was agreed on:\n%s", out)
	}
}
