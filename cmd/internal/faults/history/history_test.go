package history

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

var epoch = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func at(s float64) time.Time { return epoch.Add(time.Duration(s * float64(time.Second))) }

// session was asked for at a second, answered 0.1 s later, reported then and each 5 s,
// and ended at another.
func session(id, user string, from, to float64) Session {
	s := Session{
		ID: id, User: user, Node: "gw1", Proved: true, Asked: at(from), Answered: at(from + 0.1), Verdict: Accepted,
		Addr: netip.MustParseAddr("10.0.0.1"), Ended: at(to), EndKnown: true,
		Reports: []Report{{Start, at(from + 0.1), at(from + 0.2)}},
	}
	for t := from + 5; t < to; t += 5 {
		s.Reports = append(s.Reports, Report{Interim, at(t), at(t + 0.1)})
	}
	s.Reports = append(s.Reports, Report{Stop, at(to), at(to + 0.1)})
	return s
}

// right is a run without a fault: one user after the other with the same address, the
// second with a code.
func right() *Run {
	a, b := session("gw1/a", "ann", 0, 60), session("gw1/b", "bob", 60, 90)
	b.Code = "123456"
	refused := Session{ID: "gw1/c", User: "bob", Code: "123456", Asked: at(70), Answered: at(70.1), Verdict: Refused}
	silent := Session{ID: "gw1/d", User: "bob", Asked: at(71)}
	return &Run{
		Sessions: []Session{a, b, refused, silent},
		Events:   []Event{{"gw1/a", Start}, {"gw1/a", Stop}, {"gw1/b", Start}, {"gw1/b", Stop}, {"gw1/d", Start}, {"gw1/d", Stop}},
		Counts:   map[string]Count{"bob": {Stored: 3, Asked: 4, Answered: 3}},
		Limits:   map[string]int{"ann": 1, "bob": 1},
		Pending:  10 * time.Second, Silence: 15 * time.Second,
	}
}

func TestRight(t *testing.T) {
	for _, f := range Check(right()) {
		t.Error(f)
	}
	for name, change := range map[string]func(*Run){
		// Nobody reported: what comes after may have the address, and counts no more.
		"silent for long": func(r *Run) {
			a := &r.Sessions[0]
			a.Reports, a.Ended = []Report{{Start, at(0.1), at(0.2)}, {Stop, at(90), at(90.1)}}, at(90)
		},
		"never reported": func(r *Run) {
			r.Sessions[0].Reports, r.Sessions[0].Ended, r.Events = nil, at(90), r.Events[2:]
		},
		"reported too late to be known": func(r *Run) {
			r.Sessions[0].Reports, r.Sessions[0].Ended = []Report{{Start, at(0.1), at(80)}}, at(90)
		},
		"it runs, and is live and leased": func(r *Run) {
			b := &r.Sessions[1]
			b.Ended, b.Reports = time.Time{}, b.Reports[:1]
			r.Live, r.Leased = []string{b.ID}, map[netip.Addr]string{b.Addr: b.ID}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := right()
			change(r)
			for _, f := range Check(r) {
				if name == "it runs, and is live and leased" && f.Rule == Events {
					continue // its stop came before it went
				}
				t.Error(f)
			}
		})
	}
}

// Each fault is seeded into a run that is right, and found, and nothing else is.
func TestSeededFaults(t *testing.T) {
	for name, c := range map[string]struct {
		rule Rule
		n    int
		seed func(*Run)
	}{
		"two have an address":         {Address, 1, func(r *Run) { r.Sessions[1].Answered = at(59.9) }},
		"the second ends first":       {Address, 2, func(r *Run) { r.Sessions = append(r.Sessions, more(r, "x", 1, 2), more(r, "y", 3, 4)) }},
		"an address of one that died": {Address, 1, func(r *Run) { r.Sessions[0].Reports, r.Sessions[1].Answered = r.Sessions[0].Reports[:12], at(59.5) }},
		"one session too many":        {Limit, 1, func(r *Run) { r.Sessions = append(r.Sessions, elsewhere(more(r, "x", 80, 81))) }},
		"a code twice": {Code, 1, func(r *Run) {
			s := elsewhere(more(r, "x", 95, 96))
			s.User, s.Code = "bob", "123456"
			r.Sessions = append(r.Sessions, s)
		}},
		"a wrong password":               {Password, 1, func(r *Run) { r.Sessions[0].Wrong = true }},
		"an Accept without proof":        {Password, 1, func(r *Run) { r.Sessions[1].Proved = false }},
		"a lost start":                   {Events, 1, func(r *Run) { r.Events = r.Events[1:] }},
		"a lost stop":                    {Events, 1, func(r *Run) { r.Events = append(r.Events[:1:1], r.Events[2:]...) }},
		"both lost":                      {Events, 1, func(r *Run) { r.Events = r.Events[2:] }},
		"two starts":                     {Events, 1, func(r *Run) { r.Events = append(r.Events, Event{"gw1/a", Start}) }},
		"two stops":                      {Events, 1, func(r *Run) { r.Events = append(r.Events, Event{"gw1/b", Stop}) }},
		"stop before start":              {Events, 1, func(r *Run) { r.Events[0], r.Events[1] = r.Events[1], r.Events[0] }},
		"an event of nobody":             {Events, 1, func(r *Run) { r.Events = append(r.Events, Event{"gw1/z", Start}) }},
		"a session that stays":           {Leak, 1, func(r *Run) { r.Live = []string{"gw1/a"} }},
		"a lease that stays":             {Leak, 1, func(r *Run) { r.Leased = map[netip.Addr]string{r.Sessions[0].Addr: "gw1/a"} }},
		"a session that the store lost":  {Leak, 1, func(r *Run) { r.Sessions[1].Ended = time.Time{} }},
		"a failure that was not counted": {Failures, 1, func(r *Run) { r.Counts["bob"] = Count{2, 4, 3} }},
		"a failure counted twice":        {Failures, 1, func(r *Run) { r.Counts["bob"] = Count{5, 4, 3} }},
	} {
		t.Run(name, func(t *testing.T) {
			r := right()
			c.seed(r)
			found := Check(r)
			if len(found) != c.n || found[0].Rule != c.rule {
				t.Errorf("found %v, want %d of %s", found, c.n, c.rule)
			}
			for _, f := range found {
				if !strings.HasPrefix(f.String(), string(c.rule)+": ") {
					t.Error(f)
				}
			}
		})
	}
}

// more adds the events of one more session of somebody without a limit.
func more(r *Run, id string, from, to float64) Session {
	s := session("gw1/"+id, "cid", from, to)
	if from >= 80 && from < 90 {
		s.User = "bob"
	}
	r.Events = append(r.Events, Event{s.ID, Start}, Event{s.ID, Stop})
	return s
}

func elsewhere(s Session) Session {
	s.Addr = netip.MustParseAddr("10.0.0.2")
	return s
}

// A long run stays cheap: a soak has hundreds of thousands of sessions.
func BenchmarkCheck(b *testing.B) {
	r := right()
	r.Sessions, r.Events, r.Counts = nil, nil, nil
	for i := range 100_000 {
		s := session(fmt.Sprintf("gw1/%d", i), fmt.Sprintf("u%d", i%500), float64(i), float64(i)+0.9)
		r.Limits[s.User] = 1
		r.Sessions = append(r.Sessions, s)
		r.Events = append(r.Events, Event{s.ID, Start}, Event{s.ID, Stop})
	}
	b.ResetTimer()
	for b.Loop() {
		if f := Check(r); len(f) > 0 {
			b.Fatal(f[0])
		}
	}
}
