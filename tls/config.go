package tls

import (
	gotls "crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// TransportALPN is what a client asks for that will begin with Linkerd's transport
// header.
const TransportALPN = "transport.l5d.io/v1"

// ServerParams say what is asked of clients.
type ServerParams struct {
	// ALPN, if it is not "", must be negotiated. Otherwise what clients offer is
	// ignored.
	ALPN string
	// RequireClient refuses clients that do not prove who they are. Otherwise they
	// may do without a certificate; but one that is shown must be good.
	RequireClient bool
}

// ClientParams say whom a client wants to reach, and how.
type ClientParams struct {
	Server ID       // whom the server must prove to be; not ""
	SNI    string   // whom it is asked for by name, which need not be Server; "" for none
	ALPN   []string // what it is offered; none, usually
	// WithoutCertificate has the client go on without a certificate of its own as
	// long as it has none that is valid: that is how it gets one.
	WithoutCertificate bool
}

// base is what both ends say. There is nothing to resume: a session would outlive
// the anchors that it was verified by.
func base() *gotls.Config {
	return &gotls.Config{
		MinVersion:                  gotls.VersionTLS13,
		MaxVersion:                  gotls.VersionTLS13,
		CurvePreferences:            []gotls.CurveID{gotls.X25519MLKEM768, gotls.X25519, gotls.CurveP256, gotls.CurveP384},
		SessionTicketsDisabled:      true,
		DynamicRecordSizingDisabled: true, // small records first are for browsers
	}
}

// server returns what a server says. Connections of one kind share it.
func (c *credentials) server(p ServerParams) *gotls.Config {
	if conf, ok := c.servers.Load(p); ok {
		return conf.(*gotls.Config) //nolint:forcetypeassert // it is all that is put there
	}
	conf := base()
	conf.Certificates = []gotls.Certificate{*c.cert}
	conf.ClientAuth = gotls.RequestClientCert // verifyClient does the rest, and says why
	conf.VerifyConnection = func(state gotls.ConnectionState) error { return c.verifyClient(p, &state) }
	if p.ALPN != "" {
		conf.NextProtos = []string{p.ALPN}
	}
	shared, _ := c.servers.LoadOrStore(p, conf)
	return shared.(*gotls.Config) //nolint:forcetypeassert // as above
}

// verifyClient is asked once in each handshake, before the client has proved to
// have the key of its certificate: that is crypto/tls's to see.
func (c *credentials) verifyClient(p ServerParams, state *gotls.ConnectionState) error {
	certs := state.PeerCertificates
	switch {
	case state.DidResume:
		return errResumed
	case len(certs) == 0:
		if p.RequireClient {
			return fmt.Errorf("%w: the client shows no certificate", ErrNoClientID)
		}
	default:
		if err := verify(certs, c.anchors, x509.ExtKeyUsageClientAuth, time.Now()); err != nil {
			return peerRefused(err)
		}
		if p.RequireClient && identity(certs[0]) == "" {
			return fmt.Errorf("%w: the client's certificate has no identity", ErrNoClientID)
		}
	}
	if p.ALPN != "" && state.NegotiatedProtocol != p.ALPN {
		return fmt.Errorf("%w: the client does not ask for %s", ErrNoALPN, p.ALPN)
	}
	return nil
}

// client returns what one connection's client says.
func (c *credentials) client(p ClientParams) *gotls.Config {
	conf := base()
	conf.ServerName = p.SNI
	conf.NextProtos = p.ALPN
	conf.GetClientCertificate = c.offer
	// crypto/tls would compare the certificate with ServerName. Here the name and
	// the identity may differ, so that all of its verification is left to
	// verifyServer, which it calls in every handshake.
	conf.InsecureSkipVerify = true
	conf.VerifyConnection = func(state gotls.ConnectionState) error { return c.verifyServer(p.Server, &state) }
	return conf
}

// offer shows our certificate to a server that can check its signature, whatever
// anchors the server says it has.
func (c *credentials) offer(asked *gotls.CertificateRequestInfo) (*gotls.Certificate, error) {
	if c.cert == nil || !slices.Contains(asked.SignatureSchemes, gotls.ECDSAWithP256AndSHA256) {
		return new(gotls.Certificate), nil
	}
	return c.cert, nil
}

// verifyServer is asked once in each handshake, before the client has said who
// it is.
func (c *credentials) verifyServer(want ID, state *gotls.ConnectionState) error {
	if state.DidResume {
		return errResumed
	}
	certs := state.PeerCertificates
	if err := verify(certs, c.anchors, x509.ExtKeyUsageServerAuth, time.Now()); err != nil {
		return peerRefused(err)
	}
	ids := identities(certs[0])
	if want == "" || !slices.Contains(ids, want) {
		return fmt.Errorf("%w: it is for %.200q, not for %q", ErrWrongID, ids, want)
	}
	return nil
}
