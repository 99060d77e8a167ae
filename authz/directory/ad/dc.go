package ad

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"postern/authz/directory/netlogon"
	"postern/internal/failover"
	"postern/internal/ldapc"
)

// dc returns what we have of a domain controller; nothing is connected yet.
func (d *Directory) dc(host string) (*dc, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.dcs[host]; c != nil {
		return c, nil
	}
	c := &dc{host: host, secret: &choice{secret: d.cfg.Secret}, bind: &choice{secret: d.cfg.Secret}}
	c.trust.probes = d.cfg.Probe != nil
	var err error
	bind := d.cfg.machineBind(c.bind.password)
	if d.cfg.Bind != nil {
		bind = *d.cfg.Bind
	}
	if c.ldap, err = ldapc.New(d.cfg.ldapConfig(host, bind)); err != nil {
		return nil, fmt.Errorf("domain controller %s: %w", host, err)
	}
	if c.netlogon, err = netlogon.New(d.cfg.netlogon(host, c.secret.password)); err != nil {
		return nil, fmt.Errorf("domain controller %s: %w", host, err)
	}
	d.dcs[host] = c
	return c, nil
}

// netlogon is how one domain controller is asked.
func (c *Config) netlogon(host string, password func() ([]byte, error)) netlogon.Config {
	return netlogon.Config{
		Server: withoutPort(host), Domain: c.NetBIOS, Machine: strings.ToUpper(c.Machine) + "$", Password: password,
		Channels: c.Channels, Timeout: c.Timeout, Log: c.Log,
	}
}

// withLDAP asks one domain controller after the other over LDAP.
func (d *Directory) withLDAP(ctx context.Context, f func(ctx context.Context, c *dc) error) error {
	return d.ldap.Do(ctx, func(ctx context.Context, host string) error {
		c, err := d.dc(host)
		if err != nil {
			return err
		}
		err = d.bound(c, func() error { return f(ctx, c) })
		d.tellBind(c, err)
		return err
	})
}

// bound asks something of a directory as whom we bind. As the machine that takes its
// password; where one is refused, and there are others, they are tried.
func (d *Directory) bound(c *dc, f func() error) error {
	for tries := 1; ; tries++ {
		err := f()
		var refused *ldapc.BindRefused
		if !errors.As(err, &refused) || d.cfg.Bind != nil || tries >= c.bind.next() {
			return err
		}
	}
}

// tellBind raises the alarm when the directory refuses us, and ends it.
func (d *Directory) tellBind(c *dc, err error) {
	var refused *ldapc.BindRefused
	var ours *secretError
	switch {
	case errors.As(err, &ours):
		d.alarms.raise(d.cfg.Now(), c.host, AlarmMachine, ours.Error())
	case errors.As(err, &refused):
		d.alarms.raise(d.cfg.Now(), c.host, AlarmBind, refused.Error())
	case err == nil || ldapc.IsAnswer(err):
		d.alarms.clear(d.cfg.Now(), c.host, AlarmBind)
	}
}

// errElsewhere: LDAP found out already.
var errElsewhere = errors.New("passed over, because LDAP is and another is not")

// withLogon asks one domain controller after the other over NETLOGON.
func (d *Directory) withLogon(ctx context.Context, f func(ctx context.Context, c *dc) error) error {
	return d.netlogon.Do(ctx, func(ctx context.Context, host string) error {
		c, err := d.dc(host)
		if err != nil {
			return err
		}
		if d.shunned(host) {
			return failover.Away(errElsewhere)
		}
		return f(ctx, c)
	})
}

// shunned says whether a domain controller does not answer over LDAP while another
// does. Every login asks LDAP first, so that a dead one is known before its
// NETLOGON is waited for.
func (d *Directory) shunned(host string) bool {
	dead, other := false, false
	for _, s := range d.ldap.Status() {
		if s.Server == host {
			dead = s.State == failover.PassedOver || s.State == failover.OnProbation
		} else {
			other = other || s.State == failover.Up
		}
	}
	return dead && other
}

// logon asks a domain controller, with each of the machine account's passwords that
// it may have.
func (d *Directory) logon(ctx context.Context, c *dc, r *netlogon.Request) (l *netlogon.Logon, err error) {
	err = d.asMachine(c, func() error {
		l, err = c.netlogon.Logon(ctx, r)
		return err
	})
	return l, err
}

// tellUnavailable raises the alarm where waiting does not help.
func (d *Directory) tellUnavailable(c *dc, err error) {
	var u *netlogon.Unavailable
	if !errors.As(err, &u) || !u.Alarm {
		return
	}
	var s netlogon.Status
	kind := AlarmMachine
	if errors.As(err, &s) && s == netlogon.StatusNTLMBlocked {
		kind = AlarmBlocked
	}
	d.alarms.raise(d.cfg.Now(), c.host, kind, u.Error())
}
