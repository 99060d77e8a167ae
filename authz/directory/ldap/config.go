package ldap

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"postern/authz/directory"
	"postern/internal/config"
	"postern/internal/ldapc"
)

var tlsOf = map[config.TLS]ldapc.TLS{config.TLSLDAPS: ldapc.LDAPS, config.TLSStart: ldapc.StartTLS, config.TLSNone: ldapc.Plain}

// FromConfig makes a realm's Config out of a configuration, with a client of its
// own. The CA is read, servers are not asked.
func FromConfig(r *config.Realm, log *slog.Logger) (Config, error) {
	l := &r.LDAP
	cfg := Config{
		BaseDN: l.BaseDN, GroupDN: l.GroupDN, Schema: Samba, Filter: l.Filter, Nesting: l.Nesting, TOTP: string(l.TOTP),
		Static: directory.Static{Address: string(l.Static.Address), Route: string(l.Static.Route), Within: l.Static.Within}, LockTime: l.LockTime, Cache: r.Cache, Log: log,
	}
	if l.Schema == config.SchemaFreeIPA {
		cfg.Schema = FreeIPA
	}
	s := &cfg.Schema
	for _, own := range []struct{ to, given *string }{
		{&s.User, &l.UserAttribute}, {&s.Hash, &l.HashAttribute}, {&s.Group, &l.GroupAttribute}, {&s.Member, &l.MemberAttribute},
	} {
		if *own.given != "" {
			*own.to = *own.given
		}
	}
	switch { // an attribute has one form, whatever else is in the directory
	case strings.EqualFold(s.Hash, Samba.Hash):
		s.Form = HashHex
	case strings.EqualFold(s.Hash, FreeIPA.Hash):
		s.Form = HashBinary
	}
	client, err := clientConfig(r, log)
	if err != nil {
		return Config{}, err
	}
	if cfg.Client, err = ldapc.New(client); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

func clientConfig(r *config.Realm, log *slog.Logger) (ldapc.Config, error) {
	l := &r.LDAP
	cfg := ldapc.Config{Name: string(r.Name), TLS: tlsOf[l.TLS], Conns: l.Connections, Timeout: l.Timeout, Log: log}
	for _, h := range l.Servers.Servers {
		cfg.Servers = append(cfg.Servers, string(h))
	}
	if l.CA != "" {
		pem, err := os.ReadFile(string(l.CA))
		if err != nil {
			return cfg, fmt.Errorf("read CA: %w", err)
		}
		cfg.CA = x509.NewCertPool()
		if !cfg.CA.AppendCertsFromPEM(pem) {
			return cfg, fmt.Errorf("read CA %s: %w", l.CA, errNoCertificate)
		}
	}
	cfg.Bind = ldapc.Bind{Method: ldapc.Simple, Name: l.Bind.User, Password: l.Bind.Read}
	if l.Bind.Kind == config.BindGSSAPI {
		cfg.Bind.Method, cfg.Bind.Keytab, cfg.Bind.Krb5Conf = ldapc.GSSAPI, string(l.Bind.Keytab), string(l.Bind.Krb5)
	}
	return cfg, nil
}

var errNoCertificate = errors.New("no certificate in it")
