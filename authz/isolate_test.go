package authz

import (
	"context"
	"testing"
	"time"

	"postern/authz/directory"
	"postern/policy"
)

const isolatePolicy = `version: 1
pools: {staff: [10.20.0.0/16]}
lists:
  work: {times: {days: mon-sun, from: "00:00", to: "03:00", zone: Europe/Berlin}}
rules:
  - {id: healthy, when: {group: Roamers, device.disk_encrypted: true}, then: {permit: {pool: staff, filter: f2, carriers: [inline, quarantine]}}}
  - id: ill
    when: {group: Roamers}
    then: {permit: {pool: staff, carriers: [inline, remembered, quarantine], remember: {for: 1h}, isolate: true, quarantine: 3m, banner: "Patch it."}}
  - {id: inline, when: {group: Plain}, then: {permit: {pool: staff, isolate: true}}}
  - {id: free, when: {group: Free}, then: {permit: {pool: staff, factor: none, isolate: true}}}
  - {id: night, when: {group: Keys, time: work}, then: {permit: {pool: staff, factor: none, filter: f2}}}
  - {id: sunset, when: {group: Portal}, expires: 2026-03-02, then: {permit: {pool: staff, factor: none, review: 6h}}}
`

func isolateWorld(t *testing.T) *world {
	t.Helper()
	w := carryWorld(t)
	p, err := policy.Load("policy.yaml", []byte(isolatePolicy))
	must(t, err)
	must(t, w.SetPolicy(p))
	return w
}

// TestIsolate: a login whose rule isolates it gets into quarantine with its factor and
// without, in one quarantine for both; where there is none it does not get in.
func TestIsolate(t *testing.T) {
	code := func(user string) func(*testing.T, *world) *Request {
		return func(t *testing.T, w *world) *Request { return w.with(t, user, 0) }
	}
	none := func(user string) func(*testing.T, *world) *Request {
		return func(_ *testing.T, w *world) *Request { return w.dial(user, user) }
	}
	far := func(f func(*testing.T, *world) *Request) func(*testing.T, *world) *Request {
		return func(t *testing.T, w *world) *Request {
			r := f(t, w)
			r.Node = false
			return r
		}
	}
	for _, tt := range []struct {
		about   string
		request func(*testing.T, *world) *Request
		want    Reason
		demands string
	}{
		{"with its factor", code("ruth"), Isolated, ""},
		{"without", none("ruth"), Quarantined, "code"},
		{"no token", none("rex"), Quarantined, "code"},
		{"no factor is demanded", none("frei"), Isolated, ""},
		{"inline alone", code("ines"), Isolated, ""},
		{"inline alone, and no code", none("ines"), CodeMissing, ""},
		{"a remembered one", func(t *testing.T, w *world) *Request {
			w.login(t, Isolated, w.with(t, "ruth", 0))
			return w.dial("ruth", "ruth")
		}, Isolated, ""},
		{"another NAS", far(code("ruth")), CannotIsolate, ""},
		{"another NAS, no factor is demanded", far(none("frei")), CannotIsolate, ""},
		{"no tunnel", func(t *testing.T, w *world) *Request {
			r := w.with(t, "ruth", 0)
			r.Tunnel = ""
			return r
		}, CannotIsolate, ""},
		{"no portal", func(t *testing.T, w *world) *Request {
			w.cfg.Portal = ""
			return w.with(t, "ruth", 0)
		}, CannotIsolate, ""},
	} {
		t.Run(tt.about, func(t *testing.T) {
			w := isolateWorld(t)
			r := tt.request(t, w)
			res := w.login(t, tt.want, r)
			if res.Verdict != Accept {
				if res.Verdict != Reject || res.Grant.Quarantine.URL != "" {
					t.Errorf("%+v", res)
				}
				return
			}
			rec := w.record(t, r)
			if res.Grant.Filter != "quarantine" || res.Grant.Quarantine.URL == "" || rec.Quarantine.IsZero() || !rec.Isolated || rec.Demands != tt.demands || !rec.OurNode {
				t.Errorf("grant %+v, session %+v", res.Grant, rec)
			}
			if rec.Rule == "ill" && (rec.Banner != "Patch it." || res.Grant.Quarantine.For != 3*time.Minute) {
				t.Errorf("banner %q, for %v", rec.Banner, res.Grant.Quarantine.For)
			}
		})
	}
}

// A step-up in an isolated session has its factor written down, and opens nothing: not for
// a second one either.
func TestStepUpIsolated(t *testing.T) {
	w := isolateWorld(t)
	rec, token := w.held(t, "ruth")
	w.lines(t)
	res := w.Decider.StepUp(context.Background(), StepUp{Session: rec.ID, User: "ruth", Code: w.code(t, "ruth", 0), From: phone})
	if res.Reason != Isolated || res.Factor != FactorCode {
		t.Fatalf("%+v", res)
	}
	now, _, err := w.sessions.Get(context.Background(), rec.ID)
	if err != nil || !now.Quarantine.Equal(rec.Quarantine) || now.Factor != "code" || now.Demands != "" || !now.Isolated {
		t.Errorf("%+v, %v", now, err)
	}
	if names, err := w.sessions.Wishes(context.Background()); err != nil || len(names) != 0 {
		t.Errorf("wishes %q, %v", names, err)
	}
	if v, err := w.Visit(context.Background(), token); err != nil || !v.Held || v.Waits || !v.Isolated || v.Session.Banner != "Patch it." {
		t.Errorf("%+v, %v", v, err)
	}
	if l := w.lines(t); len(l) != 1 || l[0]["msg"] != "stepped up" || l[0]["reason"] != "isolated" || l[0]["verdict"] != "accept" || l[0]["factor"] != "code" {
		t.Errorf("%v", l)
	}
	// What it waited for came: only a look releases it, with all that it is granted.
	released := now
	c := w.look(t, &released, w.account(t, "ruth"))
	if c.Outcome != OutcomeSame {
		t.Errorf("%v", c.Outcome)
	}
}

// What the rules let time change takes effect at its instant: an hour that begins on the
// night in which clocks are put forward, and a rule's last day; where a rule has sessions
// looked at more often, sooner.
func TestDueOfLogin(t *testing.T) {
	w := isolateWorld(t)
	w.sleep(time.Date(2026, 3, 29, 0, 30, 0, 0, time.UTC).Sub(w.storeTime(t))) // 01:30 in Berlin; at 02:00 it is 03:00
	r := w.dial("kim", "kim")
	w.login(t, Permitted, r)
	rec := w.record(t, r)
	end := time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC)
	if !rec.Due.Equal(end) || rec.Rule != "night" {
		t.Fatalf("due %v by rule %s, want %v", rec.Due, rec.Rule, end)
	}
	w.sleep(end.Sub(w.storeTime(t)) - time.Millisecond)
	if c := w.look(t, &rec, w.account(t, "kim")); c.Outcome != OutcomeSame || !c.Next.Due.Equal(end) {
		t.Errorf("a moment before: %v, due %v", c.Outcome, c.Next.Due)
	}
	w.sleep(time.Millisecond)
	if c := w.look(t, &rec, w.account(t, "kim")); c.Outcome != OutcomeEnded || c.Reason != PolicyNoMatch {
		t.Errorf("at the instant: %v, %v", c.Outcome, c.Reason)
	}

	w = isolateWorld(t)
	r = w.dial("quin", "quin")
	w.login(t, Permitted, r)
	rec = w.record(t, r)
	if want := rec.Opened.Add(6 * time.Hour); !rec.Due.Equal(want) {
		t.Fatalf("due %v, want %v", rec.Due, want)
	}
	for looks := 0; ; looks++ {
		w.sleep(rec.Due.Sub(w.storeTime(t)))
		c := w.look(t, &rec, &directory.Account{Name: "quin", State: directory.Active, Groups: []string{"Portal"}})
		if c.Outcome == OutcomeEnded {
			if c.Reason != PolicyNoMatch || looks < 2 {
				t.Errorf("%v after %d looks", c.Reason, looks)
			}
			break
		}
		if c.Outcome != OutcomeSame || !c.Next.Due.After(rec.Due) || c.Next.Due.Sub(rec.Due) > 6*time.Hour || looks > 10 {
			t.Fatalf("%v, due %v", c.Outcome, c.Next.Due)
		}
		rec = c.Next
	}
	if at := w.storeTime(t).UTC(); at.Sub(at.Truncate(time.Minute)) != 0 {
		t.Errorf("ended at %v", at)
	}
}
