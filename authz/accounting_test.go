package authz

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"postern/authz/session"
)

func TestAcctStatusNames(t *testing.T) {
	want := []string{"unknown", "start", "interim", "stop", "on", "off", "unknown"}
	for i, w := range want {
		if got := AcctStatus(i).String(); got != w {
			t.Errorf("%d: %q, want %q", i, got, w)
		}
	}
}

func TestAccountingAt(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name  string
		event time.Time
		delay time.Duration
		want  time.Time
	}{
		{"nothing said", time.Time{}, 0, now},
		{"delay needs no clock", now.Add(-time.Hour), 3 * time.Second, now.Add(-3 * time.Second)},
		{"spooled for a night", now.Add(-8 * time.Hour), 0, now.Add(-8 * time.Hour)},
		{"clock is ahead", now.Add(time.Minute), 0, now},
		{"clock began in 1970", time.Unix(300, 0), 0, now},
		{"delay of years", time.Time{}, 136 * 365 * 24 * time.Hour, now},
	} {
		a := Accounting{Received: now, Event: c.event, Delay: c.delay}
		if got := a.At(); !got.Equal(c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestBookkeeper follows one login to its end, in a registry that the login was
// written to under the same name.
func TestBookkeeper(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	b := NewBookkeeper(w.sessions, nil, slog.New(slog.DiscardHandler))
	r := w.request("carol", password("carol"))
	res := w.login(t, Permitted, r)
	rec := Accounting{
		Status: AcctStart, NAS: r.NAS, SessionID: r.SessionID, User: res.User, Source: r.Source, Addr: res.Grant.Addr, Decision: res.DecisionID,
	}
	account := func(status AcctStatus, change func(*Accounting)) {
		t.Helper()
		a := rec
		a.Status, a.Received = status, w.now
		if change != nil {
			change(&a)
		}
		must(t, b.Account(ctx, &a))
	}
	account(AcctStart, nil)
	account(AcctStart, nil)
	w.sleep(time.Minute)
	account(AcctInterim, func(a *Accounting) { a.Usage = session.Usage{Time: time.Minute, InOctets: 1 << 33} })
	live, found, err := w.sessions.Get(ctx, session.ID(r.NAS.ID, r.SessionID))
	must(t, err)
	if !found || live.State != session.Active || live.Usage.InOctets != 1<<33 || live.Decision != res.DecisionID {
		t.Errorf("%+v, found %v", live, found)
	}
	account(AcctStop, func(a *Accounting) { a.Usage = session.Usage{Time: 2 * time.Minute}; a.Cause = 1 })
	account(AcctStop, nil)

	other := w.request("carol", password("carol"))
	w.login(t, Permitted, other)
	account(AcctStart, func(a *Accounting) { a.SessionID = other.SessionID })
	w.sleep(time.Second)
	account(AcctOn, func(a *Accounting) { a.SessionID = "boot" })
	if n, err := w.sessions.Count(ctx, "carol"); err != nil || n != 0 {
		t.Errorf("%d sessions after Accounting-On, %v", n, err)
	}
	events, err := w.sessions.History(ctx, 100)
	must(t, err)
	kinds := map[session.EventKind]int{}
	for _, e := range events {
		kinds[e.Kind]++
	}
	if kinds[session.EventStart] != 2 || kinds[session.EventStop] != 2 {
		t.Errorf("history %v, want two starts and two stops", kinds)
	}
}

// A record that was not stored must not be acknowledged.
func TestBookkeeperStoreDown(t *testing.T) {
	w := newWorld(t)
	w.broken.after = 0
	b := NewBookkeeper(session.New(w.broken, session.Config{}), nil, slog.New(slog.DiscardHandler))
	for status := AcctUnknown; status <= AcctOff; status++ {
		if err := b.Account(context.Background(), &Accounting{Status: status, NAS: NAS{ID: "gw1"}, SessionID: "1"}); err == nil {
			t.Errorf("%v was stored", status)
		}
	}
}

// told takes note of strays.
type told []string

func (s *told) Stray(rec session.Record, detail string) {
	*s = append(*s, rec.ID+" "+rec.User+" "+addrText(rec.Addr)+": "+detail)
}

// Two tunnels with one address would get each other's packets.
func TestBookkeeperAddressLost(t *testing.T) {
	w := newWorld(t)
	var strays told
	b := NewBookkeeper(w.sessions, &strays, slog.New(slog.DiscardHandler))
	r := w.request("plc1", password("plc1"))
	res := w.login(t, Permitted, r)
	w.sleep(time.Hour) // its lease lapses, and the pool has one address
	w.login(t, Permitted, w.request("plc2", password("plc2")))
	must(t, b.Account(context.Background(), &Accounting{
		Received: w.now, Status: AcctInterim, NAS: r.NAS, SessionID: r.SessionID, User: res.User, Addr: res.Grant.Addr,
	}))
	want := session.ID(r.NAS.Node(), r.SessionID) + " plc1 " + addrText(res.Grant.Addr) + ": its address " + addrText(res.Grant.Addr) + " is another session's by now"
	if len(strays) != 1 || strays[0] != want {
		t.Errorf("%q, want %q", strays, want)
	}
}

// What was silent for so long that it was written off is told to end when it is heard
// again, and nothing else is.
func TestBookkeeperStrays(t *testing.T) {
	w := newWorld(t)
	var strays told
	b := NewBookkeeper(w.sessions, &strays, slog.New(slog.DiscardHandler))
	r := w.request("plc1", password("plc1"))
	res := w.login(t, Permitted, r)
	say := func(what string, status AcctStatus, after time.Duration, want int) {
		t.Helper()
		must(t, b.Account(context.Background(), &Accounting{
			Received: w.now, Status: status, NAS: r.NAS, SessionID: r.SessionID, User: res.User, Addr: res.Grant.Addr,
			Usage: session.Usage{Time: after},
		}))
		if len(strays) != want {
			t.Errorf("%s: %q", what, strays)
		}
	}
	say("a start", AcctStart, 0, 0)
	w.sleep(20 * time.Minute)
	say("late, and not written off", AcctInterim, 20*time.Minute, 0)
	w.sleep(20 * time.Minute)
	if n, err := w.sessions.Sweep(context.Background()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	say("its start again", AcctStart, 0, 0)
	say("written off", AcctInterim, 40*time.Minute, 1)
	say("another session, of a NAS that counts from zero again", AcctInterim, time.Minute, 1)
	say("its end", AcctStop, 40*time.Minute, 1)
}

func TestNASNode(t *testing.T) {
	n := NAS{Addr: netip.MustParseAddr("192.0.2.1")}
	if n.Node() != "192.0.2.1" {
		t.Error(n.Node())
	}
	n.ID = "gw1"
	if n.Node() != "gw1" {
		t.Error(n.Node())
	}
}
