package main

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/outrigger-mesh/outrigger/proxy/telemetry"
)

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Say what was built, and from what",
		Args:  noArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			b := build()
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "outrigger %s (%s, %s)\n", b.Version, b.GitSHA, b.Date)
		},
	}
}

// build reads what the toolchain wrote into this binary.
func build() telemetry.Build {
	b := telemetry.Build{Version: "devel", GitSHA: "unknown", Date: "unknown", Profile: "release", Vendor: "outrigger-mesh"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.GitSHA = s.Value[:min(len(s.Value), 12)]
		case "vcs.time":
			b.Date = s.Value
		}
	}
	return b
}
