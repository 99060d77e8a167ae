package ldapc

import (
	"context"
	"crypto/x509"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/integration/samba"
)

// atDC makes a Client of a domain controller, bound as its ordinary account.
func atDC(t testing.TB, dc *samba.DC, change func(c *Config)) *Client {
	t.Helper()
	pem, err := os.ReadFile(dc.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	ca := x509.NewCertPool()
	ca.AppendCertsFromPEM(pem)
	cfg := Config{
		Servers: []string{dc.Addr.String()}, TLS: LDAPS, CA: ca, ServerName: dc.Host, Timeout: 5 * time.Second,
		Bind: Bind{Method: Simple, Name: dc.BindUser, Password: func() ([]byte, error) { return []byte(dc.BindPassword), nil }},
	}
	if change != nil {
		change(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// register gives a DC the name that its LDAP has in Kerberos. samba_spnupdate does
// that, which is none of the services that the harness starts.
func register(t *testing.T, dc, at *samba.DC) {
	t.Helper()
	m := ldap.NewModifyRequest("CN=DC1,OU=Domain Controllers,"+at.BaseDN, nil)
	m.Add("servicePrincipalName", []string{"ldap/" + dc.Host})
	if err := at.LDAP(t).Modify(m); err != nil {
		t.Fatal(err)
	}
}

func TestSamba(t *testing.T) {
	t.Log(samba.Version(t))
	dc := samba.Start(t, samba.Options{})
	register(t, dc, dc)
	user, _, _ := strings.Cut(dc.BindUser, "@")
	gssapi := Bind{Method: GSSAPI, Name: user + "@" + dc.Realm, Krb5Conf: dc.Krb5Conf, SPN: "ldap/" + dc.Host}

	alice := &Search{Base: dc.BaseDN, Scope: ldap.ScopeWholeSubtree, Filter: Equal("sAMAccountName", "alice"), Attributes: []string{"userPrincipalName"}, PageSize: 10}
	asked := func(t *testing.T, c *Client) {
		t.Helper()
		start := time.Now()
		// A search over the whole domain comes with references to its other partitions.
		entries, err := c.Search(t.Context(), alice)
		if err != nil || len(entries) != 1 {
			t.Fatalf("%d entries, %v", len(entries), err)
		}
		first := time.Since(start)
		start = time.Now()
		if _, err := c.Search(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		t.Logf("first %v, then %v", first, time.Since(start))
	}
	t.Run("simple", func(t *testing.T) {
		c := atDC(t, dc, nil)
		asked(t, c)
		root, err := c.RootDSE(t.Context())
		if err != nil || root.GetAttributeValue("highestCommittedUSN") == "" || root.GetAttributeValue("dsServiceName") == "" {
			t.Error(root, err)
		}
	})
	t.Run("StartTLS", func(t *testing.T) { asked(t, atDC(t, dc, func(c *Config) { c.TLS = StartTLS })) })
	t.Run("keytab", func(t *testing.T) {
		b := gssapi
		b.Keytab = dc.Keytab
		asked(t, atDC(t, dc, func(c *Config) { c.Bind = b }))
	})
	t.Run("Kerberos password", func(t *testing.T) {
		b := gssapi
		b.Password = func() ([]byte, error) { return []byte(dc.BindPassword), nil }
		asked(t, atDC(t, dc, func(c *Config) { c.Bind = b }))
		asked(t, atDC(t, dc, func(c *Config) { c.Bind = b; c.TLS = StartTLS }))
	})
	t.Run("wrong Kerberos password", func(t *testing.T) {
		b := gssapi
		fetched := 0
		b.Password = func() ([]byte, error) { fetched++; return []byte("Wrong-Pass1"), nil }
		c := atDC(t, dc, func(c *Config) { c.Bind = b })
		for range 3 {
			_, err := c.Search(t.Context(), alice)
			var refused *BindRefused
			if !errors.As(err, &refused) || strings.Contains(err.Error(), "Wrong-Pass1") {
				t.Errorf("%v", err)
			}
		}
		if n := dc.BadPwdCount(t, user); n != 1 {
			t.Errorf("%d wrong passwords were counted", n)
		}
	})
	t.Run("passwords of people", func(t *testing.T) {
		c := atDC(t, dc, nil)
		if err := c.Bind(t.Context(), "alice@"+dc.Domain, []byte("Alice-Pass1")); err != nil {
			t.Error(err)
		}
		for user, want := range map[string]string{"alice": "52e", "dave": "533", "grace": "773"} {
			password := strings.ToUpper(user[:1]) + user[1:] + "-Pass1"
			if want == "52e" {
				password = "Wrong"
			}
			err := c.Bind(t.Context(), user+"@"+dc.Domain, []byte(password))
			if code, ok := SubCode(err); !ok || code != want {
				t.Errorf("%s: %q %v", user, code, err)
			}
		}
	})
	t.Run("frozen", func(t *testing.T) {
		b := gssapi
		b.Keytab = dc.Keytab
		dc.Freeze()
		defer dc.Resume()
		for _, b := range []Bind{b, {Method: Anonymous}} {
			c := atDC(t, dc, func(c *Config) { c.Bind = b })
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			start := time.Now()
			if _, err := c.Search(ctx, alice); err == nil || IsAnswer(err) || time.Since(start) > time.Second {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		}
	})
}

// The KDC may be another host than the server, and frozen alone.
func TestFrozenKDC(t *testing.T) {
	dc := samba.Start(t, samba.Options{})
	kdc := samba.Start(t, samba.Options{})
	register(t, dc, kdc)
	user, _, _ := strings.Cut(dc.BindUser, "@")
	c := atDC(t, dc, func(c *Config) {
		c.Bind = Bind{Method: GSSAPI, Name: user + "@" + dc.Realm, Krb5Conf: kdc.Krb5Conf, Keytab: kdc.Keytab, SPN: "ldap/" + dc.Host}
	})
	kdc.Freeze()
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := c.Search(ctx, anything)
		var refused *BindRefused
		if err == nil || IsAnswer(err) || errors.As(err, &refused) || time.Since(start) > time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	}
	kdc.Resume()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := c.Search(ctx, anything); IsNoSuchObject(err) || Is(err, ldap.LDAPResultReferral) {
		return // it answered: there is no dc=lab
	} else if err != nil {
		t.Errorf("the KDC is back: %v", err)
	}
}
