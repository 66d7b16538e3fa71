package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// build makes the program, since its commands end with its process.
func build(t *testing.T) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "lg")
	if out, err := exec.Command("go", "build", "-o", exe, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return exe
}

// server runs a command that listens, until the test ends.
func server(t *testing.T, exe, command, flag string, more ...string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	l.Close()
	cmd := exec.Command(exe, append([]string{command, flag, addr}, more...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return addr
		}
	}
	t.Fatalf("lg %s does not listen", command)
	return ""
}

type figures struct {
	Reqs, Want, Bad, P50, P99 float64
}

func generate(t *testing.T, exe string, args ...string) figures {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, exe, args...).Output()
	if err != nil {
		t.Fatalf("lg %s: %v", strings.Join(args, " "), err)
	}
	var f figures
	if err := json.Unmarshal(out, &f); err != nil {
		t.Fatalf("lg %s: %v in %q", strings.Join(args, " "), err, out)
	}
	return f
}

func TestGenerators(t *testing.T) {
	exe := build(t)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/chunked" {
			w.(http.Flusher).Flush()
		}
		w.Write([]byte("hello"))
	}))
	defer app.Close()
	proxy := server(t, exe, "rp", "-listen", "-backend", app.Listener.Addr().String())
	h2 := server(t, exe, "h2be", "-addr", "-size", "100")
	proxy2 := server(t, exe, "rp", "-listen", "-proto", "h2", "-backend", h2)
	echo := server(t, exe, "echo", "-addr")
	sink := server(t, exe, "sink", "-addr")

	for name, args := range map[string]string{
		"h1":         "-proto h1 -addr " + proxy,
		"chunked":    "-proto h1 -path /chunked -addr " + proxy,
		"h2":         "-proto h2 -addr " + h2,
		"grpc":       "-proto grpc -addr " + h2,
		"h2 by rp":   "-proto h2 -addr " + proxy2,
		"grpc by rp": "-proto grpc -addr " + proxy2,
		"tcp":        "-proto tcp -addr " + echo,
	} {
		f := generate(t, exe, append(strings.Fields("fix -rate 400 -conns 4 -dur 500ms"), strings.Fields(args)...)...)
		if f.Want != 200 || f.Reqs != f.Want || f.Bad != 0 || f.P50 <= 0 || f.P99 < f.P50 {
			t.Errorf("fix, %s: got %+v", name, f)
		}
	}
	for _, args := range []string{"rr -conns 2 -addr " + echo, "bulk -conns 2 -addr " + sink, "conn -conns 2 -addr " + proxy} {
		if f := generate(t, exe, append(strings.Fields(args), "-dur", "200ms")...); f.Reqs <= 0 || f.Bad != 0 {
			t.Errorf("%s: got %+v", args, f)
		}
	}
}

// TestBad sees that an answer that is no success is counted.
func TestBad(t *testing.T) {
	exe := build(t)
	app := httptest.NewServer(http.NotFoundHandler())
	defer app.Close()
	for _, command := range []string{"fix -rate 200 -conns 1", "conn -conns 1"} {
		if f := generate(t, exe, append(strings.Fields(command), "-dur", "200ms", "-addr", app.Listener.Addr().String())...); f.Bad == 0 {
			t.Errorf("%s: got %+v", command, f)
		}
	}
}
