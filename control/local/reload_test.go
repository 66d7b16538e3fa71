package local

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/linkerd/linkerd2-proxy-api/go/destination"
	"google.golang.org/grpc"
)

// A logbook keeps log lines for a test to wait for.
type logbook struct {
	mu    sync.Mutex
	lines strings.Builder
	more  chan struct{}
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
	return l.lines.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.String()
}

func (l *logbook) await(t *testing.T, text string) {
	t.Helper()
	for ctx := soon(t); !strings.Contains(l.String(), text); {
		select {
		case <-l.more:
		case <-ctx.Done():
			t.Fatalf("nobody logged %q:\n%s", text, l)
		}
	}
}

// web is a file in which web's only endpoint has the port.
func web(port string) string {
	return "services: [{name: web, port: 80, endpoints: [{address: '127.0.0.1:" + port + "'}]}]\n"
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, to, path string) {
	t.Helper()
	// As kubelet does: a new link is renamed over the old one.
	next := path + "_next"
	if err := os.Symlink(to, next); err != nil {
		t.Fatal(err)
	}
	rename(t, next, path)
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// follow serves the file at path, without polling, and returns a stream of web's
// endpoints whose first message has been read.
func follow(t *testing.T, path string, reload Reload) (grpc.ServerStreamingClient[destination.Update], *logbook) {
	t.Helper()
	m, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	log := &logbook{more: make(chan struct{}, 1)}
	r := start(t, Config{Mesh: m, Log: slog.New(slog.NewTextHandler(log, nil))})
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := r.Follow(ctx, path, reload); err != nil {
			t.Errorf("Follow: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); done.Wait() })
	s := r.get(t, "web")
	recv(t, s)
	log.await(t, "is applied") // by then its folders are watched
	return s, log
}

func unpolled() Reload { return Reload{Settle: time.Millisecond, Poll: time.Hour} }

// moved reads the two messages that say that web's endpoint has another port.
func moved(t *testing.T, s grpc.ServerStreamingClient[destination.Update], to string) {
	t.Helper()
	if got := told(t, recv(t, s)); got != "+127.0.0.1:"+to {
		t.Fatalf("told %s, want the endpoint with port %s", got, to)
	}
	recv(t, s)
}

func TestFollowWrittenAndRenamed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "mesh.yaml")
	write(t, path, web("1"))
	s, _ := follow(t, path, unpolled())
	write(t, path, web("2"))
	moved(t, s, "2")
	for _, port := range []string{"3", "4"} {
		write(t, filepath.Join(dir, "next"), web(port))
		rename(t, filepath.Join(dir, "next"), path)
		moved(t, s, port)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	write(t, path, web("5"))
	moved(t, s, "5")
}

func TestFollowConfigMap(t *testing.T) {
	dir := t.TempDir()
	for _, version := range []string{"1", "2", "3"} {
		data := filepath.Join(dir, "..v"+version)
		if err := os.Mkdir(data, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(data, "mesh.yaml"), web(version))
	}
	link(t, "..v1", filepath.Join(dir, "..data"))
	path := filepath.Join(dir, "mesh.yaml")
	link(t, filepath.Join("..data", "mesh.yaml"), path)
	s, _ := follow(t, path, unpolled())
	for version, last := range map[string]string{"2": "..v1"} {
		link(t, "..v"+version, filepath.Join(dir, "..data"))
		if err := os.RemoveAll(filepath.Join(dir, last)); err != nil {
			t.Fatal(err)
		}
		moved(t, s, version)
	}
	link(t, "..v3", filepath.Join(dir, "..data"))
	moved(t, s, "3")
}

func TestFollowLinkElsewhere(t *testing.T) {
	here, there := t.TempDir(), t.TempDir()
	path := filepath.Join(here, "mesh.yaml")
	write(t, filepath.Join(there, "a"), web("1"))
	write(t, filepath.Join(there, "b"), web("3"))
	link(t, filepath.Join(there, "a"), path)
	s, _ := follow(t, path, unpolled())
	write(t, filepath.Join(there, "a"), web("2")) // what the link leads to changes
	moved(t, s, "2")
	link(t, filepath.Join(there, "b"), path) // where it leads
	moved(t, s, "3")
	write(t, filepath.Join(there, "b"), web("4"))
	moved(t, s, "4")
}

func TestFollowKeepsTheLastGoodFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mesh.yaml")
	write(t, path, web("1"))
	s, log := follow(t, path, unpolled())
	write(t, path, "services:\n- name: web\n  port: 0\n")
	log.await(t, path+":3")
	log.await(t, `not a number from 1 to 65535`)
	write(t, path, "")
	log.await(t, "the file is empty")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	log.await(t, "cannot be read")
	write(t, path, web("2"))
	moved(t, s, "2") // and nothing was said in between
}

func TestFollowPolls(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "mesh.yaml")
	write(t, path, web("1"))
	s, log := follow(t, path, Reload{Settle: time.Hour, Poll: 5 * time.Millisecond})
	rename(t, dir, dir+"-old") // the watched folder is another one now
	log.await(t, "cannot be read")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, path, web("2"))
	moved(t, s, "2")
	if n := strings.Count(log.String(), "cannot be read"); n != 1 {
		t.Errorf("that it cannot be read was logged %d times, want once", n)
	}
}
