package ad

import (
	"context"
	"fmt"
	"slices"

	"postern/authz/directory/netlogon"
	"postern/internal/failover"
)

// prove sets up a channel with the password at a domain controller, at any one if
// server is "".
func (c *Config) prove(ctx context.Context, server string, password []byte) (at string, err error) {
	servers := c.failover("NETLOGON")
	if server != "" {
		servers = failover.Config{Servers: []string{server}, Attempt: c.Timeout}
	}
	g := failover.New(servers)
	defer g.Close()
	err = g.Do(ctx, func(ctx context.Context, host string) error {
		at = host
		p, err := netlogon.New(c.netlogon(host, func() ([]byte, error) { return slices.Clone(password), nil }))
		if err != nil {
			return err
		}
		defer p.Close()
		_, err = p.Check(ctx)
		return err
	})
	if machineRefused(err) {
		return at, fmt.Errorf("%w: %w", ErrNoProof, err)
	}
	if err != nil {
		return at, fmt.Errorf("prove the machine account: %w", err)
	}
	return at, nil
}
