package tls

import (
	"crypto/x509"
	"fmt"
)

// SetSVID takes what SPIRE gives: certificates one after the other, as DER, the
// leaf first, and a PKCS #8 key. It is otherwise as Set.
func (s *Store) SetSVID(chain, key []byte) error {
	raw, signer, err := parseSVID(chain, key)
	if err != nil {
		s.mu.Lock()
		s.stats.Errors++
		s.mu.Unlock()
		return fmt.Errorf("the SVID that came for %s: %w", s.local, err)
	}
	return s.Set(signer, raw[0], raw[1:])
}

func parseSVID(chain, der []byte) ([][]byte, *Key, error) {
	certs, err := x509.ParseCertificates(chain)
	if err != nil {
		return nil, nil, err
	}
	if len(certs) == 0 {
		return nil, nil, errNoChain
	}
	signer, err := parseSigner(der)
	if err != nil {
		return nil, nil, fmt.Errorf("its key: %w", err)
	}
	raw := make([][]byte, len(certs))
	for i, c := range certs {
		raw[i] = c.Raw
	}
	return raw, &Key{signer: signer}, nil
}
