package directory

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"postern/internal/mschap"
	"postern/internal/seal"
)

// entry is one account of a file. Its NT hash is sealed in memory as it is in
// the users file: a core dump or a debugger finds no table of hashes.
type entry struct {
	name         string // as the file spells it
	key          string // folded
	sealed       string
	groups       []string
	state        State
	addr         netip.Addr
	routes       []netip.Prefix
	line, column int
}

// account is what others see of it.
func (e *entry) account() Account {
	return Account{Name: e.key, Groups: e.groups, State: e.state, Addr: e.addr, Routes: e.routes}
}

// table is a file's accounts by key.
type table map[string]*entry

// key folds a name. It is the canonical name, and what the seal is bound to.
func key(name string) string { return strings.ToLower(name) }

// Purpose of the seal on NT hashes.
const purpose = "nt-hash"

// sealPassword makes the sealed NT hash of a password.
func sealPassword(ring *seal.Ring, name, password string) (string, error) {
	hash := mschap.NTHash(password)
	defer clear(hash[:])
	sealed, err := ring.Seal(purpose, key(name), hash[:])
	if err != nil {
		return "", fmt.Errorf("seal the password of %s: %w", name, err)
	}
	return sealed, nil
}

// openHash opens a sealed NT hash.
func openHash(ring *seal.Ring, name, sealed string) (hash [16]byte, err error) {
	plain, err := ring.Open(purpose, key(name), sealed)
	if err != nil {
		return hash, err
	}
	defer clear(plain)
	if len(plain) != len(hash) {
		return hash, seal.ErrFormat
	}
	copy(hash[:], plain)
	return hash, nil
}

// Limits of names and passwords. RFC 2759 §4 and §8.3 allow 256 characters.
const (
	maxName     = 256
	maxPassword = 256
)

// checkName says why a name cannot be an account's, or "".
func checkName(name string) string {
	switch {
	case name == "":
		return "an empty name"
	case len(name) > maxName:
		return fmt.Sprintf("a name of %d octets, more than %d", len(name), maxName)
	case !utf8.ValidString(name):
		return "a name that is not UTF-8"
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "a name with control characters"
	}
	return ""
}

// byPlace sorts mistakes by where they are.
func (e Errors) byPlace() Errors {
	slices.SortStableFunc(e, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return e
}
