package tls

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A logbook keeps log lines for a test to look at.
type logbook struct {
	mu    sync.Mutex
	lines strings.Builder
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.String()
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// An issuer is an identity service that can be told to fail.
type issuer struct {
	*authority
	t    *testing.T
	life time.Duration

	mu    sync.Mutex // guards what follows
	down  bool
	silly bool // it says that its certificates are valid no more
	asked []time.Time
	began time.Time
}

func (i *issuer) certify(ctx context.Context, identity string, token, csr []byte) (Issued, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked = append(i.asked, time.Now())
	if i.down {
		return Issued{}, errors.New("the identity service is down")
	}
	if identity != webID || string(token) != "token" {
		i.t.Errorf("asked for %q with %q", identity, token)
	}
	request, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		i.t.Error(err)
		return Issued{}, err
	}
	c := leaf([]string{webID}, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(i.life) })
	until := c.NotAfter
	if i.silly {
		until = time.Now()
	}
	return Issued{Leaf: sign(i.t, c, i.cert, request.PublicKey, i.key).Raw, ValidUntil: until}, nil
}

// times are when it was asked, in seconds from the start.
func (i *issuer) times() []float64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	var all []float64
	for _, at := range i.asked {
		all = append(all, at.Sub(i.began).Seconds())
	}
	return all
}

// turn has the service fail, or not.
func (i *issuer) turn(down, silly bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down, i.silly = down, silly
}

func certifier(t *testing.T, life time.Duration) (*Certifier, *issuer, *logbook) {
	t.Helper()
	i := &issuer{authority: newAuthority(t, "good", nil), t: t, life: life, began: time.Now()}
	s, err := NewStore(webID, webID, anchors(t, i.authority))
	if err != nil {
		t.Fatal(err)
	}
	key, err := NewKey(webID)
	if err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("token"), 0o600); err != nil {
		t.Fatal(err)
	}
	log := new(logbook)
	return &Certifier{
		Store: s, Key: key, TokenFile: token, Certify: i.certify,
		MinRefresh: 10 * time.Second, MaxRefresh: 24 * time.Hour, Timeout: 5 * time.Second, Log: log.logger(),
	}, i, log
}

func expect(t *testing.T, i *issuer, want ...float64) {
	t.Helper()
	synctest.Wait()
	if got := i.times(); !slices.Equal(got, want) {
		t.Errorf("asked at %v, want %v", got, want)
	}
}

func TestCertifierRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, i, log := certifier(t, 100*time.Second)
		go c.Run(t.Context())
		<-c.Store.Certified()
		expect(t, i, 0)
		time.Sleep(141 * time.Second)
		expect(t, i, 0, 70, 140)
		if got := c.Store.Stats(); got.OK != 3 || got.Errors != 0 || !got.Expires.Equal(i.asked[2].Add(100*time.Second).Truncate(time.Second)) {
			t.Errorf("%+v", got)
		}
		if !strings.Contains(log.String(), `msg="Certified identity" id=`+webID) {
			t.Errorf("the log:\n%s", log)
		}
	})
}

// TestCertifierBounds has lives for which 70 % would be too soon, or too late.
func TestCertifierBounds(t *testing.T) {
	c := &Certifier{MinRefresh: 10 * time.Second, MaxRefresh: 24 * time.Hour}
	now := time.Now()
	for _, d := range []struct {
		left     time.Duration
		failures int
		retry    time.Duration
		want     time.Duration
	}{
		{left: 100 * time.Second, want: 70 * time.Second},
		{left: 5 * time.Second, want: 10 * time.Second},
		{left: 48 * time.Hour, want: 24 * time.Hour},
		{left: 0, want: 10 * time.Second},
		{left: -time.Hour, failures: 1, want: 10 * time.Second},
		{left: -1, failures: 1, retry: time.Second, want: time.Second},
		{left: -1, failures: 3, retry: time.Second, want: 4 * time.Second},
		{left: -1, failures: 5, retry: time.Second, want: 10 * time.Second},
		{left: -1, failures: 1e6, retry: time.Second, want: 10 * time.Second},
		{left: 100 * time.Second, failures: 3, retry: time.Second, want: 70 * time.Second},
	} {
		c.Retry = d.retry
		if got := c.delay(now.Add(d.left), now, d.failures); got != d.want {
			t.Errorf("%+v: %v", d, got)
		}
	}
}

// TestCertifierOutage is three lifetimes long. Tries come faster toward the end of
// the certificate's life; it ends; and all recovers by itself.
func TestCertifierOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, i, log := certifier(t, 100*time.Second)
		go c.Run(t.Context())
		synctest.Wait()
		i.turn(true, false)
		time.Sleep(99 * time.Second)
		expect(t, i, 0, 70, 91)
		if err := c.Store.Err(); err != nil {
			t.Errorf("before its end: %v", err)
		}
		time.Sleep(200 * time.Second)
		synctest.Wait()
		if err := c.Store.Err(); !errors.Is(err, ErrExpired) {
			t.Errorf("after its end: %v", err)
		}
		if got := len(i.times()); got != 23 {
			t.Errorf("asked %d times: %v", got, i.times())
		}
		i.turn(false, false)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if err := c.Store.Err(); err != nil {
			t.Errorf("after the outage: %v", err)
		}
		if got := c.Store.Stats(); got.OK != 2 || got.Errors != 0 {
			t.Errorf("%+v", got)
		}
		if !strings.Contains(log.String(), `msg="Failed to obtain identity" error="the identity service is down"`) {
			t.Errorf("the log:\n%s", log)
		}
	})
}

func TestCertifierRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, i, log := certifier(t, 100*time.Second)
		i.turn(false, true)
		go c.Run(t.Context())
		synctest.Wait()
		if got := c.Store.Stats(); got.OK != 0 || got.Errors != 1 || c.Store.Err() == nil {
			t.Errorf("%+v", got)
		}
		i.turn(false, false)
		if err := os.WriteFile(c.TokenFile, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		expect(t, i, 0) // without a token it is not asked
		if !strings.Contains(log.String(), "is empty") {
			t.Errorf("the log:\n%s", log)
		}
		if err := os.WriteFile(c.TokenFile, []byte("token"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		expect(t, i, 0, 20)
		if err := c.Store.Err(); err != nil {
			t.Error(err)
		}
	})
}

// TestCertifierHangs has a service that takes the question and says nothing.
func TestCertifierHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, log := certifier(t, 100*time.Second)
		c.Certify = func(ctx context.Context, _ string, _, _ []byte) (Issued, error) {
			<-ctx.Done()
			return Issued{}, ctx.Err()
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); c.Run(ctx) }()
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if !strings.Contains(log.String(), "has not answered in 5s") {
			t.Errorf("the log:\n%s", log)
		}
		cancel()
		<-ended
	})
}
