package node

import (
	"errors"
	"fmt"
	"net/netip"

	"postern/internal/config"
	"postern/pptp"
	"postern/pptp/filter"
)

// mssHeaders are the headers between a tunnel's MTU and the segment in it: IPv4 and TCP
// without options (RFC 6691).
const mssHeaders = 40

// filterConfig is what the packet filter is to do. The error holds every mistake in the
// rules, each with its place in the file.
func filterConfig(cfg *config.Gateway, tun string) (filter.Config, error) {
	f, p := &cfg.Filter, &cfg.PPTP
	c := filter.Config{
		Tun: tun, Inside: p.Inside, Listen: p.Listen.Addr().Unmap(), Allowed: p.AllowedSources, GREPerSource: f.GRERate,
		Masquerade: f.NAT.Masquerade || f.NAT.Source.IsValid(), Source: f.NAT.Source, MSS: p.MTU - mssHeaders, ClientToClient: f.ClientToClient,
		Portal: f.Portal, CaptivePort: uint16(f.CaptivePort), AllowToNode: f.ToNode, Table: string(f.Table),
		Filters: make(map[string][]filter.Rule, len(f.Filters)), Sets: make(map[string][]netip.Prefix, len(f.Sets)),
	}
	for name, networks := range f.Sets {
		c.Sets[string(name)] = networks
	}
	var errs []error
	for name, rules := range f.Filters {
		for _, text := range rules {
			r, err := filter.ParseRule(text.Text)
			if _, known := c.Sets[r.Set]; err == nil && r.Set != "" && !known {
				err = fmt.Errorf("there is no set %q", r.Set)
			}
			if err != nil {
				errs = append(errs, text.Wrong(err))
			}
			c.Filters[string(name)] = append(c.Filters[string(name)], r)
		}
	}
	return c, errors.Join(errs...)
}

// tableFilter is the packet filter as a node's sessions see it.
type tableFilter struct{ *filter.Table }

func (t tableFilter) Set(c filter.Client) (pptp.Place, error) {
	l, err := t.Table.Set(c)
	if err != nil {
		return nil, err
	}
	return place{t.Table, l}, nil
}

// place is one session's.
type place struct {
	table *filter.Table
	lease filter.Lease
}

func (p place) Change(c filter.Client) error { return p.table.Change(p.lease, c) }
func (p place) Remove() error                { return p.table.Remove(p.lease) }
