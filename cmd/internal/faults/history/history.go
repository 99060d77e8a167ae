// Package history judges what clients saw of services that share one store, and what
// the store holds in the end, in the manner of Jepsen: each call is kept with the time
// it was made and the time it was answered, and a run is right if every moment between
// the two, for each call, leaves it right. It knows nothing of how the services work,
// and so cannot share their mistakes.
//
// What must hold, whatever was killed, frozen or lost:
//
//	address   no address belongs to two sessions at a time
//	limit     no user has more sessions at a time than he may
//	code      one code opens one session
//	password  nobody gets in with a wrong one, and no Accept fails its proof
//	events    a session that was reported has one start and one stop, in this order;
//	          one that was not has at most that
//	leak      when all has ended nothing is live, and nothing is leased
//	failures  each wrong password is counted once
package history

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Rule is one of those above.
type Rule string

// The rules.
const (
	Address  Rule = "address"
	Limit    Rule = "limit"
	Code     Rule = "code"
	Password Rule = "password"
	Events   Rule = "events"
	Leak     Rule = "leak"
	Failures Rule = "failures"
)

// Fault is a rule that was broken, and how.
type Fault struct {
	Rule Rule
	What string
}

func (f Fault) String() string { return string(f.Rule) + ": " + f.What }

// Verdict of a login as its client saw it. The zero value is no answer: it may have
// been granted, and lapses.
type Verdict uint8

// Verdicts.
const (
	Silent Verdict = iota
	Accepted
	Refused
)

// Session is one login and what came of it. Times that did not come are zero.
type Session struct {
	ID, User, Node string
	Wrong          bool   // asked with a wrong password
	Code           string // the one-time code that it was asked with
	Proved         bool   // the Accept's proof and keys are those of the password

	Asked, Answered time.Time
	Verdict         Verdict
	Addr            netip.Addr
	Reports         []Report
	Ended           time.Time // the tunnel went: hung up, told to, or its node died
	EndKnown        bool      // its node will say so, at once or when it is back
}

// Report is one Accounting-Request that a service has acknowledged.
type Report struct {
	Kind        Kind
	Made, Acked time.Time
}

// Kind is an Acct-Status-Type.
type Kind uint8

// Kinds of reports and of events.
const (
	Unknown Kind = iota
	Start
	Interim
	Stop
)

// Event is one of the services' own history.
type Event struct {
	Session string
	Kind    Kind
}

// Count is of a user's failures: as the store has it, and as clients saw it.
type Count struct{ Stored, Asked, Answered int }

// Run is all of one.
type Run struct {
	Sessions []Session
	Events   []Event
	Live     []string              // sessions that the registry still has
	Leased   map[netip.Addr]string // and addresses, with their sessions
	Counts   map[string]Count      // by user

	Limits map[string]int // by user; absent: none
	// A session that nobody reports counts for Pending from its answer, and for Silence
	// from its last report: what comes later may be given to others.
	Pending, Silence time.Duration
}

// Check returns every fault, by rule.
func Check(r *Run) []Fault {
	return slices.Concat(addresses(r), limits(r), codes(r), passwords(r), events(r), leaks(r), failures(r))
}

// span is a time in which a session is held for certain, its end excluded.
type span struct {
	from, to time.Time
	s        *Session
}

// held is the time in which a session certainly had what it was given: from its answer
// until it ended, but no longer than the services could know that it lives. A service
// counts from when it takes a report, so a deadline that counts from when the report
// was made is never too late.
func held(r *Run, s *Session) (span, bool) {
	if s.Verdict != Accepted {
		return span{}, false
	}
	until := s.Asked.Add(r.Pending)
	if until.Before(s.Answered) {
		return span{}, false
	}
	reports := slices.SortedFunc(slices.Values(s.Reports), func(a, b Report) int { return a.Acked.Compare(b.Acked) })
	for _, p := range reports {
		if p.Acked.After(until) {
			break
		}
		if to := p.Made.Add(r.Silence); p.Kind != Stop && to.After(until) {
			until = to
		}
	}
	if !s.Ended.IsZero() && s.Ended.Before(until) {
		until = s.Ended
	}
	return span{s.Answered, until, s}, s.Answered.Before(until)
}

func spans(r *Run, of func(*Session) bool) []span {
	var all []span
	for i := range r.Sessions {
		if s := &r.Sessions[i]; of(s) {
			if h, ok := held(r, s); ok {
				all = append(all, h)
			}
		}
	}
	slices.SortFunc(all, func(a, b span) int {
		return cmp.Or(a.from.Compare(b.from), cmp.Compare(a.s.ID, b.s.ID))
	})
	return all
}

func addresses(r *Run) (faults []Fault) {
	last := map[netip.Addr]span{} // that ends latest
	for _, h := range spans(r, func(s *Session) bool { return s.Addr.IsValid() }) {
		before, taken := last[h.s.Addr]
		if taken && h.from.Before(before.to) {
			faults = append(faults, Fault{Address, fmt.Sprintf("%v was given to %s while %s had it, for %v",
				h.s.Addr, h.s.ID, before.s.ID, before.to.Sub(h.from))})
		}
		if !taken || h.to.After(before.to) {
			last[h.s.Addr] = h
		}
	}
	return faults
}

func limits(r *Run) (faults []Fault) {
	open := map[string][]span{}
	for _, h := range spans(r, func(s *Session) bool { return r.Limits[s.User] > 0 }) {
		u := h.s.User
		open[u] = append(slices.DeleteFunc(open[u], func(o span) bool { return !h.from.Before(o.to) }), h)
		if n := len(open[u]); n > r.Limits[u] {
			faults = append(faults, Fault{Limit, fmt.Sprintf("%s had %d sessions with %s, and may have %d", u, n, h.s.ID, r.Limits[u])})
		}
	}
	return faults
}

func codes(r *Run) (faults []Fault) {
	opened := map[string]string{}
	for i := range r.Sessions {
		s := &r.Sessions[i]
		if s.Code == "" || s.Verdict != Accepted {
			continue
		}
		key := s.User + "\x00" + s.Code
		if other, used := opened[key]; used {
			faults = append(faults, Fault{Code, fmt.Sprintf("one of %s opened %s and %s", s.User, other, s.ID)})
		}
		opened[key] = s.ID
	}
	return faults
}

func passwords(r *Run) (faults []Fault) {
	for i := range r.Sessions {
		switch s := &r.Sessions[i]; {
		case s.Verdict != Accepted:
		case s.Wrong:
			faults = append(faults, Fault{Password, fmt.Sprintf("%s of %s got in with a wrong one", s.ID, s.User)})
		case !s.Proved:
			faults = append(faults, Fault{Password, fmt.Sprintf("the Accept of %s proves nothing", s.ID)})
		}
	}
	return faults
}

func events(r *Run) (faults []Fault) {
	type told struct {
		starts, stops int
		stopFirst     bool
	}
	of := map[string]*told{}
	for _, e := range r.Events {
		t := of[e.Session]
		if t == nil {
			t = new(told)
			of[e.Session] = t
		}
		switch e.Kind {
		case Unknown, Interim: // no event
		case Start:
			t.starts++
			t.stopFirst = t.stopFirst || t.stops > 0
		case Stop:
			t.stops++
		}
	}
	known := map[string]bool{}
	for i := range r.Sessions {
		s := &r.Sessions[i]
		known[s.ID] = true
		t := of[s.ID]
		if t == nil {
			t = new(told)
		}
		want := 0 // at least
		if len(s.Reports) > 0 {
			want = 1
		}
		if t.starts < want || t.starts > 1 || t.stops != t.starts || t.stopFirst {
			faults = append(faults, Fault{Events, fmt.Sprintf("%s, %d reports acknowledged: %d starts, %d stops", s.ID, len(s.Reports), t.starts, t.stops)})
		}
	}
	for id := range of {
		if !known[id] {
			faults = append(faults, Fault{Events, "of " + id + ", which was never asked for"})
		}
	}
	return faults
}

func leaks(r *Run) (faults []Fault) {
	runs := map[string]bool{}
	for i := range r.Sessions {
		if s := &r.Sessions[i]; s.Verdict == Accepted && s.Ended.IsZero() {
			runs[s.ID] = true
		}
	}
	live := map[string]bool{}
	for _, id := range r.Live {
		live[id] = true
		if !runs[id] {
			faults = append(faults, Fault{Leak, id + " is live in the registry, and has ended"})
		}
	}
	for id := range runs {
		if !live[id] {
			faults = append(faults, Fault{Leak, id + " runs, and the registry has lost it"})
		}
	}
	for a, id := range r.Leased {
		if !runs[id] {
			faults = append(faults, Fault{Leak, fmt.Sprintf("%v is leased to %s, which has ended", a, id)})
		}
	}
	return faults
}

func failures(r *Run) (faults []Fault) {
	for user, n := range r.Counts {
		if n.Stored < n.Answered || n.Stored > n.Asked {
			faults = append(faults, Fault{Failures, fmt.Sprintf("%s: %d counted, of %d that were asked and %d answered", user, n.Stored, n.Asked, n.Answered)})
		}
	}
	return faults
}
