package policy

import "slices"

// Whether one condition holds whenever another does. All functions here may say no where
// yes is right, never the other way round: what they do not understand holds only where
// the same is written.

// covers says whether a rule matches whenever a later one would.
func covers(earlier, later *rule) bool {
	same := earlier.demand == later.demand // else what counts as known of a device differs
	for _, c := range earlier.when {
		if !impliedByAny(later.when, c, same) {
			return false
		}
	}
	if len(earlier.unless) == 0 {
		return true
	}
	// When what excuses from the earlier rule holds, so does what excuses from the later.
	return len(later.unless) > 0 && !slices.ContainsFunc(later.unless, func(c clause) bool { return !impliedByAny(earlier.unless, c, same) })
}

// impliedByAny says whether c holds when all of the clauses do.
func impliedByAny(cs []clause, c clause, same bool) bool {
	if c.key == "all" {
		return !slices.ContainsFunc(c.kids, func(kid clause) bool { return !impliedByAny(cs, kid, same) })
	}
	return slices.ContainsFunc(cs, func(l clause) bool { return implies(l, c, same) })
}

// implies says whether c holds when l does. Same is whether the same is believed of
// devices in both places.
func implies(l, c clause, same bool) bool {
	switch {
	case aboutDevice(l) && !same:
		return false
	case l.key == c.key && l.text == c.text:
		return true
	case l.key == "any": // whichever holds
		return len(l.kids) > 0 && !slices.ContainsFunc(l.kids, func(kid clause) bool { return !implies(kid, c, same) })
	case c.key == "any":
		return slices.ContainsFunc(c.kids, func(kid clause) bool { return impliedByAny([]clause{l}, kid, same) })
	case c.key == "all":
		return impliedByAny([]clause{l}, c, same)
	case l.key == "all":
		return impliedByAny(l.kids, c, same)
	case l.key == "not" && c.key == "not": // what makes c fail makes l fail
		return len(l.kids) > 0 && !slices.ContainsFunc(l.kids, func(kid clause) bool { return !impliedByAny(c.kids, kid, same) })
	case l.key != c.key:
		return false
	}
	return within(l.matcher, c.matcher)
}

// within says whether the values of one condition are among those of another of the same
// key.
func within(l, c matcher) bool {
	switch c := c.(type) {
	case fromSource:
		l, ok := l.(fromSource)
		return ok && (!l.none || c.none) && len(l.networks.without(c.networks)) == 0
	case isNAS:
		l, ok := l.(isNAS)
		return ok && subset(l.names, c.names) && len(l.networks.without(c.networks)) == 0
	case inGroup:
		l, ok := l.(inGroup)
		return ok && l.within(c)
	case inDeviceGroup:
		l, ok := l.(inDeviceGroup)
		return ok && l.within(c.inGroup)
	case isDevice:
		l, ok := l.(isDevice)
		return ok && (!l.none || c.none) && subset(l.names, c.names)
	case inCountry:
		l, ok := l.(inCountry)
		if !ok || l.none && !c.none {
			return false
		}
		for i := range l.countries {
			if l.countries[i]&^c.countries[i] != 0 {
				return false
			}
		}
		return true
	case isASN:
		l, ok := l.(isASN)
		return ok && subset(l.systems, c.systems)
	case isJoin:
		l, ok := l.(isJoin)
		return ok && (!l.none || c.none) && subset(l.ways, c.ways)
	case isSo:
		l, ok := l.(isSo)
		return ok && l.answers&^c.answers == 0
	case hasAge:
		l, ok := l.(hasAge)
		return ok && (!l.none || c.none) && !slices.ContainsFunc(l.bounds, func(b ageBound) bool {
			return !slices.ContainsFunc(c.bounds, func(o ageBound) bool { return narrower(b.comparator, o.comparator, compare(b.bound, o.bound)) })
		})
	case hasCount:
		l, ok := l.(hasCount)
		return ok && !slices.ContainsFunc(l.bounds, func(b countBound) bool {
			return !slices.ContainsFunc(c.bounds, func(o countBound) bool { return narrower(b.comparator, o.comparator, compare(b.bound, o.bound)) })
		})
	case interface{ nameSet() names }:
		l, ok := l.(interface{ nameSet() names })
		return ok && subset(l.nameSet(), c.nameSet())
	case interface{ wordSet() set }:
		l, ok := l.(interface{ wordSet() set })
		return ok && l.wordSet()&^c.wordSet() == 0
	}
	return false
}

// narrower says whether what is by comparator b of a bound is by comparator o of another;
// order is that of the bounds.
func narrower(b, o comparator, order int) bool {
	switch b {
	case equal:
		return o.holds(order)
	case less:
		return (o == less || o == atMost || o == unequal) && order <= 0
	case atMost:
		return o == atMost && order <= 0 || (o == less || o == unequal) && order < 0
	case more:
		return (o == more || o == atLeast || o == unequal) && order >= 0
	case atLeast:
		return o == atLeast && order >= 0 || (o == more || o == unequal) && order > 0
	case unequal:
	}
	return o == unequal && order == 0
}

func (m inGroup) within(c inGroup) bool { return (!m.none || c.none) && subset(m.groups, c.groups) }

// What the conditions are for that have nothing but names, or words.
func (ns names) nameSet() names { return ns }
func (s set) wordSet() set      { return s }

func subset[T comparable](some, all []T) bool {
	return !slices.ContainsFunc(some, func(v T) bool { return !slices.Contains(all, v) })
}
