package authz

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/authz/directory"
	"postern/authz/session"
	"postern/internal/mschap"
	"postern/internal/store"
	"postern/policy"
)

// changes makes flaky a directory that changes passwords, as a domain controller
// does: the old hash must fit, and a weak password is refused.
type changes struct {
	users *directory.Users
	file  *directory.File
	err   error // of every change
	late  error // said although the password was changed
	never bool  // this name's directory changes none

	mu      sync.Mutex
	expired map[string]bool   // the verification says so, as a domain controller
	old     map[string]string // passwords that were changed to
	asked   int
}

func newChanges(users *directory.Users, file *directory.File) changes {
	return changes{users: users, file: file, expired: map[string]bool{}, old: map[string]string{}}
}

// CanChange is what Realms has.
func (f *flaky) CanChange(directory.Name) bool { return !f.change.never }

func (f *flaky) ChangePassword(_ context.Context, _ directory.Name, a *directory.Account, c *directory.Change) error {
	d := &f.change
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	if d.err != nil {
		return d.err
	}
	now, changed := d.old[a.Name]
	if !changed {
		now = password(a.Name)
	}
	old := mschap.NTHash(now)
	fresh, err := mschap.DecryptPassword(&c.Encrypted, &old)
	hash := mschap.NTHash(fresh)
	switch {
	case err != nil || mschap.EncryptHash(&old, &hash) != c.OldHash:
		return directory.Rejected{Reason: directory.WrongPassword, Detail: "0xC000006A"}
	case len(fresh) < 8:
		return directory.Rejected{Reason: directory.BadPassword}
	}
	d.old[a.Name], d.expired[a.Name] = fresh, false
	return errors.Join(d.users.SetPassword(a.Name, fresh), d.file.Reload(), d.late)
}

// expire lets a user's password expire, and logs in with it and a code: the leave to
// change it is the answer.
func (w *world) expire(t testing.TB, user string) *Request {
	t.Helper()
	w.dir.change.expired[user] = true
	typed := user
	if w.secrets[user] != "" {
		typed = `CORP\` + user + "+" + w.code(t, user, 0)
	}
	r := w.request(typed, password(user))
	res := w.login(t, PasswordMustChange, r)
	if !res.Change || res.Verdict != Reject || res.ErrorCode != mschap.ErrorPasswordExpired || res.Retry {
		t.Errorf("no leave to change the password: %+v", res)
	}
	return r
}

// newPassword is what the node sends then: the same words, a new proof.
func (w *world) newPassword(first *Request, old, fresh string) *Request {
	r := *first
	r.Now, r.Method = w.now, MethodMSCHAPv2Change
	rand.Read(r.MSCHAPv2.Challenge[:])
	rand.Read(r.MSCHAPv2.PeerChallenge[:])
	r.MSCHAPv2.Ident++
	r.MSCHAPv2.Response = respond(&r, fresh)
	oldHash, newHash := mschap.NTHash(old), mschap.NTHash(fresh)
	r.Change = &directory.Change{OldHash: mschap.EncryptHash(&oldHash, &newHash)}
	var err error
	if r.Change.Encrypted, err = mschap.EncryptPassword(fresh, &oldHash, rand.Reader); err != nil {
		panic(err)
	}
	return &r
}

const fresh = "Neues-Passwort-€"

// TestChange is the whole of it: the session is one of the new password, with the
// factor of the login before.
func TestChange(t *testing.T) {
	w := newWorld(t)
	first := w.expire(t, "dora")
	if rec := w.last(); rec.Change || rec.Factor != FactorCode || rec.Rule != "change" || rec.Reason != PasswordMustChange {
		t.Errorf("record %+v", rec)
	}
	w.sleep(100 * time.Second) // the user thinks
	r := w.newPassword(first, password("dora"), fresh)
	res := w.login(t, Permitted, r)
	if rec := w.last(); !rec.Change || rec.Factor != FactorCode || rec.Rule != "change" || rec.Method.String() != "mschapv2_change" || rec.Typed != `CORP\dora` || rec.Err != nil {
		t.Errorf("record %+v", rec)
	}
	// What the peer computes of the new password.
	hash := mschap.NTHash(fresh)
	hashHash := mschap.HashHash(&hash)
	ch := mschap.ChallengeHash(&r.MSCHAPv2.PeerChallenge, &r.MSCHAPv2.Challenge, mschap.TrimDomain(r.User))
	master := mschap.MasterKey(&hashHash, &r.MSCHAPv2.Response)
	send, recv := mschap.StartKeys(&master, false)
	if res.Success != mschap.AuthenticatorResponse(&hashHash, &r.MSCHAPv2.Response, ch) || res.SendKey != recv || res.RecvKey != send || res.User != "dora" || !res.Grant.Addr.IsValid() {
		t.Errorf("%+v", res)
	}
	_, err := w.sessions.Start(context.Background(), session.Report{Node: "gw1", Acct: r.SessionID, Addr: res.Grant.Addr})
	must(t, err)
	if rec, found, err := w.sessions.Get(context.Background(), "gw1/"+r.SessionID); err != nil || !found || rec.Factor != "code" || rec.Rule != "change" {
		t.Errorf("session %+v, %v, %v", rec, found, err)
	}
	w.login(t, WrongPassword, w.request("dora+"+w.code(t, "dora", 0), password("dora")))
	w.login(t, Permitted, w.request("dora+"+w.code(t, "dora", 0), fresh))

	for _, secret := range []string{fresh, password("dora"), hex.EncodeToString(r.Change.Encrypted[:16]), hex.EncodeToString(r.Change.OldHash[:]), w.secrets["dora"]} {
		if strings.Contains(strings.ToLower(w.audit.String()), strings.ToLower(secret)) {
			t.Errorf("%q is in the audit log", secret)
		}
	}
	if n := strings.Count(w.audit.String(), `"change":true`); n != 1 {
		t.Errorf("%d audit lines of a change, want 1", n)
	}
}

// A directory that tells of the state when the account is found, and verifies all the
// same, is no other.
func TestChangeStateFound(t *testing.T) {
	for state, reason := range map[directory.State]Reason{
		directory.PasswordExpired: PasswordExpired, directory.PasswordMustChange: PasswordMustChange,
	} {
		w := newWorld(t)
		w.dir.state["dora"] = state
		first := w.request("dora+"+w.code(t, "dora", 0), password("dora"))
		if res := w.login(t, reason, first); !res.Change {
			t.Errorf("%v: no leave", state)
		}
		w.login(t, Permitted, w.newPassword(first, password("dora"), fresh)) // whatever a cache says
	}
}

// TestNoLeave: who may not change the password is not asked for a new one, and does
// not get one in.
func TestNoLeave(t *testing.T) {
	for _, tt := range []struct {
		about  string
		reason Reason
		code   int
		run    func(t *testing.T, w *world) *Request
	}{
		{"no code", PasswordMustChange, 648, func(_ *testing.T, w *world) *Request { return w.request("dora", password("dora")) }},
		{"wrong code", CodeWrong, 691, func(t *testing.T, w *world) *Request {
			return w.request("dora+"+wrong(w.code(t, "dora", 0)), password("dora"))
		}},
		{"a code used before", CodeReplayed, 691, func(t *testing.T, w *world) *Request {
			w.dir.change.expired["dora"] = false
			typed := "dora+" + w.code(t, "dora", 0)
			w.login(t, Permitted, w.request(typed, password("dora")))
			w.dir.change.expired["dora"] = true
			return w.request(typed, password("dora"))
		}},
		{"no token", PasswordMustChange, 648, func(t *testing.T, w *world) *Request {
			must(t, w.users.SetGroups("bob", []string{"Changers"}))
			must(t, w.file.Reload())
			return w.request("bob", password("bob"))
		}},
		{"wrong password", WrongPassword, 691, func(t *testing.T, w *world) *Request { return w.request("dora+"+w.code(t, "dora", 0), "guess") }},
		{"a policy that does not permit it", PasswordMustChange, 648, func(t *testing.T, w *world) *Request {
			return w.request("alice+"+w.code(t, "alice", 0), password("alice"))
		}},
		{"a rule that asks for no code", PasswordMustChange, 648, func(_ *testing.T, w *world) *Request { return w.request("emil", password("emil")) }},
		{"a policy that denies all", PolicyDenied, 691, func(_ *testing.T, w *world) *Request { return w.request("mallory", password("mallory")) }},
		{"a blocked source", SourceDenied, 691, func(t *testing.T, w *world) *Request {
			r := w.request("dora+"+w.code(t, "dora", 0), password("dora"))
			r.Source = blocked
			return r
		}},
		{"a directory that changes none", PasswordMustChange, 648, func(t *testing.T, w *world) *Request {
			w.dir.change.never = true
			return w.request("dora+"+w.code(t, "dora", 0), password("dora"))
		}},
		{"a NAS that does not tell dialogues apart", PasswordMustChange, 648, func(t *testing.T, w *world) *Request {
			r := w.request("dora+"+w.code(t, "dora", 0), password("dora"))
			r.SessionID = ""
			return r
		}},
		{"PAP", PasswordExpired, 648, func(t *testing.T, w *world) *Request {
			w.dir.state["dora"] = directory.PasswordExpired
			return w.pap("dora+"+w.code(t, "dora", 0), password("dora"))
		}},
		{"another state", AccountDisabled, 647, func(t *testing.T, w *world) *Request {
			w.dir.state["dora"] = directory.Disabled
			return w.request("dora+"+w.code(t, "dora", 0), password("dora"))
		}},
	} {
		t.Run(tt.about, func(t *testing.T) {
			w := newWorld(t)
			for _, user := range []string{"alice", "bob", "dora", "emil", "mallory"} {
				w.dir.change.expired[user] = true
			}
			first := tt.run(t, w)
			if res := w.login(t, tt.reason, first); res.Change || res.ErrorCode != tt.code {
				t.Errorf("%+v", res)
			}
			w.dir.change.never = false
			w.login(t, CodeMissing, w.newPassword(first, password(strings.ToLower(w.last().User)), fresh))
			if w.dir.change.asked != 0 {
				t.Error("the directory was asked to change a password")
			}
		})
	}
}

// TestCodeIsBurnt: the code of a login that ended in E=648 is used.
func TestCodeIsBurnt(t *testing.T) {
	w := newWorld(t)
	first := w.expire(t, "dora")
	w.login(t, CodeReplayed, w.request(first.User, password("dora")))
	w = newWorld(t)
	w.dir.change.expired["alice"] = true // whose rule does not permit it
	first = w.request("alice+"+w.code(t, "alice", 0), password("alice"))
	w.login(t, PasswordMustChange, first)
	w.login(t, CodeReplayed, w.request(first.User, password("alice")))
}

// TestChangeDisclosure: that a password has expired is told to who may change it now,
// whatever is told to others.
func TestChangeDisclosure(t *testing.T) {
	for _, d := range []Disclosure{DiscloseNothing, DiscloseStates, DiscloseFull} {
		w := newWorld(t)
		w.cfg.Disclose, w.cfg.Retry = d, true
		first := w.expire(t, "dora")
		res := w.login(t, NewPasswordRefused, w.newPassword(first, password("dora"), "weak"))
		if res.ErrorCode != mschap.ErrorChangingPassword || res.Message != "New password refused" || res.Change || res.Retry {
			t.Errorf("%d: %+v", d, res)
		}
		if res := w.login(t, CodeReplayed, w.newPassword(first, password("dora"), fresh)); res.Retry {
			t.Errorf("%d: a retry where none is possible", d)
		}
		w.dir.change.expired["alice"] = true
		res = w.login(t, PasswordMustChange, w.request("alice+"+w.code(t, "alice", 0), password("alice")))
		if want := map[Disclosure]int{DiscloseNothing: 691, DiscloseStates: 648, DiscloseFull: 648}[d]; res.ErrorCode != want || res.Change {
			t.Errorf("%d: who may not change it: %+v", d, res)
		}
	}
}

// TestLeaveIsOfOneDialogue: another one's words do not take it, nor do two minutes
// leave it.
func TestLeaveIsOfOneDialogue(t *testing.T) {
	for about, spoil := range map[string]func(w *world, r *Request){
		"another session":      func(_ *world, r *Request) { r.SessionID += "x" },
		"no session":           func(_ *world, r *Request) { r.SessionID = "" },
		"another NAS":          func(_ *world, r *Request) { r.NAS.ID = "gw2" },
		"another NAS' address": func(_ *world, r *Request) { r.NAS.Addr = blocked },
		"another spelling":     func(_ *world, r *Request) { r.User = strings.TrimPrefix(r.User, `CORP\`) },
		"another user": func(w *world, r *Request) {
			w.dir.change.expired["emil"] = true
			r.User = "emil"
		},
		"too late": func(w *world, _ *Request) { w.sleep(dialogueLife + time.Second) },
	} {
		w := newWorld(t)
		first := w.expire(t, "dora")
		r := w.newPassword(first, password("dora"), fresh)
		spoil(w, r)
		r.MSCHAPv2.Response = respond(r, fresh)
		w.login(t, CodeMissing, r)
		if w.dir.change.asked != 0 {
			t.Errorf("%s: the directory was asked", about)
		}
	}
	w := newWorld(t)
	w.login(t, NoSuchUser, w.newPassword(w.request("nobody", "x"), "x", fresh))
	r := w.newPassword(w.expire(t, "dora"), password("dora"), fresh)
	r.Change = nil
	w.login(t, MethodRefused, r)
}

// TestLeaveIsTakenOnce: of many new passwords at once one gets to the directory.
func TestLeaveIsTakenOnce(t *testing.T) {
	w := newWorld(t)
	first := w.expire(t, "dora")
	w.Decider.cfg.Audit = silentAudit{}
	reasons := make([]Reason, 16)
	var wg sync.WaitGroup
	for i := range reasons {
		r := w.newPassword(first, password("dora"), fmt.Sprint(fresh, i))
		wg.Go(func() { reasons[i] = w.decide(r).Reason })
	}
	wg.Wait()
	count := map[Reason]int{}
	for _, r := range reasons {
		count[r]++
	}
	if !maps.Equal(count, map[Reason]int{Permitted: 1, CodeReplayed: 15}) || w.dir.change.asked != 1 {
		t.Errorf("%v, the directory was asked %d times", count, w.dir.change.asked)
	}
}

// TestLeaveIsNotRenewed: the login asked again, its answer lost, gives back no leave
// that was taken.
func TestLeaveIsNotRenewed(t *testing.T) {
	w := newWorld(t)
	first := w.expire(t, "dora")
	if res := w.login(t, PasswordMustChange, first); !res.Change {
		t.Errorf("asked again: %+v", res)
	}
	w.login(t, NewPasswordRefused, w.newPassword(first, password("dora"), "weak"))
	if res := w.login(t, CodeReplayed, first); res.Change {
		t.Errorf("after the change: %+v", res)
	}
	w.login(t, CodeReplayed, w.newPassword(first, password("dora"), fresh))
	if w.dir.change.asked != 1 {
		t.Errorf("the directory was asked %d times", w.dir.change.asked)
	}
}

// TestChangeAgain: a change asked again, its answer lost, is the same one.
func TestChangeAgain(t *testing.T) {
	w := newWorld(t)
	r := w.newPassword(w.expire(t, "dora"), password("dora"), fresh)
	res := w.login(t, Permitted, r)
	if again := w.login(t, Permitted, r); again.Grant.Addr != res.Grant.Addr || again.Success != res.Success || w.dir.change.asked != 1 {
		t.Errorf("%+v, asked %d times", again, w.dir.change.asked)
	}

	// The directory was away, or only its answer was.
	for _, away := range []func(c *changes, err error){
		func(c *changes, err error) { c.err = err }, func(c *changes, err error) { c.late = err },
	} {
		w = newWorld(t)
		r = w.newPassword(w.expire(t, "dora"), password("dora"), fresh)
		away(&w.dir.change, directory.Unavailable{Doing: "dial", Err: errors.New("test")})
		if res := w.login(t, DirectoryDown, r); res.Verdict != Silent {
			t.Errorf("%+v", res)
		}
		away(&w.dir.change, nil)
		w.login(t, Permitted, r)
		w.login(t, CodeReplayed, w.newPassword(r, fresh, fresh+"2"))
	}
	w = newWorld(t)
	r = w.newPassword(w.expire(t, "dora"), password("dora"), fresh)
	w.login(t, Permitted, r)
	w.dir.verifyErr = directory.Unavailable{Doing: "dial", Err: errors.New("test")}
	w.login(t, DirectoryDown, r)
}

// TestChangeRefused: what the directory and the policy say of a change, and that none
// of it is asked of the directory in vain.
func TestChangeRefused(t *testing.T) {
	load := func(t *testing.T, rule string) *policy.Policy {
		p, err := policy.Load("p", []byte("version: 1\npools: {staff: [10.20.0.0/24]}\nrules: ["+rule+"]\n"))
		must(t, err)
		return p
	}
	for _, tt := range []struct {
		about   string
		reason  Reason
		changes int
		spoil   func(t *testing.T, w *world, r *Request)
	}{
		{"locked out meanwhile", LockedOut, 0, func(t *testing.T, w *world, _ *Request) {
			for range 5 {
				w.login(t, WrongPassword, w.request("dora", "guess"))
			}
		}},
		{"disabled meanwhile", AccountDisabled, 0, func(_ *testing.T, w *world, _ *Request) { w.dir.state["dora"] = directory.Disabled }},
		{"no longer permitted", PolicyDenied, 0, func(t *testing.T, w *world, _ *Request) {
			must(t, w.SetPolicy(load(t, "{id: open, then: {permit: {pool: staff}}}")))
		}},
		{"denied by now", PolicyDenied, 0, func(t *testing.T, w *world, _ *Request) {
			must(t, w.SetPolicy(load(t, "{id: shut, then: deny}")))
		}},
		{"directory changes none by now", MethodRefused, 0, func(_ *testing.T, w *world, _ *Request) { w.dir.change.never = true }},
		{"locked in the directory", AccountLocked, 1, func(_ *testing.T, w *world, _ *Request) {
			w.dir.change.err = directory.Rejected{Reason: directory.AccountState, State: directory.Locked}
		}},
		{"gone", NoSuchUser, 1, func(_ *testing.T, w *world, _ *Request) {
			w.dir.change.err = directory.Rejected{Reason: directory.NoSuchUser}
		}},
		{"store away at the leave", StoreDown, 0, func(_ *testing.T, w *world, _ *Request) { w.broken.after = 1 }},
		{"store away at the commit", StoreDown, 1, func(_ *testing.T, w *world, _ *Request) { w.broken.after = 2 }},
		{"an unreadable leave", InternalError, 0, func(t *testing.T, w *world, r *Request) {
			must(t, w.Backend.Do(context.Background(), store.Seq{&store.Put{Key: (&login{req: r, user: "dora"}).leaveKey(), Value: "{"}}))
		}},
	} {
		t.Run(tt.about, func(t *testing.T) {
			w := newWorld(t)
			r := w.newPassword(w.expire(t, "dora"), password("dora"), fresh)
			tt.spoil(t, w, r)
			res := w.login(t, tt.reason, r)
			if res.Verdict == Accept || res.Success != "" || w.dir.change.asked != tt.changes || !w.last().Change {
				t.Errorf("%+v, the directory was asked %d times, record %+v", res, w.dir.change.asked, w.last())
			}
		})
	}
}

// TestChangeWrongOldPassword counts like any wrong password.
func TestChangeWrongOldPassword(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		w.login(t, WrongPassword, w.newPassword(w.expire(t, "dora"), "guess", fresh))
		if err := w.last().Err; err == nil || !strings.Contains(err.Error(), "0xC000006A") {
			t.Errorf("what the directory said is not in the record: %v", err)
		}
		w.sleep(30 * time.Second) // for another code
	}
	w.login(t, LockedOut, w.request("dora", password("dora")))
}

// TestChangedButNotProved: the session takes a right response, not a change.
func TestChangedButNotProved(t *testing.T) {
	w := newWorld(t)
	r := w.newPassword(w.expire(t, "dora"), password("dora"), fresh)
	r.MSCHAPv2.Response = respond(r, "another")
	w.login(t, WrongPassword, r)
	if err := w.last().Err; err == nil || !strings.Contains(err.Error(), "was changed") {
		t.Errorf("the record does not say that the password was changed: %v", err)
	}
	if n, err := w.sessions.Count(context.Background(), "dora"); n != 0 || err != nil {
		t.Errorf("%d sessions, %v", n, err)
	}
	w.sleep(time.Minute)
	w.login(t, Permitted, w.request("dora+"+w.code(t, "dora", 0), fresh))

	// A directory in which the change did not end the state.
	w = newWorld(t)
	r = w.newPassword(w.expire(t, "dora"), password("dora"), fresh)
	w.dir.verifyErr = directory.Rejected{Reason: directory.AccountState, State: directory.PasswordMustChange}
	if res := w.login(t, PasswordMustChange, r); res.Change {
		t.Error("a second change in one dialogue")
	}
}

// TestChangeTrips: the leave costs one trip more than a login.
func TestChangeTrips(t *testing.T) {
	w := newWorld(t)
	w.broken.trips = 0
	first := w.expire(t, "dora")
	if w.broken.trips != 2 {
		t.Errorf("%d trips for a login with an expired password, want 2", w.broken.trips)
	}
	w.broken.trips = 0
	w.login(t, Permitted, w.newPassword(first, password("dora"), fresh))
	if w.broken.trips != 3 {
		t.Errorf("%d trips for a change, want 3", w.broken.trips)
	}
}

func TestLeaveText(t *testing.T) {
	for _, v := range []leave{{}, {FactorCode, ""}, {FactorCode, "ATTEMPT"}, {FactorNone, "A"}} {
		if got, ok := parseLeave(v.String()); !ok || got != v {
			t.Errorf("%+v is %q and read as %+v, %v", v, v, got, ok)
		}
	}
	for _, s := range []string{"", "code", "code ", " -", "push -", "{"} {
		if v, ok := parseLeave(s); ok {
			t.Errorf("%q is read as %+v", s, v)
		}
	}
	if slices.Contains(factorNames[:], untaken) {
		t.Error("a factor is called as nobody")
	}
}
