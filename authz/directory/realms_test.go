package directory

import (
	"context"
	"reflect"
	"strings"
	"testing"
)

// echo is a directory that knows everybody but nobody, and keeps what it was asked.
type echo struct {
	name  string
	asked *Account
}

func (e *echo) Canonical(n Name) string { return strings.ToLower(n.User) }

func (e *echo) Find(_ context.Context, n Name) (*Account, error) {
	if n.User == "nobody" {
		return nil, Rejected{Reason: NoSuchUser}
	}
	return &Account{Name: e.Canonical(n), Groups: []string{e.name}, State: Active}, nil
}

func (e *echo) VerifyMSCHAPv2(_ context.Context, _ Name, a *Account, _ *MSCHAPv2) (Proof, error) {
	e.asked = a
	return Proof{Groups: []string{e.name}}, nil
}

func (e *echo) VerifyPassword(ctx context.Context, n Name, a *Account, _ []byte) (Proof, error) {
	return e.VerifyMSCHAPv2(ctx, n, a, nil)
}

// follower can do all that a directory may.
type follower struct{ echo }

func (f *follower) ChangePassword(_ context.Context, _ Name, a *Account, _ *Change) error {
	f.asked = a
	return nil
}

func (f *follower) Changed(_ context.Context, names []string, since Mark) ([]Account, Mark, error) {
	var all []Account
	for _, n := range names {
		all = append(all, Account{Name: n, State: Active})
	}
	return all, since + "+", nil
}

func (f *follower) Lockout(_ context.Context, _ Name, a *Account) (Lockout, error) {
	f.asked = a
	return Lockout{Threshold: 5}, nil
}

func testRealms(t *testing.T) (rs *Realms, corp *follower, plant, rest *echo) {
	t.Helper()
	corp, plant, rest = &follower{echo{name: "corp"}}, &echo{name: "plant"}, &echo{name: "rest"}
	rs, err := NewRealms(
		Realm{Name: "corp", Directory: corp, Before: []string{"CORP"}, Behind: []string{"corp.example", "Mail.example"}, Default: true, Suffix: "Corp.example"},
		Realm{Name: "plant", Directory: plant, Before: []string{"PLANT"}, Suffix: "plant"},
		Realm{Name: "rest", Directory: rest, Any: true},
	)
	must(t, err)
	return rs, corp, plant, rest
}

func TestRealmsSelect(t *testing.T) {
	rs, _, _, _ := testRealms(t)
	ctx := context.Background()
	for _, tt := range []struct {
		n                 Name
		canonical, backup string
	}{
		{Name{User: "Alice"}, "alice@corp.example", "corp"},
		{Name{User: "ALICE", Realm: "corp", Down: true}, "alice@corp.example", "corp"},
		{Name{User: "alice", Realm: "CORP.example"}, "alice@corp.example", "corp"},
		{Name{User: "alice", Realm: "mail.example"}, "alice@corp.example", "corp"},
		{Name{User: "alice", Realm: "corp"}, "alice", "rest"}, // that form is not corp's
		{Name{User: "alice", Realm: "PLANT", Down: true}, "alice@plant", "plant"},
		{Name{User: "alice", Realm: "elsewhere", Down: true}, "alice", "rest"},
	} {
		a, err := rs.Find(ctx, tt.n)
		if err != nil {
			t.Errorf("%+v: %v", tt.n, err)
			continue
		}
		want := &Account{Name: tt.canonical, Realm: tt.backup, Groups: []string{tt.backup}, State: Active}
		if !reflect.DeepEqual(a, want) || rs.Canonical(tt.n) != tt.canonical {
			t.Errorf("%+v: %+v, canonical %q; want %+v", tt.n, a, rs.Canonical(tt.n), want)
		}
		if p, err := rs.VerifyMSCHAPv2(ctx, tt.n, a, nil); err != nil || p.Groups[0] != tt.backup {
			t.Errorf("%+v is verified by %v: %v", tt.n, p.Groups, err)
		}
	}
}

func TestRealmsOfNobody(t *testing.T) {
	rs, err := NewRealms(Realm{Name: "corp", Directory: &follower{}, Behind: []string{"corp.example"}, Suffix: "corp.example"})
	must(t, err)
	ctx := context.Background()
	for n, canonical := range map[Name]string{
		{User: "Alice"}:                 "alice",
		{User: "Alice", Realm: "Other"}: "alice@other",
	} {
		if got := rs.Canonical(n); got != canonical {
			t.Errorf("canonical %v: %q", n, got)
		}
		_, find := rs.Find(ctx, n)
		_, response := rs.VerifyMSCHAPv2(ctx, n, nil, nil)
		_, password := rs.VerifyPassword(ctx, n, nil, nil)
		for _, err := range []error{find, response, password, rs.ChangePassword(ctx, n, nil, nil)} {
			if r, no := IsRejected(err); !no || r.Reason != NoSuchUser {
				t.Errorf("%v: %v", n, err)
			}
		}
		if rs.CanChange(n) {
			t.Errorf("%v can change a password", n)
		}
	}
}

// A realm's directory never sees the names of other realms.
func TestRealmsOwnNames(t *testing.T) {
	rs, corp, _, _ := testRealms(t)
	ctx := context.Background()
	n := Name{User: "alice"}
	a, err := rs.Find(ctx, n)
	must(t, err)
	_, err = rs.VerifyPassword(ctx, n, a, nil)
	must(t, err)
	if corp.asked.Name != "alice" || a.Name != "alice@corp.example" {
		t.Errorf("asked for %q, the account is %q", corp.asked.Name, a.Name)
	}
	corp.asked = nil
	must(t, rs.ChangePassword(ctx, n, a, &Change{}))
	if corp.asked.Name != "alice" {
		t.Errorf("changed the password of %q", corp.asked.Name)
	}
	if !rs.CanChange(n) || rs.CanChange(Name{User: "x", Realm: "plant", Down: true}) {
		t.Error("who can change a password")
	}
	if r, _ := IsRejected(rs.ChangePassword(ctx, Name{User: "x", Realm: "plant", Down: true}, nil, nil)); r.Reason != BadPassword {
		t.Error("changed where nothing can be changed")
	}
}

func TestRealmsFollowed(t *testing.T) {
	rs, _, _, _ := testRealms(t)
	all := rs.Followed()
	if len(all) != 1 || all[0].Realm != "corp" {
		t.Fatalf("followed: %+v", all)
	}
	f := all[0]
	for name, own := range map[string]bool{"alice@corp.example": true, "alice@plant": false, "alice": false, "alice@notcorp.example": false} {
		if f.Owns(name) != own {
			t.Errorf("%s is corp's: %v", name, !own)
		}
	}
	got, next, err := f.Changed(context.Background(), []string{"alice@corp.example"}, "m")
	if want := []Account{{Name: "alice@corp.example", Realm: "corp", State: Active}}; err != nil || next != "m+" || !reflect.DeepEqual(got, want) {
		t.Errorf("changed: %+v, %q, %v", got, next, err)
	}
}

func TestRealmsContradict(t *testing.T) {
	d := &echo{}
	for want, realms := range map[string][]Realm{
		`both want CORP\NAME`:           {{Name: "a", Directory: d, Before: []string{"Corp"}, Suffix: "a"}, {Name: "b", Directory: d, Before: []string{"CORP"}}},
		"both want NAME@x.example":      {{Name: "a", Directory: d, Behind: []string{"x.example"}, Suffix: "a"}, {Name: "b", Directory: d, Behind: []string{"x.example"}}},
		"both want names without":       {{Name: "a", Directory: d, Default: true, Suffix: "a"}, {Name: "b", Directory: d, Default: true}},
		"both want names of any domain": {{Name: "a", Directory: d, Any: true, Suffix: "a"}, {Name: "b", Directory: d, Any: true}},
		"have the same canonical names": {{Name: "a", Directory: d, Suffix: "A"}, {Name: "b", Directory: d, Suffix: "a"}},
	} {
		if _, err := NewRealms(realms...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

func TestRealmsLock(t *testing.T) {
	rs, corp, _, _ := testRealms(t)
	for _, c := range []struct {
		name  Name
		realm string
		locks bool
	}{
		{Name{User: "alice"}, "corp", true}, {Name{User: "alice", Realm: "PLANT", Down: true}, "plant", false},
		{Name{User: "alice", Realm: "moon"}, "rest", false},
	} {
		realm, l := rs.Locker(c.name)
		if realm != c.realm || (l != nil) != c.locks {
			t.Errorf("%+v: %s, %v", c.name, realm, l)
		}
	}
	_, l := rs.Locker(Name{User: "alice"})
	got, err := l.Lockout(context.Background(), Name{User: "alice"}, &Account{Name: "alice@corp.example"})
	if err != nil || got.Threshold != 5 || corp.asked.Name != "alice" {
		t.Errorf("%+v, %v, asked for %+v", got, err, corp.asked)
	}
	if _, err := l.Lockout(context.Background(), Name{User: "alice"}, nil); err != nil || corp.asked != nil {
		t.Error("nobody is somebody")
	}
	if realm, l := (&Realms{}).Locker(Name{User: "alice"}); realm != "" || l != nil {
		t.Error("no realm locks")
	}
}
