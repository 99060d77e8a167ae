package ad

import (
	"context"

	"github.com/go-ldap/ldap/v3"

	"postern/internal/failover"
	"postern/internal/ldapc"
)

// ldapConfig is how one domain controller is asked.
func (c *Config) ldapConfig(host string, bind ldapc.Bind) ldapc.Config {
	return ldapc.Config{Name: c.NetBIOS + " " + host, Servers: []string{host}, TLS: c.TLS, CA: c.CA, Bind: bind, Conns: c.Connections, Timeout: c.Timeout, Log: c.Log}
}

// machineBind binds as the machine account, by its down-level name.
func (c *Config) machineBind(password func() ([]byte, error)) ldapc.Bind {
	return ldapc.Bind{Method: ldapc.Simple, Name: c.NetBIOS + `\` + c.Machine + "$", Password: password}
}

// connect finds a domain controller that answers, for what must all go to one.
func (c *Config) connect(ctx context.Context, bind ldapc.Bind) (l *ldapc.Client, at string, err error) {
	g := failover.New(c.failover("LDAP"))
	defer g.Close()
	err = g.Do(ctx, func(ctx context.Context, host string) error {
		at = host
		if l, err = ldapc.New(c.ldapConfig(host, bind)); err != nil {
			return err
		}
		_, err := l.Search(ctx, &ldapc.Search{Base: baseDN(c.Domain), Scope: ldap.ScopeBaseObject, Filter: anything, Attributes: []string{"objectSid"}})
		if err != nil {
			l.Close()
		}
		return err
	})
	if err != nil {
		return nil, at, err
	}
	return l, at, nil
}

// failover is a list of the domain controllers.
func (c *Config) failover(what string) failover.Config {
	f := failover.Config{Name: c.NetBIOS + " " + what, Servers: c.Servers, Attempt: c.Timeout, Now: c.Now, Log: c.Log}
	if len(c.Servers) == 0 {
		f.Discover = failover.SRV(c.Domain, srvService)
	}
	return f
}
