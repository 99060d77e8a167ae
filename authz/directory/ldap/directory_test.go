package ldap

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/authz/directory"
	"postern/internal/ldapc"
)

// fake answers with what the test made of it, and counts.
type fake struct {
	search func(s *ldapc.Search) ([]*ldapc.Entry, error)
	bind   error

	mu    sync.Mutex
	asked []*ldapc.Search
	binds []string
}

func (f *fake) Search(_ context.Context, s *ldapc.Search) ([]*ldapc.Entry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, s)
	return f.search(s)
}

func (f *fake) Bind(_ context.Context, dn string, _ []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.binds = append(f.binds, dn)
	return f.bind
}

func (*fake) Close() {}

func (f *fake) take() []*ldapc.Search {
	f.mu.Lock()
	defer f.mu.Unlock()
	asked := f.asked
	f.asked = nil
	return asked
}

func answerWith(code uint16) error {
	return &ldap.Error{ResultCode: code, Err: errors.New("as tested")}
}

const aliceDN = "uid=alice,dc=corp"

// corp has alice, and no groups.
func corp(s *ldapc.Search) ([]*ldapc.Entry, error) {
	e := []*ldapc.Entry{ldap.NewEntry(aliceDN, map[string][]string{"uid": {"alice"}, "sambaNTPassword": {"32ED87BDB5FDC5E9CBA88547376818D4"}})}
	switch {
	case strings.Contains(s.Filter, "(uid=alice)"), s.Base == aliceDN:
		return e, nil
	case s.Scope == ldap.ScopeBaseObject && s.Base != "dc=corp":
		return nil, answerWith(ldap.LDAPResultNoSuchObject)
	}
	return nil, nil
}

func faked(t *testing.T, f *fake, change func(c *Config)) *Directory {
	t.Helper()
	if f.search == nil {
		f.search = corp
	}
	cfg := Config{Client: f, BaseDN: "dc=corp", Schema: Samba, Nesting: 8}
	if change != nil {
		change(&cfg)
	}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Somebody who does not exist is as much work as somebody with a wrong password.
func TestSameWork(t *testing.T) {
	f := &fake{}
	d := faked(t, f, nil)
	shape := func(user string) string {
		t.Helper()
		a, err := d.Find(t.Context(), name(user))
		if err != nil && !rejected(err, directory.NoSuchUser) {
			t.Fatal(err)
		}
		if _, err := d.VerifyMSCHAPv2(t.Context(), name(user), a, respond(user, "wrong")); err == nil {
			t.Fatal("a wrong response is right")
		}
		f.bind = answerWith(ldap.LDAPResultInvalidCredentials)
		if _, err := d.VerifyPassword(t.Context(), name(user), a, []byte("wrong")); err == nil {
			t.Fatal("a wrong password is right")
		}
		var b strings.Builder
		for _, s := range f.take() {
			fmt.Fprintf(&b, "%d %v; ", s.Scope, s.Attributes)
		}
		fmt.Fprint(&b, len(f.binds))
		f.binds = nil
		return b.String()
	}
	if alice, nobody := shape("alice"), shape("nobody"); alice != nobody {
		t.Errorf("alice: %s\nnobody: %s", alice, nobody)
	}
	// Nor is a success at binding as somebody made up a success.
	f.bind = nil
	if _, err := d.VerifyPassword(t.Context(), name("nobody"), nil, []byte("x")); !rejected(err, directory.NoSuchUser) {
		t.Error(err)
	}
}

func TestCache(t *testing.T) {
	f := &fake{}
	now := noon
	d := faked(t, f, func(c *Config) { c.Cache, c.Now = time.Minute, func() time.Time { return now } })
	find := func(user string, want int) {
		t.Helper()
		f.take()
		d.Find(t.Context(), name(user))
		if n := len(f.take()); n != want {
			t.Errorf("%s: %d questions, want %d", user, n, want)
		}
	}
	find("alice", 2)
	find("ALICE", 0)
	find("nobody", 2)
	find("nobody", 0)
	now = now.Add(time.Minute)
	find("alice", 2)
	find("nobody", 2)

	// Hashes are not kept, and no silence is.
	a, err := d.Find(t.Context(), name("alice"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		f.take()
		d.VerifyMSCHAPv2(t.Context(), name("alice"), a, respond("alice", "x"))
		if n := len(f.take()); n != 1 {
			t.Errorf("%d questions", n)
		}
	}
	f.search = func(*ldapc.Search) ([]*ldapc.Entry, error) { return nil, errors.New("silent") }
	find("bob", 1)
	find("bob", 1)
}

// What was found is verified, or nobody is: an entry may be renamed meanwhile.
func TestRenamed(t *testing.T) {
	for _, then := range []func(s *ldapc.Search) ([]*ldapc.Entry, error){
		func(*ldapc.Search) ([]*ldapc.Entry, error) { return nil, answerWith(ldap.LDAPResultNoSuchObject) },
		func(*ldapc.Search) ([]*ldapc.Entry, error) { return nil, nil },
		func(*ldapc.Search) ([]*ldapc.Entry, error) {
			return []*ldapc.Entry{ldap.NewEntry("cn=x,dc=corp", map[string][]string{"uid": {"mallory"}, "sambaNTPassword": {"32ED87BDB5FDC5E9CBA88547376818D4"}})}, nil
		},
	} {
		f := &fake{}
		d := faked(t, f, func(c *Config) { c.Cache = time.Minute })
		a, err := d.Find(t.Context(), name("alice"))
		if err != nil {
			t.Fatal(err)
		}
		f.search = then
		if _, err := d.VerifyMSCHAPv2(t.Context(), name("alice"), a, respond("alice", "x")); !rejected(err, directory.NoSuchUser) {
			t.Error(err)
		}
		f.search = corp
		f.take()
		d.Find(t.Context(), name("alice"))
		if len(f.take()) == 0 {
			t.Error("the old entry was kept")
		}
	}
}

// Whether hashes can be read is asked once in a while.
func TestReadableIsRemembered(t *testing.T) {
	now := noon
	readable := true
	f := &fake{search: func(s *ldapc.Search) ([]*ldapc.Entry, error) {
		if strings.Contains(s.Filter, "=*)") && s.Scope == ldap.ScopeWholeSubtree && readable {
			return []*ldapc.Entry{ldap.NewEntry("uid=bob,dc=corp", map[string][]string{"sambaNTPassword": {"32ED87BDB5FDC5E9CBA88547376818D4"}})}, answerWith(ldap.LDAPResultSizeLimitExceeded)
		}
		if s.Base == aliceDN {
			return []*ldapc.Entry{ldap.NewEntry(aliceDN, map[string][]string{"uid": {"alice"}})}, nil
		}
		return nil, nil
	}}
	d := faked(t, f, func(c *Config) { c.Now = func() time.Time { return now } })
	a := &directory.Account{Name: "alice", Ref: aliceDN}
	verify := func(questions int, ok func(error) bool) {
		t.Helper()
		f.take()
		_, err := d.VerifyMSCHAPv2(t.Context(), name("alice"), a, respond("alice", "x"))
		if n := len(f.take()); n != questions || !ok(err) {
			t.Errorf("%d questions, %v", n, err)
		}
	}
	wrong := func(err error) bool { return rejected(err, directory.WrongPassword) }
	verify(2, wrong)
	verify(1, wrong)
	readable = false
	now = now.Add(readableTime)
	verify(2, unavailable)
	verify(2, unavailable)
	readable = true
	verify(2, wrong)
}

func TestBadHash(t *testing.T) {
	for _, written := range []string{"32ED", strings.Repeat("x", 32)} {
		f := &fake{search: func(s *ldapc.Search) ([]*ldapc.Entry, error) {
			return []*ldapc.Entry{ldap.NewEntry(aliceDN, map[string][]string{"uid": {"alice"}, "sambaNTPassword": {written}})}, nil
		}}
		d := faked(t, f, nil)
		_, err := d.VerifyMSCHAPv2(t.Context(), name("alice"), &directory.Account{Name: "alice", Ref: aliceDN}, respond("alice", "x"))
		if !unavailable(err) || strings.Contains(err.Error(), written) {
			t.Error(err)
		}
	}
}

func TestTooManyGroups(t *testing.T) {
	n := 0
	f := &fake{search: func(s *ldapc.Search) ([]*ldapc.Entry, error) {
		if strings.Contains(s.Filter, "(uid=") {
			return corp(s)
		}
		var groups []*ldapc.Entry
		for range 100 { // each level has others, for ever
			n++
			groups = append(groups, ldap.NewEntry(fmt.Sprintf("cn=g%d,dc=corp", n), map[string][]string{"cn": {fmt.Sprint("g", n)}}))
		}
		return groups, nil
	}}
	d := faked(t, f, func(c *Config) { c.Nesting = 32 })
	if _, err := d.Find(t.Context(), name("alice")); !unavailable(err) || !strings.Contains(err.Error(), "more than 1000 groups") || len(f.asked) > 30 {
		t.Errorf("%d questions, %v", len(f.asked), err)
	}
}

// Groups in each other are asked about once.
func TestLoop(t *testing.T) {
	f := &fake{search: func(s *ldapc.Search) ([]*ldapc.Entry, error) {
		if strings.Contains(s.Filter, "(uid=") {
			return corp(s)
		}
		var groups []*ldapc.Entry
		for _, g := range []struct{ name, member string }{{"a", aliceDN}, {"a", "cn=b,dc=corp"}, {"b", "cn=a,dc=corp"}, {"b", "CN=B, dc=corp"}} {
			if strings.Contains(s.Filter, ldapc.Equal("member", g.member)) {
				groups = append(groups, ldap.NewEntry("cn="+g.name+",dc=corp", map[string][]string{"cn": {g.name}}))
			}
		}
		return groups, nil
	}}
	d := faked(t, f, func(c *Config) { c.Nesting = 32 })
	a, err := d.Find(t.Context(), name("alice"))
	if err != nil || strings.Join(a.Groups, " ") != "a b" || len(f.asked) != 4 {
		t.Errorf("%+v, %v, %d questions", a, err, len(f.asked))
	}
}

// An empty replica ends no sessions; a few people may be gone.
func TestEmptyReplica(t *testing.T) {
	f := &fake{search: func(*ldapc.Search) ([]*ldapc.Entry, error) { return nil, nil }}
	d := faked(t, f, nil)
	var names []string
	for i := range allGone {
		names = append(names, fmt.Sprint("user", i))
	}
	if changed, _, err := d.Changed(t.Context(), names, ""); !unavailable(err) || len(changed) != 0 {
		t.Errorf("%v, %v", changed, err)
	}
	if changed, _, err := d.Changed(t.Context(), names[1:], ""); err != nil || len(changed) != allGone-1 || changed[0].State != directory.Gone {
		t.Errorf("%v, %v", changed, err)
	}
}

// Such passwords are not even tried: a server may say yes to them.
func TestEmptyPassword(t *testing.T) {
	f := &fake{}
	d := faked(t, f, nil)
	for _, password := range []string{"", "\x00", "Alice-Pass1\x00"} {
		if _, err := d.VerifyPassword(t.Context(), name("alice"), &directory.Account{Name: "alice", Ref: aliceDN}, []byte(password)); !rejected(err, directory.WrongPassword) {
			t.Errorf("%q: %v", password, err)
		}
	}
	if len(f.binds) != 0 {
		t.Errorf("bound as %q", f.binds)
	}
}

func TestBindRefused(t *testing.T) {
	for code, want := range map[uint16]directory.Rejected{
		ldap.LDAPResultInvalidCredentials:          {Reason: directory.WrongPassword},
		ldap.LDAPResultInappropriateAuthentication: {Reason: directory.WrongPassword},
		ldap.LDAPResultNoSuchObject:                {Reason: directory.NoSuchUser},
		ldap.LDAPResultConstraintViolation:         {Reason: directory.AccountState, State: directory.Locked},
		ldap.LDAPResultUnwillingToPerform:          {Reason: directory.AccountState, State: directory.Disabled},
		ldap.LDAPResultReferral:                    {},
		ldap.LDAPResultConfidentialityRequired:     {},
		ldap.LDAPResultInsufficientAccessRights:    {},
	} {
		d := faked(t, &fake{bind: answerWith(code)}, nil)
		_, err := d.VerifyPassword(t.Context(), name("alice"), &directory.Account{Name: "alice", Ref: aliceDN}, []byte("x"))
		if want.Reason == directory.ReasonUnknown {
			if !unavailable(err) {
				t.Errorf("%d: %v", code, err)
			}
			continue
		}
		if r, no := directory.IsRejected(err); !no || r.Reason != want.Reason || r.State != want.State {
			t.Errorf("%d: %v", code, err)
		}
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		dn   string
		uids []string
		want string
	}{
		{"uid=Alice,dc=corp", []string{"Alice"}, "alice"},
		{"uid=Alice,dc=corp", []string{"Zoe", "Alice"}, "alice"},
		{"UID=Alice+cn=x,dc=corp", []string{"Alice", "aaron"}, "alice"},
		{"cn=Alice,dc=corp", []string{"zoe", "Alice"}, "alice"},
		{`uid=a\,b,dc=corp`, []string{"a,b"}, "a,b"},
		{"cn=x,dc=corp", nil, ""},
	} {
		if got := nameOf(ldap.NewEntry(c.dn, map[string][]string{"UID": c.uids}), "uid"); got != c.want {
			t.Errorf("%s %q: %q", c.dn, c.uids, got)
		}
	}
}

func TestNew(t *testing.T) {
	good := Config{Client: &fake{}, BaseDN: "dc=corp", Schema: Samba}
	for want, change := range map[string]func(c *Config){
		"":                                  func(*Config) {},
		"the client or the base is missing": func(c *Config) { c.BaseDN = "" },
		`"uid)(x" is no attribute's name`:   func(c *Config) { c.Schema.User = "uid)(x" },
		`hash attribute: ""`:                func(c *Config) { c.Schema.Hash = "" },
		"the form of":                       func(c *Config) { c.Schema.Form = HashUnknown },
		`filter "(a=b"`:                     func(c *Config) { c.Filter = "(a=b" },
	} {
		c := good
		change(&c)
		if _, err := New(c); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
