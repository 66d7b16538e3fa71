package tls

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// maxChain bounds the certificates of one peer, so that it cannot choose how much
// we work. Linkerd's have two.
const maxChain = 10

var (
	errNoChain   = errors.New("there is no certificate")
	errLongChain = fmt.Errorf("there are more than %d certificates", maxChain)
	errCA        = errors.New("it is an authority's, not a workload's")
	errKeyKind   = errors.New("its key is neither ECDSA on P-256, P-384 or P-521, nor Ed25519")
	errNoRoots   = errors.New("there are no trust anchors")
)

// verify returns nil if a chain of certs, whose first is the bearer's own, ends
// at one of the anchors and is good for usage at now. Who the bearer is, it does
// not ask. That the bearer has the key, crypto/tls sees to.
func verify(certs []*x509.Certificate, anchors *Anchors, usage x509.ExtKeyUsage, now time.Time) error {
	switch {
	case len(certs) == 0:
		return errNoChain
	case len(certs) > maxChain:
		return errLongChain
	case anchors == nil || anchors.pool == nil:
		return errNoRoots // or crypto/x509 would take the system's
	case certs[0].BasicConstraintsValid && certs[0].IsCA:
		return errCA
	case !usableKey(certs[0].PublicKey):
		return errKeyKind
	}
	between := x509.NewCertPool()
	for _, c := range certs[1:] {
		between.AddCert(c)
	}
	_, err := certs[0].Verify(x509.VerifyOptions{
		Roots: anchors.pool, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	return err
}

// usableKey is what the reference accepts of signatures over a handshake. No
// configuration of crypto/tls leaves RSA out.
func usableKey(key any) bool {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		return k.Curve.Params().BitSize >= 256
	case ed25519.PublicKey:
		return true
	}
	return false
}

func peerRefused(err error) error { return fmt.Errorf("%w: %w", ErrPeerRefused, err) }
