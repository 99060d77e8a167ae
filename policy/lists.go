package policy

import (
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// namedList is a list of one kind, by its name.
//
//	lists:
//	  offices: [203.0.113.0/24, 198.51.100.7]          # networks
//	  home: {countries: [DE, AT, CH]}
//	  ops: {groups: [Ops, Domain Admins]}
//	  scanners: {devices: [PDA-01, PDA-02]}
//	  closed: {dates: [2026-12-24, 2026-12-25]}
//	  work:                                            # see window
//	    times: {days: mon-fri, from: "07:00", to: "19:00", zone: Europe/Berlin}
//	    holidays: closed
type namedList struct {
	name string
	kind listKind
	file string
	pos  *token.Position

	networks  networks
	countries countries
	groups    []int // by number
	names     names // of devices
	dates     []int // sorted, see dayOf
	windows   []window
}

// listKind is what a list has.
type listKind uint8

const (
	noList listKind = iota // of a list whose value was wrong, and of conditions that take none
	networksList
	countriesList
	groupsList
	devicesList
	datesList
	timesList
)

var listKinds = [...]string{
	noList: "nothing", networksList: "networks", countriesList: "countries", groupsList: "groups",
	devicesList: "devices", datesList: "dates", timesList: "times",
}

func (k listKind) String() string {
	if int(k) < len(listKinds) {
		return listKinds[k]
	}
	return listKinds[noList]
}

const (
	expectNetwork = "a network such as 192.0.2.0/24, or an address"
	expectList    = "a list of networks, or one of: {networks: […]}, {countries: […]}, {groups: […]}, {devices: […]}, {dates: […]}, {times: …}"
)

// readLists reads `lists:`.
func (r *reader) readLists(n ast.Node) {
	entries, _ := r.mapping(n, "lists by name")
	for _, e := range entries {
		if !validName(e.key) || e.key == anybody {
			r.fail(e.pos, expectName+" or any", "%q cannot name a list", e.key)
			continue
		}
		l := &namedList{name: e.key, file: r.file, pos: e.pos}
		r.lists[e.key] = l
		if valueOf(e.val, timesList.String()) != nil {
			// Its holidays may be a list that comes later, or is another file's.
			lines := r.lines
			r.later = append(r.later, func() {
				file, own := r.file, r.lines
				r.file, r.lines = l.file, lines
				r.readList(e.val, l)
				r.file, r.lines = file, own
			})
			l.kind = timesList
			continue
		}
		r.readList(e.val, l)
		if l.kind == countriesList && isCountry(e.key) {
			r.fail(e.pos, "another name", "a list of countries cannot have the name of one, %q", e.key)
		}
	}
}

func (r *reader) readList(n ast.Node, l *namedList) {
	if len(pairsOf(n)) == 0 {
		if _, empty := n.(*ast.MappingNode); !empty {
			l.kind = networksList
			l.networks = r.readListNetworks(n)
			return
		}
	}
	known := append(slices.Clone(listKinds[networksList:]), "holidays", "zone")
	entries, clean := r.mapping(n, expectList, known...)
	var kind *entry
	for i, e := range entries {
		k := listKind(slices.Index(listKinds[:], e.key)) //nolint:gosec // -1 is none of them
		switch {
		case e.key == "holidays" || e.key == "zone":
		case kind != nil:
			r.fail(e.pos, "a list of its own for each", "%s and %s in one list", kind.key, e.key)
			return
		default:
			kind, l.kind = &entries[i], k
		}
	}
	if kind == nil {
		if clean {
			r.fail(position(n), expectList, "list %q does not say what it has", l.name)
		}
		return
	}
	for _, key := range []string{"holidays", "zone"} {
		if e := find(entries, key); e != nil && l.kind != timesList {
			r.fail(e.pos, key+" beside times", "%s have no %s", l.kind, key)
		}
	}
	switch l.kind {
	case networksList:
		l.networks = r.readListNetworks(kind.val)
	case countriesList:
		r.readMembers(kind.val, "codes of countries such as DE (ISO 3166-1 alpha-2)", func(el ast.Node, expected string) (string, bool) {
			s, ok := r.country(el, expected)
			if ok && !l.countries.add(s) {
				r.failCountry(el, s)
			}
			return s, ok
		})
	case groupsList:
		r.readMembers(kind.val, "names of groups", func(el ast.Node, expected string) (string, bool) {
			s, ok := r.member(el, expected)
			if ok {
				if i := r.knownGroup(el, s); i >= 0 {
					l.groups = append(l.groups, i)
				}
			}
			return s, ok
		})
	case devicesList:
		r.readMembers(kind.val, "identifiers or names of devices", func(el ast.Node, expected string) (string, bool) {
			s, ok := r.member(el, expected)
			if ok {
				l.names = append(l.names, foldString(s))
			}
			return s, ok
		})
	case datesList:
		l.dates = r.readDates(kind.val)
	case timesList:
		l.windows = r.readWindows(kind.val, find(entries, "zone"), find(entries, "holidays"))
	case noList:
	}
}

// readMembers reads a list, each element of which may be there once.
func (r *reader) readMembers(n ast.Node, what string, read func(el ast.Node, expected string) (string, bool)) {
	elements, ok := r.sequence(n, "a list of "+what)
	if ok && len(elements) == 0 {
		r.fail(position(n), "a list of "+what, "an empty list matches nothing")
	}
	first := make(map[string]int)
	for _, el := range elements {
		s, ok := read(el, "one of the "+what)
		if !ok {
			continue
		}
		s = foldString(s)
		if line, twice := first[s]; twice {
			r.fail(position(el), "each once", "%q a second time; the first is on line %d", s, line)
			continue
		}
		first[s] = position(el).Line
	}
}

// member reads a name that is not none.
func (r *reader) member(n ast.Node, expected string) (string, bool) {
	s, ok := r.name(n, expected)
	if ok && foldString(s) == missing {
		r.fail(position(n), "a name; what is not known is no member of lists", "none in a list")
		return "", false
	}
	return s, ok
}

func (r *reader) readListNetworks(n ast.Node) networks {
	elements, ok := r.sequence(n, expectList)
	if !ok {
		return nil
	}
	var ranges []Range
	for _, el := range elements {
		s, ok := r.text(el, expectNetwork)
		if !ok {
			continue
		}
		p, err := parseNetwork(s)
		if err != nil {
			r.fail(position(el), expectNetwork, "%q: %v", s, err)
			continue
		}
		ranges = append(ranges, rangeOf(p))
	}
	return makeNetworks(ranges)
}

// listNames are those of a kind.
func (r *reader) listNames(kind listKind) []string {
	var ns []string
	for _, name := range slices.Sorted(maps.Keys(r.lists)) {
		if r.lists[name].kind == kind {
			ns = append(ns, name)
		}
	}
	return ns
}

// listed says which lists of a kind there are.
func (r *reader) listed(kind listKind) string {
	names := r.listNames(kind)
	if len(names) == 0 {
		return "the name of a list of " + kind.String() + ", of which there is none"
	}
	return "one of: " + strings.Join(names, ", ")
}

// conditionOf is the condition that lists of a kind are for.
var conditionOf = [...]string{
	noList: "", networksList: "source", countriesList: "country", groupsList: "group",
	devicesList: "device", datesList: "holidays", timesList: "time",
}

// list is the list of that name and kind where nothing but a list can be meant; nil after
// a mistake.
func (r *reader) list(n ast.Node, name string, kind listKind) *namedList {
	l := r.lists[name]
	switch {
	case l == nil:
		names := r.listNames(kind)
		r.fail(position(n), r.listed(kind), "unknown list %q%s", name, didYouMean(name, names))
		return nil
	case l.kind == noList:
		return nil // what is wrong there has been said
	case l.kind != kind:
		r.failKind(n, l, kind)
		return nil
	}
	return l
}

// named is the list of that name where it may also be anything else's, nil if it is that.
// A list of another kind is a mistake all the same: who reads the rule would take it
// for the list, and a rule that denies nobody is seen by nobody.
func (r *reader) named(n ast.Node, name string, kind listKind) (*namedList, bool) {
	if l := r.lists[name]; l != nil {
		if l.kind == noList {
			return nil, false
		}
		if l.kind != kind {
			r.failKind(n, l, kind)
			return nil, false
		}
		return l, true
	}
	for _, other := range r.listNames(kind) {
		if strings.EqualFold(other, name) {
			r.fail(position(n), r.listed(kind), "names of lists compare with case: %q, did you mean %q?", name, other)
			return nil, false
		}
	}
	return nil, true
}

func (r *reader) failKind(n ast.Node, l *namedList, want listKind) {
	expected := r.listed(want)
	if key := conditionOf[l.kind]; key != "" {
		expected += ", or " + key + ": " + l.name
	}
	r.fail(position(n), expected, "list %q has %s, and here %s are compared", l.name, l.kind, want)
}

const expectName = "letters, digits, dashes and underscores, a letter first, 64 at most; not none"

// validName is for lists, pools, rules and filters. A name can never be taken
// for an address or for the value of a missing fact.
func validName(s string) bool {
	if s == "" || len(s) > 64 || foldString(s) == missing {
		return false
	}
	for i, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || !(c >= '0' && c <= '9' || c == '-' || c == '_')) {
			return false
		}
	}
	return true
}
