package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
)

// How long the demonstration gives what it waits for. It ends in any case.
const (
	demoLongest = 5 * time.Minute         // in all, until the table is printed
	demoScene   = 1200 * time.Millisecond // for which a scene is looked at
	demoGlance  = 300 * time.Millisecond  // at what the requests do, to see a change
	demoShow    = 15 * time.Second        // for a change to show
	demoTick    = 50 * time.Millisecond   // between two looks
	demoStart   = 20 * time.Second        // for all processes to be ready
	demoClaim   = 5 * time.Second         // for other demonstrations to have started
	demoStop    = 3 * time.Second         // for a process to end by itself
	demoSettle  = 5 * time.Second         // for the last counts to arrive
	demoStarts  = 3                       // tries to find ports that stay free
	demoLeast   = 1000                    // requests of each protocol
	demoDelay   = 80 * time.Millisecond   // by which an application is made slow, at least
)

func demoCommand() *cobra.Command {
	once := false
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run a whole mesh on this machine, with traffic",
		Long: `Run a whole mesh on this machine: a control plane, a client's sidecar, and three
applications, each behind a sidecar of its own. All are separate processes that
listen on loopback only. Nothing needs to be installed, and nobody needs to be
root. The client speaks HTTP/1.1, HTTP/2, gRPC and a protocol that is not HTTP; its
sidecar and the others speak mutual TLS, by identities that the control plane gives.

Requests run all the time, and none may fail, while an application is made slow,
a traffic split is turned round, the control plane is killed, and an endpoint is
taken away. Then one table says what was seen, who proved to whom who they are, and
whether the counts of the client, of the sidecars and of the applications agree. After that the mesh stays
up to be looked at, until Ctrl-C.

With --once it ends with the table. The exit status is 0 if every request
succeeded, all were in mutual TLS between those who were to speak, and all counts
agree, and otherwise 1.`,
		Example: `  outrigger demo
  outrigger demo --once && echo it works`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDemo(cmd.Context(), once, cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "end with the table, and with exit status 1 if anything was amiss")
	return cmd
}

var (
	// errAmiss is a demonstration that ran, and did not show what it should.
	errAmiss = errors.New("not all was as it should be")
	// errInterrupted is one that the user ended before its table.
	errInterrupted = errors.New("interrupted")
)

// interrupted reports whether the user has ended the demonstration, and nothing
// else has.
func interrupted(ctx context.Context) bool { return errors.Is(context.Cause(ctx), context.Canceled) }

func runDemo(ctx context.Context, once bool, out io.Writer) (err error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	d, err := newDemo(out, fail)
	if err != nil {
		return err
	}
	defer func() { d.close(err) }()
	if err := d.show(ctx); err != nil {
		if interrupted(ctx) {
			err = errInterrupted
		}
		return fmt.Errorf("demo: %w", err)
	}
	if !once {
		if err := d.stay(ctx); err != nil {
			return err
		}
	}
	return d.verdict()
}

// verdict is an error if anything was amiss, which the table has told.
func (d *demo) verdict() error {
	if len(d.amiss) > 0 {
		return fmt.Errorf("demo: %w", errAmiss)
	}
	return nil
}

// A demo is one demonstration.
type demo struct {
	out   io.Writer
	ink   ink
	began time.Time
	dir   string // for the mesh file, what identities rest on, and the logs
	mesh  *demoMesh
	procs *processes
	loads demoLoads
	told  view     // of which requests a scene's row has told
	amiss []string // what was not as it should be
}

// newDemo prepares a demonstration. fail is called if a process ends that should
// not.
func newDemo(out io.Writer, fail func(error)) (*demo, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("demo: which program this is: %w", err)
	}
	dir, err := os.MkdirTemp("", "outrigger-demo-")
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	return &demo{out: out, ink: inkFor(out), began: time.Now(), dir: dir, procs: newProcesses(exe, dir, fail)}, nil
}

// close stops every process. What they wrote is kept, and the end of it shown, if
// the demonstration failed.
func (d *demo) close(err error) {
	tails := d.procs.tails() // before they tell of being stopped
	d.procs.stop()
	if err == nil || errors.Is(err, errInterrupted) {
		_ = os.RemoveAll(d.dir)
		return
	}
	d.say("\nThe last lines of the logs, which are in %s:", d.dir)
	for _, line := range tails {
		d.say("%s", line)
	}
}

func (d *demo) say(format string, args ...any) { _, _ = fmt.Fprintf(d.out, format+"\n", args...) }

// show is the demonstration: the processes, the scenes, the table.
func (d *demo) show(ctx context.Context) error {
	ctx, stop := context.WithTimeoutCause(ctx, demoLongest, fmt.Errorf("it took over %s", demoLongest))
	defer stop()
	if err := d.up(ctx); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	d.say("%s", d.mesh.picture())
	d.loads = d.mesh.loads()
	requests := send(ctx, d.loads.all())
	err := d.scenes(ctx)
	requests.stop()
	if err != nil {
		return err
	}
	seen := d.balanced(ctx)
	d.amiss = append(d.amiss, d.loads.amiss()...)
	d.amiss = append(d.amiss, seen.amiss()...)
	d.say("%s", renderTable(d.ink, d.loads.results(), seen, d.amiss))
	return nil
}

// up starts every process, at ports that are free.
func (d *demo) up(ctx context.Context) error {
	claim, stop := context.WithTimeout(ctx, demoClaim)
	defer stop()
	defer claimStart(claim)()
	for try := 1; ; try++ {
		mesh, err := pickMesh(ctx)
		if err != nil {
			return err
		}
		d.mesh = mesh
		switch err = d.start(ctx); {
		case err == nil:
			d.procs.guard()
			d.say("%d processes run on loopback, all of them this program.%s", len(d.procs.all), d.mesh.movedText())
			return nil
		case !errors.Is(err, errPortTaken) || try == demoStarts:
			return err
		}
		d.procs = d.procs.again() // somebody took a port between our look and our use
	}
}

func (d *demo) start(ctx context.Context) error {
	ctx, stop := context.WithTimeoutCause(ctx, demoStart, fmt.Errorf("the processes were not ready within %s", demoStart))
	defer stop()
	if err := d.rewrite(); err != nil {
		return err
	}
	ids, err := newIdentities(d.dir, d.meshFile())
	if err != nil {
		return err
	}
	for _, stage := range [][]program{d.mesh.servers(d.meshFile()), d.mesh.sidecars(ids)} {
		for _, p := range stage {
			if err := d.procs.start(p); err != nil {
				return err
			}
		}
		for _, p := range stage { // sidecars look for the control plane as they start
			if err := d.procs.ready(ctx, p); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *demo) meshFile() string { return filepath.Join(d.dir, "mesh.yaml") }

// rewrite writes the mesh file anew. It is renamed into place, so that nobody
// reads half of it.
func (d *demo) rewrite() error {
	fresh := d.meshFile() + ".new"
	if err := os.WriteFile(fresh, []byte(d.mesh.yaml()), 0o600); err != nil {
		return fmt.Errorf("mesh file: %w", err)
	}
	if err := os.Rename(fresh, d.meshFile()); err != nil {
		return fmt.Errorf("mesh file: %w", err)
	}
	return nil
}

// stay leaves the mesh up until the user ends it. It returns an error if a process
// ended before.
func (d *demo) stay(ctx context.Context) error {
	d.say("%s", d.mesh.invitation(d.meshFile()))
	<-ctx.Done()
	if !interrupted(ctx) {
		return fmt.Errorf("demo: %w", context.Cause(ctx))
	}
	d.say("\nStopping.")
	return nil
}
