package ldap

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/integration/slapd"
	"postern/internal/config"
)

// A realm as it is configured logs people on.
func TestFromConfig(t *testing.T) {
	s := slapd.Start(t, slapd.Options{FreeIPA: true})
	realm := func() *config.Realm {
		r := &config.Realm{Name: "ipa", Kind: config.RealmLDAP, Cache: time.Minute}
		l := &r.LDAP
		l.Servers = config.Servers{Servers: []config.Host{config.Host(s.TLSAddr)}, TLS: config.TLSLDAPS, CA: config.File(s.CAFile), Timeout: 2 * time.Second, Connections: 2}
		l.BaseDN, l.GroupDN, l.Schema, l.Nesting = slapd.PeopleDN, slapd.GroupDN, config.SchemaFreeIPA, 8
		l.Bind.Kind, l.Bind.User = config.BindSimple, s.BindDN
		secret := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(secret, []byte(s.BindPassword+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		l.Bind.File = config.File(secret)
		return r
	}
	cfg, err := FromConfig(realm(), nil)
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	a, err := d.Find(t.Context(), name("alice"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.VerifyMSCHAPv2(t.Context(), name("alice"), a, respond("alice", "Alice-Pass1")); err != nil {
		t.Error(err)
	}

	r := realm()
	r.LDAP.HashAttribute, r.LDAP.UserAttribute, r.LDAP.MemberAttribute, r.LDAP.GroupAttribute = "sambantpassword", "mail", "uniqueMember", "ou"
	if cfg, err = FromConfig(r, nil); err != nil {
		t.Fatal(err)
	}
	if got := cfg.Schema; got.Form != HashHex || got.User != "mail" || got.Member != "uniqueMember" || got.Group != "ou" || got.Posix {
		t.Errorf("%+v", got)
	}
	cfg.Client.Close()

	for want, change := range map[string]func(r *config.Realm){
		"read CA":                             func(r *config.Realm) { r.LDAP.CA = "/nowhere" },
		"no certificate in it":                func(r *config.Realm) { r.LDAP.CA = r.LDAP.Bind.File },
		"how to speak TLS is not said":        func(r *config.Realm) { r.LDAP.TLS = config.TLSUnknown },
		"GSSAPI needs a principal and a krb5": func(r *config.Realm) { r.LDAP.Bind.Kind = config.BindGSSAPI },
	} {
		r := realm()
		change(r)
		if _, err := FromConfig(r, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
