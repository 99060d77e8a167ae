package authz

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"postern/authz/directory"
	"postern/authz/session"
	"postern/policy"
)

// TestTransitions: what a session had, what it is to have by now, and what comes of it.
func TestTransitions(t *testing.T) {
	w := carryWorld(t)
	t0 := w.now
	const hour = time.Hour
	office := policy.Obligations{
		Filter: "office", Rules: []string{"permit in ip from assigned to 10.0.0.0/8"}, Bandwidth: policy.Bandwidth{Up: 2e6, Down: 1e7},
		SessionTimeout: 8 * hour, IdleTimeout: hour / 2, Carriers: []policy.Carrier{policy.Inline, policy.Quarantine},
	}
	with := func(f func(*policy.Obligations)) policy.Obligations {
		o := office
		f(&o)
		return o
	}
	up := func(f func(*session.Record)) session.Record {
		r := session.Record{
			ID: "gw1/a1", Node: "gw1", Acct: "a1", User: "ruth", Rule: "staff", Factor: "code", OurNode: true, Tunnel: "PPTP", Opened: t0.Add(-hour),
		}
		f(&r)
		if r.Granted == "" {
			r.Granted = granted(&office, r.OurNode)
		}
		return r
	}
	same := func(*session.Record) {}
	held := func(r *session.Record) { r.Quarantine, r.Demands, r.Factor = t0.Add(time.Minute), "code", "none" }
	confined := func(r *session.Record) { r.Quarantine, r.Isolated = t0.Add(time.Minute), true }
	other := func(r *session.Record) { r.OurNode = false }
	isolate := with(func(o *policy.Obligations) { o.Isolate = true })
	key := with(func(o *policy.Obligations) { o.Factor = policy.FactorWebAuthn })
	inline := func(o *policy.Obligations) { o.Carriers = []policy.Carrier{policy.Inline} }
	all := &Change{Session: 7 * hour, Idle: hour / 2, Filter: &FilterChange{Name: "office", Rules: office.Rules}, Bandwidth: &office.Bandwidth}
	but := func(f func(*Change)) *Change {
		c := *all
		f(&c)
		return &c
	}
	for _, tt := range []struct {
		about  string
		was    session.Record
		now    policy.Obligations
		want   Outcome
		reason Reason
		change *Change                    // nil: the NAS is asked for nothing
		next   func(*session.Record) bool // what else must be so; nil: nothing
	}{
		{"as it was", up(same), office, OutcomeSame, Permitted, nil, nil},
		{"narrower", up(same), with(func(o *policy.Obligations) { o.Filter, o.Rules = "plant", nil }), OutcomeChanged, Regranted,
			but(func(c *Change) { c.Filter = &FilterChange{Name: "plant"} }), nil},
		{"the same filter with other rules", up(same), with(func(o *policy.Obligations) { o.Rules = []string{"permit in ip from assigned to any"} }), OutcomeChanged, Regranted,
			but(func(c *Change) {
				c.Filter = &FilterChange{Name: "office", Rules: []string{"permit in ip from assigned to any"}}
			}), nil},
		{"no filter any more", up(same), with(func(o *policy.Obligations) { o.Filter, o.Rules = "", nil }), OutcomeChanged, Regranted,
			but(func(c *Change) { c.Filter = &FilterChange{} }), nil},
		{"bandwidth", up(same), with(func(o *policy.Obligations) { o.Bandwidth = policy.Bandwidth{} }), OutcomeChanged, Regranted,
			but(func(c *Change) { c.Bandwidth = &policy.Bandwidth{} }), nil},
		{"a shorter session, from its start", up(same), with(func(o *policy.Obligations) { o.SessionTimeout = 2 * hour }), OutcomeChanged, Regranted,
			but(func(c *Change) { c.Session = hour }), nil},
		{"one that is over", up(same), with(func(o *policy.Obligations) { o.SessionTimeout = hour }), OutcomeEnded, TimeOver, nil, nil},
		{"a longer one, from its start", up(same), with(func(o *policy.Obligations) { o.SessionTimeout = 10 * hour }), OutcomeChanged, Regranted,
			but(func(c *Change) { c.Session = 9 * hour }), nil},
		{"no limits any more", up(same), with(func(o *policy.Obligations) { o.SessionTimeout, o.IdleTimeout = 0, 0 }), OutcomeChanged, Regranted,
			but(func(c *Change) { c.Session, c.Idle = noLimit, noLimit }), nil},
		{"never any limits", up(func(r *session.Record) { r.Granted = "x/0s/0s" }), with(func(o *policy.Obligations) { o.SessionTimeout, o.IdleTimeout = 0, 0 }), OutcomeChanged, Regranted,
			but(func(c *Change) { c.Session, c.Idle = 0, 0 }), nil},
		{"what nobody wrote down", up(func(r *session.Record) { r.Granted = " " }), office, OutcomeChanged, Regranted, all, nil},

		{"isolated", up(same), isolate, OutcomeHeld, Isolated, &Change{Quarantine: &Quarantine{For: 5 * time.Minute}},
			func(r *session.Record) bool {
				return r.Isolated && r.Demands == "" && r.Factor == "code" && r.Quarantine.Equal(t0.Add(5*time.Minute))
			}},
		{"isolated for so long", up(same), with(func(o *policy.Obligations) { o.Isolate, o.Quarantine = true, hour }), OutcomeHeld, Isolated, &Change{Quarantine: &Quarantine{For: hour}}, nil},
		{"isolated, whatever the carriers", up(same), with(func(o *policy.Obligations) { o.Isolate = true; inline(o) }), OutcomeHeld, Isolated, &Change{Quarantine: &Quarantine{For: 5 * time.Minute}}, nil},
		{"a key is demanded", up(same), key, OutcomeHeld, Quarantined, &Change{Quarantine: &Quarantine{For: 5 * time.Minute}},
			func(r *session.Record) bool { return !r.Isolated && r.Demands == "webauthn" && r.Factor == "code" }},
		{"both", up(same), with(func(o *policy.Obligations) { o.Isolate, o.Factor = true, policy.FactorWebAuthn }), OutcomeHeld, Quarantined, &Change{Quarantine: &Quarantine{For: 5 * time.Minute}},
			func(r *session.Record) bool { return r.Isolated && r.Demands == "webauthn" }},
		{"a code is demanded, and there is no way", up(func(r *session.Record) { r.Factor = "none" }), with(inline), OutcomeEnded, CodeMissing, nil, nil},
		{"a key is demanded, and there is no way", up(same), with(func(o *policy.Obligations) { o.Factor = policy.FactorWebAuthn; inline(o) }), OutcomeEnded, FactorTooWeak, nil, nil},

		{"held", up(held), office, OutcomeSame, Permitted, nil, func(r *session.Record) bool { return r.Demands == "code" && !r.Isolated }},
		{"held, and a key is demanded", up(held), key, OutcomeSame, Permitted, nil, func(r *session.Record) bool { return r.Demands == "webauthn" }},
		{"held, and isolated besides", up(held), isolate, OutcomeSame, Permitted, nil, func(r *session.Record) bool {
			return r.Demands == "code" && r.Isolated && r.Quarantine.Equal(t0.Add(time.Minute))
		}},
		{"held, and no factor is demanded", up(held), with(func(o *policy.Obligations) { o.Factor = policy.FactorNone }), OutcomeReleased, Released, all,
			func(r *session.Record) bool { return r.Quarantine.IsZero() && r.Demands == "" }},
		{"held, and isolated alone by now", up(held), with(func(o *policy.Obligations) { o.Isolate, o.Factor = true, policy.FactorNone }), OutcomeSame, Permitted, nil,
			func(r *session.Record) bool { return r.Demands == "" && r.Isolated }},
		{"held beyond its time", up(held), with(func(o *policy.Obligations) { o.SessionTimeout, o.Factor = hour, policy.FactorNone }), OutcomeEnded, TimeOver, nil, nil},
		{"isolated still", up(confined), isolate, OutcomeSame, Permitted, nil, func(r *session.Record) bool { return r.Quarantine.Equal(t0.Add(time.Minute)) }},
		{"isolated no more", up(confined), office, OutcomeReleased, Released, all, func(r *session.Record) bool { return !r.Isolated && r.Quarantine.IsZero() }},
		{"isolated no more, and a key is demanded", up(confined), key, OutcomeSame, Permitted, nil, func(r *session.Record) bool { return !r.Isolated && r.Demands == "webauthn" }},
		{"isolated, and there is no way for a key", up(confined), with(func(o *policy.Obligations) { o.Factor = policy.FactorWebAuthn; inline(o) }), OutcomeEnded, FactorTooWeak, nil, nil},

		{"another NAS, as it was", up(other), office, OutcomeSame, Permitted, nil, nil},
		{"another NAS, its own filter", up(other), with(func(o *policy.Obligations) { o.Filter = "plant" }), OutcomeChanged, Regranted,
			&Change{Session: 7 * hour, Idle: hour / 2, Filter: &FilterChange{Name: "plant"}}, nil},
		{"another NAS, rules and bandwidth that it never had", up(other), with(func(o *policy.Obligations) { o.Rules, o.Bandwidth = nil, policy.Bandwidth{} }), OutcomeSame, Permitted, nil, nil},
		{"another NAS, no filter any more", up(other), with(func(o *policy.Obligations) { o.Filter = "" }), OutcomeChanged, Regranted,
			&Change{Session: 7 * hour, Idle: hour / 2}, nil},
		{"another NAS, nothing that it has a word for", up(func(r *session.Record) { r.OurNode, r.Granted = false, "x/0s/0s" }), policy.Obligations{}, OutcomeSame, Permitted, nil,
			func(r *session.Record) bool { return r.Granted == granted(&policy.Obligations{}, false) }},
		{"another NAS, isolated", up(other), isolate, OutcomeEnded, CannotIsolate, nil, nil},
		{"another NAS, a key is demanded", up(other), key, OutcomeEnded, FactorTooWeak, nil, nil},
		{"no tunnel, isolated", up(func(r *session.Record) { r.Tunnel = "" }), isolate, OutcomeEnded, CannotIsolate, nil, nil},
	} {
		c := &Case{Session: session.Seen{Record: tt.was}, Account: &directory.Account{Name: "ruth", State: directory.Active}, Rule: "now"}
		c.Next, c.Reason = tt.was, Permitted
		w.compare(c, &tt.now, &evidence{now: t0})
		if c.Outcome != tt.want || c.Reason != tt.reason {
			t.Errorf("%s: %v, %v, want %v, %v", tt.about, c.Outcome, c.Reason, tt.want, tt.reason)
		}
		if q := c.Change.Quarantine; q != nil {
			if !strings.HasPrefix(q.URL, portalURL+"/s/") {
				t.Errorf("%s: URL %q", tt.about, q.URL)
			}
			q.URL = ""
		}
		want := Change{}
		if tt.change != nil {
			want = *tt.change
		}
		if !reflect.DeepEqual(c.Change, want) {
			t.Errorf("%s: change %+v, want %+v", tt.about, c.Change, want)
		}
		if tt.want == OutcomeEnded && c.Next != tt.was {
			t.Errorf("%s: what ends was changed to %+v", tt.about, c.Next)
		}
		if tt.next != nil && !tt.next(&c.Next) {
			t.Errorf("%s: next %+v", tt.about, c.Next)
		}
		if tt.want == OutcomeEnded || tt.change == nil && tt.want != OutcomeSame {
			continue
		}
		// Looked at once more, there is nothing left to do.
		again := &Case{Session: session.Seen{Record: c.Next}, Account: c.Account, Next: c.Next, Reason: Permitted}
		w.compare(again, &tt.now, &evidence{now: t0.Add(time.Second)})
		if again.Outcome != OutcomeSame || again.Next != c.Next {
			t.Errorf("%s: once more, %v (%s)", tt.about, again.Outcome, again.Detail)
		}
	}
}

// A limit counts from the session's start: with it the same whenever it is looked at, and
// a change that reaches its NAS late brings what is left.
func TestLimitsAreAbsolute(t *testing.T) {
	t0 := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	rec := session.Record{Opened: t0, OurNode: true}
	o := policy.Obligations{SessionTimeout: 2 * time.Hour}
	for _, after := range []time.Duration{0, time.Minute, time.Hour} {
		c, over := changeTo(&o, &rec, t0.Add(after))
		if over || after+c.Session != 2*time.Hour {
			t.Errorf("after %v: %v", after, c.Session)
		}
		if late := c.After(30 * time.Minute); late.Session != c.Session-30*time.Minute {
			t.Errorf("late: %v", late.Session)
		}
	}
	q := Change{Session: time.Minute, Idle: time.Hour, Quarantine: &Quarantine{For: time.Minute, URL: "u"}}
	if late := q.After(time.Hour); late.Session != time.Second || late.Idle != time.Hour || late.Quarantine.For != time.Second || late.Quarantine.URL != "u" || q.Quarantine.For != time.Minute {
		t.Errorf("%+v", late)
	}
	if now := q.After(-time.Hour); now.Session != time.Minute {
		t.Errorf("the clock of another service: %+v", now)
	}
}

// A session that lives on a remembered factor is to give it again when that was taken
// back: not when it lapsed, nor when it was given anew in the same place, nor when the list
// cannot be read.
func TestGrantTakenBack(t *testing.T) {
	remembered := func(t *testing.T) (*world, session.Record) {
		w := carryWorld(t)
		w.login(t, Permitted, w.with(t, "ruth", 0))
		r := w.dial("ruth", "ruth")
		w.login(t, Permitted, r)
		rec := w.record(t, r)
		if rec.Factor != "remembered" || rec.Grant == "" || !rec.GrantEnd.After(w.now) || !rec.OurNode || rec.Policy == "" || rec.Granted == "" {
			t.Fatalf("%+v", rec)
		}
		return w, rec
	}
	ctx := context.Background()
	w, rec := remembered(t)
	if c := w.look(t, &rec, w.account(t, "ruth")); c.Outcome != OutcomeSame || c.Next != rec {
		t.Errorf("nothing has changed: %v, %+v", c.Outcome, c.Next)
	}
	if ok, err := w.keeper().Revoke(ctx, "ruth", rec.Grant); !ok || err != nil {
		t.Fatal(err)
	}
	c := w.look(t, &rec, w.account(t, "ruth"))
	if c.Outcome != OutcomeHeld || c.Reason != Quarantined || c.Next.Factor != "none" || c.Next.Remembered != "" || c.Next.Grant != "" || c.Next.Demands != "code" {
		t.Errorf("taken back: %v, %v, %+v", c.Outcome, c.Reason, c.Next)
	}
	far := rec
	far.OurNode = false
	if c := w.look(t, &far, w.account(t, "ruth")); c.Outcome != OutcomeEnded || c.Reason != CodeMissing || c.Detail != "the remembered factor was taken back" {
		t.Errorf("at another NAS: %v, %v, %q", c.Outcome, c.Reason, c.Detail)
	}
	late := rec
	late.GrantEnd = w.now.Add(-time.Second)
	if c := w.look(t, &late, w.account(t, "ruth")); c.Outcome != OutcomeSame {
		t.Errorf("lapsed: %v", c.Outcome)
	}
	w.sleep(30 * time.Second)
	w.login(t, Permitted, w.with(t, "ruth", 1))
	if c := w.look(t, &rec, w.account(t, "ruth")); c.Outcome != OutcomeSame {
		t.Errorf("given anew: %v", c.Outcome)
	}

	w, rec = remembered(t)
	w.broken.after = 0
	if err := w.Reevaluate(ctx, &Case{Session: session.Seen{Record: rec}, Account: w.account(t, "ruth")}); err == nil {
		t.Error("no store, and no error")
	}
	w.broken.after = -1
	a := *w.account(t, "ruth")
	a.State = directory.StateUnknown
	if c := w.look(t, &rec, &a); c.Outcome != OutcomeUnknown || c.Next != rec {
		t.Errorf("no word of the directory: %v", c.Outcome)
	}
}
