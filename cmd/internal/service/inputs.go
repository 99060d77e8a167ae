package service

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"postern/authz"
	"postern/authz/inputs"
	"postern/internal/config"
	"postern/internal/seal"
)

// openInputs makes the keeper of inputs; nil: none are to be kept.
func openInputs(cfg *config.Service, ring *seal.Ring, log *slog.Logger, reg prometheus.Registerer) (*inputs.Keeper, error) {
	if cfg.Inputs.Dir == "" {
		return nil, nil
	}
	return inputs.New(inputs.Config{
		Dir: string(cfg.Inputs.Dir), Keep: cfg.Inputs.Keep, Pseudonyms: cfg.Inputs.Pseudonyms, Ring: ring, Log: log, Metrics: reg,
	})
}

// kept is a keeper as the decider wants it: no keeper is no interface.
func kept(k *inputs.Keeper) authz.Inputs {
	if k == nil {
		return nil
	}
	return k
}
