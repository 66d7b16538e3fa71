package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/outrigger-mesh/outrigger/proxy"
	"github.com/outrigger-mesh/outrigger/proxy/telemetry"
)

func proxyCommand(last *lastWords) *cobra.Command {
	settings := false
	cmd := &cobra.Command{
		Use:   "proxy",
		Short: "Run the sidecar",
		Long: `Run the sidecar until SIGTERM or SIGINT, and then finish what is in hand. A
second signal ends it at once, with status 1.

All settings come from the environment, under linkerd2-proxy's names
(LINKERD2_PROXY_…) and, for what Linkerd has no name for, OUTRIGGER_….
Every mistake in them is reported at once, and the exit status is then 64.`,
		Example: `  # The least that a sidecar needs, against a control plane in a file:
  outrigger control --file mesh.yaml --listen 127.0.0.1:8086 &
  OUTRIGGER_UNMESHED=true \
  LINKERD2_PROXY_DESTINATION_SVC_ADDR=127.0.0.1:8086 \
  LINKERD2_PROXY_POLICY_SVC_ADDR=127.0.0.1:8086 \
  LINKERD2_PROXY_POLICY_WORKLOAD=default:me \
  OUTRIGGER_OUTBOUND_NAMED=127.0.0.1:5001=web.demo.svc.cluster.local:80 \
  outrigger proxy
  # and then
  curl http://127.0.0.1:5001/
  curl http://127.0.0.1:4191/metrics`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if settings {
				return printSettings(cmd.OutOrStdout())
			}
			return runProxy(cmd.Context(), last, os.Environ(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().BoolVar(&settings, "settings", false, "list every setting with its type, default and meaning, and exit")
	return cmd
}

// printSettings prints the table that docs/config.md is made of.
func printSettings(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for _, v := range proxy.Vars() {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", v.Name, v.Type, v.Default, v.Meaning)
	}
	return w.Flush()
}

func runProxy(ctx context.Context, last *lastWords, environ []string, out, errs io.Writer) error {
	config, warnings, err := proxy.ReadEnv(environ)
	if err != nil {
		return err
	}
	format := telemetry.PlainLog
	if config.Log.JSON {
		format = telemetry.JSONLog
	}
	log, filter := telemetry.Logs(config.Log.Filter, format, out, errs)
	log = log.With("target", "outrigger")
	for _, w := range warnings {
		log.Warn("setting", "name", w.Name, "reason", w.Reason)
	}
	runtime.GOMAXPROCS(config.Workers.Procs(runtime.NumCPU()))
	collectSooner(environ)
	return proxy.Run(ctx, config, proxy.Options{Log: log, Filter: filter, Build: build(), LastWords: last.are})
}

// garbage is how much there may be, in percent of what is in use, before it is
// collected: less than is usual in Go, since a request leaves little and connections
// hold much.
const garbage = 70

// collectSooner sets that, unless the user has set it.
func collectSooner(environ []string) {
	if !slices.ContainsFunc(environ, func(v string) bool { return strings.HasPrefix(v, "GOGC=") }) {
		debug.SetGCPercent(garbage)
	}
}
