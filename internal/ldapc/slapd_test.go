package ldapc

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/integration/slapd"
)

// realClient makes a Client of a real server.
func realClient(t testing.TB, s *slapd.Server, change func(c *Config)) *Client {
	t.Helper()
	pem, err := os.ReadFile(s.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	ca := x509.NewCertPool()
	ca.AppendCertsFromPEM(pem)
	cfg := Config{
		Servers: []string{s.TLSAddr}, TLS: LDAPS, CA: ca, Timeout: 2 * time.Second,
		Bind: Bind{Method: Simple, Name: s.BindDN, Password: func() ([]byte, error) { return []byte(s.BindPassword), nil }},
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

func find(ctx context.Context, c *Client, name string) ([]*Entry, error) {
	return c.Search(ctx, &Search{
		Base: slapd.PeopleDN, Scope: ldap.ScopeWholeSubtree, Filter: Equal("uid", name), Attributes: []string{"uid", "sambaNTPassword"}, Limit: 2,
	})
}

func TestSlapd(t *testing.T) {
	t.Log(slapd.Version(t))
	s := slapd.Start(t, slapd.Options{})
	for _, mode := range []TLS{LDAPS, StartTLS} {
		addr := s.TLSAddr
		if mode == StartTLS {
			addr = s.Addr
		}
		at := func(c *Config) { c.TLS, c.Servers = mode, []string{addr} }
		t.Run(mode.String(), func(t *testing.T) {
			c := realClient(t, s, at)
			entries, err := find(t.Context(), c, "alice")
			if err != nil || len(entries) != 1 || len(entries[0].GetAttributeValue("sambaNTPassword")) != 32 {
				t.Errorf("%v, %v", entries, err)
			}
			if err := c.Bind(t.Context(), "uid=alice,"+slapd.PeopleDN, []byte("Alice-Pass1")); err != nil {
				t.Error(err)
			}
			if err := c.Bind(t.Context(), "uid=alice,"+slapd.PeopleDN, []byte("Alice-Pass2")); !IsInvalidCredentials(err) {
				t.Error(err)
			}
			if err := c.Bind(t.Context(), "uid=alice,"+slapd.PeopleDN, nil); !IsInvalidCredentials(err) {
				t.Error(err)
			}
			root, err := c.RootDSE(t.Context())
			if err != nil || root.GetAttributeValue("namingContexts") != s.BaseDN {
				t.Error(root, err)
			}
			checked, err := c.Check(t.Context(), addr)
			if err != nil || checked.RootDSE == nil || checked.TLS == "" || checked.Connect <= 0 || checked.Bind <= 0 {
				t.Errorf("%+v, %v", checked, err)
			}
			_, err = c.Search(t.Context(), &Search{Base: "dc=elsewhere", Filter: present})
			if !IsNoSuchObject(err) && !Is(err, ldap.LDAPResultReferral) {
				t.Error(err)
			}
		})
		for name, bad := range map[string]struct {
			change func(c *Config)
			want   Problem
		}{
			"unknown CA": {func(c *Config) { c.CA = x509.NewCertPool() }, UnknownCA},
			"wrong name": {func(c *Config) { c.ServerName = "dc1.corp.example" }, WrongName},
		} {
			t.Run(mode.String()+" "+name, func(t *testing.T) {
				c := realClient(t, s, func(c *Config) { at(c); bad.change(c) })
				_, err := find(t.Context(), c, "alice")
				var e *TLSError
				if !errors.As(err, &e) || e.Problem != bad.want {
					t.Error(err)
				}
				t.Log(err)
			})
		}
	}
}

func TestSlapdWithoutTLS(t *testing.T) {
	s := slapd.Start(t, slapd.Options{})
	// slapd refuses the password in clear, too; on another host it would not be sent.
	c := realClient(t, s, func(c *Config) { c.TLS, c.Servers = Plain, []string{s.Addr} })
	_, err := find(t.Context(), c, "alice")
	var refused *BindRefused
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "onfidentiality") || strings.Contains(err.Error(), s.BindPassword) {
		t.Error(err)
	}
	// The ports exchanged.
	c = realClient(t, s, func(c *Config) { c.Servers = []string{s.Addr} })
	var e *TLSError
	if _, err := find(t.Context(), c, "alice"); !errors.As(err, &e) || e.Problem != NotTLS {
		t.Error(err)
	}
	c = realClient(t, s, func(c *Config) { c.TLS = StartTLS })
	if _, err := find(t.Context(), c, "alice"); err == nil || IsAnswer(err) {
		t.Error(err)
	}

	plain := slapd.Start(t, slapd.Options{NoTLS: true})
	c = realClient(t, plain, func(c *Config) { c.TLS, c.Servers = Plain, []string{plain.Addr} })
	if entries, err := find(t.Context(), c, "alice"); err != nil || len(entries) != 1 {
		t.Error(entries, err)
	}
}

// Names are looked for as they are, whatever they look like.
func TestSlapdInjection(t *testing.T) {
	s := slapd.Start(t, slapd.Options{})
	c := realClient(t, s, nil)
	for _, name := range []string{
		"*", "*)(uid=*", "alice)(uid=*", "a*", "alice)(|(uid=*", `\2a`, `al\69ce`, "alice\x00", "\x00", "jürgen", "\xff\xfe", "😀", "(", ")", "&", "|",
		strings.Repeat("a", 1000), strings.Repeat("*", 1000),
	} {
		if entries, err := find(t.Context(), c, name); err != nil || len(entries) != 0 {
			t.Errorf("%q: %d entries, %v", name, len(entries), err)
		}
	}
	if entries, err := find(t.Context(), c, "ALICE"); err != nil || len(entries) != 1 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
}

func TestSlapdFrozenKilledRestarted(t *testing.T) {
	s := slapd.Start(t, slapd.Options{})
	c := realClient(t, s, func(c *Config) { c.Timeout = 500 * time.Millisecond })
	ask := func() (time.Duration, error) {
		start := time.Now()
		_, err := find(t.Context(), c, "alice")
		return time.Since(start), err
	}
	if _, err := ask(); err != nil {
		t.Fatal(err)
	}
	s.Freeze()
	for range 3 {
		took, err := ask()
		var u *Unavailable
		if !errors.As(err, &u) || took > time.Second {
			t.Errorf("frozen: %v after %v", err, took)
		}
	}
	start := time.Now()
	if err := c.Bind(t.Context(), "uid=alice,"+slapd.PeopleDN, []byte("x")); err == nil || IsAnswer(err) || time.Since(start) > time.Second {
		t.Errorf("frozen: %v after %v", err, time.Since(start))
	}
	s.Resume()
	if _, err := ask(); err != nil {
		t.Errorf("resumed: %v", err)
	}
	s.Kill()
	if took, err := ask(); err == nil || took > time.Second {
		t.Errorf("killed: %v after %v", err, took)
	}
	s.Restart(t)
	if _, err := ask(); err != nil {
		t.Errorf("restarted: %v", err)
	}
}

// Two servers, of which the first freezes and is killed in the middle: nobody notices
// but the clock.
func TestSlapdFailover(t *testing.T) {
	a, b := slapd.Start(t, slapd.Options{}), slapd.Start(t, slapd.Options{})
	both := x509.NewCertPool()
	for _, s := range []*slapd.Server{a, b} {
		pem, err := os.ReadFile(s.CAFile)
		if err != nil {
			t.Fatal(err)
		}
		both.AppendCertsFromPEM(pem)
	}
	c := realClient(t, a, func(c *Config) {
		c.Servers, c.Timeout, c.CA = []string{a.TLSAddr, b.TLSAddr}, 300*time.Millisecond, both
	})
	for step, change := range []func(){func() {}, a.Freeze, a.Resume, a.Kill, func() { a.Restart(t) }} {
		change()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 10 {
					ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
					if entries, err := find(ctx, c, "bob"); err != nil || len(entries) != 1 {
						t.Errorf("step %d: %v", step, err)
					}
					cancel()
				}
			})
		}
		wg.Wait()
	}
}

func TestSlapdConcurrent(t *testing.T) {
	s := slapd.Start(t, slapd.Options{})
	c := realClient(t, s, func(c *Config) { c.Timeout = 10 * time.Second })
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 30 {
				name := []string{"alice", "bob", "carol", "nobody"}[(g+i)%4]
				want := 1
				if name == "nobody" {
					want = 0
				}
				if entries, err := find(t.Context(), c, name); err != nil || len(entries) != want || want == 1 && entries[0].GetAttributeValue("uid") != name {
					t.Errorf("%s: %v, %v", name, entries, err)
				}
				if i%10 == g {
					if err := c.Bind(t.Context(), "uid=carol,"+slapd.PeopleDN, []byte("Carol-Pass1")); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
}

func TestSlapdPaging(t *testing.T) {
	s := slapd.Start(t, slapd.Options{})
	c := realClient(t, s, nil)
	all, err := c.Search(t.Context(), &Search{Base: slapd.PeopleDN, Scope: ldap.ScopeSingleLevel, Filter: present, Attributes: []string{"uid"}})
	if err != nil || len(all) < 10 {
		t.Fatal(len(all), err)
	}
	for _, page := range []int{1, 3, len(all), 100} {
		paged, err := c.Search(t.Context(), &Search{Base: slapd.PeopleDN, Scope: ldap.ScopeSingleLevel, Filter: present, PageSize: page})
		if err != nil || len(paged) != len(all) {
			t.Errorf("pages of %d: %d entries, %v", page, len(paged), err)
		}
		for _, p := range []int{0, page} {
			some, err := c.Search(t.Context(), &Search{Base: slapd.PeopleDN, Scope: ldap.ScopeSingleLevel, Filter: present, PageSize: p, Limit: 4})
			if !IsTooMany(err) || len(some) != 4 {
				t.Errorf("pages of %d, limit 4: %d entries, %v", p, len(some), err)
			}
		}
	}
}

// Writing, as joining a domain does.
func TestSlapdWrite(t *testing.T) {
	s := slapd.Start(t, slapd.Options{})
	c := realClient(t, s, func(c *Config) {
		c.Bind.Name, c.Bind.Password = s.RootDN, func() ([]byte, error) { return []byte(s.RootPassword), nil }
	})
	ctx := t.Context()
	dn := "uid=new," + slapd.PeopleDN
	add := ldap.NewAddRequest(dn, nil)
	add.Attribute("objectClass", []string{"account", "simpleSecurityObject"})
	add.Attribute("uid", []string{"new"})
	add.Attribute("userPassword", []string{"New-Pass1"})
	if err := c.Add(ctx, add); err != nil {
		t.Fatal(err)
	}
	if err := c.Add(ctx, add); !Is(err, ldap.LDAPResultEntryAlreadyExists) {
		t.Error(err)
	}
	change := ldap.NewModifyRequest(dn, nil)
	change.Replace("description", []string{"x"})
	if err := c.Modify(ctx, change); err != nil {
		t.Error(err)
	}
	if err := c.PasswordModify(ctx, ldap.NewPasswordModifyRequest(dn, "", "New-Pass2")); err != nil {
		t.Error(err)
	}
	if err := c.Bind(ctx, dn, []byte("New-Pass2")); err != nil {
		t.Error(err)
	}
	if err := c.Delete(ctx, ldap.NewDelRequest(dn, nil)); err != nil {
		t.Error(err)
	}
	if entries, err := find(ctx, c, "new"); err != nil || len(entries) != 0 {
		t.Error(entries, err)
	}
}

func BenchmarkSlapd(b *testing.B) {
	s := slapd.Start(b, slapd.Options{})
	c := realClient(b, s, nil)
	ctx := b.Context()
	b.Run("search", func(b *testing.B) {
		for b.Loop() {
			if _, err := find(ctx, c, "alice"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("search, 4 at once", func(b *testing.B) {
		b.SetParallelism(2)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := find(ctx, c, "alice"); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("bind", func(b *testing.B) {
		for b.Loop() {
			if err := c.Bind(ctx, "uid=alice,"+slapd.PeopleDN, []byte("Alice-Pass1")); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("connect and bind", func(b *testing.B) {
		for b.Loop() {
			if _, err := c.Check(ctx, fmt.Sprint(s.TLSAddr)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
