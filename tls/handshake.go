package tls

import (
	"context"
	gotls "crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

var errNoServer = errors.New("nobody is named whom the server must prove to be")

// Server ends the TLS of the client that opened c, and returns once both are sure
// of each other. It owns c, and closes it if it fails; ctx bounds the handshake.
func (s *Store) Server(ctx context.Context, c net.Conn, p ServerParams) (*Conn, error) {
	cred, err := s.usable(time.Now())
	if err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("TLS handshake with a client: %w", err)
	}
	conn := newConn(c)
	conn.tls = gotls.Server(&conn.wire, cred.server(p))
	if err := conn.handshake(ctx); err != nil {
		return nil, fmt.Errorf("TLS handshake with a client: %w", err)
	}
	if certs := conn.tls.ConnectionState().PeerCertificates; len(certs) > 0 {
		conn.peer = identity(certs[0])
	}
	return conn, nil
}

// Client begins TLS with the server to which c was opened, and returns once that
// has proved to be p.Server. Whether the server takes our own certificate, only
// the first Read tells (RFC 8446, section 4.4.2). Client owns c, and closes it if
// it fails; ctx bounds the handshake.
func (s *Store) Client(ctx context.Context, c net.Conn, p ClientParams) (*Conn, error) {
	cred, err := s.clientCredentials(p)
	if err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("TLS handshake with %s: %w", p.Server, err)
	}
	conn := newConn(c)
	conn.tls = gotls.Client(&conn.wire, cred.client(p))
	if err := conn.handshake(ctx); err != nil {
		return nil, fmt.Errorf("TLS handshake with %s: %w", p.Server, err)
	}
	conn.peer = p.Server
	return conn, nil
}

func (s *Store) clientCredentials(p ClientParams) (*credentials, error) {
	if p.Server == "" {
		return nil, errNoServer
	}
	cred, err := s.usable(time.Now())
	if err != nil && p.WithoutCertificate {
		return &credentials{anchors: s.current.Load().anchors, servers: new(sync.Map)}, nil
	}
	return cred, err
}

// handshake leaves a connection that has failed closed.
func (c *Conn) handshake(ctx context.Context) error {
	err := c.tls.HandshakeContext(ctx)
	if err != nil {
		_ = c.wire.Close() // the alert has been written
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	c.alpn = c.tls.ConnectionState().NegotiatedProtocol
	return nil
}
