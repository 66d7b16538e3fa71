package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// A trial runs mutations against one tree. It remembers which tests are green
// without one: a test that was red before shows nothing.
type trial struct {
	options
	mu    sync.Mutex
	green map[string]func() error // by the test's arguments
}

func newTrial(o options) *trial {
	return &trial{options: o, green: map[string]func() error{}}
}

// try returns nil if m turned its test red.
func (t *trial) try(m mutation) error {
	broken, err := m.broken(t.root)
	if err != nil {
		return err
	}
	if err := t.baseline(m.test); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // what is left is the system's to clear
	overlay, err := t.overlay(dir, m, broken)
	if err != nil {
		return err
	}
	return t.red(overlay, m.test)
}

// broken returns m's file in the module at root, broken. What m replaces must stand
// in it once.
func (m *mutation) broken(root string) (string, error) {
	source, err := os.ReadFile(filepath.Join(root, m.file))
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(source), m.old); n != 1 {
		return "", fmt.Errorf("what it replaces stands %d times in %s, not once", n, m.file)
	}
	return strings.Replace(string(source), m.old, m.new, 1), nil
}

// overlay writes the broken file, and the note that tells the compiler to read
// it in the place of the sound one.
func (t *trial) overlay(dir string, m mutation, broken string) (string, error) {
	sound, err := filepath.Abs(filepath.Join(t.root, m.file))
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, filepath.Base(m.file))
	note, err := json.Marshal(map[string]map[string]string{"Replace": {sound: file}})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, errors.Join(os.WriteFile(file, []byte(broken), 0o600), os.WriteFile(path, note, 0o600))
}

// baseline runs the sound test, once for all that name it.
func (t *trial) baseline(test []string) error {
	key := strings.Join(test, " ")
	t.mu.Lock()
	once, ok := t.green[key]
	if !ok {
		once = sync.OnceValue(func() error {
			out, err := t.goTest(test...)
			if err != nil {
				return fmt.Errorf("go test %s fails before anything is broken: %w", key, err)
			}
			if bytes.Contains(out, []byte("no tests to run")) || bytes.Contains(out, []byte("no test files")) {
				return fmt.Errorf("go test %s runs no test", key)
			}
			return nil
		})
		t.green[key] = once
	}
	t.mu.Unlock()
	return once()
}

// red runs the test over the broken file, and returns nil if it fails. A file
// that does not compile shows nothing either.
func (t *trial) red(overlay string, test []string) error {
	out, err := t.goTest(append([]string{"-overlay", overlay}, test...)...)
	switch {
	case err == nil:
		return fmt.Errorf("go test %s stays green", strings.Join(test, " "))
	case bytes.Contains(out, []byte("[build failed]")) || bytes.Contains(out, []byte("[setup failed]")):
		return fmt.Errorf("it does not compile:\n%s", out)
	default:
		return nil
	}
}

func (t *trial) goTest(args ...string) ([]byte, error) {
	// Compiling comes on top of the test's own time, and go test ends the test
	// itself: this is for what it cannot end.
	ctx, cancel := context.WithTimeout(context.Background(), t.timeout+5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-count=1", "-timeout", t.timeout.String()}, args...)...)
	cmd.Dir = t.root
	return cmd.CombinedOutput()
}
