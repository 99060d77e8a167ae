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
		r.begin(e)
		first = sooner(first, r.next(e), e.now)
		if r == decides {
			break
		}
	}
	return first
}

// outlook is whether something holds now, and the first instant from which on that may be
// otherwise; zero: never.
type outlook struct {
	holds bool
	until time.Time
}

// next is when the rule may begin or cease to match.
func (r *rule) next(e *evaluation) (first time.Time) {
	if r.fallible {
		// Whether it fails hangs on which clauses are looked at before.
		first = earliest(r.when, e, r.expires)
		return earliest(r.unless, e, first)
	}
	parts := [...]outlook{together(r.when, e), {holds: true}}
	if len(r.unless) > 0 {
		parts[1] = together(r.unless, e)
		parts[1].holds = !parts[1].holds
	}
	all := conjunction(parts[:])
	switch {
	case all.holds:
		return sooner(all.until, r.expires, e.now)
	case !r.expires.IsZero() && !all.until.Before(r.expires):
		return first // it does not live to match
	}
	return all.until
}

// earliest is first, or when one of the clauses may change before, whether that says
// anything or not.
func earliest(cs []clause, e *evaluation, first time.Time) time.Time {
	walk(cs, func(c *clause) {
		if m, ok := c.matcher.(changing); ok {
			first = sooner(first, m.next(e), e.now)
		}
	})
	return first
}

// together is the outlook of all of the clauses.
func together(cs []clause, e *evaluation) outlook {
	var few [8]outlook
	parts := few[:0]
	for i := range cs {
		parts = append(parts, cs[i].outlook(e))
	}
	return conjunction(parts)
}

// conjunction holds while each of the parts does. Before it can, all that do not hold must
// have changed.
func conjunction(parts []outlook) outlook {
	all := outlook{holds: true}
	for _, o := range parts {
		switch {
		case all.holds && !o.holds:
			all = o
		case all.holds:
			all.until = firstOf(all.until, o.until)
		case !o.holds:
			all.until = lastOf(all.until, o.until)
		}
	}
	return all
}

func (c *clause) outlook(e *evaluation) outlook {
	switch m := c.matcher.(type) {
	case allOf:
		return together(m.clauses, e)
	case notAll:
		o := together(m.clauses, e)
		o.holds = !o.holds
		return o
	case anyOf: // not all are not
		var few [8]outlook
		parts := few[:0]
		for i := range m.clauses {
			o := m.clauses[i].outlook(e)
			o.holds = !o.holds
			parts = append(parts, o)
		}
		o := conjunction(parts)
		o.holds = !o.holds
		return o
	case changing:
		return outlook{c.match(e), m.next(e)}
	}
	return outlook{holds: c.match(e)}
}

// firstOf and lastOf are the earlier and the later of two instants, of which zero is never.
func firstOf(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func lastOf(a, b time.Time) time.Time {
	switch {
	case a.IsZero() || b.IsZero():
		return time.Time{}
	case b.Before(a):
		return a
	}
	return b
}
