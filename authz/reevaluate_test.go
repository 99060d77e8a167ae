package authz

import (
	"context"
	"slices"
	"testing"
	"time"

	"postern/authz/directory"
	"postern/authz/session"
	"postern/policy"
)

// running logs a user in and returns the session.
func (w *world) running(t *testing.T, typed, user string) *session.Record {
	t.Helper()
	r := w.request(typed, password(user))
	w.login(t, Permitted, r)
	rec, found, err := w.sessions.Get(context.Background(), session.ID("gw1", r.SessionID))
	must(t, err)
	if !found {
		t.Fatal("no session")
	}
	return &rec
}

// account is what the directory says now.
func (w *world) account(t *testing.T, user string) *directory.Account {
	t.Helper()
	a, err := w.file.Find(context.Background(), directory.Name{User: user})
	must(t, err)
	return a
}

// look looks at a session again.
func (w *world) look(t *testing.T, rec *session.Record, a *directory.Account) *Case {
	t.Helper()
	c := &Case{Session: session.Seen{Record: *rec}, Account: a}
	must(t, w.Reevaluate(context.Background(), c))
	return c
}

func TestReevaluate(t *testing.T) {
	w := newWorld(t)
	alice, carol := w.running(t, "alice+"+w.code(t, "alice", 0), "alice"), w.running(t, `CORP\carol`, "carol")
	for _, rec := range []*session.Record{alice, carol} {
		if !Followable(rec) {
			t.Errorf("%s: not followable", rec.User)
		}
		if got := w.look(t, rec, w.account(t, rec.User)); got.Reason != Permitted || got.Rule != rec.Rule {
			t.Errorf("%s: %+v", rec.User, got)
		}
	}
	if carol.Realm != "CORP" || carol.NASID != "gw1" || !carol.NASAddr.IsValid() || alice.Factor != "code" {
		t.Errorf("%+v", carol)
	}
	p, _ := w.Policy()
	for _, tt := range []struct {
		about  string
		rec    *session.Record
		change func(rec *session.Record, a *directory.Account)
		want   Reason
	}{
		{"disabled", alice, func(_ *session.Record, a *directory.Account) { a.State = directory.Disabled }, AccountDisabled},
		{"expired", alice, func(_ *session.Record, a *directory.Account) { a.State = directory.Expired }, AccountExpired},
		{"locked", alice, func(_ *session.Record, a *directory.Account) { a.State = directory.Locked }, AccountLocked},
		{"out of hours", alice, func(_ *session.Record, a *directory.Account) { a.State = directory.OutsideHours }, OutsideHours},
		{"must change", alice, func(_ *session.Record, a *directory.Account) { a.State = directory.PasswordMustChange }, PasswordMustChange},
		{"deleted", alice, func(_ *session.Record, a *directory.Account) {
			*a = directory.Account{Name: "alice", State: directory.Gone}
		}, NoSuchUser},
		{"not known", alice, func(_ *session.Record, a *directory.Account) { *a = directory.Account{Name: "alice"} }, Permitted},
		{"password of before", alice, func(rec *session.Record, a *directory.Account) { a.PasswordSet = rec.Opened.Add(-time.Second) }, Permitted},
		{"changed in the login", alice, func(rec *session.Record, a *directory.Account) { a.PasswordSet = rec.Opened.Add(5 * time.Second) }, Permitted},
		{"password of later", alice, func(rec *session.Record, a *directory.Account) { a.PasswordSet = rec.Opened.Add(time.Minute) }, PasswordChanged},
		{"out of the group", alice, func(_ *session.Record, a *directory.Account) { a.Groups = []string{"Others"} }, PolicyNoMatch},
		{"into a bad one", alice, func(_ *session.Record, a *directory.Account) { a.Groups = append(slices.Clone(a.Groups), "Banned") }, PolicyDenied},
		{"a blocked source", alice, func(rec *session.Record, _ *directory.Account) { rec.Source = blocked }, SourceDenied},
		{"a code is wanted now", carol, func(_ *session.Record, a *directory.Account) { a.Groups = []string{"VPN-Users"} }, CodeMissing},
		{"a code was given", alice, func(_ *session.Record, a *directory.Account) { a.Groups = []string{"NoCode"} }, Regranted},
	} {
		rec, a := *tt.rec, *w.account(t, tt.rec.User)
		tt.change(&rec, &a)
		got := w.look(t, &rec, &a)
		if got.Reason != tt.want {
			t.Errorf("%s: %+v, want %v", tt.about, got, tt.want)
		}
		if asked := a.State == directory.Active && tt.want != PasswordChanged; asked != (got.Policy == p.Version()) {
			t.Errorf("%s: policy %q", tt.about, got.Policy)
		}
		if (got.Detail == "") != (got.Reason == Permitted) {
			t.Errorf("%s: detail %q", tt.about, got.Detail)
		}
	}

	// The policy in force decides, not that of the login.
	other, err := policy.Load("policy.yaml", []byte("version: 1\nrules: [{id: nobody, when: {group: Nobody}, then: {permit: {factor: none}}}]\n"))
	must(t, err)
	must(t, w.SetPolicy(other))
	if got := w.look(t, alice, w.account(t, "alice")); got.Reason != PolicyNoMatch || got.Policy != other.Version() {
		t.Errorf("%+v", got)
	}
}

// Which factor a session had counts, and one that waits for it has it still to come.
func TestReevaluateFactors(t *testing.T) {
	w := carryWorld(t)
	rec, _ := w.held(t, "ruth")
	for _, tt := range []struct {
		about              string
		factor, remembered string
		held               bool
		group              string
		want               Reason
	}{
		{"in quarantine", "none", "", true, "Roamers", Permitted},
		{"in quarantine, where a key is demanded", "none", "", true, "Keys", Permitted},
		{"in quarantine, without a rule", "none", "", true, "Strangers", PolicyNoMatch},
		{"a code", "code", "", false, "Roamers", Permitted},
		{"a recovery code", "recovery", "", false, "Roamers", Permitted},
		{"a key", "webauthn", "", false, "Roamers", Permitted},
		{"a remembered code", "remembered", "code", false, "Roamers", Permitted},
		{"no factor", "none", "", false, "Roamers", Quarantined},
		{"one that nobody knows", "fingerprint", "", false, "Roamers", Quarantined},
		{"a code where a key is demanded by now", "code", "", false, "Keys", Quarantined},
		{"a remembered code where a key is", "remembered", "code", false, "Keys", Quarantined},
		{"a key where it is", "webauthn", "", false, "Keys", Regranted},
		{"a remembered key where it is", "remembered", "webauthn", false, "Keys", Regranted},
		{"no factor where none is demanded", "none", "", false, "Free", Regranted},
	} {
		r, a := rec, *w.account(t, "ruth")
		r.Factor, r.Remembered, a.Groups = tt.factor, tt.remembered, []string{tt.group}
		if !tt.held {
			r.Quarantine = time.Time{}
		}
		got := w.look(t, &r, &a)
		if got.Reason != tt.want || (got.Detail == "") != (tt.want == Permitted) {
			t.Errorf("%s: %+v, want %v", tt.about, got, tt.want)
		}
	}
	// Other reasons end it as they end any.
	a := *w.account(t, "ruth")
	a.State = directory.Disabled
	if got := w.look(t, &rec, &a); got.Reason != AccountDisabled {
		t.Errorf("%+v", got)
	}
}

// A session that is known from accounting only is nobody's to judge.
func TestFollowable(t *testing.T) {
	for about, rec := range map[string]session.Record{
		"of another's login": {User: "alice", Via: "gateway", Decision: "d"},
		"nobody's":           {Rule: "staff", Via: "gateway"},
		"of nobody we know":  {User: "alice", Rule: "staff"},
	} {
		if Followable(&rec) {
			t.Error(about)
		}
	}
}

func TestParting(t *testing.T) {
	w := newWorld(t)
	for r, want := range map[Reason]string{
		AccountDisabled: "Account disabled", PolicyNoMatch: denied, PasswordChanged: "Password changed", EndedByOperator: "Ended by an operator",
	} {
		if got := w.Parting(r); got != want {
			t.Errorf("%v: %q", r, got)
		}
	}
	w.cfg.Disclose = DiscloseNothing
	if got := w.Parting(AccountDisabled); got != denied {
		t.Errorf("with nothing disclosed: %q", got)
	}
	if got := w.Parting(EndedByOperator); got != "Ended by an operator" {
		t.Errorf("%q", got)
	}
}
