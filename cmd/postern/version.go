package main

import (
	"runtime"

	"github.com/spf13/cobra"

	"postern/cmd/internal/daemon"
	"postern/internal/obs"
)

func versionCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return c.version() },
	}
}

func (c *cli) version() error {
	v := map[string]string{"version": obs.Version(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
	return c.say(v, "%s", daemon.Version("postern"))
}
