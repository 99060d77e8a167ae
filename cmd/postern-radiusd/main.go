// Command postern-radiusd is the service: it judges every login of nodes and other
// NAS by RADIUS (RFC 2865, 2866, 6614): password, one-time code, lockouts, policy.
package main

import (
	"errors"
	"fmt"
	"os"

	"postern/cmd/internal/daemon"
	"postern/cmd/internal/service"
	"postern/internal/config"
	"postern/internal/obs"
)

const program = "postern-radiusd"

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	flags, err := daemon.ReadFlags(program, "judges logins by RADIUS", args, os.Stderr)
	switch {
	case errors.Is(err, daemon.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.Version:
		fmt.Println(daemon.Version(program))
		return 0
	}
	cfg, err := config.LoadService(flags.Config)
	if err != nil {
		return daemon.Fail(program, err)
	}
	if flags.Test {
		if err := service.Check(cfg); err != nil {
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

// serve runs the service until it is told to stop.
func serve(file string, cfg *config.Service) error {
	log, level := obs.NewLogger(os.Stderr, cfg.Log)
	log = log.With("service", string(cfg.Node))
	registry := obs.NewRegistry()
	s, err := service.New(cfg, service.Options{Log: log, Registerer: registry})
	if err != nil {
		return err
	}
	if cfg.Metrics.Listen != "" {
		m, err := obs.ServeMetrics(string(cfg.Metrics.Listen), registry, s.Healthy, log)
		if err != nil {
			s.Stop()
			return err
		}
		defer func() { _ = m.Close() }() // it has logged what made it end
	}
	return daemon.Run(s, func() error {
		cfg, err := config.LoadService(file)
		if err != nil {
			return err
		}
		daemon.SetLevel(level, cfg.Log)
		return s.Reload(cfg)
	}, log)
}
