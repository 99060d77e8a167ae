package store

import (
	"cmp"
	"slices"
	"time"
)

// goingFrom tells members of an index that have to go from those that have a place: it is
// added to since when they have been in. In ms that is the year 2286.
const goingFrom = 10_000_000_000_000

// Admit puts a member into an index until a deadline and notes since when it is in. With
// Max it is a guard against more than Max members. With Replace those go that have been in
// longest: they lose their place, and stay in the index as Going until they leave or their
// deadlines pass, for whoever sees to it that they end.
//
// Two that come at once are admitted one after the other, and so the second one may replace
// the first, but never both the same member.
type Admit struct {
	Live, Since Key // zsets: member → deadline, and → since when, in ms; of one tag
	Member      string
	For         time.Duration
	Max         int  // 0: no limit
	Replace     bool // else too many are refused, those that have to go counted
	Spare       int  // so many more than Max may have to go at once
	Later       bool // a deadline is moved later only; one that has to go is not admitted again

	Outcome
	N        int      // members with a place afterwards, counted with Max only; -1: it has to go
	Replaced []string // by this one, oldest first
	Going    []string // all that have to go, those of before included
}

func (o *Admit) keys() []Key  { return []Key{o.Live, o.Since} }
func (o *Admit) name() string { return "admit" }
func (o *Admit) writes() bool { return true }

func (o *Admit) args(a []any) []any {
	return append(a, o.Member, ms(o.For), o.Max, bit(o.Replace), o.Spare, bit(o.Later), ms(lapsedFor))
}

func (o *Admit) decode(_ bool, r reply) error {
	o.N, o.Replaced, o.Going = int(r.int(0)), nil, nil
	n := int(r.int(1))
	for i := 2; i < len(r.v); i++ {
		if i < 2+n {
			o.Replaced = append(o.Replaced, r.str(i))
		} else {
			o.Going = append(o.Going, r.str(i))
		}
	}
	return r.err
}

// since is what the second index of Admit says.
func since(t *txn, k Key) map[string]int64 {
	all := make(map[string]int64)
	for _, m := range t.members(k) {
		all[m.name] = m.score
	}
	return all
}

func (o *Admit) apply(t *txn) bool {
	o.N, o.Replaced, o.Going = 0, nil, nil
	all, in := t.members(o.Live), since(t, o.Since)
	until, inside, was := t.now+ms(o.For), false, in[o.Member]
	had := make(map[string]bool, len(all))
	var rest []member
	for _, m := range all {
		switch had[m.name] = true; {
		case m.name == o.Member:
			if inside = m.score > t.now; o.Later {
				until = max(until, m.score)
			}
		case m.score > t.now && (!o.Replace || in[m.name] < goingFrom):
			rest = append(rest, member{m.name, in[m.name]})
		}
	}
	for name := range in {
		if !had[name] { // left by who knows nothing of this index
			t.deleteMember(o.Since, name)
			delete(in, name)
		}
	}
	if was >= goingFrom {
		if inside && o.Later {
			o.N = -1
			return false
		}
		inside, in[o.Member] = false, t.now // it begins afresh
	}
	if o.Max > 0 {
		o.N = len(rest)
		over := o.N + 1 - o.Max
		if inside || over < 0 {
			over = 0
		}
		if over > 0 && (!o.Replace || len(going(t, o.Live, in))+over > o.Max+o.Spare) {
			return false
		}
		slices.SortStableFunc(rest, func(a, b member) int { return cmp.Compare(a.score, b.score) })
		for _, m := range rest[:over] {
			t.setMember(o.Since, m.name, m.score+goingFrom, t.now+ms(o.For)+ms(lapsedFor))
			in[m.name] = m.score + goingFrom
			o.Replaced = append(o.Replaced, m.name)
		}
		o.N += 1 - over
	}
	t.setMember(o.Live, o.Member, until, until+ms(lapsedFor))
	from := t.now
	if o.Later && inside && was > 0 {
		from = was
	}
	in[o.Member] = from
	t.setMember(o.Since, o.Member, from, until+ms(lapsedFor))
	o.Going = going(t, o.Live, in)
	return true
}

// going lists live members that have to go, in the order in which they came.
func going(t *txn, live Key, in map[string]int64) []string {
	var list []member
	for _, m := range t.members(live) {
		if m.score > t.now && in[m.name] >= goingFrom {
			list = append(list, member{m.name, in[m.name]})
		}
	}
	slices.SortFunc(list, func(a, b member) int {
		return cmp.Or(cmp.Compare(a.score, b.score), cmp.Compare(a.name, b.name))
	})
	var names []string
	for _, m := range list {
		names = append(names, m.name)
	}
	return names
}

// Stay moves the deadline of a member of such an index, or puts it in whatever the limit:
// it is there, as somebody has seen.
type Stay struct {
	Live, Since Key
	Member      string
	For         time.Duration

	Outcome
	Going []string // all that have to go
}

func (o *Stay) keys() []Key        { return []Key{o.Live, o.Since} }
func (o *Stay) name() string       { return "stay" }
func (o *Stay) writes() bool       { return true }
func (o *Stay) args(a []any) []any { return append(a, o.Member, ms(o.For), ms(lapsedFor)) }

func (o *Stay) decode(_ bool, r reply) error {
	o.Going = nil
	for i := range r.v {
		o.Going = append(o.Going, r.str(i))
	}
	return r.err
}

func (o *Stay) apply(t *txn) bool {
	until := t.now + ms(o.For)
	in := since(t, o.Since)
	if in[o.Member] == 0 {
		in[o.Member] = t.now
	}
	t.setMember(o.Live, o.Member, until, until+ms(lapsedFor))
	t.setMember(o.Since, o.Member, in[o.Member], until+ms(lapsedFor))
	o.Going = going(t, o.Live, in)
	return true
}

// Readmit gives members that were Replaced their places back, the youngest first, as far
// as there are any: whoever replaced them has left again.
type Readmit struct {
	Live, Since Key
	Max         int
	Names       []string

	Outcome
	Back []string // who has a place again
}

func (o *Readmit) keys() []Key  { return []Key{o.Live, o.Since} }
func (o *Readmit) name() string { return "readmit" }
func (o *Readmit) writes() bool { return true }

func (o *Readmit) args(a []any) []any {
	a = append(a, o.Max)
	for _, name := range o.Names {
		a = append(a, name)
	}
	return a
}

func (o *Readmit) decode(_ bool, r reply) error {
	o.Back = nil
	for i := range r.v {
		o.Back = append(o.Back, r.str(i))
	}
	return r.err
}

func (o *Readmit) apply(t *txn) bool {
	o.Back = nil
	in, n := since(t, o.Since), 0
	var some []member
	for _, m := range t.members(o.Live) {
		switch at := in[m.name]; {
		case m.score <= t.now:
		case at < goingFrom:
			n++
		case slices.Contains(o.Names, m.name):
			some = append(some, member{m.name, at})
		}
	}
	slices.SortStableFunc(some, func(a, b member) int { return cmp.Compare(b.score, a.score) })
	for _, m := range some {
		if o.Max > 0 && n >= o.Max {
			break
		}
		t.setMember(o.Since, m.name, m.score-goingFrom, t.now+2*ms(lapsedFor))
		o.Back = append(o.Back, m.name)
		n++
	}
	return true
}
