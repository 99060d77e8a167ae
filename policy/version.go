package policy

import (
	"errors"
	"strconv"
	"strings"
)

// Versions are dotted numbers. As many of them are compared as the rule writes: 10.0 is
// `= 10`, `<= 10` and not `> 10`. Numbers that a device does not give are 0.

const (
	maxNumbers = 8 // of a version, ours: Windows and browsers have four

	expectVersion  = `a comparison with a version such as ">= 10.0.19045", a version, or none`
	patternVersion = `^ *(<=?|>=?|!=|==?)? *[0-9]+(\.[0-9]+)*$`
)

// versionNumber takes the next number off a version. more is false when there is none.
func versionNumber(s string) (n uint64, rest string, more bool) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		if n > 1<<32 {
			return 0, "", false // nobody counts that far
		}
		n = n*10 + uint64(s[i]-'0')
		i++
	}
	if i == 0 {
		return 0, "", false
	}
	if rest = s[i:]; len(rest) > 1 && rest[0] == '.' && rest[1] >= '0' && rest[1] <= '9' {
		return n, rest[1:], true
	}
	return n, "", true // what stands behind the numbers says more than we compare
}

// compareVersion compares what a device says with a rule's version. ok is false for what
// begins with no number: it is not known. It allocates nothing.
func compareVersion(s string, bound []uint64) (order int, ok bool) {
	for i, want := range bound {
		n, rest, more := versionNumber(s)
		if i == 0 && !more {
			return 0, false
		}
		if order := compare(n, want); order != 0 {
			return order, true
		}
		s = rest
	}
	return 0, true
}

// versionBound is one comparison of a version.
type versionBound struct {
	comparator
	bound []uint64
}

func parseVersionBound(s string) (versionBound, error) {
	c, rest := parseComparator(s)
	parts := strings.Split(rest, ".")
	if len(parts) > maxNumbers {
		return versionBound{}, errors.New("more than eight numbers")
	}
	b := versionBound{c, make([]uint64, len(parts))}
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 32)
		if err != nil {
			return versionBound{}, errors.New("not a version: numbers with dots between them")
		}
		b.bound[i] = n
	}
	return b, nil
}

func (b versionBound) String() string {
	parts := make([]string, len(b.bound))
	for i, n := range b.bound {
		parts[i] = strconv.FormatUint(n, 10)
	}
	return b.sign() + " " + strings.Join(parts, ".")
}
