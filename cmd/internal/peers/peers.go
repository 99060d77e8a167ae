// Package peers reads what a configuration says of RADIUS servers: a node's services,
// and the upstream servers of a realm.
package peers

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"postern/internal/config"
	"postern/internal/radius"
)

// Servers turns configured servers into what a RADIUS client asks, with their secrets
// and certificates read. RadSec servers that name no identity get own. The error
// holds every mistake.
func Servers(list []config.RadiusServer, own config.Identity) (servers []radius.Server, mschapOverUDP bool, err error) {
	var errs []error
	allowed := map[bool]string{}
	for _, s := range list {
		p := radius.Server{
			Name: string(s.Name), Network: s.Transport.String(), Addr: string(s.Address), AcctAddr: string(s.AcctAddress),
			Priority: s.Priority, Weight: s.Weight,
		}
		switch s.Transport {
		case config.TransportUDP:
			secret, err := s.Secret.Read()
			if err != nil {
				errs = append(errs, fmt.Errorf("server %s: %w", s.Name, err))
			}
			p.Secret = radius.NewSecret(secret)
			clear(secret)
			if otherHost(p.Addr) {
				allowed[s.AllowMSCHAPOverUDP] = p.Name
			}
		case config.TransportRadSec:
			id := s.Identity
			if !id.Set() {
				id = own
			}
			host, _, err := net.SplitHostPort(p.Addr)
			if err == nil {
				p.TLS, err = radius.ClientTLS(radius.TLSFiles{Cert: string(id.Cert), Key: string(id.Key), CA: string(id.CA)}, host)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("server %s: %w", s.Name, err))
			}
		case config.TransportUnknown:
		}
		servers = append(servers, p)
	}
	// One client asks them all, and what one must not see it could send to another.
	if len(allowed) == 2 {
		errs = append(errs, fmt.Errorf("servers %s and %s: allow_mschap_over_udp must be the same for all servers by UDP on other hosts",
			allowed[true], allowed[false]))
	}
	return servers, allowed[true] != "", errors.Join(errs...)
}

// otherHost says whether UDP to addr leaves this host. A name could be anybody's.
func otherHost(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return true
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return !a.Unmap().IsLoopback()
	}
	return host != "localhost"
}
