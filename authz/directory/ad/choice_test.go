package ad

import (
	"errors"
	"testing"
)

func TestChoice(t *testing.T) {
	s := &Secret{Password: []byte("new"), Old: []byte("old")}
	c := &choice{secret: func() (*Secret, error) {
		return &Secret{Password: append([]byte(nil), s.Password...), Pending: append([]byte(nil), s.Pending...), Old: append([]byte(nil), s.Old...)}, nil
	}}
	want := func(text string) {
		t.Helper()
		if p, err := c.password(); err != nil || string(p) != text {
			t.Errorf("%q, %v, want %q", p, err, text)
		}
	}
	want("new")
	if c.next() != 2 {
		t.Error("there are two")
	}
	want("old")
	want("old") // until it is refused
	s.Pending = []byte("next")
	want("next")
	s = &Secret{Password: []byte("other")}
	want("other")
	if c.next() != 1 {
		t.Error("there is one")
	}
	want("other")
	s.Password[0] = 'O'
	want("Other") // read each time
	s = &Secret{}
	if _, err := c.password(); err == nil {
		t.Error("no password is one")
	}
	c.secret = func() (*Secret, error) { return nil, errors.New("no file") }
	if _, err := c.password(); err == nil {
		t.Error("an error is a password")
	}
}
