package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"postern/internal/config"
	"postern/internal/obs"
)

// Program is a binary with a configuration C.
type Program[C any] struct {
	Name string // postern-gateway
	Does string // in a few words, for the usage
	Role string // what log lines call it: node=gw1

	Load  func(file string) (C, error)
	Check func(C) error // what -test checks besides
	Parts func(C) Parts
	New   func(C, *slog.Logger, prometheus.Registerer) (Server[C], error)
}

// Parts is what every configuration has.
type Parts struct {
	Name    config.Name
	Log     config.Log
	Metrics config.Metrics
}

// Server is what a Program runs.
type Server[C any] interface {
	Process
	Healthy(context.Context) error
	Reload(C) error
}

// Main runs the program and returns its exit status.
func (p *Program[C]) Main(args []string) int {
	flags, err := ReadFlags(p.Name, p.Does, args, os.Stderr)
	switch {
	case errors.Is(err, ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.Version:
		fmt.Println(Version(p.Name))
		return 0
	}
	cfg, err := p.Load(flags.Config)
	switch {
	case err != nil:
	case flags.Health:
		err = askHealth(context.Background(), string(p.Parts(cfg).Metrics.Listen))
	case flags.Test:
		if err = p.Check(cfg); err == nil {
			fmt.Printf("%s is right\n", flags.Config)
		}
	default:
		err = p.serve(flags.Config, cfg)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.Name, err)
		return 1
	}
	return 0
}

// serve runs the server until it is told to stop.
func (p *Program[C]) serve(file string, cfg C) error {
	parts := p.Parts(cfg)
	log, level := obs.NewLogger(os.Stderr, parts.Log)
	log = log.With(p.Role, string(parts.Name))
	registry := obs.NewRegistry()
	s, err := p.New(cfg, log, registry)
	if err != nil {
		return err
	}
	if parts.Metrics.Listen != "" {
		m, err := obs.ServeMetrics(string(parts.Metrics.Listen), registry, s.Healthy, log)
		if err != nil {
			s.Stop()
			return err
		}
		defer func() { _ = m.Close() }() // it has logged what made it end
	}
	return Run(s, func() error {
		cfg, err := p.Load(file)
		if err != nil {
			return err
		}
		level.Set(slog.Level(p.Parts(cfg).Log.Level))
		return s.Reload(cfg)
	}, log)
}
