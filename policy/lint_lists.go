package policy

import (
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// texts calls f for each text in a value, keys of mappings not among them.
func texts(n ast.Node, f func(s string)) {
	if s, ok := textOf(n); ok {
		f(s)
		return
	}
	if seq, ok := n.(*ast.SequenceNode); ok {
		for _, el := range seq.Values {
			texts(el, f)
		}
	}
	for _, p := range pairsOf(n) {
		texts(p.Value, f)
	}
}

// mentioned are the texts below some keys of the files: one that is a list's name stands
// for the list, or for something else that has its name, which is a mistake already.
func (l *linter) mentioned(sections ...string) map[string]bool {
	all := make(map[string]bool)
	for _, body := range l.bodies {
		for _, section := range sections {
			if n := valueOf(body, section); n != nil {
				texts(n, func(s string) { all[s] = true })
			}
		}
	}
	return all
}

// conditions are the texts in when and unless of all rules.
func (l *linter) inConditions() map[string]bool {
	all := make(map[string]bool)
	rules, _ := valueOf(l.bodies[0], "rules").(*ast.SequenceNode)
	if rules == nil {
		return all
	}
	for _, rule := range rules.Values {
		for _, key := range []string{"when", "unless"} {
			if n := valueOf(rule, key); n != nil {
				texts(n, func(s string) {
					all[s] = true
					// An expression names lists inside of a text.
					for _, word := range strings.FieldsFunc(s, func(c rune) bool { return c < 0x80 && !validName("a"+string(c)) }) {
						all[word] = true
					}
				})
			}
		}
	}
	return all
}

// checkLists looks for lists of networks with common addresses. It tells of the second.
func checkLists(l *linter) {
	used := l.inConditions()
	var lists []*namedList
	for _, name := range slices.Sorted(maps.Keys(l.p.lists)) {
		if list := l.p.lists[name]; list.kind == networksList && used[name] {
			lists = append(lists, list)
		}
	}
	slices.SortStableFunc(lists, func(a, b *namedList) int {
		if a.file != b.file {
			return l.fileOrder(a.file) - l.fileOrder(b.file)
		}
		return a.pos.Offset - b.pos.Offset
	})
	for i, b := range lists {
		for _, a := range lists[:i] {
			ra, rb, overlap := meet(a.networks, b.networks)
			if !overlap {
				continue
			}
			how := "has addresses in common with"
			switch {
			case len(b.networks.without(a.networks)) == 0 && len(a.networks.without(b.networks)) == 0:
				how = "has the same addresses as"
			case len(b.networks.without(a.networks)) == 0:
				how = "is a part of"
			case len(a.networks.without(b.networks)) == 0:
				how = "has all of"
			}
			l.find("overlapping-lists", SeverityWarning, place{b.file, b.pos}, "", "See to it that the rule for the smaller one comes first, or take the addresses out of one.",
				"list %q %s list %q (%v and %v)", b.name, how, a.name, rb, ra)
		}
	}
}

func (l *linter) fileOrder(name string) int {
	return slices.IndexFunc(l.p.files, func(f File) bool { return f.Name == name })
}

// meet finds the first ranges of two sets that overlap.
func meet(a, b networks) (ra, rb Range, overlap bool) {
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i].overlaps(b[j]):
			return a[i], b[j], true
		case a[i].From.Less(b[j].From):
			i++
		default:
			j++
		}
	}
	return ra, rb, false
}

// checkUnused looks for lists that nothing names, and for pools and filters that no rule
// gives.
func checkUnused(l *linter) {
	lists := l.mentioned("filters", "lists")
	maps.Copy(lists, l.inConditions())
	given := make(map[string]bool)
	for i := range l.p.rules {
		o := &l.p.rules[i].decision.Obligations
		given["filters "+o.Filter] = true
		for _, name := range o.Pools {
			given["pools "+name] = true
		}
	}
	for i, body := range l.bodies {
		for _, section := range []struct{ key, what string }{{"lists", "list"}, {"pools", "pool"}, {"filters", "filter"}} {
			for _, p := range pairsOf(valueOf(body, section.key)) {
				name := p.Key.GetToken().Value
				used := given[section.key+" "+name]
				if section.key == "lists" {
					used = lists[name]
				}
				if !used {
					l.find("unused", SeverityWarning, place{l.p.files[i].Name, position(p)}, "", "Take it out, or name it where it was meant.",
						"%s %q is used nowhere", section.what, name)
				}
			}
		}
	}
}

// groupsOf are the groups that a condition names, as the files spell them.
func (l *linter) groupsOf(c *clause) (groups []string) {
	var numbers []int
	switch m := c.matcher.(type) {
	case inGroup:
		numbers = m.groups
	case inDeviceGroup:
		numbers = m.groups
	}
	if l.spelled == nil {
		l.spelled = make(map[int]string, len(l.p.groups))
		for folded, i := range l.p.groups {
			l.spelled[i] = folded
		}
		for _, body := range l.bodies {
			texts(body, func(s string) {
				if i, ok := l.p.groups[foldString(s)]; ok {
					l.spelled[i] = s
				}
			})
		}
	}
	for _, i := range numbers {
		groups = append(groups, l.spelled[i])
	}
	return groups
}
