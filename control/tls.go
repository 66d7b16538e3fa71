package control

import (
	"context"
	"errors"
	"fmt"
	"net"

	"google.golang.org/grpc/status"

	"github.com/outrigger-mesh/outrigger/tls"
)

// TLS says who a service must prove to be, and by what it is spoken to.
type TLS struct {
	Store  *tls.Store
	Server tls.ID // LINKERD2_PROXY_*_SVC_NAME
	SNI    string // the same, if it is "" and Server is a DNS name
	// WithoutCertificate has calls go on while this workload has no certificate,
	// which otherwise wait for the first. It is for the identity service.
	WithoutCertificate bool
}

func (c Config) validateTLS() error {
	switch {
	case c.TLS == nil:
		return nil
	case c.Plaintext:
		return errors.New("it is to be spoken to both with and without TLS")
	case c.TLS.Store == nil || c.TLS.Server == "":
		return errors.New("nothing says whom it must prove to be")
	}
	return nil
}

// connect returns what opens a connection. grpc-go is given one that speaks TLS
// already: the controllers negotiate no protocol, on which its own TLS insists.
func (c Config) connect() func(ctx context.Context, addr string) (net.Conn, error) {
	dialer := c.TCP.dialer(c.Connect)
	if c.TLS == nil {
		return func(ctx context.Context, addr string) (net.Conn, error) { return persist(ctx, dialer, addr) }
	}
	params := c.TLS.params()
	return func(ctx context.Context, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, c.Connect) // of both together
		defer cancel()
		conn, err := persist(ctx, dialer, addr)
		if err != nil {
			return nil, err
		}
		secure, err := c.TLS.Store.Client(ctx, conn, params)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", addr, err)
		}
		return secure, nil
	}
}

func (t *TLS) params() tls.ClientParams {
	p := tls.ClientParams{Server: t.Server, SNI: t.SNI, WithoutCertificate: t.WithoutCertificate}
	if p.SNI == "" && checkName(string(t.Server)) == nil {
		p.SNI = string(t.Server)
	}
	return p
}

// admit has the first call wait for the first certificate, instead of connecting
// in vain, and less and less often.
func (c *Client) admit(ctx context.Context) error {
	if c.conf.TLS == nil || c.conf.TLS.WithoutCertificate {
		return nil
	}
	select {
	case <-c.conf.TLS.Store.Certified():
		return nil
	default:
	}
	select {
	case <-c.conf.TLS.Store.Certified():
		return nil
	case <-ctx.Done():
		return status.Errorf(status.FromContextError(ctx.Err()).Code(), "%s is not asked: %v", c.conf.Addr, c.conf.TLS.Store.Err())
	case <-c.ctx.Done():
		return status.FromContextError(c.ctx.Err()).Err()
	}
}
