package local

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// files are where a trust anchor and an issuer are, as PEM.
type files struct{ anchors, issuer, issuerKey string }

// filesIn are those that are made in a directory.
func filesIn(dir string) files {
	return files{filepath.Join(dir, "ca.crt"), filepath.Join(dir, "issuer.crt"), filepath.Join(dir, "issuer.key")}
}

// An issuer signs certificates that whoever trusts its anchors believes.
type issuer struct {
	anchors []byte // PEM
	chain   []*x509.Certificate
	key     crypto.Signer
}

// clockSkew is by how much a certificate begins before it is asked for, for those
// whose clocks are behind.
const clockSkew = 20 * time.Second

// open reads the issuer that s names, or makes it.
func (s *section) open(now time.Time) (*issuer, error) {
	if s.made {
		if err := s.make(now); err != nil {
			return nil, fmt.Errorf("make a trust anchor and an issuer: %w", err)
		}
	}
	i, err := s.files.load(now)
	if err != nil {
		return nil, fmt.Errorf("issuer of identities: %w", err)
	}
	return i, nil
}

// load reads an issuer, of which everything must fit together.
func (f files) load(now time.Time) (*issuer, error) {
	anchors, err := read(f.anchors)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(anchors) {
		return nil, fmt.Errorf("%s has no certificate", f.anchors)
	}
	i := &issuer{anchors: anchors}
	if i.chain, err = certificates(f.issuer); err != nil {
		return nil, err
	}
	if i.key, err = privateKey(f.issuerKey); err != nil {
		return nil, err
	}
	if public, ok := i.key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(i.chain[0].PublicKey) {
		return nil, fmt.Errorf("%s is not the key of %s", f.issuerKey, f.issuer)
	}
	if !i.chain[0].IsCA {
		return nil, fmt.Errorf("%s is no issuer's certificate", f.issuer)
	}
	between := x509.NewCertPool()
	for _, c := range i.chain[1:] {
		between.AddCert(c)
	}
	_, err = i.chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, fmt.Errorf("%s under %s: %w", f.issuer, f.anchors, err)
	}
	return i, nil
}

// certificates reads all those of a PEM file, of which there is at least one.
func certificates(path string) ([]*x509.Certificate, error) {
	rest, err := read(path)
	if err != nil {
		return nil, err
	}
	var all []*x509.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no certificate", path)
	}
	return all, nil
}

// privateKey reads a PEM file's key, in either form that is in use.
func privateKey(path string) (crypto.Signer, error) {
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s has no key", path)
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: a key of type %T cannot sign", path, key)
	}
	return signer, nil
}

// issue certifies key as id's, until lifetime from now or until the issuer itself
// expires. It returns the certificate as DER, and when it ends.
func (i *issuer) issue(id identity, csr *x509.CertificateRequest, lifetime time.Duration, now time.Time) ([]byte, time.Time, error) {
	template, err := leaf(id, now)
	if err != nil {
		return nil, time.Time{}, err
	}
	template.Subject.CommonName = csr.Subject.CommonName
	template.NotAfter = now.Add(lifetime + time.Second - time.Nanosecond).Truncate(time.Second) // which it would be cut to
	if last := i.chain[0].NotAfter; template.NotAfter.After(last) {
		template.NotAfter = last
	}
	der, err := x509.CreateCertificate(rand.Reader, template, i.chain[0], csr.PublicKey, i.key)
	return der, template.NotAfter, err
}

// leaf is a certificate for id, who may be client and server by it.
func leaf(id identity, now time.Time) (*x509.Certificate, error) {
	serial, err := serial()
	if err != nil {
		return nil, err
	}
	c := &x509.Certificate{
		SerialNumber: serial,
		NotBefore:    now.Add(-clockSkew),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if !id.isURI {
		c.DNSNames = []string{id.text}
		return c, nil
	}
	uri, err := id.uri()
	c.URIs = append(c.URIs, uri)
	return c, err
}

// serial is a random one of 127 bits.
func serial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) //nolint:mnd // RFC 5280, section 4.1.2.2: at most 20 bytes
}

// make makes a trust anchor and an issuer, unless any of the files is there: what
// somebody may trust already is never replaced.
func (s *section) make(now time.Time) error {
	for _, f := range []string{s.files.anchors, s.files.issuer, s.files.issuerKey} {
		if _, err := os.Lstat(f); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	root, rootKey, err := makeAuthority("root.linkerd."+s.domain, nil, nil, now)
	if err != nil {
		return err
	}
	cert, key, err := makeAuthority("identity.linkerd."+s.domain, root, rootKey, now)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	dir := filepath.Dir(s.files.anchors)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return errors.Join( // the anchors last: where they are, all is
		writePEM(s.files.issuerKey, "PRIVATE KEY", der, 0o600),
		writePEM(s.files.issuer, "CERTIFICATE", cert.Raw, 0o644),
		writePEM(s.files.anchors, "CERTIFICATE", root.Raw, 0o644),
	)
}

// makeAuthority makes a certificate that signs others: one that parent has signed or,
// without a parent, that has signed itself. It is never renewed: this is for one
// machine.
func makeAuthority(name string, parent *x509.Certificate, parentKey *ecdsa.PrivateKey, now time.Time) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := serial()
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-clockSkew), NotAfter: now.Add(maxLifetime),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, IsCA: true, BasicConstraintsValid: true, MaxPathLen: 1,
	}
	if parent == nil {
		parent, parentKey = template, key
	} else {
		template.MaxPathLen, template.MaxPathLenZero = 0, true
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		return nil, nil, err
	}
	c, err := x509.ParseCertificate(der)
	return c, key, err
}

// writePEM writes a file that is not there yet.
func writePEM(path, kind string, der []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode) //nolint:gosec // the operator names the directory
	if err != nil {
		return err
	}
	return errors.Join(pem.Encode(f, &pem.Block{Type: kind, Bytes: der}), f.Close())
}

// Anchors makes or loads what the file's identity section names, and returns the
// trust anchors as PEM: what a sidecar has in LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS.
// Without such a section there are none, and no error. It is also how to find out
// whether that section can be used.
func (m *Mesh) Anchors() ([]byte, error) {
	if m.identity == nil {
		return nil, nil
	}
	i, err := m.identity.open(time.Now())
	if err != nil {
		return nil, err
	}
	if _, err := loadTokens(m.identity.tokens); err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	return i.anchors, nil
}
