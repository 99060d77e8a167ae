package directory

import (
	"fmt"
	"net/netip"
	"unicode/utf8"

	"postern/internal/seal"
)

// parseChapSecrets reads pppd's chap-secrets (pppd(8), AUTHENTICATION):
//
//	client  server  secret  [address]
//
// Lines whose server is neither "*" nor ours concern another server, or this
// machine as a client, and are passed over; server "" takes all lines. As pppd
// does, a line that names our server goes before one with "*".
//
// Refused, because passing over them would open a door or close one silently: a
// client "*", which would make every name an account; an empty secret; secrets
// in other files ("@/path"); networks, host names and negations as address, and
// options behind "--". pppd compares names with case, we do not: names that
// differ by case alone are refused.
func parseChapSecrets(file string, src []byte, server string, ring *seal.Ring) (table, error) {
	records, errs := split(file, src)
	t := make(table, len(records))
	secrets := make(map[string]string)
	ours := make(map[string]bool) // names of which a line names our server
	for _, rec := range records {
		w := rec.words
		fail := func(at word, format string, args ...any) {
			errs = append(errs, &Error{file, at.line, at.column, fmt.Sprintf(format, args...)})
		}
		if len(w) < 3 {
			fail(w[0], "%d words, expected client, server, secret and perhaps an address", len(w))
			continue
		}
		exact := server != "" && w[1].text == server
		if server != "" && !exact && w[1].text != "*" {
			continue
		}
		e := &entry{name: w[0].text, key: key(w[0].text), state: Active, line: w[0].line, column: w[0].column}
		before := len(errs)
		if e.name == "*" {
			fail(w[0], `client "*" would make every name an account; expected a name`)
		} else if problem := checkName(e.name); problem != "" {
			fail(w[0], "%s; expected a client", problem)
		}
		checkSecret(w[2], fail)
		e.addr, e.state = chapAddress(w[3:], fail)
		if len(errs) > before {
			continue
		}
		if old := t[key(e.name)]; old != nil {
			switch {
			case old.name != e.name:
				fail(w[0], "client %q differs by case alone from %q on line %d", e.name, old.name, old.line)
				continue
			case exact == ours[e.name] && secrets[e.name] != w[2].text:
				fail(w[0], "a second secret for client %q, the first is on line %d; expected one for each client, or a server name to tell them apart", e.name, old.line)
				continue
			case !exact || ours[e.name]:
				continue // the first counts, as it does for pppd
			}
		}
		sealed, err := sealPassword(ring, e.name, w[2].text)
		if err != nil {
			fail(w[2], "%v", err)
			continue
		}
		e.sealed = sealed
		t[key(e.name)] = e
		secrets[e.name], ours[e.name] = w[2].text, exact
	}
	if len(errs) > 0 {
		return nil, errs.byPlace()
	}
	return t, nil
}

func checkSecret(w word, fail func(word, string, ...any)) {
	switch {
	case w.text == "":
		fail(w, "an empty secret would let anybody in; expected a password")
	case len(w.text) > 1 && w.text[:2] == "@/":
		fail(w, "secrets in other files are not read; expected the password itself")
	case utf8.RuneCountInString(w.text) > maxPassword:
		fail(w, "a secret of more than %d characters", maxPassword)
	}
}

// chapAddress reads the fourth word. "-" is pppd's way to allow no address at
// all, which nobody can use.
func chapAddress(w []word, fail func(word, string, ...any)) (addr netip.Addr, state State) {
	if len(w) == 0 || len(w) == 1 && w[0].text == "*" {
		return addr, Active
	}
	if len(w) == 1 && w[0].text == "-" {
		return addr, NoDialin
	}
	a, err := netip.ParseAddr(w[0].text)
	if err != nil || !a.Is4() || a.IsUnspecified() {
		// The word is not shown: behind an unquoted space it is part of the secret.
		fail(w[0], "not an address; expected one IPv4 address, * or -: secrets with spaces need quotes, and networks belong into the policy's pools")
		return addr, StateUnknown
	}
	if len(w) > 1 {
		fail(w[1], "a word behind the address; expected the end of the line: further addresses and options belong into the policy")
		return addr, StateUnknown
	}
	return a, Active
}
