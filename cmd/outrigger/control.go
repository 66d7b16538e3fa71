package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/oklog/run"
	"github.com/spf13/cobra"

	"github.com/outrigger-mesh/outrigger/control/local"
	"github.com/outrigger-mesh/outrigger/proxy/telemetry"
)

func controlCommand() *cobra.Command {
	var file, listen, level string
	cmd := &cobra.Command{
		Use:   "control",
		Short: "Run a control plane in one file",
		Long: `Run a control plane that reads its services from one YAML file: the services
Destination and OutboundPolicies of Linkerd's API, on one listener, and Identity if
the file has a section of that name.

A changed file is applied at once. One that cannot be read is reported with the
line that is wrong, and the last good one stands; at the start the exit status is
then 64. docs/mesh-file.md has all that can stand in the file.`,
		Example: `  cat > mesh.yaml <<EOF
  services:
  - name: web.demo.svc.cluster.local
    port: 80
    endpoints:
    - address: 127.0.0.1:8080
  EOF
  outrigger control --file mesh.yaml --listen 127.0.0.1:8086`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usageError{errors.New("control: --file says which mesh file, and is not given")}
			}
			return runControl(cmd.Context(), file, listen, level, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "the mesh file; required")
	cmd.Flags().StringVarP(&listen, "listen", "l", "127.0.0.1:8086", "address to serve on")
	cmd.Flags().StringVar(&level, "log", telemetry.DefaultLog, "what to log, as LINKERD2_PROXY_LOG")
	_ = cmd.MarkFlagFilename("file", "yaml", "yml")
	cmd.AddCommand(anchorsCommand())
	return cmd
}

func anchorsCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "anchors",
		Short: "Print the trust anchors of a mesh file",
		Long: `Print, as PEM, the trust anchors of a mesh file's identity section: what a sidecar
has in LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS. If that section names a directory in
which there are none, a trust anchor and an issuer are made there first.`,
		Example: `  export LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS="$(outrigger control anchors --file mesh.yaml)"`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usageError{errors.New("control anchors: --file says which mesh file, and is not given")}
			}
			return printAnchors(file, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "the mesh file; required")
	_ = cmd.MarkFlagFilename("file", "yaml", "yml")
	return cmd
}

func printAnchors(file string, out io.Writer) error {
	mesh, err := local.Load(file)
	if err != nil {
		return usageError{err}
	}
	anchors, err := mesh.Anchors()
	if err == nil && len(anchors) == 0 {
		err = fmt.Errorf("%s has no identity section", file)
	}
	if err != nil {
		return usageError{err}
	}
	_, err = out.Write(anchors)
	return err
}

func runControl(ctx context.Context, file, listen, level string, out, errs io.Writer) error {
	log, _ := telemetry.Logs(level, telemetry.PlainLog, out, errs)
	log = log.With("target", "outrigger")
	mesh, err := local.Load(file)
	if err != nil {
		return usageError{err}
	}
	anchors, err := mesh.Anchors()
	if err != nil {
		return usageError{err}
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("control plane: %w", err)
	}
	server := local.New(local.Config{Log: log})
	server.Set(mesh)
	if a, ok := l.Addr().(*net.TCPAddr); ok && len(anchors) > 0 && !a.IP.IsLoopback() {
		log.Warn("tokens that prove identities are read in clear text, and not from this machine alone", "listen", a)
	}
	log.Info("ready", "listen", l.Addr(), "file", file, "services", len(mesh.Services()))
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var g run.Group
	g.Add(func() error { return server.Serve(ctx, l) }, func(error) { stop() })
	g.Add(func() error { return server.Follow(ctx, file, local.Reload{}) }, func(error) { stop() })
	if err := g.Run(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
