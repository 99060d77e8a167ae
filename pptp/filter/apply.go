package filter

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"golang.org/x/sys/unix"
)

// Apply takes a new configuration in one step: no packet meets half of it, clients
// stay where they are. Table and Tun must be the same. A filter that is not named any
// more holds on for the clients that have it.
func (t *Table) Apply(cfg Config) error {
	cfg, err := cfg.complete()
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return ErrClosed
	}
	if cfg.Table != t.cfg.Table || cfg.Tun != t.cfg.Tun {
		return errors.New("filter: another table or interface needs a restart")
	}
	err = t.apply(cfg)
	if errors.Is(err, unix.ENOENT) && t.verify() == nil { // as in run
		err = t.apply(cfg)
	}
	if err != nil {
		return fmt.Errorf("filter: change table %s: %w", cfg.Table, err)
	}
	return nil
}

// application is the two transactions of a change. The first makes what nobody gets to
// yet: sets, and chains with rules of their own sets. The second leads to that and
// takes away what was there; it changes rules only, which the kernel does between two
// packets. Back undoes the first.
type application struct{ first, second, back *txn }

func (t *Table) apply(cfg Config) error {
	a := application{t.begin(), t.begin(), t.begin()}
	t.plan(a, cfg)
	if err := t.kernel.commit(a.first); err != nil {
		a.second.rollback(0)
		t.suspect()
		return err
	}
	if err := t.kernel.commit(a.second); err != nil {
		a.second.rollback(0)
		t.suspect() // of what back leaves, if it fails too
		return errors.Join(err, t.kernel.commit(a.back))
	}
	return nil
}

// plan fills the transactions and changes the Table's picture; the second one knows
// how to change it back.
func (t *Table) plan(a application, cfg Config) {
	undo := func(f func()) { a.second.undo = append(a.second.undo, f) }
	old, oldChains := t.cfg, t.cfg.chains(t.allowed.name(), &t.lengths)
	oldAllowed, oldSets := t.allowed, t.sets
	undo(func() { t.cfg, t.allowed, t.sets = old, oldAllowed, oldSets })
	t.cfg = cfg
	var made, gone []string // sets; they go last, for rules name them

	replace := func(from, to *intervals) {
		if to != nil && to != from {
			a.first.addSet(to.set())
			made = append(made, to.name())
		}
		if from != nil && to != from {
			gone = append(gone, from.name())
		}
	}
	t.allowed = oldAllowed.replaced(cfg.Allowed)
	replace(oldAllowed, t.allowed)
	t.sets = t.nextSets(cfg)
	for name, was := range oldSets {
		replace(was, t.sets[name])
	}
	for name, is := range t.sets {
		if oldSets[name] == nil {
			replace(nil, is)
		}
	}

	for name, rules := range cfg.Filters {
		if c, ok := t.contents[configuredKey(name)]; ok {
			was := *c
			undo(func() { *c = was })
			c.configured = true
			if !reflect.DeepEqual(c.rules, rules) || changed(rules, oldSets, t.sets) {
				t.refill(a, c, rules)
			}
			continue
		}
		c := t.configure(a.first, name, rules)
		a.first.addChains(t.chainsOf(c))
		a.back.delChains(t.chainsOf(c))
	}
	// Those that hold on follow the sets that are left; those that hold nobody go.
	for _, c := range t.contents {
		if _, ok := cfg.Filters[c.name]; c.change == 0 || ok {
			continue
		}
		was := *c
		undo(func() { *c = was })
		c.configured = false
		switch {
		case c.users == 0:
			delete(t.contents, c.key)
			undo(func() { t.contents[c.key] = c })
			a.second.delChains(t.chainsOf(c))
		case changed(c.rules, oldSets, t.sets):
			t.refill(a, c, c.rules)
		case was.configured:
			t.log.Warn("a filter is not configured any more and holds on for its clients", "filter", c.name, "clients", c.users)
		}
	}

	t.planStatic(a.second, old, oldChains)
	for _, name := range gone {
		a.second.delSet(name)
	}
	for _, name := range made {
		a.back.delSet(name)
	}
	a.second.undo = append(a.second.undo, a.first.undo...)
}

// nextSets are the configuration's sets, and those that filters need which hold on.
func (t *Table) nextSets(cfg Config) map[string]*intervals {
	next := map[string]*intervals{}
	for name, prefixes := range cfg.Sets {
		if was := t.sets[name]; was != nil {
			next[name] = was.replaced(prefixes)
		} else {
			next[name] = newIntervals(prefixSet+name, prefixes)
		}
	}
	for _, c := range t.contents {
		if _, ok := cfg.Filters[c.name]; ok || c.users == 0 {
			continue
		}
		for _, r := range c.rules {
			if r.Set != "" && next[r.Set] == nil {
				next[r.Set] = t.sets[r.Set]
			}
		}
	}
	return next
}

// changed says whether rules speak of a set that is another one now.
func changed(rules []Rule, from, to map[string]*intervals) bool {
	return slices.ContainsFunc(rules, func(r Rule) bool { return r.Set != "" && from[r.Set] != to[r.Set] })
}

// refill gives a filter new rules, or the same ones with other sets: new chains, and
// doors that lead there.
func (t *Table) refill(a application, c *content, rules []Rule) {
	before := t.bodies(c)
	c.rules = rules
	c.change++
	a.first.addChains(t.bodies(c))
	a.back.delChains(t.bodies(c))
	for _, door := range c.doors() {
		a.second.flushChain(door.name)
		a.second.addRules(door)
	}
	a.second.delChains(before)
}

// planStatic changes what is there without a filter. Its rules have no interval sets
// but that of allowed sources.
func (t *Table) planStatic(x *txn, old Config, before []chain) {
	oldSets := old.sets()
	for i, s := range t.cfg.sets() {
		if !reflect.DeepEqual(s.elements, oldSets[i].elements) {
			x.flushSet(s.name)
			x.addElements(s.name, s.elements)
		}
	}
	if t.cfg.GREPerSource != old.GREPerSource {
		x.flushSet(setGRE) // each source has its own copy of the rate
	}
	after := t.cfg.chains(t.allowed.name(), &t.lengths)
	in := func(chains []chain, name string) bool {
		return slices.ContainsFunc(chains, func(c chain) bool { return c.name == name })
	}
	for _, c := range before {
		x.flushChain(c.name)
		if !in(after, c.name) {
			x.delChain(c.name)
		}
	}
	for _, c := range after {
		if !in(before, c.name) {
			x.addChain(c)
		}
	}
	for _, c := range after {
		x.addRules(c)
	}
}
