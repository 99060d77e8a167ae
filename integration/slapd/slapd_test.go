package slapd

import (
	"fmt"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"postern/internal/mschap"
)

func search(c *ldap.Conn, user string, attributes ...string) (*ldap.Entry, error) {
	res, err := c.Search(ldap.NewSearchRequest(PeopleDN, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 2, 5, false, "(uid="+user+")", attributes, nil))
	if err != nil {
		return nil, err
	}
	if len(res.Entries) != 1 {
		return nil, fmt.Errorf("%d entries", len(res.Entries))
	}
	return res.Entries[0], nil
}

func TestHashes(t *testing.T) {
	t.Log(Version(t))
	hash := mschap.NTHash("Alice-Pass1")
	for _, o := range []Options{{}, {FreeIPA: true}, {NoTLS: true}} {
		s := Start(t, o)
		attribute, want := "sambaNTPassword", fmt.Sprintf("%X", hash)
		if o.FreeIPA {
			attribute, want = "ipaNTHash", string(hash[:])
		}
		for dn, want := range map[string]string{s.BindDN: want, s.BlindDN: ""} {
			c, err := s.dial(dn, s.BindPassword)
			if err != nil {
				t.Fatal(err)
			}
			e, err := search(c, "alice", attribute)
			if err != nil || e.GetAttributeValue(attribute) != want {
				t.Errorf("%+v: %s reads %x: %v", o, dn, e.GetAttributeValue(attribute), err)
			}
			_ = c.Close()
		}
	}
}

func TestPasswords(t *testing.T) {
	s := Start(t, Options{})
	for _, tt := range []struct {
		name, password string
		ok             bool
	}{{"bob", Password("bob"), true}, {"bob", "wrong", false}, {"policy", Password("policy"), false}} {
		c, err := s.dial("uid="+tt.name+","+PeopleDN, tt.password)
		if (err == nil) != tt.ok {
			t.Errorf("%s with %s: %v", tt.name, tt.password, err)
		}
		if err == nil {
			_ = c.Close()
		}
	}
	c, err := ldap.DialURL("ldap://" + s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Bind(s.BindDN, s.BindPassword); !ldap.IsErrorWithCode(err, ldap.LDAPResultConfidentialityRequired) {
		t.Errorf("a password in clear: %v", err)
	}
}

func TestFreezeKillRestart(t *testing.T) {
	s := Start(t, Options{})
	c := s.LDAP(t)
	s.Freeze()
	c.SetTimeout(1e8)
	if _, err := search(c, "bob"); err == nil {
		t.Error("a frozen server answers")
	}
	s.Resume()
	if _, err := search(s.LDAP(t), "bob"); err != nil {
		t.Error(err)
	}
	s.Kill()
	if _, err := s.dial(s.BindDN, s.BindPassword); err == nil {
		t.Error("a dead server answers")
	}
	s.Restart(t)
	if _, err := search(s.LDAP(t), "bob"); err != nil {
		t.Error(err)
	}
}
