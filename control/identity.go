package control

import (
	"context"

	"github.com/linkerd/linkerd2-proxy-api/go/identity"

	"github.com/outrigger-mesh/outrigger/tls"
)

// Certify returns what asks the identity service at conf for a certificate: a
// tls.Certifier's. Each time it is asked anew, of a replica that is looked up and
// connected to for it; nothing is kept in between. It shows our certificate if
// there is one that is valid.
func Certify(conf Config) func(ctx context.Context, id string, token, csr []byte) (tls.Issued, error) {
	if conf.TLS != nil {
		t := *conf.TLS
		t.WithoutCertificate = true
		conf.TLS = &t
	}
	return func(ctx context.Context, id string, token, csr []byte) (tls.Issued, error) {
		client, err := Dial(ctx, conf)
		if err != nil {
			return tls.Issued{}, err
		}
		defer client.Close()
		answer, err := identity.NewIdentityClient(client).Certify(ctx, &identity.CertifyRequest{
			Identity: id, Token: token,
			CertificateSigningRequest: csr, // DER, though the API speaks of PEM
		})
		if err != nil {
			return tls.Issued{}, err
		}
		issued := tls.Issued{Leaf: answer.GetLeafCertificate(), Intermediates: answer.GetIntermediateCertificates()}
		if until := answer.GetValidUntil(); until.IsValid() {
			issued.ValidUntil = until.AsTime() // or else zero, which is long ago
		}
		return issued, nil
	}
}
