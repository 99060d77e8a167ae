package authz

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"postern/authz/activation"
	"postern/policy"
)

// PolicyChanged implements Audit.
func (w *world) PolicyChanged(e *activation.Event) { NewAudit(w.audit).PolicyChanged(e) }

func (silentAudit) PolicyChanged(*activation.Event) {}

// asker is a candidate that does as it is told.
type asker func(now time.Time, f *policy.Facts) policy.Decision

func (a asker) Evaluate(now time.Time, f *policy.Facts) policy.Decision { return a(now, f) }
func (asker) Version() string                                           { return "candidate" }

// Whatever a candidate says, and if it ends in a panic or writes to what it is given, the
// login comes to the same.
func TestCandidateChangesNothing(t *testing.T) {
	permit := policy.Decision{Verdict: policy.Permit, Reason: policy.Permitted, RuleID: "open", Obligations: policy.Obligations{Pools: []string{"nowhere"}, Sessions: 1}}
	candidates := map[string]struct {
		asker
		outcome [2]string // of a login that is permitted, and of one that is refused
	}{
		"none":   {nil, [2]string{"", ""}},
		"deny":   {func(time.Time, *policy.Facts) policy.Decision { return policy.Decision{RuleID: "shut"} }, [2]string{"deny", ""}},
		"permit": {func(time.Time, *policy.Facts) policy.Decision { return permit }, [2]string{"permit", "permit"}},
		"panic":  {func(time.Time, *policy.Facts) policy.Decision { panic("candidate") }, [2]string{"failed", "failed"}},
		"writes": {func(_ time.Time, f *policy.Facts) policy.Decision {
			*f = policy.Facts{User: "root"}
			return policy.Decision{}
		}, [2]string{"deny", ""}},
	}
	var want [2]outcomeOf
	for _, name := range []string{"none", "deny", "permit", "panic", "writes"} {
		c := candidates[name]
		w := newWorld(t)
		if c.asker != nil {
			w.setCandidate(c.asker)
		}
		for i, r := range []*Request{w.request("alice+"+w.code(t, "alice", 0), password("alice")), w.request("carol", password("carol"))} {
			if i == 1 {
				r.Source = blocked
			}
			res := *w.decide(r)
			rec := *w.last()
			if rec.CandidateVerdict != c.outcome[i] || (rec.Candidate != "") != (c.outcome[i] != "") {
				t.Errorf("%s %d: the record has %q %q, want %q", name, i, rec.Candidate, rec.CandidateVerdict, c.outcome[i])
			}
			got := outcomeOf{res, rec}
			got.plain()
			if name == "none" {
				want[i] = got
				continue
			}
			if !reflect.DeepEqual(got, want[i]) {
				t.Errorf("%s %d: got\n%+v\nwant\n%+v", name, i, got, want[i])
			}
		}
	}
	if want[0].Result.Verdict != Accept || want[1].Result.Verdict != Reject || want[0].Record.Rule != "staff" {
		t.Errorf("%+v", want)
	}
}

// beside reads the counter.
func (w *world) beside(t *testing.T, of, outcome string) float64 {
	t.Helper()
	var m dto.Metric
	must(t, w.Decider.metrics.shadow.WithLabelValues(of, outcome).Write(&m))
	return m.GetCounter().GetValue()
}

// outcomeOf is what comes of a login.
type outcomeOf struct {
	Result Result
	Record Record
}

// plain takes away what differs between two logins that come to the same.
func (o *outcomeOf) plain() {
	r, rec := &o.Result, &o.Record
	r.DecisionID, r.Success, r.SendKey, r.RecvKey, r.Grant.Class = "", "", [16]byte{}, [16]byte{}, nil
	rec.DecisionID, rec.Candidate, rec.CandidateRule, rec.CandidateVerdict = "", "", "", ""
	rec.Duration, rec.Load, rec.Directory, rec.Commit, rec.SessionID, rec.SID = 0, 0, 0, 0, "", ""
}

// Where a candidate and rules in shadow differ is in the audit line, and counted.
func TestCandidateIsNoted(t *testing.T) {
	w := newWorld(t)
	load := func(text string) *policy.Policy {
		p, err := policy.Load("candidate", []byte("version: 1\npools: {staff: [10.20.0.0/24]}\nrules:\n"+text))
		must(t, err)
		return p
	}
	for _, c := range []struct {
		rule, outcome, line string
	}{
		{"  - {id: free, then: {permit: {factor: none}}}\n", "same", ""},
		{"  - {id: free, then: {permit: {factor: none, sessions: 3}}}\n", "other terms", "permit"},
		{"  - {id: shut, then: deny}\n", "newly refused", "deny"},
	} {
		p := load(c.rule)
		w.SetShadow(p)
		if w.Shadow() != p {
			t.Error("another candidate")
		}
		before := w.beside(t, "candidate", c.outcome)
		w.audit.Reset()
		w.login(t, Permitted, w.request("switch", password("switch")))
		var got struct{ Candidate, Candidate_rule, Candidate_verdict string }
		must(t, json.Unmarshal([]byte(strings.TrimSpace(w.audit.String())), &got))
		if got.Candidate_verdict != c.line || (got.Candidate == p.Version()) != (c.line != "") {
			t.Errorf("%s: %+v", c.rule, got)
		}
		if n := w.beside(t, "candidate", c.outcome); n != before+1 {
			t.Errorf("%s: counted %v", c.outcome, n-before)
		}
	}
	w.SetShadow(nil)
	if w.Shadow() != nil {
		t.Error("a candidate")
	}
	w.login(t, Permitted, w.request("switch", password("switch")))
	if rec := w.last(); rec.Candidate != "" || rec.CandidateVerdict != "" {
		t.Errorf("%+v", rec)
	}
}

// What rules in shadow would have done is the policy's to say.
func TestShadowRuleIsNoted(t *testing.T) {
	w := newWorld(t)
	l := &login{decision: policy.Decision{Verdict: policy.Permit, Shadow: &policy.Decision{RuleID: "soon", Verdict: policy.Deny}}}
	w.lookBeside(l)
	if l.rec.ShadowRule != "soon" || l.rec.ShadowVerdict != "deny" {
		t.Errorf("%+v", l.rec)
	}
	if n := w.beside(t, "rules", "newly refused"); n != 1 {
		t.Errorf("counted %v", n)
	}
}

// A service that has not read which policy is in force says nothing, and asks no directory.
func TestWithoutPolicy(t *testing.T) {
	w := newWorld(t)
	c := w.cfg
	c.Policy, c.Metrics = nil, nil
	d, err := New(c)
	must(t, err)
	w.Decider = d
	res := w.login(t, StoreDown, w.request("alice+"+w.code(t, "alice", 0), password("alice")))
	if rec := w.last(); res.Verdict != Silent || rec.Typed != "alice" || rec.Policy != "" || rec.Err == nil || rec.Directory != 0 {
		t.Errorf("%+v, %+v", res, rec)
	}
	if p, pools := w.Policy(); p != nil || pools == nil {
		t.Errorf("%v, %v", p, pools)
	} else if _, found := pools.Contains(netip.MustParseAddr("10.20.0.1")); found {
		t.Error("pools without a policy")
	}
	if err := d.Reevaluate(t.Context()); err == nil {
		t.Error("judged without a policy")
	}
	p, err := policy.Load("p", []byte(testPolicy))
	must(t, err)
	must(t, w.SetPolicy(p))
	w.login(t, Permitted, w.request("alice+"+w.code(t, "alice", 0), password("alice")))
}
