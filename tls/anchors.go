package tls

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// Anchors are the certificates that vouch for others. They never change; a Store
// is given others.
type Anchors struct {
	pool *x509.CertPool // not nil: to crypto/x509, nil means the system's
	n    int
}

// Len is how many there are, at least one.
func (a *Anchors) Len() int { return a.n }

var (
	// ErrNoAnchors means that nothing in a bundle can vouch for anybody.
	ErrNoAnchors = errors.New("no certificate in the bundle can be used")

	errBrokenPEM = errors.New("a certificate's PEM is broken")
)

var beginsCertificate = []byte("-----BEGIN CERTIFICATE-----") //nolint:gochecknoglobals // it never changes

// ParseAnchors reads a PEM bundle, between whose certificates anything may stand.
// It passes over those that cannot be used, and says why in skipped. A bundle of
// which a part is missing is refused as a whole.
func ParseAnchors(bundle []byte) (a *Anchors, skipped []error, err error) {
	a = &Anchors{pool: x509.NewCertPool()}
	seen := 0
	for rest := bundle; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			skipped = append(skipped, fmt.Errorf("a block of the bundle is %.40q, not a certificate", block.Type))
			continue
		}
		seen++
		if err := a.add(block.Bytes); err != nil {
			skipped = append(skipped, fmt.Errorf("certificate %d of the bundle: %w", seen, err))
		}
	}
	switch {
	case seen < bytes.Count(bundle, beginsCertificate):
		return nil, skipped, errBrokenPEM
	case a.n == 0:
		return nil, skipped, errors.Join(append([]error{ErrNoAnchors}, skipped...)...)
	}
	return a, skipped, nil
}

func (a *Anchors) add(der []byte) error {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	a.pool.AddCert(cert)
	a.n++
	return nil
}
