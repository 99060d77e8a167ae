package directory

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// Seeds are what a directory keeps for its user's one-time codes, as it keeps them. They
// show nothing of themselves, whatever prints or logs an account they are in.
type Seeds struct {
	list func() []string // so that what prints by reflection has an address to show
}

// Ours: more and longer ones than anybody has. What is cut makes no seed.
const maxSeeds, maxSeed = 16, 1024

// NewSeeds takes an attribute's values. Servers return those in any order; seeds have one.
func NewSeeds(values []string) Seeds {
	var list []string
	for _, v := range values {
		if v = strings.TrimSpace(v); v != "" {
			list = append(list, strings.Clone(v[:min(len(v), maxSeed)]))
		}
	}
	if list == nil {
		return Seeds{}
	}
	slices.Sort(list)
	list = slices.Compact(list)
	list = list[:min(len(list), maxSeeds)]
	return Seeds{func() []string { return list }}
}

// Values are the seeds; not to be changed.
func (s Seeds) Values() []string {
	if s.list == nil {
		return nil
	}
	return s.list()
}

// Len counts them.
func (s Seeds) Len() int { return len(s.Values()) }

// String says how many there are and nothing about them.
func (s Seeds) String() string { return fmt.Sprintf("directory.Seeds(%d)", s.Len()) }

// GoString keeps %#v from walking into them.
func (s Seeds) GoString() string { return s.String() }

// LogValue keeps logs from walking into them.
func (s Seeds) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText keeps JSON from walking into them.
func (s Seeds) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
