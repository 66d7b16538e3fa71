package tls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// A Key is this workload's own, with the request by which it is certified: again
// and again, as long as the process lives.
type Key struct {
	signer *ecdsa.PrivateKey
	csr    []byte // DER
}

// CSR returns the request to certify k, as DER.
func (k *Key) CSR() []byte { return k.csr }

// The files that Linkerd's proxy-identity writes into LINKERD2_PROXY_IDENTITY_DIR.
const (
	keyFile = "key.p8"
	csrFile = "csr.der"
)

// maxKeyFile bounds what is read of either; both have some hundreds of bytes.
const maxKeyFile = 64 << 10

var errOneFile = errors.New("the other is missing: there must be both, or neither")

// OpenKey returns the key and the request that stand in dir, or else makes both
// in memory, where they stay. name is what is to be certified.
func OpenKey(dir, name string) (*Key, error) {
	if dir == "" {
		return NewKey(name)
	}
	key, keyErr := readBounded(filepath.Join(dir, keyFile), maxKeyFile)
	csr, csrErr := readBounded(filepath.Join(dir, csrFile), maxKeyFile)
	noKey, noCSR := errors.Is(keyErr, os.ErrNotExist), errors.Is(csrErr, os.ErrNotExist)
	switch {
	case noKey && noCSR:
		return NewKey(name)
	case noKey && csrErr == nil:
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, csrFile), errOneFile)
	case noCSR && keyErr == nil:
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, keyFile), errOneFile)
	case keyErr != nil || csrErr != nil:
		return nil, errors.Join(keyErr, csrErr)
	}
	return parseKey(dir, key, csr, name)
}

// NewKey makes a key on P-256, and the request to certify it as name.
func NewKey(name string) (*Key, error) {
	if !dnsName(name) {
		return nil, fmt.Errorf("key for %q: it is no DNS name", name)
	}
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("key for %s: %w", name, err)
	}
	request := x509.CertificateRequest{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}}
	if len(name) > maxCommonName {
		request.Subject = pkix.Name{}
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &request, signer)
	if err != nil {
		return nil, fmt.Errorf("certificate request for %s: %w", name, err)
	}
	return &Key{signer, csr}, nil
}

// maxCommonName is the ub-common-name of RFC 5280, appendix A.1. The identity
// service takes an empty common name too, and crypto/x509 parses no longer one.
const maxCommonName = 64

func parseKey(dir string, key, der []byte, name string) (*Key, error) {
	signer, err := parseSigner(key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, keyFile), err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err == nil {
		err = checkRequest(csr, signer, name)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, csrFile), err)
	}
	return &Key{signer, der}, nil
}

// parseSigner reads a PKCS #8 key. It must be one that every proxy of the mesh
// can check.
func parseSigner(der []byte) (*ecdsa.PrivateKey, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(*ecdsa.PrivateKey)
	if !ok || signer.Curve != elliptic.P256() {
		return nil, errors.New("it is not an ECDSA key on P-256")
	}
	return signer, nil
}

func checkRequest(csr *x509.CertificateRequest, signer *ecdsa.PrivateKey, name string) error {
	switch {
	case !signer.PublicKey.Equal(csr.PublicKey):
		return fmt.Errorf("it is a request for another key than %s", keyFile)
	case len(csr.DNSNames) != 1 || csr.DNSNames[0] != name:
		return fmt.Errorf("it is a request for %.100q, not for %q", csr.DNSNames, name)
	}
	return nil
}

var (
	errEmpty = errors.New("it is empty")
	errLarge = errors.New("it is too large")
)

// readBounded reads a file that may be neither empty nor larger than limit.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // the path is the operator's
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path, err)
	case len(b) == 0:
		return nil, fmt.Errorf("%s: %w", path, errEmpty)
	case int64(len(b)) > limit:
		return nil, fmt.Errorf("%s: %w", path, errLarge)
	}
	return b, nil
}
