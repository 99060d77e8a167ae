package service

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"postern/internal/config"
	"postern/internal/store"
)

// OpenStore opens the configured store. The embedded one is for one process at a
// time: store.ErrInUse.
func OpenStore(cfg *config.Service) (store.Store, error) {
	switch cfg.Store.Kind {
	case config.StoreEmbedded:
		path := string(cfg.Store.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, fmt.Errorf("open embedded store: %w", err)
		}
		return store.OpenEmbedded(store.EmbeddedConfig{Path: path})
	case config.StoreRedis:
		rc, err := redisConfig(&cfg.Store)
		if err != nil {
			return nil, err
		}
		return store.OpenRedis(rc)
	case config.StoreUnknown:
	}
	return nil, fmt.Errorf("open store: kind %v", cfg.Store.Kind)
}

// redisConfig reads what the configuration points to.
func redisConfig(c *config.StoreConfig) (store.RedisConfig, error) {
	rc := store.RedisConfig{MasterName: c.Sentinel, Username: c.User, Timeout: c.Timeout}
	secure := 0
	for _, u := range c.URLs {
		one, err := store.ParseRedisURL(u)
		if err != nil {
			return rc, fmt.Errorf("store: %w", err)
		}
		if one.TLS != nil {
			secure++
		}
		rc.Addrs, rc.DB = append(rc.Addrs, one.Addrs...), one.DB
	}
	if secure != 0 && secure != len(c.URLs) {
		return rc, errors.New("store: some URLs are redis:// and some rediss://")
	}
	if c.Password.Set() {
		secret, err := c.Password.Read()
		if err != nil {
			return rc, fmt.Errorf("store: %w", err)
		}
		rc.Password = string(secret)
	}
	switch {
	case secure > 0:
		// No ServerName: in a cluster each node is called by its own.
		rc.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	case c.CA != "":
		return rc, errors.New("store: ca_file without rediss://")
	}
	if c.CA != "" {
		pem, err := os.ReadFile(string(c.CA))
		if err != nil {
			return rc, fmt.Errorf("store: %w", err)
		}
		rc.TLS.RootCAs = x509.NewCertPool()
		if !rc.TLS.RootCAs.AppendCertsFromPEM(pem) {
			return rc, fmt.Errorf("store: %s holds no certificate", c.CA)
		}
	}
	return rc, nil
}
