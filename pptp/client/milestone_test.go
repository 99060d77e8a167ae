package client

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"postern/pptp/control"
)

// A dial tells how far it has come, each milestone once and in order, and one that
// fails tells how far it came.
func TestMilestones(t *testing.T) {
	for _, tt := range []struct {
		about string
		rules rules
		wrong bool // password
		want  []Milestone
	}{
		{"a session", rules{}, false, []Milestone{Connected, Called, Linked, LoggedIn, Up}},
		{"no call", rules{call: control.CallBusy}, false, []Milestone{Connected}},
		{"no login", rules{}, true, []Milestone{Connected, Called, Linked}},
	} {
		t.Run(tt.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, tt.rules)
				cfg := l.config()
				if tt.wrong {
					cfg.Password = "wrong"
				}
				var got []Milestone
				last := time.Now()
				cfg.Reached = func(m Milestone, at time.Time) {
					if at.Before(last) || at.After(time.Now()) {
						t.Errorf("%v at %v, the one before at %v", m, at, last)
					}
					got, last = append(got, m), at
				}
				s, err := Dial(t.Context(), cfg)
				if (err == nil) != slices.Contains(tt.want, Up) {
					t.Fatal(err)
				}
				if err == nil {
					_ = s.Close()
				}
				pass(time.Second) // the stop of the control connection
				if !slices.Equal(got, tt.want) {
					t.Errorf("%v, want %v", got, tt.want)
				}
				l.close()
			})
		})
	}
	if MilestoneNone.String() != "none" || Up.String() != "up" || Milestone(99).String() != "unknown" {
		t.Error("names")
	}
}
