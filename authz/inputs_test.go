package authz

import (
	"context"
	"net/netip"
	"reflect"
	"sync"
	"testing"

	"postern/authz/inputs"
	"postern/policy"
)

// kept are the inputs of all that a test has decided.
type kept struct {
	mu      sync.Mutex
	records []inputs.Record
}

// Write implements Inputs, as a record looks that went over the disk.
func (k *kept) Write(r *inputs.Record) {
	read, _, err := inputs.ParseRecord(inputs.AppendRecord(nil, r))
	if err != nil {
		panic(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.records = append(k.records, read)
}

// take returns what came since the last call.
func (k *kept) take() []inputs.Record {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := k.records
	k.records = nil
	return list
}

// same checks what every test of this package has decided: the same policy, asked again
// with what was kept, says the same.
func (k *kept) same(t testing.TB, p *policy.Policy) {
	t.Helper()
	for _, r := range k.take() {
		if r.Decision == "" || r.Kind == inputs.KindUnknown || r.Reason == "" || r.Verdict == "" || r.At.IsZero() {
			t.Errorf("kept %+v", r)
		}
		if !r.Asked || r.Policy != p.Version() {
			continue
		}
		d := p.Evaluate(r.At, &r.Facts)
		var terms []policy.Term
		if d.Verdict == policy.Permit {
			terms = d.Obligations.Terms()
		}
		if d.Verdict != r.Outcome || d.RuleID != r.Rule || !reflect.DeepEqual(terms, r.Terms) {
			t.Errorf("decided again: %v by %q, %v\nkept: %+v", d.Verdict, d.RuleID, terms, r)
		}
	}
}

// A login is kept with the facts it was decided on, whatever became of it; a step-up and
// a review by the ID of their session's login.
func TestInputsAreKept(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	one := func(t *testing.T) inputs.Record {
		t.Helper()
		list := w.inputs.take()
		if len(list) != 1 {
			t.Fatalf("%d records: %+v", len(list), list)
		}
		return list[0]
	}
	rec := w.running(t, `CORP\alice+`+w.code(t, "alice", 0), "alice")
	r := one(t)
	if r.Kind != inputs.Login || r.Decision != rec.Decision || r.Verdict != "accept" || r.Reason != "permitted" || r.Factor != "code" ||
		!r.Asked || r.Outcome != policy.Permit || r.Rule != rec.Rule || r.Terms == nil {
		t.Errorf("%+v", r)
	}
	if f := r.Facts; f.User != "alice" || f.Realm != "CORP" || len(f.Groups) != 1 || f.Source != rec.Source || f.NAS != "gw1" {
		t.Errorf("%+v", f)
	}

	// Refused by the policy: all facts. Refused before: who and why.
	w.login(t, PolicyDenied, w.request("mallory", password("mallory")))
	if r = one(t); !r.Asked || r.Outcome != policy.Deny || r.Rule == "" || r.Verdict != "reject" || len(r.Facts.Groups) != 1 || r.Terms != nil {
		t.Errorf("%+v", r)
	}
	w.login(t, WrongPassword, w.request("alice", "nonsense"))
	if r = one(t); r.Asked || r.Reason != "wrong password" || r.Facts.User != "alice" || len(r.Facts.Groups) != 0 || r.Policy != "" {
		t.Errorf("%+v", r)
	}

	// A review that comes to the same is not kept; one that does not is.
	a := *w.account(t, "alice")
	w.look(t, rec, &a)
	if list := w.inputs.take(); len(list) != 0 {
		t.Errorf("kept %+v", list)
	}
	a.Groups = nil
	w.look(t, rec, &a)
	if r = one(t); r.Kind != inputs.Review || r.Decision != rec.Decision || !r.Asked || r.Outcome != policy.Deny || r.Reason != "no policy matched" {
		t.Errorf("%+v", r)
	}

	held := carryWorld(t)
	session, _ := held.held(t, "ruth")
	held.inputs.take()
	held.stepUp(t, SessionGone, StepUp{Session: session.ID, User: "mallory"})
	held.stepUp(t, CodeMissing, StepUp{Session: session.ID, User: "ruth"})
	held.stepUp(t, Permitted, StepUp{Session: session.ID, User: "ruth", Code: held.code(t, "ruth", 0)})
	list := held.inputs.take()
	if len(list) != 2 || list[0].Reason != "code missing" || list[1].Kind != inputs.StepUp || list[1].Decision != session.Decision || !list[1].Asked || list[1].Factor != "code" || list[1].Rule == "" {
		t.Errorf("%+v", list)
	}

	// Which databases said where it came from is kept where they said anything.
	w.cfg.Geo = dated{}
	w.login(t, PolicyDenied, w.request("mallory", password("mallory")))
	if r = one(t); r.Facts.Country != "DE" || r.Provenance.Geo != "country of 2026-11-01" {
		t.Errorf("%+v", r)
	}

	// Nobody has to keep them.
	w.cfg.Inputs = nil
	if res := w.Decide(ctx, w.request("mallory", password("mallory"))); res.Reason != PolicyDenied {
		t.Error(res.Reason)
	}
}

// dated is a database of countries that says of when it is.
type dated struct{}

func (dated) Lookup(netip.Addr) (string, uint32) { return "DE", 0 }
func (dated) String() string                     { return "country of 2026-11-01" }
