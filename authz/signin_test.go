package authz

import (
	"context"
	"errors"
	"testing"
	"time"

	"postern/authz/directory"
	"postern/authz/lockout"
	"postern/authz/session"
	"postern/internal/store/storetest"
)

// TestSignIn: who may use the portal, by password and code, under the shield of logins.
func TestSignIn(t *testing.T) {
	for _, tt := range []struct {
		about  string
		form   func(t *testing.T, w *world) SignIn
		before func(t *testing.T, w *world)
		want   SignInResult
	}{
		{about: "password and code", form: signIn("ruth", "CODE"), want: SignInResult{User: "ruth", Reason: Permitted, Factor: FactorCode, Enrolled: true}},
		{about: "the code behind the name", form: func(t *testing.T, w *world) SignIn {
			return SignIn{Name: `CORP\Ruth+` + w.code(t, "ruth", 0), Password: []byte(password("ruth"))}
		}, want: SignInResult{User: "ruth", Reason: Permitted, Factor: FactorCode, Enrolled: true}},
		{about: "somebody without a rule", form: signIn("alice", "CODE"), want: SignInResult{User: "alice", Reason: Permitted, Factor: FactorCode, Enrolled: true}},
		{about: "no code", form: signIn("ruth", ""), want: SignInResult{User: "ruth", Reason: CodeMissing, Enrolled: true}},
		{about: "no token", form: signIn("rex", ""), want: SignInResult{User: "rex", Reason: NotEnrolled}},
		{about: "no token, and some code", form: signIn("rex", "123456"), want: SignInResult{User: "rex", Reason: NotEnrolled}},
		{about: "a wrong code", form: signIn("ruth", "000000"), want: SignInResult{User: "ruth", Reason: CodeWrong, Enrolled: true}},
		{about: "a code used in a login", form: signIn("ruth", "CODE"), before: func(t *testing.T, w *world) {
			w.login(t, Permitted, w.with(t, "ruth", 0))
		}, want: SignInResult{User: "ruth", Reason: CodeReplayed, Enrolled: true}},
		{about: "a wrong password, and a right code", form: func(t *testing.T, w *world) SignIn {
			return SignIn{Name: "ruth", Password: []byte("x"), Code: w.code(t, "ruth", 0)}
		}, want: SignInResult{Reason: WrongPassword, Enrolled: true}},
		{about: "nobody", form: func(*testing.T, *world) SignIn { return SignIn{Name: "nobody", Password: []byte("x")} }, want: SignInResult{Reason: NoSuchUser}},
		{about: "no name", form: func(*testing.T, *world) SignIn { return SignIn{Password: []byte("x")} }, want: SignInResult{Reason: BadName}},
		{about: "disabled", form: signIn("ruth", "CODE"), before: inState("ruth", directory.Disabled), want: SignInResult{User: "ruth", Reason: AccountDisabled, Enrolled: true}},
		{about: "expired", form: signIn("ruth", "CODE"), before: inState("ruth", directory.PasswordExpired), want: SignInResult{User: "ruth", Reason: PasswordExpired, Enrolled: true}},
		{about: "locked out", form: signIn("ruth", "CODE"), before: func(t *testing.T, w *world) {
			for range 5 {
				r := w.dial("ruth", "nobody")
				r.Source = phone
				w.login(t, WrongPassword, r)
			}
		}, want: SignInResult{Reason: LockedOut, Enrolled: true}},
		{about: "no directory", form: signIn("ruth", "CODE"), before: func(_ *testing.T, w *world) {
			w.dir.findErr = directory.Unavailable{Doing: "dial", Err: errors.New("test")}
		}, want: SignInResult{Reason: DirectoryDown, Enrolled: true}},
		{about: "no store", form: signIn("ruth", "CODE"), before: func(_ *testing.T, w *world) { w.broken.after = 0 }, want: SignInResult{Reason: StoreDown}},

		{about: "a key", form: key("ruth"), want: SignInResult{User: "ruth", Reason: Permitted, Factor: FactorWebAuthn, Enrolled: true}},
		{about: "a key of nobody's", form: key("nobody"), want: SignInResult{Reason: NoSuchUser}},
		{about: "a key, by a name that was typed", form: key("RUTH"), want: SignInResult{Reason: NoSuchUser, Enrolled: true}},
		{about: "a key of a disabled account", form: key("ruth"), before: inState("ruth", directory.Disabled), want: SignInResult{User: "ruth", Reason: AccountDisabled, Enrolled: true}},
		{about: "a key, while others guess the password", form: key("ruth"), before: func(t *testing.T, w *world) {
			for range 5 {
				w.login(t, WrongPassword, w.dial("ruth", "nobody"))
			}
		}, want: SignInResult{User: "ruth", Reason: Permitted, Factor: FactorWebAuthn, Enrolled: true}},
	} {
		t.Run(tt.about, func(t *testing.T) {
			w := carryWorld(t)
			form := tt.form(t, w)
			form.From = phone
			if tt.before != nil {
				tt.before(t, w)
			}
			got := w.SignIn(context.Background(), form)
			if held := got.Delay > 0; held != (got.Reason == LockedOut) {
				t.Errorf("%v is held for %v", got.Reason, got.Delay)
			}
			if got.Delay = 0; got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
			w.broken.after = -1
			a := w.last()
			if a.Reason != tt.want.Reason || a.Method.String() != "portal" || a.Source != phone || a.Addr.IsValid() || a.Rule != "" || len(a.DecisionID) != 24 {
				t.Errorf("record %+v", a)
			}
			// It opens no session, whatever it is.
			user := "ruth"
			if n, err := w.sessions.Count(context.Background(), user); err != nil || n > 1 || n == 1 && tt.about != "a code used in a login" {
				t.Errorf("%d sessions, %v", n, err)
			}
			if all, err := w.sessions.All(context.Background()); err != nil || len(all) > 1 {
				t.Errorf("%v, %v", all, err)
			}
		})
	}
}

func signIn(user, code string) func(*testing.T, *world) SignIn {
	return func(t *testing.T, w *world) SignIn {
		if code == "CODE" {
			code = w.code(t, user, 0)
		}
		return SignIn{Name: user, Password: []byte(password(user)), Code: code}
	}
}

func key(user string) func(*testing.T, *world) SignIn {
	return func(*testing.T, *world) SignIn { return SignIn{Name: user, WebAuthn: true} }
}

func inState(user string, s directory.State) func(*testing.T, *world) {
	return func(_ *testing.T, w *world) { w.dir.state[user] = s }
}

// A code that signed somebody in opens no login, and the other way round; what is wrong
// here locks there.
func TestSignInIsALogin(t *testing.T) {
	w := carryWorld(t)
	form := SignIn{Name: "ruth", Password: []byte(password("ruth")), Code: w.code(t, "ruth", 0), From: home}
	if res := w.SignIn(context.Background(), form); res.Reason != Permitted {
		t.Fatalf("%+v", res)
	}
	w.login(t, CodeReplayed, w.with(t, "ruth", 0))
	if res := w.SignIn(context.Background(), form); res.Reason != CodeReplayed {
		t.Errorf("%+v", res)
	}
	w.login(t, Quarantined, w.dial("ruth", "ruth")) // a sign-in is remembered for no session
	w.sleep(time.Minute)
	form.Code = wrong(w.code(t, "ruth", 0))
	for range 5 {
		if res := w.SignIn(context.Background(), form); res.Reason != CodeWrong {
			t.Errorf("%+v", res)
		}
	}
	w.login(t, CodeLocked, w.with(t, "ruth", 0))
	form.Password = []byte("x")
	for range 5 {
		w.SignIn(context.Background(), form)
	}
	w.login(t, LockedOut, w.dial("ruth", "ruth"))
	if _, found, err := w.sessions.Get(context.Background(), session.ID("", "")); found || err != nil {
		t.Errorf("a session of the portal, %v", err)
	}
}

// A sign-in that is refused without a question to the directory takes as long as one
// with a wrong password.
func TestRefusedSignInTakesAsLong(t *testing.T) {
	w, _ := lockingWorld(t, storetest.Embedded(t), lockout.Config{User: lockout.Limit{Failures: 3, Lock: time.Hour, MaxLock: time.Hour}}, 0)
	var passed time.Duration
	w.cfg.Clock = func() time.Time { return w.now.Add(passed) }
	w.cfg.Directory = slowly{w.cfg.Directory, func() { passed += 30 * time.Millisecond }}
	w.cfg.Metrics = nil
	d, err := New(w.cfg)
	must(t, err)
	form := SignIn{Name: "alice", Password: []byte("guess"), From: phone}
	for range 3 {
		if res := d.SignIn(t.Context(), form); res.Reason != WrongPassword || res.Delay != 0 {
			t.Fatalf("%+v", res)
		}
	}
	if res := d.SignIn(t.Context(), form); res.Reason != LockedOut || res.Delay < 20*time.Millisecond || res.Delay > 60*time.Millisecond {
		t.Errorf("%+v", res)
	}
}

// slowly is a directory in which time passes.
type slowly struct {
	directory.Directory
	pass func()
}

func (s slowly) VerifyPassword(ctx context.Context, n directory.Name, a *directory.Account, password []byte) (directory.Proof, error) {
	s.pass()
	return s.Directory.VerifyPassword(ctx, n, a, password)
}
