package mfa

import (
	"slices"
	"testing"

	"postern/internal/store"
)

func TestDigits(t *testing.T) {
	for value, want := range map[string][]int{
		"": nil,
		`[{"id":"a","digits":6,"period":30},{"id":"b","digits":8,"period":30},{"id":"c","digits":6,"period":30}]`: {8, 6},
	} {
		q := &Query{record: store.Get{Value: value}}
		if got, err := q.Digits(); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v", value, got, err)
		}
	}
	if _, err := (&Query{record: store.Get{Value: "{"}}).Digits(); err == nil {
		t.Error("a record that nobody can read")
	}
}
