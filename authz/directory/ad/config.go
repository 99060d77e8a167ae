package ad

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"postern/authz/directory"
	"postern/internal/config"
	"postern/internal/ldapc"
	"postern/internal/seal"
)

var tlsOf = map[config.TLS]ldapc.TLS{config.TLSLDAPS: ldapc.LDAPS, config.TLSStart: ldapc.StartTLS, config.TLSNone: ldapc.Plain}

// FromConfig makes a realm's Config out of a configuration, and the file of its
// machine account's password. Files are read, servers are not asked.
func FromConfig(r *config.Realm, ring *seal.Ring, log *slog.Logger) (Config, *SecretFile, error) {
	a := &r.AD
	file := &SecretFile{Path: string(a.MachineSecret), Ring: ring, Account: string(r.NetBIOS) + `\` + string(a.Machine) + "$"}
	cfg := Config{
		Domain: string(r.Domain), NetBIOS: string(r.NetBIOS), Machine: string(a.Machine), Secret: file.Load,
		TLS: tlsOf[a.TLS], Connections: a.Connections, Channels: a.Channels, Timeout: a.Timeout, Cache: r.Cache,
		TOTP: string(a.TOTP), Static: directory.Static{Address: string(a.Static.Address), Route: string(a.Static.Route), Within: a.Static.Within},
		HonourDialin: a.HonourDialin, Workstation: string(a.Workstation), Log: log,
	}
	for _, h := range a.Servers.Servers {
		cfg.Servers = append(cfg.Servers, string(h))
	}
	if a.CA != "" {
		pem, err := os.ReadFile(string(a.CA))
		if err != nil {
			return Config{}, nil, fmt.Errorf("read CA: %w", err)
		}
		cfg.CA = x509.NewCertPool()
		if !cfg.CA.AppendCertsFromPEM(pem) {
			return Config{}, nil, fmt.Errorf("read CA %s: %w", a.CA, errNoCertificate)
		}
	}
	switch b := &a.Bind; {
	case b.User == "": // as the machine
	case b.Kind == config.BindGSSAPI:
		cfg.Bind = &ldapc.Bind{Method: ldapc.GSSAPI, Name: b.User, Keytab: string(b.Keytab), Krb5Conf: string(b.Krb5)}
		if b.Keytab == "" {
			cfg.Bind.Password = b.Read
		}
	default:
		cfg.Bind = &ldapc.Bind{Method: ldapc.Simple, Name: b.User, Password: b.Read}
	}
	if a.Probe.User != "" {
		cfg.Probe = &Probe{User: a.Probe.User, Password: a.Probe.Read}
	}
	return cfg, file, nil
}

var errNoCertificate = errors.New("no certificate in it")
