package main

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"postern/authz/activation"
	"postern/internal/config"
	"postern/internal/store"
	"postern/policy"
)

// withFreeStore is withStore for what can do without: false says that there is none, or
// that the running service keeps it to itself.
func (c *cli) withFreeStore(cfg *config.Service, f func(st store.Store) error) (bool, error) {
	if cfg.Store.Kind == config.StoreEmbedded {
		if _, err := os.Stat(string(cfg.Store.Path)); errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
	}
	err := c.withStore(func(_ *config.Service, st store.Store) error { return f(st) })
	if errors.Is(err, store.ErrInUse) {
		return false, nil
	}
	return true, err
}

// activated is a policy that was activated, by its version.
func (c *cli) activated(ctx context.Context, cfg *config.Service, version string) (p *policy.Policy, err error) {
	_, err = c.withFreeStore(cfg, func(st store.Store) error {
		_, b, err := activation.NewDesk(st).Bundle(ctx, version)
		if errors.Is(err, activation.ErrNotKept) {
			return nil
		}
		if err == nil {
			p, err = policy.LoadFiles(b.Files)
		}
		return err
	})
	if err == nil && p == nil {
		err = errNotAtHand
	}
	return p, err
}
