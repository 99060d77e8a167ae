package ldap

import (
	"errors"
	"strings"
)

// acctFlags are the letters of sambaAcctFlags that matter here: [UX         ].
type acctFlags uint16

const (
	flagDisabled acctFlags = 1 << iota // D
	flagLocked                         // L, by Samba itself
	flagNoExpiry                       // X, of the password
	flagMachine                        // W, S, I: computers' and other domains' accounts
	flagOther                          // N, H, T, U, M
)

var flagLetters = map[rune]acctFlags{
	'D': flagDisabled, 'L': flagLocked, 'X': flagNoExpiry, 'W': flagMachine, 'S': flagMachine, 'I': flagMachine,
	'N': flagOther, 'H': flagOther, 'T': flagOther, 'U': flagOther, 'M': flagOther,
}

func (f acctFlags) has(flag acctFlags) bool { return f&flag != 0 }

// parseAcctFlags reads the attribute. A letter that we do not know may be a new way
// to refuse somebody: it is an error.
func parseAcctFlags(s string) (acctFlags, error) {
	letters, opened := strings.CutPrefix(s, "[")
	letters, closed := strings.CutSuffix(letters, "]")
	if !opened || !closed {
		return 0, errors.New("not in brackets")
	}
	var f acctFlags
	for _, c := range letters {
		flag, known := flagLetters[c]
		if !known && c != ' ' {
			return 0, errors.New("an unknown flag")
		}
		f |= flag
	}
	return f, nil
}
