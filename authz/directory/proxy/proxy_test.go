package proxy

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"postern/authz/directory"
	"postern/internal/radius"
)

func TestNewRefuses(t *testing.T) {
	u := newUpstream()
	c, err := radius.NewClient(radius.ClientConfig{Servers: []radius.Server{{Name: "up", Network: "inproc", Local: u}}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	good := Config{Upstream: c, NAS: "svc1", AsMSCHAPv1: AsMSCHAPv1Never, Groups: GroupsNone}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for about, spoil := range map[string]func(*Config){
		"no upstream":      func(c *Config) { c.Upstream = nil },
		"no NAS":           func(c *Config) { c.NAS = "" },
		"long NAS":         func(c *Config) { c.NAS = strings.Repeat("x", 254) },
		"no form":          func(c *Config) { c.AsMSCHAPv1 = AsMSCHAPv1Unknown },
		"form beyond":      func(c *Config) { c.AsMSCHAPv1 = AsMSCHAPv1Always + 1 },
		"no groups":        func(c *Config) { c.Groups = GroupsUnknown },
		"attribute beyond": func(c *Config) { c.Groups = GroupsFilterID + 1 },
	} {
		bad := good
		spoil(&bad)
		if _, err := New(bad); err == nil {
			t.Errorf("%s: taken", about)
		}
	}
}

func TestNames(t *testing.T) {
	if got := [...]string{AsMSCHAPv1Never.String(), AsMSCHAPv1WithCode.String(), AsMSCHAPv1Always.String(), AsMSCHAPv1(99).String()}; got != [...]string{"never", "with_code", "always", "unknown"} {
		t.Error(got)
	}
	if got := [...]string{GroupsNone.String(), GroupsClass.String(), GroupsFilterID.String(), GroupAttribute(99).String()}; got != [...]string{"none", "class", "filter-id", "unknown"} {
		t.Error(got)
	}
}

func TestFindWithoutPeople(t *testing.T) {
	u := newUpstream()
	d := u.open(t, nil)
	n := directory.Name{User: "ALICE", Realm: "LAB", Down: true}
	a, err := d.Find(context.Background(), n)
	if err != nil || a.Name != "alice" || a.State != directory.Active || d.Canonical(n) != "alice" {
		t.Errorf("%+v %v", a, err)
	}
	if u.count() != 0 {
		t.Error("the upstream server was asked for a name")
	}
	if _, can := d.(directory.Follower); can {
		t.Error("nobody can follow a RADIUS server")
	}
}

// people is another directory of the same people.
type people struct {
	directory.Directory // never asked to verify
	accounts            map[string]directory.Account
	err                 error
}

func (p people) Canonical(n directory.Name) string { return "p-" + strings.ToLower(n.User) }

func (p people) Find(_ context.Context, n directory.Name) (*directory.Account, error) {
	if p.err != nil {
		return nil, p.err
	}
	a, ok := p.accounts[n.User]
	if !ok {
		return nil, directory.Rejected{Reason: directory.NoSuchUser}
	}
	return &a, nil
}

// watched are people that can be followed.
type watched struct{ people }

func (watched) Changed(_ context.Context, names []string, _ directory.Mark) ([]directory.Account, directory.Mark, error) {
	return []directory.Account{{Name: names[0], State: directory.Gone}}, "next", nil
}

func TestPeople(t *testing.T) {
	u := newUpstream()
	u.accept = func(r *radius.Packet) error { return addClass(r, "upstream") }
	alice := directory.Account{Name: "p-alice", SID: "S-1-5-21-1", Groups: []string{"Staff"}, State: directory.OutsideHours}
	p := people{accounts: map[string]directory.Account{"alice": alice}}
	d := u.open(t, func(c *Config) { c.People = p })
	ctx := context.Background()

	a, err := d.Find(ctx, bareName("alice"))
	if err != nil || a.Name != "p-alice" || a.SID != alice.SID || a.State != directory.OutsideHours || !slices.Equal(a.Groups, alice.Groups) {
		t.Errorf("%+v %v", a, err)
	}
	if d.Canonical(bareName("ALICE")) != "p-alice" {
		t.Error("the canonical name is not People's")
	}
	l := dial("alice", bareName("alice"), "Alice-Pass1")
	proof, err := l.verify(d)
	if err != nil || !slices.Equal(proof.Groups, []string{"upstream"}) {
		t.Errorf("%+v %v", proof, err)
	}

	// Whom People do not know the server is asked about all the same, so that nobody
	// learns it from the clock; but it cannot let them in.
	u.passwords["eve"] = "Eve-Pass1"
	_, err = d.Find(ctx, bareName("eve"))
	wantRejected(t, err, directory.NoSuchUser, directory.StateUnknown)
	for _, password := range []string{"Eve-Pass1", "wrong"} {
		before := u.count()
		_, err = d.VerifyMSCHAPv2(ctx, bareName("eve"), nil, &dial("eve", bareName("eve"), password).response)
		wantRejected(t, err, directory.NoSuchUser, directory.StateUnknown)
		_, err = d.VerifyPassword(ctx, bareName("eve"), nil, []byte(password))
		wantRejected(t, err, directory.NoSuchUser, directory.StateUnknown)
		if u.count() != before+2 {
			t.Errorf("asked %d times, want twice", u.count()-before)
		}
	}
	u.answer = func(q *radius.Packet) *radius.Packet { return reject(q, 1, "E=647 R=0 V=3") }
	_, err = d.VerifyPassword(ctx, bareName("eve"), nil, []byte("x"))
	wantRejected(t, err, directory.NoSuchUser, directory.StateUnknown)

	away := errors.New("away")
	d = u.open(t, func(c *Config) { c.People = people{err: directory.Unavailable{Doing: "test", Err: away}} })
	_, err = d.Find(ctx, bareName("alice"))
	wantUnavailable(t, err, away)
}

func TestFollowed(t *testing.T) {
	d := newUpstream().open(t, func(c *Config) { c.People = watched{} })
	f, can := d.(directory.Follower)
	if !can {
		t.Fatal("People can be followed, the directory cannot")
	}
	changed, next, err := f.Changed(context.Background(), []string{"p-alice"}, "")
	if err != nil || next != "next" || len(changed) != 1 || changed[0].State != directory.Gone {
		t.Errorf("%v %v %v", changed, next, err)
	}
}
