package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

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
	path, err := c.usersFile(cfg)
	if err != nil {
		return err
	}
	ring, err := service.OpenRing(cfg, false)
	if err != nil {
		return err
	}
	if err := f(&directory.Users{Path: path, Ring: ring}); err != nil {
		return err
	}
	return keepOwner(path)
}

// usersFile is the users file of the realm that --realm names, or of the only one that
// has such a file.
func (c *cli) usersFile(cfg *config.Service) (string, error) {
	files := make(map[string]string)
	if cfg.Users != "" {
		files[""] = string(cfg.Users)
	}
	for i := range cfg.Realms {
		if r := &cfg.Realms[i]; r.File.Users != "" {
			files[string(r.Name)] = string(r.File.Users)
		}
	}
	names := slices.Sorted(maps.Keys(files))
	switch path := files[c.realm]; {
	case path != "":
		return path, nil
	case len(files) == 0:
		return "", fmt.Errorf("%s names no users_file; chap-secrets is edited by hand, directories with their own tools", c.config)
	case c.realm != "":
		return "", fmt.Errorf("no realm %q with a users file; there is: %s", c.realm, strings.Join(names, ", "))
	case len(files) > 1:
		return "", fmt.Errorf("several realms have a users file: --realm must be one of %s", strings.Join(names, ", "))
	}
	return files[names[0]], nil
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
