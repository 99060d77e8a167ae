package filter

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Ours: what of a filter's name is seen in the names of chains and counters.
const (
	maxPlainName = 64
	seenName     = 32
	hashDigits   = 12
)

// safe makes of a filter's name, which may be any text, one that nft can print and
// read back. Two names never become one: where something had to be changed there is a
// dot and a hash of the whole, and a dot is one of those that are changed.
func safe(name string) string {
	if len(name) <= maxPlainName && validSetName(name) {
		return name
	}
	seen := strings.Map(func(c rune) rune {
		if validSetName(string(c)) {
			return c
		}
		return '_'
	}, name)
	return fmt.Sprintf("%.*s.n%s", seenName, seen, digest([]byte(name)))
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])[:hashDigits]
}

// contentID names the chains of a filter whose rules came with a login: all logins
// that bring the same share them.
func contentID(name string, rules []Rule) string {
	var text []byte
	for _, r := range rules {
		text = append(AppendRule(text, r), '\n')
	}
	return safe(name) + ".r" + digest(text)
}
