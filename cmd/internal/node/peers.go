package node

import (
	"errors"
	"fmt"

	"postern/cmd/internal/peers"
	"postern/internal/config"
	"postern/internal/radius"
)

// Check reads what a configuration points to, secrets and certificates, and its filter
// rules. The error holds every mistake. Nothing is connected to.
func Check(cfg *config.Gateway) error {
	_, _, err := peers.Servers(cfg.Radius.Servers, cfg.TLS)
	_, err2 := askers(cfg)
	_, err3 := filterConfig(cfg, cfg.PPTP.Tun)
	return errors.Join(err, err2, err3)
}

// askers reads the secrets of those who may end and change sessions by UDP.
func askers(cfg *config.Gateway) ([]radius.DynamicClient, error) {
	var list []radius.DynamicClient
	var errs []error
	for _, c := range cfg.CoA.Clients {
		secret, err := c.Secret.Read()
		if err != nil {
			errs = append(errs, fmt.Errorf("coa client %v: %w", c.Network, err))
		}
		list = append(list, radius.DynamicClient{Network: c.Network, Secret: radius.NewSecret(secret)})
		clear(secret)
	}
	return list, errors.Join(errs...)
}
