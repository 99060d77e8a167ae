package swarm

import (
	"crypto/rand"
	"fmt"
	"regexp"
)

var patternForm = regexp.MustCompile(`^[^%]*%(0[1-9])?d[^%]*$`)

// Generate draws accounts with names after a pattern: text with one %d or %05d.
func Generate(pattern string, count int) ([]Account, error) {
	switch {
	case !patternForm.MatchString(pattern):
		return nil, fmt.Errorf("pattern %q: want a text with one %%d or, with leading zeros, %%05d", pattern)
	case count < 1 || count > maxUsers:
		return nil, fmt.Errorf("%d users: want 1 to %d", count, maxUsers)
	}
	all := make([]Account, count)
	for i := range all {
		all[i] = Account{Name: fmt.Sprintf(pattern, i+1), Password: rand.Text()[:20]}
	}
	return all, nil
}

// Coded says whether the user types codes.
func (u User) Coded() bool { return u.token != nil }

// CodeRate is how many logins a second users can make who type a code each; false if
// somebody needs none.
func CodeRate(users []User) (most float64, bounded bool) {
	for _, u := range users {
		if u.token == nil {
			return 0, false
		}
		most += 1 / float64(u.token.period)
	}
	return most, true
}
