package tls

import (
	"crypto/ecdsa"
	gotls "crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Store holds this workload's newest certificate, and whom it trusts now. A
// change is for new connections; those that are open keep what they began with.
// Any number of goroutines may use it, and change it, at once.
type Store struct {
	local ID
	name  string

	current   atomic.Pointer[credentials]
	certified chan struct{} // closed by the first certificate

	mu      sync.Mutex // held to change what follows, and current
	changed chan struct{}
	stats   Stats
}

// Stats is what the metrics control_identity_cert_… say.
type Stats struct {
	Expires   time.Time // …_expiration_timestamp_seconds: the certificate's NotAfter; zero if there is none
	Refreshed time.Time // …_refresh_timestamp_seconds: when it was taken
	OK        uint64    // …_refreshes_total{result="ok"}
	Errors    uint64    // …_refreshes_total{result="error"}: certificates that came and were refused
}

// credentials are what connections begin with. They never change.
type credentials struct {
	anchors *Anchors
	cert    *gotls.Certificate // nil before the first
	expires time.Time
	servers *sync.Map // of ServerParams: *gotls.Config, to be shared by connections, which keep it
}

// NewStore returns a Store without a certificate. local is who this workload is,
// and serverName by what name (SNI) TLS clients ask for it.
func NewStore(local ID, serverName string, anchors *Anchors) (*Store, error) {
	if id, err := ParseID(string(local)); err != nil || id != local {
		return nil, fmt.Errorf("this workload's identity: %q: %w", local, errNotID)
	}
	if !dnsName(serverName) {
		return nil, fmt.Errorf("this workload's server name: %q is no DNS name", serverName)
	}
	if anchors == nil {
		return nil, errNoRoots
	}
	s := &Store{local: local, name: serverName, certified: make(chan struct{}), changed: make(chan struct{})}
	s.current.Store(&credentials{anchors: anchors, servers: new(sync.Map)})
	return s, nil
}

// Local returns who this workload is.
func (s *Store) Local() ID { return s.local }

// ServerName returns the name by which TLS clients ask for this workload.
func (s *Store) ServerName() string { return s.name }

// Certified is closed once there has been a certificate.
func (s *Store) Certified() <-chan struct{} { return s.certified }

// Changed is closed when the next certificate, or other anchors, are set.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Err returns why no connection can be made now: ErrNoIdentity or ErrExpired. It
// returns nil if one can.
func (s *Store) Err() error {
	_, err := s.usable(time.Now())
	return err
}

// Expiry returns when the certificate runs out, or has; zero if there is none.
func (s *Store) Expiry() time.Time { return s.current.Load().expires }

// Stats returns what there is to count.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// usable returns the credentials with which a connection can begin.
func (s *Store) usable(now time.Time) (*credentials, error) {
	c := s.current.Load()
	switch {
	case c.cert == nil:
		return nil, fmt.Errorf("%w: %s", ErrNoIdentity, s.local)
	case now.After(c.expires):
		return nil, fmt.Errorf("%w: that of %s, at %s", ErrExpired, s.local, c.expires.UTC().Format(time.RFC3339))
	}
	return c, nil
}

// SetAnchors has new connections trust a, and nothing else. The certificate stays,
// though a may not vouch for it: others may still trust it.
func (s *Store) SetAnchors(a *Anchors) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.current.Load()
	s.set(&credentials{anchors: a, cert: c.cert, expires: c.expires, servers: new(sync.Map)})
}

// set is called with mu held.
func (s *Store) set(c *credentials) {
	s.current.Store(c)
	close(s.changed)
	s.changed = make(chan struct{})
}

var (
	errOtherKey = errors.New("it is for another key")
	errOtherID  = errors.New("it is for somebody else")
)

// Set takes a certificate and what stands between it and an anchor, as DER. It
// must be for key and for this workload, and be good now; otherwise the old one
// stands.
func (s *Store) Set(key *Key, leaf []byte, intermediates [][]byte) error {
	c, err := s.check(key.signer, append([][]byte{leaf}, intermediates...))
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.stats.Errors++
		return fmt.Errorf("the certificate that came for %s: %w", s.local, err)
	}
	s.stats = Stats{Expires: c.Leaf.NotAfter, Refreshed: time.Now(), OK: s.stats.OK + 1, Errors: s.stats.Errors}
	s.set(&credentials{anchors: s.current.Load().anchors, cert: c, expires: c.Leaf.NotAfter, servers: new(sync.Map)})
	if s.stats.OK == 1 {
		close(s.certified)
	}
	return nil
}

// check is strict, since a certificate that others refuse is worse than an old one.
func (s *Store) check(signer *ecdsa.PrivateKey, chain [][]byte) (*gotls.Certificate, error) {
	if len(chain) > maxChain {
		return nil, errLongChain
	}
	certs := make([]*x509.Certificate, len(chain))
	for i, der := range chain {
		var err error
		if certs[i], err = x509.ParseCertificate(der); err != nil {
			return nil, err
		}
	}
	leaf := certs[0]
	if err := verify(certs, s.current.Load().anchors, x509.ExtKeyUsageServerAuth, time.Now()); err != nil {
		return nil, err
	}
	if !slices.Contains(identities(leaf), s.local) {
		return nil, fmt.Errorf("%w: %.200q", errOtherID, identities(leaf))
	}
	if !signer.PublicKey.Equal(leaf.PublicKey) {
		return nil, errOtherKey
	}
	return &gotls.Certificate{Certificate: chain, PrivateKey: signer, Leaf: leaf}, nil
}
