package ad

import (
	"context"
	"errors"
	"testing"

	"postern/authz/directory"
	"postern/authz/directory/netlogon"
)

func TestAsMachine(t *testing.T) {
	denied := &netlogon.Unavailable{Server: "dc1", Doing: "set up a channel", Err: netlogon.StatusAccessDenied, Alarm: true}
	for _, c := range []struct {
		about   string
		answers []error
		want    int // tries
	}{
		{"the first is right", []error{nil}, 1},
		{"the second is", []error{denied, nil}, 2},
		{"none is", []error{denied, denied, denied}, 2},
		{"a user's no", []error{&netlogon.Rejected{Status: netlogon.StatusAccessDenied}}, 1},
		{"no answer", []error{&netlogon.Unavailable{Err: context.DeadlineExceeded}}, 1},
		{"no such machine", []error{&netlogon.Unavailable{Err: netlogon.StatusNoTrustSAMAccount, Alarm: true}}, 1},
	} {
		d := newFakes(t, nil, nil)
		dc := &dc{secret: &choice{secret: func() (*Secret, error) { return &Secret{Password: []byte("a"), Old: []byte("b")}, nil }}}
		if _, err := dc.secret.password(); err != nil {
			t.Fatal(err)
		}
		tries := 0
		err := d.asMachine(dc, func() error { tries++; return c.answers[tries-1] })
		if tries != c.want || !errors.Is(err, c.answers[tries-1]) {
			t.Errorf("%s: %d tries, %v", c.about, tries, err)
		}
	}
}

func TestChangeOfNobody(t *testing.T) {
	d := newFakes(t, nil, nil)
	err := d.ChangePassword(t.Context(), user("ghost"), nil, new(directory.Change))
	if r, no := directory.IsRejected(err); !no || r.Reason != directory.NoSuchUser {
		t.Error(err)
	}
}
