package directory

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

func TestSeeds(t *testing.T) {
	many := make([]string, 40)
	for i := range many {
		many[i] = fmt.Sprint("seed", 100+i)
	}
	for _, tt := range []struct {
		name   string
		values []string
		want   []string
	}{
		{"none", nil, nil},
		{"blank", []string{"", " ", "\t\n"}, nil},
		{"in one order, once", []string{" b ", "a", "b", "c\n"}, []string{"a", "b", "c"}},
		{"too many", many, many[:maxSeeds]},
		{"too long", []string{strings.Repeat("A", 5000)}, []string{strings.Repeat("A", maxSeed)}},
	} {
		s := NewSeeds(tt.values)
		if got := s.Values(); !slices.Equal(got, tt.want) || s.Len() != len(tt.want) {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
}

// However an account is printed, alone or inside something else, its seeds are not.
func TestSeedsAreNotShown(t *testing.T) {
	const secret = "JBSWY3DPEHPK3PXPJBSWY3DP"
	a := Account{Name: "alice", Seeds: NewSeeds([]string{secret})}
	inside := struct {
		account Account
		pointer *Account
		list    []Account
	}{a, &a, []Account{a}}
	var b bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{a, &a, a.Seeds, &a.Seeds, inside, &inside, map[string]Account{"a": a}} {
			fmt.Fprintf(&b, verb+"\n", v)
		}
	}
	for _, v := range []any{a, a.Seeds} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
		slog.New(slog.NewTextHandler(&b, nil)).Info("found", "it", v)
		slog.New(slog.NewJSONHandler(&b, nil)).Info("found", "it", v)
	}
	text := b.String()
	if !strings.Contains(text, "directory.Seeds(1)") {
		t.Error("nothing was printed")
	}
	for _, s := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), strings.Trim(fmt.Sprintf("%d", []byte(secret)), "[]")} {
		if strings.Contains(text, s) {
			t.Errorf("%s is shown:\n%s", s, text)
		}
	}
}
