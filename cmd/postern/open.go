package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"postern/authz/directory"
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
	st, err := service.OpenStore(cfg)
	if errors.Is(err, store.ErrInUse) {
		return fmt.Errorf("%w: the embedded store is for one process, and the service is running.\n"+
			"Stop it for as long as this command takes (systemctl stop postern-radiusd), or keep the shared state in Redis (store: {kind: redis}),\n"+
			"which any number of processes may use", err)
	}
	if err != nil {
		return err
	}
	if cfg.Store.Kind == config.StoreEmbedded {
		defer func() { err = errors.Join(err, keepOwner(string(cfg.Store.Path))) }()
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	return f(cfg, st)
}

// withUsers opens the users file for f.
func (c *cli) withUsers(f func(u *directory.Users) error) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	if cfg.Users == "" {
		return fmt.Errorf("%s names no users_file; chap-secrets is edited by hand", c.config)
	}
	ring, err := service.OpenRing(cfg, false)
	if err != nil {
		return err
	}
	path := string(cfg.Users)
	if err := f(&directory.Users{Path: path, Ring: ring}); err != nil {
		return err
	}
	return keepOwner(path)
}

// account finds the name a user's state is kept under.
func account(cfg *config.Service, ring *seal.Ring, typed string) (name string, known bool, err error) {
	dir, err := service.OpenDirectory(cfg, ring, slog.New(slog.DiscardHandler))
	if err != nil {
		return "", false, err
	}
	n := directory.Name{User: typed}
	_, err = dir.Find(context.Background(), n)
	if err == nil {
		return dir.Canonical(n), true, nil
	}
	if _, no := directory.IsRejected(err); no {
		return dir.Canonical(n), false, nil
	}
	return "", false, err
}

// keepOwner gives a file that root has made to whom its directory belongs: the
// service, which could not read it otherwise.
func keepOwner(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	dir, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	st, ok := dir.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 {
		return nil
	}
	return os.Lchown(path, int(st.Uid), int(st.Gid))
}
