package proxy

import (
	"context"
	"slices"
	"strings"
	"testing"

	"layeh.com/radius/rfc2865"

	"postern/authz/directory"
	"postern/internal/radius"
)

func TestVerifyPassword(t *testing.T) {
	u := newUpstream()
	u.passwords["bob"] = "Pässwörd-€-😀"
	u.passwords["long"] = strings.Repeat("x", 128)
	u.passwords["empty"] = ""
	u.accept = func(r *radius.Packet) error { return addClass(r, "Staff") }
	d := u.open(t, nil)
	a := &directory.Account{Name: "x", State: directory.Active}
	verify := func(n directory.Name, password string) (directory.Proof, error) {
		return d.VerifyPassword(context.Background(), n, a, []byte(password))
	}
	for name, password := range u.passwords {
		if password == "" || strings.ContainsAny(name, `\@`) {
			continue
		}
		proof, err := verify(bareName(name), password)
		if err != nil || proof.Keys != nil || proof.HashHash != [16]byte{} || !slices.Equal(proof.Groups, []string{"Staff"}) {
			t.Errorf("%s: %+v %v", name, proof, err)
		}
	}
	q := u.last(t)
	if _, framed := q.Lookup(rfc2865.ServiceType_Type); framed || rfc2865.NASIdentifier_GetString(q) != "svc1" {
		t.Errorf("sent %+v", q)
	}
	for asked, n := range map[string]directory.Name{
		`LAB\alice`: {User: "alice", Realm: "LAB", Down: true}, "alice@lab.example": {User: "alice", Realm: "lab.example"},
	} {
		if _, err := verify(n, "Alice-Pass1"); err != nil || rfc2865.UserName_GetString(u.last(t)) != asked {
			t.Errorf("%s: %v, asked %q", asked, err, rfc2865.UserName_GetString(u.last(t)))
		}
	}
	_, err := verify(bareName("alice"), "wrong")
	wantRejected(t, err, directory.WrongPassword, directory.StateUnknown)

	before := u.count()
	for name, password := range map[string]string{
		"empty": "", "alice": "Alice-Pass1\x00", "long": strings.Repeat("x", 129),
	} {
		_, err := verify(bareName(name), password)
		wantRejected(t, err, directory.WrongPassword, directory.StateUnknown)
	}
	if u.count() != before {
		t.Error("the upstream server was asked about a password that is none")
	}
	_, err = verify(bareName(""), "x")
	wantRejected(t, err, directory.NoSuchUser, directory.StateUnknown)
}
