package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// processes are this program, run several times.
type processes struct {
	exe, dir string
	died     func(error) // told of one that ends and should not, once they are guarded
	guarded  atomic.Bool
	life     context.Context
	end      context.CancelFunc
	all      []*process
}

// A process is one of them.
type process struct {
	program
	cmd      *exec.Cmd
	log      string        // the file of what it writes
	expected atomic.Bool   // that it ends
	done     chan struct{} // closed when it has
	err      error         // how it ended, once done is closed
}

// newProcesses runs nothing yet. Processes live until stop, whatever the user
// interrupts, so that they see the last requests through.
func newProcesses(exe, dir string, died func(error)) *processes {
	p := &processes{exe: exe, dir: dir, died: died}
	p.life, p.end = context.WithCancel(context.Background())
	return p
}

// again stops p, and returns what can start all anew.
func (p *processes) again() *processes {
	p.stop()
	for _, q := range p.all {
		_ = os.Remove(q.log)
	}
	return newProcesses(p.exe, p.dir, p.died)
}

// start runs a program. What it writes goes to a file, behind what an earlier one
// of that name wrote.
func (p *processes) start(of program) error {
	log := filepath.Join(p.dir, of.name+".log")
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // a file in our own folder
	if err != nil {
		return fmt.Errorf("%s: %w", of.name, err)
	}
	defer f.Close()                                       // the process has its own
	cmd := exec.CommandContext(p.life, p.exe, of.args...) //nolint:gosec // this very program
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = demoStop
	cmd.Env = append(plainEnviron(os.Environ()), of.env...)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = childAttr()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", of.name, err)
	}
	q := &process{program: of, cmd: cmd, log: log, done: make(chan struct{})}
	p.all = append(p.all, q)
	go func() {
		q.err = cmd.Wait()
		close(q.done)
		p.mourn(q)
	}()
	return nil
}

// guard has died called for every process that has ended, or does so from now on.
func (p *processes) guard() {
	p.guarded.Store(true)
	for _, q := range p.all {
		select {
		case <-q.done:
			p.mourn(q)
		default:
		}
	}
}

func (p *processes) mourn(q *process) {
	if p.guarded.Load() && p.life.Err() == nil && !q.expected.Load() {
		p.died(q.ended())
	}
}

// plainEnviron leaves out what would configure a sidecar: only the demonstration
// does that.
func plainEnviron(environ []string) []string {
	var plain []string
	for _, v := range environ {
		if !strings.HasPrefix(v, "LINKERD2_PROXY_") && !strings.HasPrefix(v, "OUTRIGGER_") {
			plain = append(plain, v)
		}
	}
	return plain
}

// ended says how q ended.
func (q *process) ended() error {
	cause := q.err
	if cause == nil {
		cause = errors.New("exit status 0")
	}
	if text, _ := os.ReadFile(q.log); strings.Contains(string(text), syscall.EADDRINUSE.Error()) {
		return fmt.Errorf("%s ended: %w: %w", q.name, errPortTaken, cause)
	}
	return fmt.Errorf("%s ended: %w", q.name, cause)
}

// find returns the running process of that name, or nil.
func (p *processes) find(name string) *process {
	for _, q := range p.all {
		if q.name == name && !q.expected.Load() {
			return q
		}
	}
	return nil
}

// ready waits until a program that was started answers.
func (p *processes) ready(ctx context.Context, of program) error {
	q := p.find(of.name)
	for {
		err := of.ready.try(ctx)
		select {
		case <-q.done: // first: another may answer in its place
			return q.ended()
		default:
		}
		if err == nil {
			return nil
		}
		if pause(ctx, demoTick) != nil {
			return fmt.Errorf("%s is not ready: %w (%w)", of.name, err, context.Cause(ctx))
		}
	}
}

// kill ends a process at once, as a crash would.
func (p *processes) kill(name string) error {
	q := p.find(name)
	if q == nil {
		return fmt.Errorf("%s does not run", name)
	}
	q.expected.Store(true)
	if err := q.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill %s: %w", name, err)
	}
	<-q.done
	return nil
}

// stop asks every process to end, and after demoStop no longer asks.
func (p *processes) stop() {
	p.end()
	for _, q := range p.all {
		<-q.done
	}
}

// tailLines is how much of each log is shown when something failed.
const tailLines = 5

// tails returns the last lines of every log.
func (p *processes) tails() []string {
	var all []string
	seen := make(map[string]bool)
	for _, q := range p.all {
		text, err := os.ReadFile(q.log)
		if err != nil || len(text) == 0 || seen[q.log] {
			continue
		}
		seen[q.log] = true
		lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
		for _, line := range lines[max(0, len(lines)-tailLines):] {
			all = append(all, q.name+": "+line)
		}
	}
	return all
}

// pause waits for d. It returns an error if ctx is done before.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
