package failover

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
)

// SRV discovers the hosts that a domain's SRV records name (RFC 2782), in the order
// of priority and, among equals, drawn by weight. The service is everything before
// the domain: "_ldap._tcp.dc._msdcs" is every domain controller,
// "_ldap._tcp.Berlin._sites.dc._msdcs" those of one site. The records' ports are
// left out: a DC is asked on several, and its record has that of plain LDAP.
func SRV(domain, service string) Discover {
	return SRVFrom(net.DefaultResolver, domain, service)
}

// SRVFrom is SRV with a resolver of one's own.
func SRVFrom(r *net.Resolver, domain, service string) Discover {
	return func(ctx context.Context) ([]string, error) {
		name := service + "." + strings.TrimSuffix(domain, ".") + "."
		// The error may come with records: some of them had bad names and were left out.
		_, records, err := r.LookupSRV(ctx, "", "", name)
		var hosts []string
		for _, rr := range records {
			// The target "." means that there is decidedly no such service.
			host := strings.ToLower(strings.TrimSuffix(rr.Target, "."))
			if host != "" && !slices.Contains(hosts, host) {
				hosts = append(hosts, host)
			}
		}
		if len(hosts) == 0 && err != nil {
			return nil, err
		}
		if len(hosts) == 0 {
			return nil, fmt.Errorf("look up SRV %s: no host offers the service", name)
		}
		return hosts, nil
	}
}
