package tls

import (
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestNewStore(t *testing.T) {
	a := anchors(t, newAuthority(t, "good", nil))
	for name, make := range map[string]func() (*Store, error){
		"no identity":   func() (*Store, error) { return NewStore("", webID, a) },
		"a final dot":   func() (*Store, error) { return NewStore("a.b.", webID, a) },
		"upper case":    func() (*Store, error) { return NewStore("A.b", webID, a) },
		"no name":       func() (*Store, error) { return NewStore("a.b", "", a) },
		"name is a URI": func() (*Store, error) { return NewStore("a.b", "spiffe://x/y", a) },
		"no anchors":    func() (*Store, error) { return NewStore("a.b", "a.b", nil) },
	} {
		if _, err := make(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := NewStore("spiffe://x/y", webID, a); err != nil {
		t.Error(err)
	}
}

// TestSetRefuses has the old certificate stand when a wrong one comes.
func TestSetRefuses(t *testing.T) {
	good, bad := newAuthority(t, "good", nil), newAuthority(t, "bad", nil)
	s := good.store(t, webID)
	before, old := s.Expiry(), s.Stats()
	key, err := NewKey(webID)
	if err != nil {
		t.Fatal(err)
	}
	mine := leaf([]string{webID})
	for name, c := range map[string]struct {
		by   *authority
		cert *x509.Certificate
		key  any
		want string
	}{
		"other key":     {good, mine, newKey(t).Public(), "another key"},
		"other id":      {good, leaf([]string{appID}), key.signer.Public(), "somebody else"},
		"no id":         {good, leaf(nil), key.signer.Public(), "somebody else"},
		"other anchor":  {bad, mine, key.signer.Public(), "unknown authority"},
		"expired":       {good, leaf([]string{webID}, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }), key.signer.Public(), "expired"},
		"not yet valid": {good, leaf([]string{webID}, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }), key.signer.Public(), "not yet valid"},
	} {
		err := s.Set(key, sign(t, c.cert, c.by.cert, c.key, c.by.key).Raw, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Set(key, []byte("no DER"), nil); err == nil {
		t.Error("what is no certificate was taken")
	}
	if err := s.Set(key, mine.Raw, make([][]byte, maxChain)); err == nil {
		t.Error("a long chain was taken")
	}
	if now := s.Stats(); now.OK != old.OK || now.Errors != old.Errors+8 || now.Refreshed != old.Refreshed || s.Expiry() != before || s.Err() != nil {
		t.Errorf("after %+v: %+v, %v", old, now, s.Err())
	}
}

// TestRotation changes anchors and certificates while connections live.
func TestRotation(t *testing.T) {
	old, fresh := newAuthority(t, "old", nil), newAuthority(t, "fresh", nil)
	web, app := old.store(t, webID), old.store(t, appID)
	c, s := pair(t, app, web)
	talk := func() {
		t.Helper()
		p := make([]byte, 1)
		if _, err := c.Write(p); err != nil {
			t.Fatal(err)
		}
		if n, err := s.Read(p); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	changed := web.Changed()
	web.SetAnchors(anchors(t, old, fresh))
	<-changed
	app.SetAnchors(anchors(t, old, fresh))
	fresh.certify(t, web, leaf([]string{webID}))
	talk()
	pair(t, app, web) // web's certificate is from the new authority, app's from the old
	web.SetAnchors(anchors(t, fresh))
	_, _, _, err := meet(t, app, web, ClientParams{Server: webID}, ServerParams{})
	if !errors.Is(err, ErrPeerRefused) {
		t.Errorf("a client of the old authority: %v", err)
	}
	fresh.certify(t, app, leaf([]string{appID}))
	pair(t, app, web)
	talk()
}

// TestExpiry has new handshakes fail, both sides', and connections go on.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := newAuthority(t, "good", nil)
		s := good.store(t, webID)
		good.certify(t, s, leaf([]string{webID}, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(time.Hour) }))
		if s.Err() != nil {
			t.Fatal(s.Err())
		}
		time.Sleep(time.Hour + time.Second)
		at := s.Expiry().Format(time.RFC3339)
		_, serr := s.Server(t.Context(), unused(t), ServerParams{})
		_, cerr := s.Client(t.Context(), unused(t), ClientParams{Server: appID})
		for name, err := range map[string]error{"Err": s.Err(), "Server": serr, "Client": cerr} {
			if !errors.Is(err, ErrExpired) || !strings.Contains(err.Error(), at) || !strings.Contains(err.Error(), webID) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if c, err := s.clientCredentials(ClientParams{Server: appID, WithoutCertificate: true}); err != nil || c.cert != nil {
			t.Errorf("to be certified again: %v", err)
		}
		good.certify(t, s, leaf([]string{webID}))
		if err := s.Err(); err != nil {
			t.Errorf("certified again: %v", err)
		}
	})
}

// unused returns an end of a connection on which nothing may be said.
func unused(t *testing.T) net.Conn {
	t.Helper()
	c, peer := net.Pipe()
	t.Cleanup(func() {
		if _, err := peer.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("something was said, or it is left open: %v", err)
		}
	})
	return c
}

// TestRenewalUnderLoad replaces certificates and anchors while handshakes go on,
// and none of these fails.
func TestRenewalUnderLoad(t *testing.T) {
	good, next := newAuthority(t, "good", nil), newAuthority(t, "next", nil)
	web, app := good.store(t, webID, next), good.store(t, appID, next)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			by := []*authority{good, next}[n%2]
			by.certify(t, web, leaf([]string{webID}))
			by.certify(t, app, leaf([]string{appID}))
			web.SetAnchors(anchors(t, next, good))
		}
	}()
	for range 50 {
		c, s := pair(t, app, web)
		if _, err := c.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		if n, err := s.Read(make([]byte, 1)); n != 1 || err != nil || s.Peer() != appID {
			t.Errorf("%d, %v", n, err)
		}
		c.Close()
		s.Close()
	}
	close(stop)
	<-stopped
}

func TestParseAnchors(t *testing.T) {
	a, b := newAuthority(t, "a", nil), newAuthority(t, "b", nil)
	const junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	for name, c := range map[string]struct {
		bundle  string
		n, skip int
		err     error
	}{
		"one":         {string(a.pem()), 1, 0, nil},
		"two":         {"# a\n" + string(a.pem()) + "\n# b\n" + string(b.pem()), 2, 0, nil},
		"one of two":  {junk + string(b.pem()), 1, 1, nil},
		"a key":       {"-----BEGIN X-----\nAAAA\n-----END X-----\n" + string(b.pem()), 1, 1, nil},
		"none":        {"", 0, 0, ErrNoAnchors},
		"none usable": {junk, 0, 1, ErrNoAnchors},
		"cut":         {string(a.pem()) + string(b.pem())[:200], 0, 0, errBrokenPEM},
		"broken":      {strings.Replace(string(a.pem()), "M", "!", 1) + string(b.pem()), 0, 0, errBrokenPEM},
	} {
		got, skipped, err := ParseAnchors([]byte(c.bundle))
		if !errors.Is(err, c.err) || len(skipped) != c.skip || c.err == nil && got.Len() != c.n {
			t.Errorf("%s: %v, %v, %v", name, got, skipped, err)
		}
	}
}

func TestOpenKey(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fails := func(want string) {
		t.Helper()
		if _, err := OpenKey(dir, webID); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	made, err := OpenKey(dir, webID)
	if err != nil {
		t.Fatal(err)
	}
	if names, _ := os.ReadDir(dir); len(names) > 0 {
		t.Error("a key was written")
	}
	csr, err := x509.ParseCertificateRequest(made.CSR())
	if err != nil || csr.CheckSignature() != nil || len(csr.DNSNames) != 1 || csr.DNSNames[0] != webID || csr.Subject.CommonName != webID {
		t.Fatal(err, csr)
	}
	der, err := x509.MarshalPKCS8PrivateKey(made.signer)
	if err != nil {
		t.Fatal(err)
	}
	write(keyFile, der)
	fails("both, or neither")
	write(csrFile, nil)
	fails("empty")
	write(csrFile, []byte("x"))
	fails(csrFile)
	write(csrFile, made.CSR())
	if found, err := OpenKey(dir, webID); err != nil || !found.signer.Equal(made.signer) {
		t.Errorf("%v", err)
	}
	if _, err := OpenKey(dir, appID); err == nil {
		t.Error("a request for another name was taken")
	}
	other, _ := NewKey(webID)
	write(csrFile, other.CSR())
	fails("another key")
	write(keyFile, []byte("x"))
	fails(keyFile)
	if err := os.Remove(filepath.Join(dir, keyFile)); err != nil {
		t.Fatal(err)
	}
	fails("both, or neither")
	if _, err := NewKey("not a name"); err == nil {
		t.Error("a key for what is no name")
	}
}

func TestFollowAnchors(t *testing.T) {
	// Files are as Kubernetes mounts a ConfigMap: by way of two links.
	a, b := newAuthority(t, "a", nil), newAuthority(t, "b", nil)
	dir := t.TempDir()
	path := filepath.Join(dir, "ca-bundle.crt")
	version := func(name string, data []byte) {
		t.Helper()
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(os.Mkdir(filepath.Join(dir, name), 0o700))
		must(os.WriteFile(filepath.Join(dir, name, "ca-bundle.crt"), data, 0o600))
		must(os.Symlink(name, filepath.Join(dir, "..tmp")))
		must(os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")))
	}
	version("1", a.pem())
	if err := os.Symlink(filepath.Join("..data", "ca-bundle.crt"), path); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var log logbook
		first, err := ReadAnchors(path, log.logger())
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewStore(webID, webID, first)
		if err != nil {
			t.Fatal(err)
		}
		go s.FollowAnchors(t.Context(), path, time.Second, log.logger())
		look := func(want *Anchors) {
			t.Helper()
			time.Sleep(3 * time.Second)
			synctest.Wait()
			if !s.trusts(want) {
				t.Errorf("other anchors are trusted\n%s", &log)
			}
		}
		look(first)
		both := append(a.pem(), b.pem()...)
		version("2", both)
		look(anchors(t, a, b))
		version("3", []byte("nonsense"))
		look(anchors(t, a, b))
		version("4", both[:len(both)-100])
		look(anchors(t, a, b))
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		look(anchors(t, a, b))
		if err := os.WriteFile(path, b.pem(), 0o600); err != nil {
			t.Fatal(err)
		}
		look(anchors(t, b))
		if text := log.String(); strings.Count(text, "level=ERROR") != 3 || strings.Count(text, "have changed") != 2 {
			t.Errorf("the log:\n%s", text)
		}
	})
}
