package policy

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// Comparisons are texts: an operator and a bound. A value that is not known satisfies
// none of them.
//
//	device.patch_age: "> 45d"
//	risk.user_failures: ">= 3"
//	device.os_version: [">= 10.0.19045", none]

// comparator is what stands in front of a bound.
type comparator uint8

const (
	equal comparator = iota
	unequal
	less
	atMost
	more
	atLeast
)

// Longer ones first: a < begins <=.
var comparators = []struct {
	sign string
	c    comparator
}{{"<=", atMost}, {">=", atLeast}, {"!=", unequal}, {"==", equal}, {"<", less}, {">", more}, {"=", equal}}

// parseComparator takes the operator off a text; none is equality.
func parseComparator(s string) (comparator, string) {
	s = strings.TrimSpace(s)
	for _, o := range comparators {
		if rest, ok := strings.CutPrefix(s, o.sign); ok {
			return o.c, strings.TrimSpace(rest)
		}
	}
	return equal, s
}

// holds says so of a value that is less than (-1), equal to (0) or more than (1) the bound.
func (c comparator) holds(order int) bool {
	switch c {
	case less:
		return order < 0
	case atMost:
		return order <= 0
	case more:
		return order > 0
	case atLeast:
		return order >= 0
	case unequal:
		return order != 0
	case equal:
	}
	return order == 0
}

// sign is the operator as files write it.
func (c comparator) sign() string {
	for _, o := range comparators {
		if o.c == c && o.sign != "==" {
			return o.sign
		}
	}
	return ""
}

const (
	// maxAge bounds ages, ours: nothing that is older says anything of today.
	maxAge = 3660 * day

	expectAge  = `a comparison with a duration such as "> 45d" or "<= 12h", or none`
	patternAge = `^ *(<=?|>=?) *[0-9][0-9.dhms]*$`
)

// ageBound is one comparison of an age.
type ageBound struct {
	comparator
	bound time.Duration
}

// parseAge reads a comparison of an age. No age is equal to anything.
func parseAge(s string) (ageBound, error) {
	c, rest := parseComparator(s)
	if c == equal || c == unequal {
		return ageBound{}, errors.New("an age is less or more than something: <, <=, > or >=")
	}
	d, err := parseDuration(rest)
	switch {
	case err != nil || d < 0 || rest == "":
		return ageBound{}, errors.New("not a duration")
	case d > maxAge:
		return ageBound{}, errors.New("more than ten years")
	case d%time.Second != 0:
		return ageBound{}, errors.New("not in whole seconds")
	}
	return ageBound{c, d}, nil
}

func (b ageBound) String() string { return b.sign() + " " + short(b.bound) }

// instant is what an age is counted from; zero where that is not known, or can be
// believed less than demanded.
type instant func(f *Facts, demand Confidence) time.Time

// hasAge holds when one of the comparisons does, or for what is not known.
type hasAge struct {
	of     instant
	bounds []ageBound
	none   bool
}

func readAge(of instant) func(*reader, ast.Node) matcher {
	return func(r *reader, n ast.Node) matcher {
		m := hasAge{of: of}
		for _, el := range r.values(n, expectAge) {
			s, ok := r.scalar(el, expectAge)
			if !ok {
				continue
			}
			if s == missing {
				m.none = true
				continue
			}
			b, err := parseAge(s)
			if err != nil {
				r.fail(position(el), expectAge, "%q: %v", s, err)
				continue
			}
			m.bounds = append(m.bounds, b)
		}
		return m
	}
}

// ageAt is how long ago t was. What is yet to come, by a clock that is ahead of ours, has
// just been.
func ageAt(t, now time.Time) time.Duration { return max(now.Sub(t), 0) }

func (m hasAge) match(e *evaluation) bool {
	t := m.of(e.f, e.demand)
	if t.IsZero() {
		return m.none
	}
	age := ageAt(t, e.now)
	for _, b := range m.bounds {
		if b.holds(compare(age, b.bound)) {
			return true
		}
	}
	return false
}

// next is when the age passes a bound: it is there, and a nanosecond later beyond it.
func (m hasAge) next(e *evaluation) (first time.Time) {
	t := m.of(e.f, e.demand)
	if t.IsZero() {
		return first
	}
	for _, b := range m.bounds {
		at := t.Add(b.bound)
		first = sooner(first, at, e.now)
		first = sooner(first, at.Add(1), e.now)
	}
	return first
}

// sooner is the earlier of first and t, if t is after now; a zero first is never.
func sooner(first, t, now time.Time) time.Time {
	if !t.After(now) || !first.IsZero() && first.Before(t) {
		return first
	}
	return t
}

func compare[T int | time.Duration | uint64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// factAge says when it was, and for what is known of a device, who says so.
func factAge(of instant) func(*Facts, time.Time) string {
	return func(f *Facts, now time.Time) string { return aged(of(f, NoConfidence), now) }
}

const (
	maxCount = 1_000_000 // ours

	expectCount  = `a comparison with a number such as ">= 3", or a number`
	patternCount = `^ *(<=?|>=?|!=|==?)? *[0-9]{1,7}$`
)

// countBound is one comparison of a number.
type countBound struct {
	comparator
	bound int
}

func parseCount(s string) (countBound, error) {
	c, rest := parseComparator(s)
	v, err := strconv.ParseUint(rest, 10, 31)
	switch {
	case err != nil:
		return countBound{}, errors.New("not a number")
	case v > maxCount:
		return countBound{}, errors.New("more than a million")
	}
	return countBound{c, int(v)}, nil //nolint:gosec // bounded above
}

func (b countBound) String() string { return b.sign() + " " + strconv.Itoa(b.bound) }

// hasCount holds when one of the comparisons does.
type hasCount struct {
	of     func(*Facts) int
	bounds []countBound
}

func readCount(of func(*Facts) int) func(*reader, ast.Node) matcher {
	return func(r *reader, n ast.Node) matcher {
		m := hasCount{of: of}
		for _, el := range r.values(n, expectCount) {
			s, ok := r.scalar(el, expectCount)
			if !ok {
				continue
			}
			if s == missing {
				r.fail(position(el), expectCount, "the shield's counters are always known: 0 where nothing was counted")
				continue
			}
			b, err := parseCount(s)
			if err != nil {
				r.fail(position(el), expectCount, "%q: %v", s, err)
				continue
			}
			m.bounds = append(m.bounds, b)
		}
		return m
	}
}

func (m hasCount) match(e *evaluation) bool {
	v := m.of(e.f)
	for _, b := range m.bounds {
		if b.holds(compare(v, b.bound)) {
			return true
		}
	}
	return false
}

func factCount(of func(*Facts) int) func(*Facts, time.Time) string {
	return func(f *Facts, _ time.Time) string { return counted(of(f)) }
}
