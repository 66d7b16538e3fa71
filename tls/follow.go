package tls

import (
	"bytes"
	"context"
	"log/slog"
	"time"
)

// maxBundle bounds a file of anchors. A thousand of them have less.
const maxBundle = 4 << 20

// ReadAnchors reads the PEM bundle at path. It logs what it passes over.
func ReadAnchors(path string, log *slog.Logger) (*Anchors, error) {
	bundle, err := readBounded(path, maxBundle)
	if err != nil {
		return nil, err
	}
	a, skipped, err := ParseAnchors(bundle)
	for _, why := range skipped {
		log.Warn("a trust anchor is passed over", "file", path, "error", why)
	}
	return a, err
}

// FollowAnchors reads the PEM bundle at path again and again, every poll, and has
// s trust what it says from then on, until ctx is done. It does not matter how
// the file is changed: renamed, written anew, or a symbolic link led elsewhere,
// as Kubernetes does with a ConfigMap. What was read is used once it is found the
// same twice, so that no file is taken that is still being written. While it is
// wrong or gone, that is logged and the last good one stands.
func (s *Store) FollowAnchors(ctx context.Context, path string, poll time.Duration, log *slog.Logger) {
	f := following{store: s, path: path, log: log}
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		f.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// following is one FollowAnchors.
type following struct {
	store *Store
	path  string
	log   *slog.Logger
	seen  []byte // what the last look found
	done  bool   // and it has been seen to, be it good or not
	told  string // the last failure to read that was logged
}

func (f *following) look(ctx context.Context) {
	bundle, err := readBounded(f.path, maxBundle)
	if err != nil {
		if text := err.Error(); text != f.told {
			f.told = text
			f.log.ErrorContext(ctx, "the trust anchors cannot be read; the last ones stand", "error", err)
		}
		return
	}
	f.told = ""
	if !bytes.Equal(bundle, f.seen) {
		f.seen, f.done = bundle, false
		return
	}
	if !f.done {
		f.done = true
		f.use(ctx, bundle)
	}
}

func (f *following) use(ctx context.Context, bundle []byte) {
	a, skipped, err := ParseAnchors(bundle)
	for _, why := range skipped {
		f.log.WarnContext(ctx, "a trust anchor is passed over", "file", f.path, "error", why)
	}
	if err != nil {
		f.log.ErrorContext(ctx, "the trust anchors cannot be used; the last ones stand", "file", f.path, "error", err)
		return
	}
	if f.store.trusts(a) {
		return
	}
	f.store.SetAnchors(a)
	f.log.InfoContext(ctx, "the trust anchors have changed", "file", f.path, "anchors", a.Len())
}

// trusts reports whether a is what s trusts already.
func (s *Store) trusts(a *Anchors) bool {
	return s.current.Load().anchors.pool.Equal(a.pool)
}
