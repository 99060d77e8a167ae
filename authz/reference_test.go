package authz

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestReference(t *testing.T) {
	w := carryWorld(t)
	want := reference{session: "gw1/s1", opened: w.now, until: w.now.Add(time.Minute)}
	url, err := w.refer(want)
	must(t, err)
	token, ok := strings.CutPrefix(url, portalURL+"/s/")
	if !ok || strings.ContainsAny(token, "/?#%+= ") {
		t.Errorf("URL %q", url)
	}
	got, err := w.openReference(token)
	if err != nil || got.session != want.session || !got.opened.Equal(want.opened) || !got.until.Equal(want.until) {
		t.Errorf("%+v, %v", got, err)
	}
	state, err := w.ring.Seal(statePurpose, "", want.append(nil))
	must(t, err)
	short, err := w.ring.Seal(referencePurpose, "", make([]byte, 16))
	must(t, err)
	for _, bad := range []string{"", "x", token[:len(token)-1], string(flip([]byte(token), len(token)-5)), state, short, strings.Repeat("x", 10_000), token + token} {
		if got, err := w.openReference(bad); !errors.Is(err, ErrReference) {
			t.Errorf("%.20q: %+v, %v", bad, got, err)
		}
	}
	want.session = strings.Repeat("x", 200)
	if url, err := w.refer(want); err == nil {
		t.Errorf("a URL of %d octets", len(url))
	}
}

func FuzzParseReference(f *testing.F) {
	f.Add((&reference{session: "gw1/s1", opened: time.Unix(0, 1), until: time.UnixMilli(2)}).append(nil))
	f.Add([]byte{})
	f.Add(make([]byte, 17))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseReference(b)
		if err == nil && !bytes.Equal(r.append(nil), b) {
			t.Errorf("%x becomes %x", b, r.append(nil))
		}
	})
}
