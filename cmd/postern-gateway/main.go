// Command postern-gateway is a node: it terminates PPTP tunnels (RFC 2637) and asks
// RADIUS services about every login. It keeps no state that outlives it, but for
// accounting that no service has answered yet, and knows no password.
package main

import (
	"errors"
	"fmt"
	"os"

	"postern/cmd/internal/daemon"
	"postern/cmd/internal/node"
	"postern/internal/config"
	"postern/internal/obs"
)

const program = "postern-gateway"

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	flags, err := daemon.ReadFlags(program, "terminates PPTP tunnels and asks RADIUS services about logins", args, os.Stderr)
	switch {
	case errors.Is(err, daemon.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.Version:
		fmt.Println(daemon.Version(program))
		return 0
	}
	cfg, err := config.LoadGateway(flags.Config)
	if err != nil {
		return daemon.Fail(program, err)
	}
	if flags.Test {
		if err := node.Check(cfg); err != nil {
			return daemon.Fail(program, err)
		}
		fmt.Printf("%s is right\n", flags.Config)
		return 0
	}
	if err := serve(flags.Config, cfg); err != nil {
		return daemon.Fail(program, err)
	}
	return 0
}

// serve runs the node until it is told to stop.
func serve(file string, cfg *config.Gateway) error {
	log, level := obs.NewLogger(os.Stderr, cfg.Log)
	log = log.With("node", string(cfg.Node))
	registry := obs.NewRegistry()
	n, err := node.New(cfg, node.Options{Log: log, Registerer: registry})
	if err != nil {
		return err
	}
	if cfg.Metrics.Listen != "" {
		m, err := obs.ServeMetrics(string(cfg.Metrics.Listen), registry, n.Healthy, log)
		if err != nil {
			n.Stop()
			return err
		}
		defer func() { _ = m.Close() }() // it has logged what made it end
	}
	return daemon.Run(n, func() error {
		cfg, err := config.LoadGateway(file)
		if err != nil {
			return err
		}
		daemon.SetLevel(level, cfg.Log)
		return n.Reload(cfg)
	}, log)
}
