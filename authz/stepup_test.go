package authz

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/authz/directory"
	"postern/authz/lockout"
	"postern/authz/session"
	"postern/policy"
)

var phone = netip.MustParseAddr("192.0.2.77")

// held logs a user in without a factor, and returns the session and what its URL
// carries.
func (w *world) held(t testing.TB, user string) (session.Record, string) {
	t.Helper()
	r := w.dial(user, user)
	res := w.login(t, Quarantined, r)
	token, ok := strings.CutPrefix(res.Grant.Quarantine.URL, portalURL+"/s/")
	if !ok {
		t.Fatalf("URL %q", res.Grant.Quarantine.URL)
	}
	return w.record(t, r), token
}

// stepUp gives a factor for a session and checks the reason.
func (w *world) stepUp(t testing.TB, want Reason, s StepUp) StepUpResult {
	t.Helper()
	s.From = phone
	res := w.Decider.StepUp(context.Background(), s)
	if res.Reason != want {
		t.Errorf("step-up of %s: %v, want %v", s.User, res.Reason, want)
	}
	if (res.Factor != FactorNone) != (want == Permitted) {
		t.Errorf("factor %v with %v", res.Factor, res.Reason)
	}
	return res
}

// lines are the audit lines since the last call, as JSON.
func (w *world) lines(t testing.TB) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(w.audit.String()) {
		var m map[string]any
		must(t, json.Unmarshal([]byte(line), &m))
		all = append(all, m)
	}
	w.audit.Reset()
	return all
}

// TestStepUp: a code in the portal releases the session, at any service, and the NAS is
// to be told what the rule grants.
func TestStepUp(t *testing.T) {
	w := carryWorld(t)
	rec, token := w.held(t, "ruth")
	v, err := w.Visit(context.Background(), token)
	if err != nil || v.User != "ruth" || v.Session.ID != rec.ID || !v.Held || v.Lifting || v.Demands != policy.FactorCode || !v.Until.Equal(rec.Quarantine) {
		t.Errorf("%+v, %v", v, err)
	}
	w.lines(t)
	code := w.code(t, "ruth", 0)
	w.stepUp(t, CodeWrong, StepUp{Session: rec.ID, User: "ruth", Code: wrong(code)})
	if res := w.stepUp(t, Permitted, StepUp{Session: rec.ID, User: "ruth", Code: code}); res.Factor != FactorCode {
		t.Errorf("%+v", res)
	}
	now, _, err := w.sessions.Get(context.Background(), rec.ID)
	if err != nil || !now.Quarantine.IsZero() || now.Factor != "code" || now.Demands != "" || now.Decision != rec.Decision || now.Addr != rec.Addr {
		t.Errorf("session %+v, %v", now, err)
	}
	wish, of, found, err := w.sessions.Wish(context.Background(), "change "+rec.ID)
	if err != nil || !found || of.ID != rec.ID || wish.Reason != "stepped up" || wish.Rule != "roam" || wish.Policy == "" {
		t.Fatalf("wish %+v, %v", wish, err)
	}
	var change Change
	must(t, json.Unmarshal(wish.Change, &change))
	if want := (Change{
		Session: 8 * time.Hour, Idle: noLimit, Filter: &FilterChange{Name: "f2"}, Bandwidth: &policy.Bandwidth{Up: 2_000_000, Down: 10_000_000},
	}); !reflect.DeepEqual(change, want) {
		t.Errorf("change %+v", change)
	}
	if v, err := w.Visit(context.Background(), token); err != nil || v.Held || !v.Lifting {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := w.sessions.Answered(context.Background(), wish); err != nil {
		t.Fatal(err)
	}
	if v, err := w.Visit(context.Background(), token); err != nil || v.Held || v.Lifting {
		t.Errorf("%+v, %v", v, err)
	}
	// The audit log has the login's decision in each line.
	lines := w.lines(t)
	if len(lines) != 2 {
		t.Fatalf("%v", lines)
	}
	for i, want := range []map[string]any{
		{"msg": "step-up refused", "decision": rec.Decision, "reason": "code wrong", "verdict": "reject", "factor": "none", "user": "ruth", "from": phone.String(), "source": home.String()},
		{"msg": "stepped up", "decision": rec.Decision, "reason": "permitted", "verdict": "accept", "factor": "code", "rule": "roam", "session": rec.Acct},
	} {
		for k, v := range want {
			if lines[i][k] != v {
				t.Errorf("line %d: %s is %v, want %v", i, k, lines[i][k], v)
			}
		}
	}
	// The code is used, everywhere; the factor is remembered for the next call from there.
	other, _ := w.held(t, "quin")
	w.stepUp(t, NotQuarantined, StepUp{Session: rec.ID, User: "ruth", Code: code})
	w.login(t, CodeReplayed, w.dial("ruth+"+code, "ruth"))
	w.login(t, Permitted, w.dial("ruth", "ruth"))
	if a := w.last(); a.Factor != FactorRemembered || a.Kind != FactorCode {
		t.Errorf("record %+v", a)
	}
	away := w.dial("ruth", "ruth")
	away.Source = phone
	w.login(t, Quarantined, away)
	// A code that opened a login releases no session.
	w.login(t, Quarantined, w.with(t, "quin", 0)) // burnt: it does not count there
	w.stepUp(t, CodeReplayed, StepUp{Session: other.ID, User: "quin", Code: w.code(t, "quin", 0)})
	w.stepUp(t, Permitted, StepUp{Session: other.ID, User: "quin", Code: w.code(t, "quin", 1)})
}

// TestStepUpRefused: what is asked before a session is released.
func TestStepUpRefused(t *testing.T) {
	for _, tt := range []struct {
		about  string
		user   string
		change func(w *world, rec session.Record, s *StepUp)
		want   Reason
		burnt  bool
	}{
		{"no code", "ruth", func(_ *world, _ session.Record, s *StepUp) { s.Code = "" }, CodeMissing, false},
		{"another's session", "ruth", func(_ *world, _ session.Record, s *StepUp) { s.User = "quin" }, SessionGone, false},
		{"nobody's", "ruth", func(_ *world, _ session.Record, s *StepUp) { s.User = "" }, SessionGone, false},
		{"no session", "ruth", func(_ *world, _ session.Record, s *StepUp) { s.Session += "x" }, SessionGone, false},
		{"ended", "ruth", func(w *world, rec session.Record, _ *StepUp) {
			_, err := w.sessions.Stop(context.Background(), session.Report{Node: rec.Node, Acct: rec.Acct})
			if err != nil {
				panic(err)
			}
		}, SessionGone, false},
		{"too late", "ruth", func(w *world, rec session.Record, s *StepUp) { w.sleep(3 * time.Minute) }, StepUpExpired, false},
		{"disabled", "ruth", func(w *world, _ session.Record, _ *StepUp) { w.dir.state["ruth"] = directory.Disabled }, AccountDisabled, false},
		{"a new password", "ruth", func(w *world, rec session.Record, _ *StepUp) { w.dir.set = rec.Opened.Add(time.Minute) }, PasswordChanged, false},
		{"deleted", "ruth", func(w *world, _ session.Record, _ *StepUp) {
			w.dir.findErr = directory.Rejected{Reason: directory.NoSuchUser}
		}, NoSuchUser, false},
		{"another's name by now", "ruth", func(w *world, _ session.Record, _ *StepUp) { w.dir.rename["ruth"] = "rob" }, NoSuchUser, false},
		{"a state nobody knows", "ruth", func(w *world, _ session.Record, _ *StepUp) { w.dir.state["ruth"] = directory.StateUnknown }, InternalError, false},
		{"no directory", "ruth", func(w *world, _ session.Record, _ *StepUp) {
			w.dir.findErr = directory.Unavailable{Doing: "dial", Err: errors.New("test")}
		}, DirectoryDown, false},
		{"no rule any more", "ruth", func(w *world, _ session.Record, _ *StepUp) { w.regroup("ruth") }, PolicyNoMatch, false},
		{"a stricter rule", "ruth", func(w *world, _ session.Record, _ *StepUp) { w.regroup("ruth", "Keys") }, FactorTooWeak, false},
		{"a code where a key is demanded", "kim", func(*world, session.Record, *StepUp) {}, FactorTooWeak, false},
		{"no token", "rex", func(_ *world, _ session.Record, s *StepUp) { s.Code = "123456" }, NotEnrolled, false},
		{"a wrong code", "ruth", func(_ *world, _ session.Record, s *StepUp) { s.Code = wrong(s.Code) }, CodeWrong, false},
		{"no code at all", "ruth", func(_ *world, _ session.Record, s *StepUp) { s.Code = "let me in" }, CodeWrong, false},
		{"too many wrong codes", "ruth", func(w *world, rec session.Record, s *StepUp) {
			for range 5 {
				if res := w.Decider.StepUp(context.Background(), StepUp{Session: rec.ID, User: "ruth", Code: wrong(s.Code)}); res.Reason != CodeWrong {
					panic(res.Reason.String())
				}
			}
		}, CodeLocked, false},
		{"no store", "ruth", func(w *world, _ session.Record, _ *StepUp) { w.broken.after = 0 }, StoreDown, false},
		{"no store at the second look", "ruth", func(w *world, _ session.Record, _ *StepUp) { w.broken.after = 1 }, StoreDown, false},
		{"no store at the third look", "ruth", func(w *world, _ session.Record, _ *StepUp) { w.broken.after = 2 }, StoreDown, false},
		{"no store to burn the code", "ruth", func(w *world, _ session.Record, _ *StepUp) { w.broken.after = 3 }, StoreDown, false},
		{"no store to release it", "ruth", func(w *world, _ session.Record, _ *StepUp) { w.broken.after = 4 }, StoreDown, true},
	} {
		t.Run(tt.about, func(t *testing.T) {
			w := carryWorld(t)
			rec, token := w.held(t, tt.user)
			s := StepUp{Session: rec.ID, User: tt.user, Code: w.secretCode(t, tt.user)}
			code := s.Code
			tt.change(w, rec, &s)
			w.stepUp(t, tt.want, s)
			w.broken.after = -1
			w.dir.findErr, w.dir.set = nil, time.Time{}
			clear(w.dir.state)
			clear(w.dir.rename)
			if got, found, err := w.sessions.Get(context.Background(), rec.ID); err != nil || found && got.Quarantine.IsZero() {
				t.Errorf("released: %+v, %v", got, err)
			}
			if names, err := w.sessions.Wishes(context.Background()); err != nil || len(names) != 0 {
				t.Errorf("wishes %q, %v", names, err)
			}
			if list, err := w.keeper().List(context.Background(), tt.user); err != nil || len(list) != 0 && !tt.burnt {
				t.Errorf("remembered %+v, %v", list, err)
			}
			_, err := w.Visit(context.Background(), token)
			switch tt.want {
			case StepUpExpired:
				if !errors.Is(err, ErrReference) {
					t.Errorf("visit: %v", err)
				}
			default:
				if gone := tt.about == "ended"; gone != errors.Is(err, ErrNoSession) || !gone && err != nil {
					t.Errorf("visit: %v", err)
				}
			}
			if tt.user == "ruth" && tt.want != CodeLocked && tt.want != StepUpExpired && tt.about != "ended" {
				w.regroup("ruth", "Roamers")
				want := Permitted
				if tt.burnt {
					want = CodeReplayed
				}
				w.stepUp(t, want, StepUp{Session: rec.ID, User: "ruth", Code: code})
			}
		})
	}
}

// regroup gives a user other groups.
func (w *world) regroup(user string, groups ...string) {
	err := errors.Join(w.users.SetGroups(user, groups), w.file.Reload())
	if err != nil {
		panic(err)
	}
}

// A key that the portal has verified needs no code, and meets a rule that demands one.
func TestStepUpByKey(t *testing.T) {
	w := carryWorld(t)
	rec, token := w.held(t, "kim")
	if v, err := w.Visit(context.Background(), token); err != nil || v.Demands != policy.FactorWebAuthn {
		t.Errorf("%+v, %v", v, err)
	}
	if res := w.stepUp(t, Permitted, StepUp{Session: rec.ID, User: "kim", WebAuthn: true}); res.Factor != FactorWebAuthn {
		t.Errorf("%+v", res)
	}
	r := w.dial("kim", "kim")
	w.login(t, Permitted, r)
	if got := w.record(t, r); got.Factor != "remembered" || got.Remembered != "webauthn" {
		t.Errorf("session %+v", got)
	}
	// It meets one that demands a code, too; wrong codes of others do not lock it.
	rex, _ := w.held(t, "ruth")
	for range 5 {
		w.stepUp(t, CodeWrong, StepUp{Session: rex.ID, User: "ruth", Code: "000000"})
	}
	w.stepUp(t, CodeLocked, StepUp{Session: rex.ID, User: "ruth", Code: w.code(t, "ruth", 0)})
	w.stepUp(t, Permitted, StepUp{Session: rex.ID, User: "ruth", WebAuthn: true})
}

// A recovery code is a factor in the portal, once, and none anywhere else.
func TestRecoveryCode(t *testing.T) {
	w := carryWorld(t)
	codes, err := w.mfa.NewRecovery(context.Background(), "ruth")
	must(t, err)
	rec, _ := w.held(t, "ruth")
	if res := w.stepUp(t, Permitted, StepUp{Session: rec.ID, User: "ruth", Code: codes[0]}); res.Factor != FactorRecovery {
		t.Errorf("%+v", res)
	}
	r := w.dial("ruth", "ruth")
	w.login(t, Permitted, r)
	if got := w.record(t, r); got.Factor != "remembered" || got.Remembered != "recovery" {
		t.Errorf("session %+v", got)
	}
	away := w.dial("ruth", "ruth")
	away.Source = phone
	w.login(t, Quarantined, away)
	again := w.record(t, away)
	w.stepUp(t, CodeReplayed, StepUp{Session: again.ID, User: "ruth", Code: codes[0]})
	form := SignIn{Name: "ruth", Password: []byte(password("ruth")), Code: codes[1], From: home}
	if res := w.SignIn(context.Background(), form); res.Reason != Permitted || res.Factor != FactorRecovery {
		t.Errorf("%+v", res)
	}
	w.stepUp(t, CodeReplayed, StepUp{Session: again.ID, User: "ruth", Code: codes[1]})
	// Others' are wrong, and so is one in an answer to a challenge.
	paul, err := w.mfa.NewRecovery(context.Background(), "paul")
	must(t, err)
	w.stepUp(t, CodeWrong, StepUp{Session: again.ID, User: "ruth", Code: paul[0]})
	w.login(t, CodeWrong, w.challenged(t, "paul", paul[0]))
	// It is no key.
	kim, _ := w.held(t, "kim")
	codes, err = w.mfa.NewRecovery(context.Background(), "kim")
	must(t, err)
	w.stepUp(t, FactorTooWeak, StepUp{Session: kim.ID, User: "kim", Code: codes[0]})
}

// Who locks a user's password from elsewhere keeps nobody from stepping up.
func TestStepUpWhileLocked(t *testing.T) {
	w := carryWorld(t)
	rec, _ := w.held(t, "ruth")
	for range 6 {
		r := w.dial("ruth", "nobody")
		r.Source = phone
		w.decide(r)
	}
	if w.last().Reason != LockedOut {
		t.Fatalf("%v", w.last().Reason)
	}
	w.stepUp(t, Permitted, StepUp{Session: rec.ID, User: "ruth", Code: w.code(t, "ruth", 0)})
}

// Wrong codes of logins and of the portal are one count.
func TestStepUpCountsWithLogins(t *testing.T) {
	w := carryWorld(t)
	rec, _ := w.held(t, "ruth")
	for range 3 {
		w.login(t, CodeWrong, w.dial("ruth+"+wrong(w.code(t, "ruth", 0)), "ruth"))
	}
	for range 2 {
		w.stepUp(t, CodeWrong, StepUp{Session: rec.ID, User: "ruth", Code: wrong(w.code(t, "ruth", 0))})
	}
	w.stepUp(t, CodeLocked, StepUp{Session: rec.ID, User: "ruth", Code: w.code(t, "ruth", 0)})
	w.login(t, CodeLocked, w.with(t, "ruth", 0))
	if w.last().Locked != lockout.ScopeCodes {
		t.Errorf("%v", w.last().Locked)
	}
}

// A session whose ID has come again is another one, and its old URL is worth nothing.
func TestVisitOfAnother(t *testing.T) {
	w := carryWorld(t)
	first := w.dial("ruth", "ruth")
	token, _ := strings.CutPrefix(w.login(t, Quarantined, first).Grant.Quarantine.URL, portalURL+"/s/")
	w.sleep(time.Second)
	again := w.dial("quin", "quin")
	again.SessionID = first.SessionID
	w.login(t, Quarantined, again)
	if _, err := w.Visit(context.Background(), token); !errors.Is(err, ErrNoSession) {
		t.Error(err)
	}
	w.broken.after = 0
	if _, err := w.Visit(context.Background(), token); err == nil || errors.Is(err, ErrReference) || errors.Is(err, ErrNoSession) {
		t.Errorf("without a store: %v", err)
	}
}

func TestPortalMetrics(t *testing.T) {
	w := carryWorld(t)
	reg := prometheus.NewRegistry()
	c := w.cfg
	c.Metrics, c.Audit = reg, silentAudit{}
	c.Policy, _ = w.Policy()
	d, err := New(c)
	must(t, err)
	rec, _ := w.held(t, "ruth")
	code := w.code(t, "ruth", 0)
	for _, s := range []string{wrong(code), code} {
		d.StepUp(context.Background(), StepUp{Session: rec.ID, User: "ruth", Code: s})
	}
	d.SignIn(context.Background(), SignIn{Name: "ruth", Password: []byte("x"), From: phone})
	families, err := reg.Gather()
	must(t, err)
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"postern_authz_sign_ins_total wrong password": 1, "postern_authz_step_ups_total code permitted": 1, "postern_authz_step_ups_total none code wrong": 1,
	} {
		if got[name] != want {
			t.Errorf("%s: %v of %v", name, got[name], got)
		}
	}
	if _, err := New(c); err == nil {
		t.Error("two deciders count in one place")
	}
}
