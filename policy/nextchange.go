package policy

import "time"

// changing is a condition that may hold or not as time passes. next is the first instant
// after now from which on it may be otherwise than at now; zero is never. It may be too
// early, and is never too late.
type changing interface {
	next(e *evaluation) time.Time
}

// maxSteps bounds how far ahead NextChange looks, ours: windows of the time begin and end
// many times before a decision changes.
const maxSteps = 16

// NextChange is the first instant after now at which the decision on these facts may be
// another because time passes: a window of the time begins or ends, a rule expires,
// something grows too old. Zero is never. It may be too early, when nothing changes in
// the end, and is never too late. Rules in shadow do not count.
func (p *Policy) NextChange(now time.Time, f *Facts) time.Time {
	e := p.evaluation(now, f)
	defer e.done()
	decides, _ := p.first(e)
	for range maxSteps {
		now = p.next(e, decides.rule)
		if now.IsZero() {
			break
		}
		e.set(p, now, f)
		if then, _ := p.first(e); then.rule != decides.rule || (then.fault == "") != (decides.fault == "") {
			break
		}
	}
	return now
}

// next is when something changes in the rules up to the one that decides.
func (p *Policy) next(e *evaluation, decides *rule) (first time.Time) {
	for i := range p.rules {
		r := &p.rules[i]
		if r.shadow || r.expired(e.now) {
			continue
		}
		if !r.expires.IsZero() {
			first = sooner(first, r.expires, e.now)
		}
		r.begin(e)
		first = nextOf(r.when, e, first)
		first = nextOf(r.unless, e, first)
		if r == decides {
			break
		}
	}
	return first
}

// nextOf is first, or when one of the clauses may change before.
func nextOf(cs []clause, e *evaluation, first time.Time) time.Time {
	for i := range cs {
		if m, ok := cs[i].matcher.(changing); ok {
			first = sooner(first, m.next(e), e.now)
		}
		first = nextOf(cs[i].kids, e, first)
	}
	return first
}
