package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// How says what became of a part of a policy.
//
// Handled in: howNames, howSigns.
type How uint8

const (
	HowUnknown How = iota
	Added
	Removed
	Moved
	Changed
)

var (
	howNames = [...]string{HowUnknown: "unknown", Added: "added", Removed: "removed", Moved: "moved", Changed: "changed"}
	howSigns = [...]string{HowUnknown: "?", Added: "+", Removed: "-", Moved: ">", Changed: "~"}
)

// String returns the word that is printed.
func (h How) String() string {
	if int(h) < len(howNames) {
		return howNames[h]
	}
	return howNames[HowUnknown]
}

// MarshalText and UnmarshalText are for records and for JSON.
func (h How) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

func (h *How) UnmarshalText(b []byte) error {
	*h = How(max(slices.Index(howNames[:], string(b)), 0))
	return nil
}

// Change is one thing in which two policies differ.
type Change struct {
	What    string   `json:"what"` // rule, list, pool, filter, test
	Name    string   `json:"name"`
	How     How      `json:"how"`
	Where   string   `json:"where,omitempty"` // of a rule that was added or moved: its place among the others
	Details []Detail `json:"details,omitempty"`
}

// Detail is one part of it. Of what has several values, networks of a list for one, each
// that differs has a Detail, with Old or New empty.
type Detail struct {
	Key string `json:"key,omitempty"`
	Old string `json:"old,omitempty"`
	New string `json:"new,omitempty"`
}

// Changes are all in which two policies differ: rules in the order of the new policy
// first, those that are gone behind them.
type Changes []Change

// Diff says how b differs from a. Texts are compared as they are meant and not as they are
// written: comments, quotes, order where it does not matter and 60m for 1h are no
// difference.
func Diff(a, b *Policy) Changes {
	old, now := a.outline(), b.outline()
	changes := diffRules(old, now)
	for _, kind := range []string{"list", "pool", "filter", "test"} {
		names := slices.Collect(maps.Keys(old.parts[kind]))
		for name := range now.parts[kind] {
			if old.parts[kind][name] == nil {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			c := Change{What: kind, Name: name, How: Changed, Details: now.parts[kind][name].against(old.parts[kind][name])}
			switch {
			case old.parts[kind][name] == nil:
				c.How = Added
			case now.parts[kind][name] == nil:
				c.How = Removed
			case len(c.Details) == 0:
				continue
			}
			changes = append(changes, c)
		}
	}
	return changes
}

// part is something that has a name in a policy: values by key, a list's under "".
type part struct {
	keys    []string
	values  map[string][]string
	ordered bool // of filters, whose first line that fits counts
}

func (p *part) add(key string, values ...string) {
	if p.values == nil {
		p.values = make(map[string][]string)
	}
	if _, there := p.values[key]; !there {
		p.keys = append(p.keys, key)
	}
	p.values[key] = append(p.values[key], values...)
}

// against says what p has other than old; either may be nil.
func (p *part) against(old *part) (all []Detail) {
	var none part
	if p == nil {
		p = &none
	}
	if old == nil {
		old = &none
	}
	keys, at := slices.Clone(p.keys), 0
	for _, k := range old.keys { // what is gone stands where it stood
		if i := slices.Index(keys, k); i >= 0 {
			at = i + 1
			continue
		}
		keys = slices.Insert(keys, at, k)
		at++
	}
	for _, k := range keys {
		was, is := old.values[k], p.values[k]
		switch {
		case slices.Equal(was, is):
		case len(was) <= 1 && len(is) <= 1:
			all = append(all, Detail{k, strings.Join(was, ""), strings.Join(is, "")})
		default:
			before := len(all)
			for _, v := range was {
				if !slices.Contains(is, v) {
					all = append(all, Detail{Key: k, Old: v})
				}
			}
			for _, v := range is {
				if !slices.Contains(was, v) {
					all = append(all, Detail{Key: k, New: v})
				}
			}
			if len(all) == before {
				all = append(all, Detail{"order", strings.Join(was, "; "), strings.Join(is, "; ")})
			}
		}
	}
	return all
}

// outline is what a policy says, part by part.
type outline struct {
	rules []string // IDs in their order
	parts map[string]map[string]*part
}

func (o *outline) part(kind, name string) *part {
	if o.parts[kind] == nil {
		o.parts[kind] = make(map[string]*part)
	}
	for n, given := 2, name; o.parts[kind][name] != nil; n++ { // tests may be of one name
		name = fmt.Sprintf("%s (%d)", given, n)
	}
	p := &part{ordered: kind == "filter"}
	o.parts[kind][name] = p
	return p
}

// outline reads the files again, that were right when the policy was loaded.
func (p *Policy) outline() *outline {
	o := &outline{parts: make(map[string]map[string]*part)}
	for i := range p.rules {
		o.rules = append(o.rules, p.rules[i].id)
	}
	for _, f := range p.Files() {
		file, err := parser.ParseBytes(f.Text, 0)
		if err != nil {
			continue
		}
		for _, doc := range file.Docs {
			for _, section := range pairsOf(doc.Body) {
				switch key := section.Key.GetToken().Value; key {
				case "lists", "pools", "filters":
					for _, e := range pairsOf(section.Value) {
						o.part(strings.TrimSuffix(key, "s"), e.Key.GetToken().Value).addValue("", e.Value)
					}
				case "rules":
					for _, n := range elementsOf(section.Value) {
						o.rule(p, n)
					}
				case "tests":
					for _, n := range elementsOf(section.Value) {
						t := o.part("test", canon(valueOf(n, "name")))
						for _, e := range pairsOf(n) {
							if k := e.Key.GetToken().Value; k != "name" {
								t.addValue(k, e.Value)
							}
						}
					}
				}
			}
		}
	}
	return o
}

// addValue adds what stands below a key: a mapping's keys each for itself, a list's
// elements in an order of their own, for it means nothing where this is used.
func (p *part) addValue(key string, n ast.Node) {
	if pairs := pairsOf(n); pairs != nil {
		for _, e := range pairs {
			p.addValue(strings.TrimSpace(key+" "+e.Key.GetToken().Value), e.Value)
		}
		return
	}
	values := canonAll(elementsOf(n))
	for i, v := range values { // of mappings in a list, a filter's lines for one
		if strings.HasPrefix(v, "{") && strings.HasSuffix(v, "}") {
			values[i] = v[1 : len(v)-1]
		}
	}
	if !p.ordered {
		slices.Sort(values)
		values = slices.Compact(values)
	}
	p.add(key, values...)
}

// rule adds one rule. What it obliges to comes from the policy, which knows what is the
// same.
func (o *outline) rule(p *Policy, n ast.Node) {
	id := canon(valueOf(n, "id"))
	i := slices.IndexFunc(p.rules, func(r rule) bool { return r.id == id })
	if i < 0 {
		return
	}
	r := o.part("rule", id)
	for _, e := range pairsOf(n) {
		switch key := e.Key.GetToken().Value; key {
		case "id":
		case "when", "unless":
			r.addValue(key, e.Value)
		case "then":
			d := &p.rules[i].decision
			r.add("then", d.Verdict.String())
			if d.Verdict == Permit {
				for _, t := range d.Obligations.Terms() {
					r.add(t.Key, t.Value)
				}
			}
		default:
			r.add(key, canon(e.Value))
		}
	}
}

// diffRules compares the rules and their order.
func diffRules(old, now *outline) (changes Changes) {
	stay := common(old.rules, now.rules)
	for i, id := range now.rules {
		was, is := old.parts["rule"][id], now.parts["rule"][id]
		details := is.against(was)
		switch {
		case was == nil:
			changes = append(changes, Change{"rule", id, Added, placeOf(now.rules, i), details})
			continue
		case !slices.Contains(stay, id):
			changes = append(changes, Change{What: "rule", Name: id, How: Moved, Where: placeOf(now.rules, i)})
		}
		if len(details) > 0 {
			changes = append(changes, Change{What: "rule", Name: id, How: Changed, Details: details})
		}
	}
	for _, id := range old.rules {
		if now.parts["rule"][id] == nil {
			changes = append(changes, Change{What: "rule", Name: id, How: Removed, Details: (*part)(nil).against(old.parts["rule"][id])})
		}
	}
	return changes
}

// placeOf says where a rule stands, by the one behind it, which it takes logins from.
func placeOf(ids []string, i int) string {
	if i+1 < len(ids) {
		return "before " + ids[i+1]
	}
	return "the last"
}

// common is a longest common subsequence: what stays in its order, so that the fewest
// rules count as moved.
func common(a, b []string) []string {
	best := make([][]int, len(a)+1) // of a[i:] and b[j:]
	for i := range best {
		best[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				best[i][j] = best[i+1][j+1] + 1
			} else {
				best[i][j] = max(best[i+1][j], best[i][j+1])
			}
		}
	}
	var both []string
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] == b[j]:
			both = append(both, a[i])
			i, j = i+1, j+1
		case best[i+1][j] >= best[i][j+1]:
			i++
		default:
			j++
		}
	}
	return both
}

// String shows the changes to people, a line each and a line for each detail; "" when
// there are none.
func (cs Changes) String() string {
	var b strings.Builder
	for _, c := range cs {
		fmt.Fprintf(&b, "%s %s %s", howSigns[c.How], c.What, c.Name)
		if c.Where != "" {
			fmt.Fprintf(&b, ", %s", c.Where)
		}
		b.WriteByte('\n')
		for _, d := range c.Details {
			b.WriteString("    ")
			b.WriteString(d.text(c.How))
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func (d *Detail) text(how How) string {
	key := d.Key
	if key != "" {
		key += ": "
	}
	switch {
	case how != Changed:
		return key + d.Old + d.New
	case d.Old == "":
		return "+ " + key + d.New
	case d.New == "":
		return "- " + key + d.Old
	}
	return key + d.Old + " -> " + d.New
}
