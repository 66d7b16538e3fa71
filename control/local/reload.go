package local

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A Reload says how a changed file is noticed. The zero Reload has the usual
// values.
type Reload struct {
	// Settle is how long a file must be left alone before it is read, so that one
	// that is being written is not read in halves. Zero means 50 ms.
	Settle time.Duration
	// Poll is how often the file is read although nobody tells of a change, for
	// file systems that tell of none and folders that are replaced. Zero means 5 s.
	Poll time.Duration
}

const (
	defaultSettle = 50 * time.Millisecond
	defaultPoll   = 5 * time.Second
)

// Follow serves what the file at path says from now on, and each time it changes,
// until ctx is done; it then returns nil. A file that is renamed into place,
// written anew or reached through symbolic links is followed, as Kubernetes
// mounts a ConfigMap. While the file is wrong or gone, that is logged and the last
// good one stands.
func (s *Server) Follow(ctx context.Context, path string, r Reload) error {
	if r.Settle == 0 {
		r.Settle = defaultSettle
	}
	if r.Poll == 0 {
		r.Poll = defaultPoll
	}
	f := following{server: s, path: path, watched: make(map[string]bool)}
	var events <-chan fsnotify.Event // nil, and so silent, if there is no watcher
	var failures <-chan error
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		s.log.WarnContext(ctx, "changes of the mesh file are noticed only by polling", "file", path, "every", r.Poll, "error", err)
	} else {
		defer watcher.Close()
		f.watcher, events, failures = watcher, watcher.Events, watcher.Errors
	}
	f.run(ctx, events, failures, r)
	return nil
}

// following is one Follow.
type following struct {
	server  *Server
	path    string
	watcher *fsnotify.Watcher // nil if there is none to be had
	watched map[string]bool   // folders
	last    []byte            // what was read last, good or not; nil before
	told    string            // the last failure to read that was logged
}

func (f *following) run(ctx context.Context, events <-chan fsnotify.Event, failures <-chan error, r Reload) {
	poll := time.NewTicker(r.Poll)
	defer poll.Stop()
	settled := time.NewTimer(0) // the first reading is at once
	defer settled.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
			settled.Reset(r.Settle) // a file that is never left alone is still polled
		case err := <-failures: // of which the usual is that events were lost
			f.server.log.DebugContext(ctx, "changes of the mesh file may have been missed", "error", err)
			settled.Reset(r.Settle)
		case <-settled.C:
			f.read(ctx)
		case <-poll.C:
			f.read(ctx)
		}
	}
}

// read applies the file if it is another than before.
func (f *following) read(ctx context.Context) {
	f.watch(ctx)
	data, err := read(f.path)
	if err != nil {
		f.tell(ctx, err)
		return
	}
	f.told = ""
	if f.last != nil && bytes.Equal(data, f.last) {
		return
	}
	f.last = data
	mesh, err := parse(f.path, data)
	if err != nil {
		f.refuse(ctx, err)
		return
	}
	f.server.Set(mesh)
	f.server.log.InfoContext(ctx, "the mesh file is applied", "file", f.path, "services", len(mesh.services))
}

// tell logs that the file cannot be read, once for each reason.
func (f *following) tell(ctx context.Context, err error) {
	if text := err.Error(); text != f.told {
		f.told = text
		f.server.log.ErrorContext(ctx, "the mesh file cannot be read; its last content stands", "file", f.path, "error", err)
	}
}

// refuse logs each mistake in a line of its own.
func (f *following) refuse(ctx context.Context, err error) {
	var mistakes *Mistakes
	if !errors.As(err, &mistakes) {
		f.tell(ctx, err)
		return
	}
	for _, m := range mistakes.All[:min(len(mistakes.All), maxTold)] {
		f.server.log.LogAttrs(ctx, slog.LevelError, "the mesh file is wrong; its last good content stands",
			slog.String("at", f.path+":"+strconv.Itoa(m.Line)), slog.String("error", m.Text))
	}
}

// watch sees to it that every folder is watched in which a change can be a change
// of the file: its own, and that of whatever a symbolic link leads to.
func (f *following) watch(ctx context.Context) {
	if f.watcher == nil {
		return
	}
	now := make(map[string]bool)
	for _, dir := range folders(f.path) {
		now[dir] = true
		// Added each time: the folder may be another one of the same name.
		if err := f.watcher.Add(dir); err != nil && !f.watched[dir] {
			f.server.log.DebugContext(ctx, "a folder cannot be watched", "folder", dir, "error", err)
		}
	}
	for dir := range f.watched {
		if !now[dir] {
			_ = f.watcher.Remove(dir) // it may be gone, which is as good
		}
	}
	f.watched = now
}

// maxLinks bounds a chain of symbolic links, as the kernel does.
const maxLinks = 40

// folders are those that hold path and what it leads to, link by link; and
// beside a folder that is itself reached by a link, the one that holds this link.
func folders(path string) []string {
	var all []string
	for range maxLinks {
		dir := filepath.Dir(path)
		all = append(all, dir)
		if real, err := filepath.EvalSymlinks(dir); err == nil && filepath.Clean(real) != filepath.Clean(dir) {
			all = append(all, filepath.Dir(dir))
		}
		to, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(dir, to)
		}
		path = to
	}
	return all
}
