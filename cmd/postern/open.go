package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"postern/authz"
	"postern/authz/directory"
	"postern/authz/mfa"
	"postern/cmd/internal/service"
	"postern/internal/config"
	"postern/internal/seal"
	"postern/internal/store"
)

// withStore opens the service's store for f.
func (c *cli) withStore(f func(cfg *config.Service, st store.Store) error) (err error) {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	if cfg.Store.Kind == config.StoreEmbedded {
		path := string(cfg.Store.Path)
		defer func(keep func() error) { err = errors.Join(err, keep()) }(keepOwner(filepath.Dir(path), path))
	}
	st, err := service.OpenStore(cfg)
	if errors.Is(err, store.ErrInUse) {
		return fmt.Errorf("%w: the embedded store is for one process, and the service is running.\n"+
			"Stop it for as long as this command takes (systemctl stop postern-radiusd), or keep the shared state in Redis (store: {kind: redis}),\n"+
			"which any number of processes may use", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	return f(cfg, st)
}

// account finds the name a user's state is kept under, however it is typed.
func account(cfg *config.Service, ring *seal.Ring, typed string) (name string, known bool, err error) {
	dir, err := service.OpenDirectory(cfg, ring, slog.New(slog.DiscardHandler))
	if err != nil {
		return "", false, err
	}
	defer dir.Close()
	n := authz.AskedName(mfa.SplitCode(typed, byte(cfg.MFA.Separator)))
	a, err := dir.Find(context.Background(), n)
	if err == nil {
		return a.Name, true, nil
	}
	if _, no := directory.IsRejected(err); no {
		return dir.Canonical(n), false, nil
	}
	return "", false, err
}
