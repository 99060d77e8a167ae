package seal

import (
	"errors"
	"testing"
)

// After a rotation what was digested before is found under the key of before.
func TestDigestUnder(t *testing.T) {
	old, err := ParseRing([]byte(lineA))
	if err != nil {
		t.Fatal(err)
	}
	both, err := ParseRing([]byte(lineB + lineA))
	if err != nil {
		t.Fatal(err)
	}
	want, err := old.Digest("p", "s", []byte("alice"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := both.DigestUnder(old.Current(), "p", "s", []byte("alice")); err != nil || got != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
	if now, err := both.DigestUnder(both.Current(), "p", "s", []byte("alice")); err != nil || now == want || both.Current() == old.Current() {
		t.Errorf("under %s: %s, %v", both.Current(), now, err)
	}
	var none *Ring
	for _, r := range []*Ring{old, none} {
		if _, err := r.DigestUnder("x", "p", "s", nil); !errors.Is(err, ErrKey) {
			t.Error(err)
		}
	}
	if none.Current() != "" {
		t.Error(none.Current())
	}
}
