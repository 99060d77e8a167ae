package config

import (
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"
	"time"
)

func TestExampleFiles(t *testing.T) {
	deploy := filepath.Join("..", "..", "deploy")
	g, err := LoadGateway(filepath.Join(deploy, "gateway.example.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if g.Node != "gw1" || len(g.Radius.Servers) != 2 || g.Radius.Servers[1].Priority != 1 {
		t.Errorf("gateway: %+v", g)
	}
	if want := filepath.Join(deploy, "tls", "gw1.key"); string(g.TLS.Key) != want {
		t.Errorf("key file %q, want %q", g.TLS.Key, want)
	}
	s, err := LoadService(filepath.Join(deploy, "radiusd.example.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if s.MFA.Separator != '+' || s.Store.Kind != StoreRedis || !s.Clients[1].AllowPAP || s.Clients[0].AllowPAP {
		t.Errorf("service: %+v", s)
	}
	if len(s.Realms) != 4 || !s.Realms[0].Default || s.Realms[3].File.Users == "" {
		t.Errorf("realms: %+v", s.Realms)
	}
	if want := filepath.Join(deploy, "secrets", "redis"); string(s.Store.Password.File) != want {
		t.Errorf("password file %q, want %q", s.Store.Password.File, want)
	}
}

// TestDefaults writes as little as is possible.
func TestDefaults(t *testing.T) {
	g, err := ParseGateway("/etc/postern/gateway.yaml", []byte(`
node: gw1
pptp: {inside: 10.99.0.1}
radius:
  servers: [{name: s1, transport: udp, address: "127.0.0.1:1812", acct_address: "127.0.0.1:1813", secret_env: S1}]
`))
	if err != nil {
		t.Fatal(err)
	}
	p := g.PPTP
	switch {
	case p.Listen != netip.MustParseAddrPort("0.0.0.0:1723"), p.Tun != "postern0", p.MTU != 1400,
		len(p.Auth) != 1 || p.Auth[0] != AuthMSCHAPv2,
		len(p.AllowedSources) != 1 || p.AllowedSources[0].Bits() != 0,
		!p.MPPE.Require, p.MPPE.Stateful != StatefulNever, len(p.MPPE.Strengths) != 1 || p.MPPE.Strengths[0] != 128,
		p.Limits.HalfOpen != 256, p.Limits.MaxCalls != 4096, p.Timers.Idle != 30*time.Second,
		g.Radius.Timeout != 3*time.Second, g.Radius.Retries != 2, g.Radius.Servers[0].Weight != 1,
		g.Radius.Servers[0].AllowMSCHAPOverUDP, g.Spool.Dir != "/var/lib/postern/spool",
		g.Metrics.Listen != "", slog.Level(g.Log.Level) != slog.LevelInfo, g.Log.Format != LogJSON:
		t.Errorf("defaults: %+v", g)
	}

	s, err := ParseService("/etc/postern/radiusd.yaml", []byte(`
radius: {auth_listen: :1812}
clients: [{name: lab, networks: [127.0.0.1], secret_file: lab.secret}]
store: {path: postern.db}
key_ring_file: keys
users_file: users
policy_file: policy.yaml
`))
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case s.Node != "radiusd", s.Store.Kind != StoreEmbedded, s.Store.Path != "/etc/postern/postern.db",
		s.Clients[0].Networks[0] != netip.MustParsePrefix("127.0.0.1/32"),
		!s.Clients[0].RequireMessageAuthenticator, s.Clients[0].AllowPAP,
		s.MFA != MFA{Separator: '+', DeviceSeparator: '%', Digits: 6, Window: 1, Issuer: "Postern"},
		s.Lockout.User != Threshold{}, s.Lockout.Disabled, s.Lockout.Prefix != Network{IPv4: 24, IPv6: 48}, s.Session.Interim != 5*time.Minute,
		s.Follow.Interval != time.Minute, s.Clients[0].CoA != "",
		s.Radius.Acct != "", s.Radius.RadSec.Listen != "":
		t.Errorf("defaults: %+v", s)
	}
}
