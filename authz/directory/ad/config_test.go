package ad

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/internal/config"
	"postern/internal/ldapc"
)

func TestFromConfig(t *testing.T) {
	dir := t.TempDir()
	probe := filepath.Join(dir, "probe")
	if err := os.WriteFile(probe, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &config.Realm{Name: "corp", Kind: config.RealmAD, Domain: "corp.example", NetBIOS: "CORP", Cache: time.Minute, AD: config.ADRealm{
		Servers: config.Servers{Servers: []config.Host{"dc1.corp.example", "dc2.corp.example"}, TLS: config.TLSStart, Timeout: 3 * time.Second, Connections: 5},
		Machine: "GW", MachineSecret: config.File(filepath.Join(dir, "machine")), Channels: 3, HonourDialin: true, Workstation: "GW",
		Probe: config.Probe{User: "probe", Secret: config.Secret{File: config.File(probe)}},
	}}
	cfg, file, err := FromConfig(r, testRing(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.TLS != ldapc.StartTLS || len(cfg.Servers) != 2 || cfg.Timeout != 3*time.Second || cfg.Connections != 5 || cfg.Channels != 3 ||
		cfg.Cache != time.Minute || !cfg.HonourDialin || cfg.Workstation != "GW" || cfg.Bind != nil || cfg.CA != nil || file.Account != `CORP\GW$` {
		t.Errorf("%+v", cfg)
	}
	if p, err := cfg.Probe.Password(); err != nil || string(p) != "secret" {
		t.Errorf("%q, %v", p, err)
	}
	if err := file.Save(&Secret{Password: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if s, err := cfg.Secret(); err != nil || string(s.Password) != "x" {
		t.Errorf("%v", err)
	}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := d.dc("dc1.corp.example"); err != nil || c == nil {
		t.Error(err)
	}
	d.Close()

	r.AD.Bind = config.Bind{Kind: config.BindSimple, User: "svc@corp.example", Secret: config.Secret{File: config.File(probe)}}
	if cfg, _, err = FromConfig(r, testRing(t), nil); err != nil || cfg.Bind.Method != ldapc.Simple || cfg.Bind.Name != "svc@corp.example" {
		t.Errorf("%+v, %v", cfg.Bind, err)
	}
	r.AD.Bind = config.Bind{Kind: config.BindGSSAPI, User: "svc", Keytab: "k", Krb5: "c"}
	if cfg, _, err = FromConfig(r, testRing(t), nil); err != nil || cfg.Bind.Method != ldapc.GSSAPI || cfg.Bind.Keytab != "k" || cfg.Bind.Password != nil {
		t.Errorf("%+v, %v", cfg.Bind, err)
	}
	for _, ca := range []string{filepath.Join(dir, "none"), probe} {
		r.AD.CA = config.File(ca)
		if _, _, err := FromConfig(r, testRing(t), nil); err == nil {
			t.Errorf("%s is a CA", ca)
		}
	}
}
