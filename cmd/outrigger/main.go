// Command outrigger is a service mesh's sidecar proxy, and the tools that go with
// it, as sub-commands. It is no place for logic: that is in the packages.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/outrigger-mesh/outrigger/proxy"
)

// How a process ends (sysexits.h).
const (
	exitFailure = 1
	exitUsage   = 64 // the command line, the environment or a file is wrong
)

func main() {
	var args []string
	if len(os.Args) > 1 { // an empty argv is what Linkerd's entry point gives
		args = os.Args[1:]
	}
	os.Exit(execute(context.Background(), args, os.Stdout, os.Stderr))
}

// execute is main with all that it uses given to it. It returns the exit status.
func execute(ctx context.Context, args []string, out, errs io.Writer) int {
	hurry := &lastWords{}
	ctx, stop := untilSignal(ctx, hurry)
	defer stop()
	root := rootCommand(hurry) //nolint:contextcheck // cobra gives ctx to the commands
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errs)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	_, _ = fmt.Fprintln(errs, text(err))
	return status(err)
}

// text is what a person is told of err. Mistakes in an environment come as lines
// that say so themselves.
func text(err error) string {
	var env *proxy.EnvError
	if errors.As(err, &env) {
		return env.Error()
	}
	return "outrigger: " + err.Error()
}

// A usageError is somebody's mistake, and not a failure of ours.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

// noArgs refuses arguments, and so sub-commands that there are not.
func noArgs(cmd *cobra.Command, args []string) error {
	if err := cobra.NoArgs(cmd, args); err != nil {
		return usageError{err}
	}
	return nil
}

func status(err error) int {
	var env *proxy.EnvError
	var usage usageError
	if errors.As(err, &env) || errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailure
}

// untilSignal returns a context that is done at the first SIGINT or SIGTERM, with
// that as its cause. The second one ends the process at once, but for what last has
// to say.
func untilSignal(ctx context.Context, last *lastWords) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 2) // one to drain, one to exit
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		select {
		case s := <-signals:
			cancel(proxy.Asked(signalName(s)))
		case <-ctx.Done():
			return
		}
		last.speak(signalName(<-signals))
		os.Exit(exitFailure)
	}()
	return ctx, func() { signal.Stop(signals); cancel(nil) }
}

// signalName returns a signal's name as operators know it.
func signalName(s os.Signal) string {
	if s == syscall.SIGINT {
		return "SIGINT"
	}
	return "SIGTERM"
}

// lastWords are said when the process ends at once.
type lastWords struct {
	mu  sync.Mutex
	say func(why string)
}

// are sets them.
func (l *lastWords) are(say func(why string)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.say = say
}

// brief is how long an end at once may take: what is stuck is not waited for.
const brief = 200 * time.Millisecond

func (l *lastWords) speak(why string) {
	l.mu.Lock()
	say := l.say
	l.mu.Unlock()
	if say == nil {
		return
	}
	said := make(chan struct{})
	go func() { defer close(said); say(why) }()
	late := time.NewTimer(brief)
	defer late.Stop()
	select {
	case <-said:
	case <-late.C:
	}
}

func rootCommand(last *lastWords) *cobra.Command {
	root := &cobra.Command{
		Use:   "outrigger",
		Short: "A service mesh's sidecar proxy",
		Long: `outrigger is a service mesh's sidecar proxy: it takes the place of linkerd2-proxy.

Without a sub-command it is the sidecar ("outrigger proxy"), and reads its
settings from the environment, as linkerd2-proxy does. Begin with

  outrigger demo            a whole mesh on this machine, with traffic
  outrigger proxy --help    the settings of a sidecar
  outrigger control --help  a control plane in one file`,
		Args:          noArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	sidecar := proxyCommand(last)
	root.RunE = sidecar.RunE
	root.AddCommand(sidecar, controlCommand(), demoCommand(), demoAppCommand(), versionCommand())
	return root
}
