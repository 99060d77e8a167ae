package ldap

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/authz/directory"
	"postern/integration/slapd"
	"postern/internal/ldapc"
	"postern/internal/mschap"
)

// freeIPA is the preset without the object classes that the fixture's groups and
// people have no room for.
func freeIPA() Schema {
	s := FreeIPA
	s.Groups = "(objectClass=groupOfNames)"
	return s
}

func clientOf(t testing.TB, s *slapd.Server, dn string) *ldapc.Client {
	t.Helper()
	pem, err := os.ReadFile(s.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	ca := x509.NewCertPool()
	ca.AppendCertsFromPEM(pem)
	c, err := ldapc.New(ldapc.Config{
		Servers: []string{s.TLSAddr}, TLS: ldapc.LDAPS, CA: ca, Timeout: time.Second,
		Bind: ldapc.Bind{Method: ldapc.Simple, Name: dn, Password: func() ([]byte, error) { return []byte(s.BindPassword), nil }},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func open(t testing.TB, s *slapd.Server, change func(c *Config)) *Directory {
	t.Helper()
	cfg := Config{Client: clientOf(t, s, s.BindDN), BaseDN: slapd.PeopleDN, GroupDN: slapd.GroupDN, Schema: Samba, Nesting: 8}
	if s.FreeIPA {
		cfg.Schema = freeIPA()
	}
	if change != nil {
		change(&cfg)
	}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// respond makes what a client sends for a password.
func respond(name, password string) *directory.MSCHAPv2 {
	peer, authenticator := [16]byte{1, 2, 3}, [16]byte{4, 5, 6}
	hash := mschap.NTHash(password)
	r := &directory.MSCHAPv2{ChallengeHash: mschap.ChallengeHash(&peer, &authenticator, name)}
	r.Response = mschap.NTResponse(r.ChallengeHash, &hash)
	return r
}

func name(user string) directory.Name { return directory.Name{User: user} }

func rejected(err error, want directory.Reason) bool {
	r, no := directory.IsRejected(err)
	return no && r.Reason == want
}

func unavailable(err error) bool {
	var u directory.Unavailable
	_, no := directory.IsRejected(err)
	return errors.As(err, &u) && !no
}

func TestPeople(t *testing.T) {
	t.Log(slapd.Version(t))
	for _, o := range []slapd.Options{{}, {FreeIPA: true}} {
		states := map[string]directory.State{
			"alice": directory.Active, "bob": directory.Active, "Mixed.Case": directory.Active, "nohash": directory.Active,
			"dave": directory.Disabled, "erin": directory.Expired, "frank": directory.Expired, "judy": directory.PasswordExpired,
			"locked": directory.Locked, "policy": directory.Locked,
			"grace": directory.PasswordMustChange, "ivan": directory.OutsideHours,
		}
		if o.FreeIPA { // it has no such states
			states["grace"], states["ivan"] = directory.Active, directory.Active
		}
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			s := slapd.Start(t, o)
			d := open(t, s, nil)
			ctx := t.Context()
			for user, state := range states {
				for _, typed := range []string{user, strings.ToUpper(user), strings.ToLower(user)} {
					a, err := d.Find(ctx, name(typed))
					if err != nil || a.Name != strings.ToLower(user) || a.State != state || !strings.HasPrefix(a.SID, "S-1-5-21-") || a.Ref != "uid="+user+","+slapd.PeopleDN {
						t.Errorf("%s: %+v, %v; want %v", typed, a, err, state)
						continue
					}
					if d.Canonical(name(typed)) != a.Name {
						t.Errorf("%s is %s and %s", typed, d.Canonical(name(typed)), a.Name)
					}
				}
				a, err := d.Find(ctx, name(user))
				if err != nil {
					continue
				}
				hash := mschap.NTHash(slapd.Password(user))
				proof, err := d.VerifyMSCHAPv2(ctx, name(user), a, respond(user, slapd.Password(user)))
				if user == "nohash" {
					if !rejected(err, directory.WrongPassword) || !strings.Contains(err.Error(), "has no") {
						t.Errorf("without a hash: %v", err)
					}
				} else if err != nil || proof.HashHash != mschap.HashHash(&hash) {
					t.Errorf("%s: %v", user, err)
				}
				if proof, err := d.VerifyMSCHAPv2(ctx, name(user), a, respond(user, "wrong")); !rejected(err, directory.WrongPassword) || proof.HashHash != [16]byte{} {
					t.Errorf("%s, wrong response: %v", user, err)
				}
				if _, err := d.VerifyPassword(ctx, name(user), a, []byte("wrong")); !rejected(err, directory.WrongPassword) {
					t.Errorf("%s, wrong password: %v", user, err)
				}
				// ppolicy refuses the right password of those whom it locks.
				_, err = d.VerifyPassword(ctx, name(user), a, []byte(slapd.Password(user)))
				if locked := user == "locked" || user == "policy"; locked != (err != nil) || locked && !rejected(err, directory.WrongPassword) {
					t.Errorf("%s, password: %v", user, err)
				}
			}
		})
	}
}

func TestNobody(t *testing.T) {
	s := slapd.Start(t, slapd.Options{})
	d := open(t, s, nil)
	for _, user := range []string{
		"", "nobody", "*", "*)(uid=*", "alice)(uid=*", `\2a`, "alice\x00", "\x00", "\xff\xfe", "😀", "jürgen", "uid=alice,ou=people", "vpn-users", " ",
		strings.Repeat("a", 254), strings.Repeat("a", 1<<20), strings.Repeat("*)(", 80),
	} {
		if a, err := d.Find(t.Context(), name(user)); !rejected(err, directory.NoSuchUser) {
			t.Errorf("%.40q: %+v, %v", user, a, err)
		}
		if _, err := d.VerifyMSCHAPv2(t.Context(), name(user), nil, respond(user, "x")); !rejected(err, directory.NoSuchUser) {
			t.Errorf("%.40q: %v", user, err)
		}
		if _, err := d.VerifyPassword(t.Context(), name(user), nil, []byte("x")); !rejected(err, directory.NoSuchUser) {
			t.Errorf("%.40q: %v", user, err)
		}
	}
}

// An account of ours that may not read hashes makes no wrong passwords of right
// ones.
func TestUnreadableHash(t *testing.T) {
	for _, o := range []slapd.Options{{}, {FreeIPA: true}} {
		s := slapd.Start(t, o)
		d := open(t, s, func(c *Config) {
			c.Client.Close()
			c.Client = clientOf(t, s, s.BlindDN)
		})
		for _, user := range []string{"alice", "nohash"} {
			a, err := d.Find(t.Context(), name(user))
			if err != nil {
				t.Fatal(err)
			}
			_, err = d.VerifyMSCHAPv2(t.Context(), name(user), a, respond(user, slapd.Password(user)))
			if !unavailable(err) || !strings.Contains(err.Error(), "may not read it") {
				t.Errorf("%v", err)
			}
			t.Log(err)
		}
	}
}

func TestGroups(t *testing.T) {
	s := slapd.Start(t, slapd.Options{})
	for _, c := range []struct {
		user    string
		nesting int
		want    []string
	}{
		{"alice", 8, []string{"vpn-leaf", "vpn-mid", "vpn-users"}},
		{"alice", 1, []string{"vpn-leaf", "vpn-mid"}},
		{"alice", 0, []string{"vpn-leaf"}},
		{"bob", 8, []string{"loop-a", "loop-b", "vpn-users"}},
		{"bob", 32, []string{"loop-a", "loop-b", "vpn-users"}},
		{"carol", 8, []string{"vpn-admins"}},
		{"dave", 8, nil},
	} {
		d := open(t, s, func(cfg *Config) { cfg.Nesting = c.nesting })
		a, err := d.Find(t.Context(), name(c.user))
		if err != nil || !slices.Equal(a.Groups, c.want) {
			t.Errorf("%s to depth %d: %v, %v", c.user, c.nesting, a, err)
		}
		// The same, with what is remembered of other people.
		all, _, err := d.Changed(t.Context(), []string{c.user, "alice", "bob"}, "")
		if err != nil || len(all) != 3 || !slices.Equal(all[0].Groups, c.want) {
			t.Errorf("%s to depth %d: %v, %v", c.user, c.nesting, all, err)
		}
	}
}

// Groups of Unix have members by name, and a person's first group has no member.
func TestPosixGroups(t *testing.T) {
	s := slapd.Start(t, slapd.Options{})
	root := s.LDAP(t)
	for i, g := range []string{"staff", "wheel"} {
		add := ldap.NewAddRequest("cn="+g+","+slapd.GroupDN, nil)
		add.Attribute("objectClass", []string{"posixGroup"})
		add.Attribute("cn", []string{g})
		add.Attribute("gidNumber", []string{fmt.Sprint(2000 + i)})
		if g == "wheel" {
			add.Attribute("memberUid", []string{"Mixed.Case", "someone"})
		}
		if err := root.Add(add); err != nil {
			t.Fatal(err)
		}
	}
	m := ldap.NewModifyRequest("uid=Mixed.Case,"+slapd.PeopleDN, nil)
	m.Add("objectClass", []string{"posixAccount"})
	m.Add("uidNumber", []string{"3000"})
	m.Add("gidNumber", []string{"2000"})
	m.Add("homeDirectory", []string{"/"})
	if err := root.Modify(m); err != nil {
		t.Fatal(err)
	}
	d := open(t, s, nil)
	a, err := d.Find(t.Context(), name("mixed.case"))
	if err != nil || !slices.Equal(a.Groups, []string{"staff", "wheel"}) {
		t.Errorf("%+v, %v", a, err)
	}
}

// Two with one name are nobody: who is meant cannot be told.
func TestAmbiguous(t *testing.T) {
	s := slapd.Start(t, slapd.Options{})
	root := s.LDAP(t)
	for _, ou := range []string{"a", "b"} {
		add := ldap.NewAddRequest("ou="+ou+","+slapd.PeopleDN, nil)
		add.Attribute("objectClass", []string{"organizationalUnit"})
		if err := root.Add(add); err != nil {
			t.Fatal(err)
		}
		add = ldap.NewAddRequest("uid=alice,ou="+ou+","+slapd.PeopleDN, nil)
		add.Attribute("objectClass", []string{"account"})
		if err := root.Add(add); err != nil {
			t.Fatal(err)
		}
		d := open(t, s, nil)
		if a, err := d.Find(t.Context(), name("alice")); !unavailable(err) || !strings.Contains(err.Error(), "several accounts") {
			t.Errorf("%+v, %v", a, err)
		}
		if _, _, err := d.Changed(t.Context(), []string{"alice"}, ""); !unavailable(err) {
			t.Errorf("%v", err)
		}
		// A filter may tell them apart.
		d = open(t, s, func(c *Config) { c.Filter = "(objectClass=inetOrgPerson)" })
		if _, err := d.Find(t.Context(), name("alice")); err != nil {
			t.Error(err)
		}
	}
}

func TestWrongBase(t *testing.T) {
	s := slapd.Start(t, slapd.Options{})
	d := open(t, s, func(c *Config) { c.BaseDN = "ou=staff," + slapd.BaseDN })
	if _, err := d.Find(t.Context(), name("alice")); !unavailable(err) || !strings.Contains(err.Error(), "there is no ou=staff,") {
		t.Error(err)
	}
	d = open(t, s, func(c *Config) { c.GroupDN = "ou=staff," + slapd.BaseDN })
	if _, err := d.Find(t.Context(), name("alice")); !unavailable(err) || !strings.Contains(err.Error(), "there is no ou=staff,") {
		t.Error(err)
	}
}

// A server that is away makes no noes, keeps nobody waiting and is forgotten when it
// is back.
func TestServerAway(t *testing.T) {
	s := slapd.Start(t, slapd.Options{})
	d := open(t, s, nil)
	a, err := d.Find(t.Context(), name("alice"))
	if err != nil {
		t.Fatal(err)
	}
	all := func() []error {
		var errs []error
		for _, ask := range []func(ctx context.Context) error{
			func(ctx context.Context) error { _, err := d.Find(ctx, name("alice")); return err },
			func(ctx context.Context) error { _, err := d.Find(ctx, name("nobody")); return err },
			func(ctx context.Context) error {
				_, err := d.VerifyMSCHAPv2(ctx, name("alice"), a, respond("alice", "Alice-Pass1"))
				return err
			},
			func(ctx context.Context) error {
				_, err := d.VerifyMSCHAPv2(ctx, name("nobody"), nil, respond("x", "x"))
				return err
			},
			func(ctx context.Context) error {
				_, err := d.VerifyPassword(ctx, name("alice"), a, []byte("Alice-Pass1"))
				return err
			},
			func(ctx context.Context) error {
				_, err := d.VerifyPassword(ctx, name("nobody"), nil, []byte("x"))
				return err
			},
			func(ctx context.Context) error { _, _, err := d.Changed(ctx, []string{"alice"}, ""); return err },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			start := time.Now()
			errs = append(errs, ask(ctx))
			cancel()
			if took := time.Since(start); took > time.Second {
				t.Errorf("took %v", took)
			}
		}
		return errs
	}
	for _, away := range []func(){s.Freeze, func() { s.Resume(); s.Kill() }} {
		away()
		for i, err := range all() {
			if !unavailable(err) {
				t.Errorf("question %d: %v", i, err)
			}
		}
	}
	s.Restart(t)
	for i, err := range all() {
		if nobody := i == 1 || i == 3 || i == 5; nobody && !rejected(err, directory.NoSuchUser) || !nobody && err != nil {
			t.Errorf("question %d, when the server is back: %v", i, err)
		}
	}
}

func TestConcurrent(t *testing.T) {
	s := slapd.Start(t, slapd.Options{})
	d := open(t, s, func(c *Config) { c.Cache = 5 * time.Millisecond })
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() {
			for i := range 15 {
				user := []string{"alice", "bob", "carol", "dave"}[(g+i)%4]
				a, err := d.Find(t.Context(), name(user))
				if err != nil || a.Name != user {
					t.Errorf("%s: %+v, %v", user, a, err)
					return
				}
				if _, err := d.VerifyMSCHAPv2(t.Context(), name(user), a, respond(user, slapd.Password(user))); err != nil {
					t.Error(err)
				}
				if i == 2*g {
					if _, _, err := d.Changed(t.Context(), []string{"alice", "bob", "carol", "dave", "gone"}, ""); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
}

// aged makes entries old that the test has not touched: the fixture was made just now.
type aged struct {
	Client
	fresh map[string]bool
}

// Search implements Client.
func (c *aged) Search(ctx context.Context, s *ldapc.Search) ([]*ldapc.Entry, error) {
	entries, err := c.Client.Search(ctx, s)
	for _, e := range entries {
		for _, a := range e.Attributes {
			if a.Name == "modifyTimestamp" && !c.fresh[e.DN] {
				a.Values = []string{"20000101000000Z"}
			}
		}
	}
	return entries, err
}

func TestChanged(t *testing.T) {
	s := slapd.Start(t, slapd.Options{})
	root := s.LDAP(t)
	var ahead time.Duration
	old := &aged{fresh: make(map[string]bool)}
	d := open(t, s, func(c *Config) {
		c.Cache, c.Now = time.Hour, func() time.Time { return time.Now().Add(ahead) }
		c.Client, old.Client = old, c.Client
	})
	names := []string{"alice", "bob", "carol"}
	modify := func(dn string, change func(m *ldap.ModifyRequest)) {
		t.Helper()
		m := ldap.NewModifyRequest(dn, nil)
		change(m)
		if err := root.Modify(m); err != nil {
			t.Fatal(err)
		}
		old.fresh[dn] = true
	}
	var at directory.Mark
	look := func(want ...string) []directory.Account {
		t.Helper()
		changed, next, err := d.Changed(t.Context(), names, at)
		if err != nil {
			t.Fatal(err)
		}
		at = next
		var got []string
		for _, a := range changed {
			got = append(got, a.Name+" "+a.State.String())
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		return changed
	}
	for _, n := range names { // into the cache
		if _, err := d.Find(t.Context(), name(n)); err != nil {
			t.Fatal(err)
		}
	}
	alice := "uid=alice," + slapd.PeopleDN
	look("alice active", "bob active", "carol active")
	look()

	// A state.
	modify(alice, func(m *ldap.ModifyRequest) { m.Replace("sambaAcctFlags", []string{"[UD         ]"}) })
	look("alice disabled")
	if a, err := d.Find(t.Context(), name("ALICE")); err != nil || a.State != directory.Disabled {
		t.Errorf("found from the cache: %+v, %v", a, err)
	}
	look("alice disabled") // told each time
	modify(alice, func(m *ldap.ModifyRequest) { m.Delete("sambaAcctFlags", nil) })
	look("alice active")
	look("alice active") // the server's clock may be behind
	ahead = 2 * overlap
	look("alice active") // at the end of the overlap once more
	look()

	// A group, far away.
	modify("cn=vpn-users,"+slapd.GroupDN, func(m *ldap.ModifyRequest) { m.Delete("member", []string{"cn=vpn-mid," + slapd.GroupDN}) })
	changed := look("alice active", "bob active", "carol active")
	if !slices.Equal(changed[0].Groups, []string{"vpn-leaf", "vpn-mid"}) {
		t.Errorf("%+v", changed[0])
	}
	look()
	if err := root.Del(ldap.NewDelRequest("cn=vpn-leaf,"+slapd.GroupDN, nil)); err != nil {
		t.Fatal(err)
	}
	if changed := look("alice active", "bob active", "carol active"); len(changed[0].Groups) != 0 {
		t.Errorf("%+v", changed[0])
	}

	// The time.
	modify(alice, func(m *ldap.ModifyRequest) {
		m.Replace("sambaKickoffTime", []string{fmt.Sprint(time.Now().Add(ahead + overlap/2).Unix())})
	})
	look()
	ahead += overlap
	look("alice expired")
	modify(alice, func(m *ldap.ModifyRequest) { m.Delete("sambaKickoffTime", nil) })
	look()

	// Everybody, now and then.
	ahead += recheck
	look("alice active", "bob active", "carol active")
	look()

	// Gone; and not, only because the base is.
	if err := root.Del(ldap.NewDelRequest(alice, nil)); err != nil {
		t.Fatal(err)
	}
	look("alice gone")
	if _, err := d.Find(t.Context(), name("alice")); !rejected(err, directory.NoSuchUser) {
		t.Errorf("found from the cache: %v", err)
	}
	s.Kill()
	if changed, next, err := d.Changed(t.Context(), names, at); !unavailable(err) || len(changed) != 0 || next != at {
		t.Errorf("%v, %v, %v", changed, next, err)
	}
}

func BenchmarkSlapd(b *testing.B) {
	s := slapd.Start(b, slapd.Options{})
	d := open(b, s, nil)
	ctx := b.Context()
	a, err := d.Find(ctx, name("alice"))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("find, three levels of groups", func(b *testing.B) {
		for b.Loop() {
			if _, err := d.Find(ctx, name("alice")); err != nil {
				b.Fatal(err)
			}
		}
	})
	r := respond("alice", "Alice-Pass1")
	b.Run("verify MS-CHAPv2", func(b *testing.B) {
		for b.Loop() {
			if _, err := d.VerifyMSCHAPv2(ctx, name("alice"), a, r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("verify password", func(b *testing.B) {
		for b.Loop() {
			if _, err := d.VerifyPassword(ctx, name("alice"), a, []byte("Alice-Pass1")); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("login", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				a, err := d.Find(ctx, name("alice"))
				if err == nil {
					_, err = d.VerifyMSCHAPv2(ctx, name("alice"), a, r)
				}
				if err != nil {
					b.Error(err)
				}
			}
		})
	})
}
