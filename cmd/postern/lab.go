package main

import (
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"postern/cmd/internal/lab"
)

// labCommand runs a node and a service in one process and shows what they do.
func labCommand(c *cli) *cobra.Command {
	var o lab.Options
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Run a node and a service here and dial in, to see it all work",
		Long: `lab starts a node and a service in this process, with users, a policy, certificates
and a one-time-code token of its own, and a host behind the node. It dials in and
narrates what happens, then stays up for a client of yours. It needs root, leaves
nothing behind but the directory given by --dir, and writes DIR/lab.env for scripts.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// A terminal that is closed ends the lab as Ctrl-C does.
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
			defer stop()
			o.Out, o.Err = c.out, c.errs
			return lab.Run(ctx, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Dir, "dir", "", "keep the lab's state in `DIR` (default: a temporary directory)")
	f.StringVar(&o.Listen, "listen", "", "`ADDR` for PPTP (default: every address, port 1723)")
	f.StringVar(&o.Radius, "radius", "", "serve RADIUS/UDP for other NAS on `ADDR:PORT`, accounting on the next port")
	f.StringVar(&o.Redis, "redis", "", "use the Redis at `URL` instead of the embedded store")
	f.BoolVar(&o.NoLockout, "no-lockout", false, "never lock out, for conformance tools that send wrong passwords")
	f.BoolVar(&o.Stateful, "stateful", false, "ask clients for MPPE's stateful mode")
	f.BoolVar(&o.NoTour, "no-tour", false, "do not dial in")
	f.BoolVar(&o.Once, "once", false, "end after the tour; the exit status tells whether every step was right")
	f.BoolVarP(&o.Verbose, "verbose", "v", false, "log what node and service do")
	_ = cmd.MarkFlagDirname("dir")
	return cmd
}
