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
		rc, err := RedisConfig(&cfg.Store)
		if err != nil {
			return nil, err
		}
		return store.OpenRedis(rc)
	case config.StoreUnknown:
	}
	return nil, fmt.Errorf("open store: kind %v", cfg.Store.Kind)
}

// RedisConfig reads what the configuration points to.
func RedisConfig(c *config.StoreConfig) (store.RedisConfig, error) {
	rc := store.RedisConfig{MasterName: c.Sentinel, Username: c.User, SentinelUsername: c.SentinelUser, ReplicasAck: c.ReplicasAck, Timeout: c.Timeout}
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
	for _, p := range []struct {
		ref config.PasswordRef
		to  *string
	}{{c.Password, &rc.Password}, {c.SentinelPassword, &rc.SentinelPassword}} {
		if p.ref.Set() {
			secret, err := p.ref.Read()
			if err != nil {
				return rc, fmt.Errorf("store: %w", err)
			}
			*p.to = string(secret)
		}
	}
	if secure > 0 {
		var err error
		if rc.TLS, err = redisTLS(c); err != nil {
			return rc, fmt.Errorf("store: %w", err)
		}
		return rc, nil
	}
	if c.CA != "" || c.Cert != "" || c.ServerName != "" {
		return rc, errors.New("store: ca_file, cert_file or server_name without rediss://")
	}
	return rc, nil
}

// redisTLS has no name by default: in a cluster each node is called by its own.
func redisTLS(c *config.StoreConfig) (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	if c.CA != "" {
		pem, err := os.ReadFile(string(c.CA))
		if err != nil {
			return nil, err
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", c.CA)
		}
	}
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(string(c.Cert), string(c.Key))
		if err != nil {
			return nil, err
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}
