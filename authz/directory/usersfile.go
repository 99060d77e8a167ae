package directory

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"postern/internal/radius"
	"postern/internal/seal"
)

// The users file has an account on each line, in the words of split:
//
//	alice nt=v1.k1.Zm9v… group=VPN-Users "group=Domain Admins"
//	bob   nt=v1.k1.YmFy… disabled
//	plc7  nt=v1.k1.YmF6… address=10.30.0.10 route=10.50.7.0/24
//
// nt is the NT hash, sealed for that name; an account without one cannot log in.

// parseUsers reads a users file. Every hash must open with the ring: a lost key
// is better noticed at start than at the first login.
func parseUsers(file string, src []byte, ring *seal.Ring) (table, error) {
	records, errs := split(file, src)
	t := make(table, len(records))
	for _, rec := range records {
		e, problems := parseUser(file, rec)
		errs = append(errs, problems...)
		if len(problems) > 0 {
			continue
		}
		if old := t[key(e.name)]; old != nil {
			errs = append(errs, &Error{file, e.line, e.column, fmt.Sprintf("user %q a second time; the first is on line %d", e.name, old.line)})
			continue
		}
		if e.sealed != "" {
			hash, err := openHash(ring, e.name, e.sealed)
			if err != nil {
				errs = append(errs, &Error{file, e.line, e.column, fmt.Sprintf("the hash of user %q: %v", e.name, err)})
				continue
			}
			clear(hash[:])
		}
		t[key(e.name)] = e
	}
	if len(errs) > 0 {
		return nil, errs.byPlace()
	}
	return t, nil
}

// parseUser reads one line.
func parseUser(file string, rec record) (*entry, Errors) {
	var errs Errors
	fail := func(at word, format string, args ...any) {
		errs = append(errs, &Error{file, at.line, at.column, fmt.Sprintf(format, args...)})
	}
	name := rec.words[0]
	e := &entry{name: name.text, key: key(name.text), state: Active, line: name.line, column: name.column}
	if problem := checkName(e.name); problem != "" {
		fail(name, "%s; expected the name of a user", problem)
	} else if strings.Contains(e.name, "=") {
		fail(name, "a word with = where a name should be; expected a line to begin with the user's name")
	}
	for _, w := range rec.words[1:] {
		k, value, valued := strings.Cut(w.text, "=")
		switch {
		case k == "nt" && valued:
			if e.sealed != "" {
				fail(w, "nt a second time")
			} else if value == "" {
				fail(w, "an empty nt; expected a sealed hash as `postern user passwd` writes it")
			}
			e.sealed = value
		case k == "group" && valued:
			if problem := checkName(value); problem != "" {
				fail(w, "%s; expected the name of a group", problem)
			} else if slices.ContainsFunc(e.groups, func(g string) bool { return key(g) == key(value) }) {
				fail(w, "group %q a second time", value)
			}
			e.groups = append(e.groups, value)
		case k == "address" && valued:
			a, err := netip.ParseAddr(value)
			if err != nil || !a.Is4() || a.IsUnspecified() {
				fail(w, "%q; expected an IPv4 address", value)
			} else if e.addr.IsValid() {
				fail(w, "address a second time")
			}
			e.addr = a
		case k == "route" && valued:
			p, err := radius.ParseRoute(value, netip.Addr{})
			switch {
			case err != nil:
				fail(w, "%v; expected an IPv4 network behind the client such as 10.50.7.0/24", err)
			case slices.Contains(e.routes, p):
				fail(w, "route %v a second time", p)
			case len(e.routes) == maxRoutes:
				fail(w, "route %v; expected %d at most", p, maxRoutes)
			}
			e.routes = append(e.routes, p)
		case k == "disabled" && !valued:
			e.state = Disabled
		default:
			fail(w, "an unknown word; expected nt=, group=, address=, route= or disabled")
		}
	}
	return e, errs
}

// format writes an account as parseUser reads it.
func (e *entry) format() string {
	var b strings.Builder
	b.WriteString(quoted(e.name))
	if e.sealed != "" {
		b.WriteString(" " + quoted("nt="+e.sealed))
	}
	for _, g := range e.groups {
		b.WriteString(" " + quoted("group="+g))
	}
	if e.addr.IsValid() {
		b.WriteString(" address=" + e.addr.String())
	}
	for _, p := range e.routes {
		b.WriteString(" route=" + p.String())
	}
	if e.state == Disabled {
		b.WriteString(" disabled")
	}
	return b.String()
}
