package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A group is a control group with a limit on memory, of either version.
type group struct{ dir, limit, used, sockets, events string }

// newGroup makes one for the test. Who may not make any sees the test skipped.
func newGroup(t *testing.T, limit int) *group {
	t.Helper()
	name := fmt.Sprintf("outrigger-%d-%s", os.Getpid(), strings.ReplaceAll(t.Name(), "/", "-"))
	g := &group{filepath.Join("/sys/fs/cgroup/memory", name), "memory.limit_in_bytes", "memory.usage_in_bytes", "memory.kmem.tcp.usage_in_bytes", "memory.oom_control"}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		g = &group{filepath.Join("/sys/fs/cgroup", name), "memory.max", "memory.current", "", "memory.events"}
	}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		t.Skipf("NOT RUN: no control group can be made, so that nothing was seen of a limit on memory: %v", err)
	}
	t.Cleanup(func() {
		for range 50 { // until what ran in it is gone
			if os.Remove(g.dir) == nil {
				return
			}
			<-time.After(20 * time.Millisecond)
		}
		t.Errorf("%s could not be removed", g.dir)
	})
	if err := os.WriteFile(filepath.Join(g.dir, g.limit), []byte(strconv.Itoa(limit)), 0); err != nil {
		t.Skipf("NOT RUN: memory cannot be limited here: %v", err)
	}
	return g
}

// number reads a file of the group's: a number alone, or the one after a word.
func (g *group) number(t *testing.T, file, word string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(g.dir, file))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) == 1 && word == "" || len(f) == 2 && f[0] == word {
			n, _ := strconv.Atoi(f[len(f)-1])
			return n
		}
	}
	t.Fatalf("%s has no %q:\n%s", file, word, text)
	return 0
}

// alive fails the test if anything of the group was killed for want of memory.
func (g *group) alive(t *testing.T, s *sidecar) {
	t.Helper()
	if n := g.number(t, g.events, "oom_kill"); n > 0 {
		t.Fatalf("killed for want of memory %d times", n)
	}
	if _, err := fetch("http://" + s.admin + "/live"); err != nil {
		t.Errorf("the sidecar does not answer: %v", err)
	}
}

// confined starts a sidecar, and not its control plane, with commands of the shell
// run first.
func confined(t *testing.T, first, backend, proto string) *sidecar {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "confined")
	script := fmt.Sprintf("#!/bin/sh\nset -e\nif [ \"$1\" = proxy ]; then\n%s\nfi\nexec %s \"$@\"\n", first, exe)
	if err := os.WriteFile(bin, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return startAs(t, bin, backend, proto)
}

func inGroup(t *testing.T, g *group, backend, proto string) *sidecar {
	t.Helper()
	return confined(t, "echo $$ >"+filepath.Join(g.dir, "cgroup.procs"), backend, proto)
}

// A prober asks the admin port all the while, as a kubelet and a Prometheus do.
type prober struct {
	stop    chan struct{}
	once    sync.Once
	done    sync.WaitGroup
	asked   atomic.Int64
	slowest atomic.Int64
	seen    sync.Map // of lines of outrigger_overload_active that were 1
}

func (s *sidecar) probe(t *testing.T) *prober {
	t.Helper()
	p := &prober{stop: make(chan struct{})}
	t.Cleanup(func() { p.end(); p.done.Wait() })
	p.done.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-p.stop:
				return
			case <-tick.C:
			}
			path := []string{"/ready", "/live", "/metrics", "/ready", "/live"}[i%5]
			began := time.Now()
			text, err := fetch("http://" + s.admin + path)
			if err != nil {
				t.Errorf("admin port, %s after %v: %v", path, time.Since(began), err)
			}
			for line := range strings.Lines(text) {
				if name, ok := strings.CutSuffix(strings.TrimSpace(line), " 1"); ok && strings.HasPrefix(name, "outrigger_overload_active") {
					p.seen.Store(name, true)
				}
			}
			p.asked.Add(1)
			p.slowest.Store(max(p.slowest.Load(), int64(time.Since(began))))
		}
	})
	return p
}

// over ends the prober, and logs what it saw.
func (p *prober) over(t *testing.T) {
	t.Helper()
	p.end()
	p.done.Wait()
	t.Logf("the admin port answered %d times, in %v at most", p.asked.Load(), time.Duration(p.slowest.Load()))
	p.seen.Range(func(name, _ any) bool { t.Logf("seen: %v", name); return true })
	if p.asked.Load() == 0 {
		t.Error("the admin port was not asked")
	}
}

func (p *prober) end() { p.once.Do(func() { close(p.stop) }) }

func (p *prober) saw(action, cause string) bool {
	_, ok := p.seen.Load(fmt.Sprintf("outrigger_overload_active{action=%q,cause=%q}", action, cause))
	return ok
}

func fetch(url string) (string, error) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(text), err
}

// cpu is how much processor time the sidecar has used.
func (s *sidecar) cpu(t *testing.T) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// A crowd is clients that hold a connection each, and count what became of them.
type crowd struct {
	stop    chan struct{}
	done    sync.WaitGroup
	held    atomic.Int64 // now
	ok      atomic.Int64
	shed    atomic.Int64 // 503
	late    atomic.Int64 // 504
	refused atomic.Int64 // reset, or closed without an answer
	strange atomic.Pointer[string]
}

// gather has n clients each connect, ask, and hold what they have; and come again
// after a second if they are refused or asked to leave.
func gather(n int, addr, path string, read bool) *crowd {
	c := &crowd{stop: make(chan struct{})}
	for range n {
		c.done.Go(func() {
			for {
				c.hold(addr, path, read)
				select {
				case <-c.stop:
					return
				case <-time.After(time.Second):
				}
			}
		})
	}
	return c
}

func (c *crowd) hold(addr, path string, read bool) {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		c.refused.Add(1)
		return
	}
	defer conn.Close()
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-c.stop:
			conn.Close()
		case <-over:
		}
	}()
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path)
	r := bufio.NewReaderSize(conn, 512)
	resp, err := http.ReadResponse(r, nil)
	switch {
	case err != nil:
		c.refused.Add(1)
		return
	case resp.StatusCode == 503:
		c.shed.Add(1)
		if resp.Header.Get("retry-after") == "" && !strings.Contains(resp.Header.Get("l5d-proxy-error"), "endpoint") {
			c.odd(fmt.Sprintf("503 without retry-after: %v", resp.Header))
		}
		return
	case resp.StatusCode == 504: // on a busy machine a connect may take too long
		c.late.Add(1)
		return
	case resp.StatusCode != 200:
		c.odd(resp.Status + " " + resp.Header.Get("l5d-proxy-error"))
		return
	}
	c.ok.Add(1)
	c.held.Add(1)
	defer c.held.Add(-1)
	if !read {
		<-c.stop
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_, _ = r.ReadByte() // until it is closed
}

func (c *crowd) odd(what string) { c.strange.Store(&what) }

func (c *crowd) String() string {
	return fmt.Sprintf("held %d, answered %d, shed %d, late %d, refused %d", c.held.Load(), c.ok.Load(), c.shed.Load(), c.late.Load(), c.refused.Load())
}

func (c *crowd) over(t *testing.T) {
	t.Helper()
	close(c.stop)
	c.done.Wait()
	if s := c.strange.Load(); s != nil {
		t.Errorf("a client was answered %s", *s)
	}
}

// heals waits until a request is answered, and nothing is said to be overloaded.
func (s *sidecar) heals(t *testing.T) {
	t.Helper()
	began := time.Now()
	for time.Since(began) < 15*time.Second {
		text, err := fetch("http://" + s.listen + "/")
		if err == nil && text == "hello" && metric(t, s.admin, "outrigger_overload_active", "") == 0 {
			t.Logf("healed after %v", time.Since(began))
			return
		}
		<-time.After(50 * time.Millisecond)
	}
	t.Errorf("not healed after %v", time.Since(began))
}

// TestDescriptors has more clients than there are descriptors for.
//
// In so short a time on a busy machine the bar on the processor is only that nothing
// spins; a minute's is 5 %.
func TestDescriptors(t *testing.T) { descriptors(t, 400, 3*time.Second, 15) }

func descriptors(t *testing.T, n int, long time.Duration, most int) {
	t.Helper()
	s := confined(t, "ulimit -n 256", bothOrigin(t), "h1")
	p := s.probe(t)
	c := gather(n, s.listen, "/", true)
	<-time.After(3 * time.Second) // until all have been there
	before := s.cpu(t)
	<-time.After(long)
	used := s.cpu(t) - before
	t.Logf("of 256 descriptors and %d clients, %v; %v of processor in %v: %.1f %%", n, c, used, long, 100*used.Seconds()/long.Seconds())
	if used > long/100*time.Duration(most) {
		t.Errorf("it took %v of processor time in %v, with nothing to do but to refuse", used, long)
	}
	if c.held.Load() < 50 || c.refused.Load() == 0 {
		t.Errorf("%v; want some held, and the others refused", c)
	}
	c.over(t)
	p.over(t)
	if !p.saw("refuse", "connections") {
		t.Error("no metric said so")
	}
	s.heals(t)
}

// TestLimitedMemory has more clients than there is memory for.
func TestLimitedMemory(t *testing.T) { limitedMemory(t, 40<<20, 2500, 300, 4*time.Second) }

func limitedMemory(t *testing.T, limit, idle, slow int, long time.Duration) {
	t.Helper()
	g := newGroup(t, limit)
	s := inGroup(t, g, bothOrigin(t), "h1")
	p := s.probe(t)
	began := time.Now()
	crowds := map[string]*crowd{
		"idle, outbound": gather(idle/2, s.listen, "/", true),
		"idle, inbound":  gather(idle/2, s.inbound, "/", true),
		"slow readers":   gather(slow, s.listen, "/big", false),
	}
	top, sockets := 0, 0
	for time.Since(began) < long {
		top = max(top, g.number(t, g.used, ""))
		if g.sockets != "" {
			sockets = max(sockets, g.number(t, g.sockets, ""))
		}
		<-time.After(50 * time.Millisecond)
	}
	for name, c := range crowds {
		t.Logf("%s: %v", name, c)
	}
	t.Logf("of %d MiB %.1f were used at most, and %.1f by sockets beside; %.1f MiB is the program's own", limit>>20, float64(top)/(1<<20), float64(sockets)/(1<<20), float64(s.rss(t))/(1<<20))
	for _, c := range crowds {
		c.over(t)
	}
	g.alive(t, s)
	p.over(t)
	s.heals(t)
	g.alive(t, s)
}

// TestSlowReaders has more that do not read on than there is memory for.
func TestSlowReaders(t *testing.T) { slowReaders(t, 48<<20, 1000, 5*time.Second) }

func slowReaders(t *testing.T, limit, n int, long time.Duration) {
	t.Helper()
	limitedMemory(t, limit, 0, n, long)
}
