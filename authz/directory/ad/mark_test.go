package ad

import (
	"testing"
	"time"

	"postern/authz/directory"
)

func TestMark(t *testing.T) {
	m := mark{invocation: "00ff", usn: 4242, all: testNow}
	again, err := parseMark(directory.Mark(m.String()))
	if err != nil || again.invocation != m.invocation || again.usn != m.usn || !again.all.Equal(m.all) {
		t.Errorf("%q: %+v, %v", m, again, err)
	}
	for _, c := range []struct {
		about string
		m     mark
		now   time.Time
		dc    string
		want  bool
	}{
		{"just now", m, testNow.Add(time.Minute), "00ff", true},
		{"another DC", m, testNow.Add(time.Minute), "00fe", false},
		{"long ago", m, testNow.Add(recheck), "00ff", false},
		{"clock set back", m, testNow.Add(-time.Minute), "00ff", false},
		{"none", mark{}, testNow, "", false},
	} {
		if got := c.m.fresh(c.now, c.dc); got != c.want {
			t.Errorf("%s: %v", c.about, got)
		}
	}
	for _, bad := range []directory.Mark{"", "v1", "v2 a 1 1", "v1 a x 1", "v1 a 1 x", "v1 a 1 1 1", "v1  a 1 1"} {
		if m, err := parseMark(bad); err == nil {
			t.Errorf("%q: %+v", bad, m)
		}
	}
}

// FuzzMark: what is read is written so that it reads the same.
func FuzzMark(f *testing.F) {
	f.Add("v1 00ff 4242 1795435200")
	f.Add("v1  0 0")
	f.Add("v1 00ff -1 99999999999999999999")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := parseMark(directory.Mark(s))
		if err != nil {
			return
		}
		if again, err := parseMark(directory.Mark(m.String())); err != nil || again.usn != m.usn || again.invocation != m.invocation || !again.all.Equal(m.all) {
			t.Fatalf("%q: %+v, then %+v, %v", s, m, again, err)
		}
	})
}
