package follow

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"postern/authz"
	"postern/authz/directory"
	"postern/authz/session"
	"postern/internal/store"
)

// outcomes are what the audit log says of looks since the last call.
func (s *site) outcomes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, r := range s.reviewed {
		all = append(all, fmt.Sprintf("%s %s: %s, %s", r.Session.Acct, r.Cause, r.Outcome, r.Reason))
	}
	s.reviewed = nil
	return all
}

func (s *site) wantOutcomes(about string, want ...string) {
	s.t.Helper()
	if got := s.outcomes(); fmt.Sprint(got) != fmt.Sprint(want) {
		s.t.Errorf("%s: %q, want %q", about, got, want)
	}
}

// tells are how often NAS have been told of changes.
func (s *site) tells() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.told)
}

// regrants has every session be granted g.
func regrants(g string) func(*authz.Case) {
	return func(c *authz.Case) {
		c.Next.Due = time.Time{}
		if c.Session.Granted != g {
			c.Outcome, c.Reason, c.Next.Granted = authz.OutcomeChanged, authz.Regranted, g
			c.Change = authz.Change{Filter: &authz.FilterChange{Name: g}}
		}
	}
}

func (s *site) ask(users ...string) {
	s.t.Helper()
	if err := s.sessions.AskReview(context.Background(), "posture", users...); err != nil {
		s.t.Fatal(err)
	}
}

// Who is asked for is looked at by one service of all, at once; within a second when the
// message was lost; and asked for once more when nothing has changed, no NAS is told.
func TestAsked(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, s *site) {
		s.judge.finds(regrants("g1"))
		s.open("a1", "alice@corp")
		s.open("b1", "bob@corp")
		for range 3 {
			s.service(0, nil)
		}
		time.Sleep(attendEvery / 2)
		s.ask("ALICE@corp", "nobody@corp", "dora@nowhere")
		time.Sleep(2*gather + 20*time.Millisecond)
		s.wantOutcomes("asked", "a1 asked: posture: changed, granted anew")
		if s.tells() != 1 {
			t.Errorf("the NAS was told %d times", s.tells())
		}
		time.Sleep(attendEvery)
		s.ask("alice@corp")
		time.Sleep(2 * attendEvery)
		s.wantOutcomes("nothing new")

		// Without the message.
		s.judge.finds(regrants("g2"))
		if err := s.store.Do(context.Background(), store.Seq{
			&store.Put{Key: store.Review("bob@corp"), Value: `{"why":"import"}`}, &store.Enter{Key: store.Reviews(), Member: "bob@corp"},
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(attendEvery + 2*gather)
		s.wantOutcomes("no message", "b1 asked: import: changed, granted anew")
		if waiting := (&store.Members{Key: store.Reviews(), Lapsed: true}); s.store.Do(context.Background(), store.Seq{waiting}) != nil || waiting.N != 0 {
			t.Errorf("%d are left", waiting.N)
		}
	})
}

// Asked for everybody.
func TestAskedEverybody(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, s *site) {
		s.judge.finds(regrants("g1"))
		s.open("a1", "alice@corp")
		s.open("c1", "carol@lab")
		s.service(0, nil)
		s.ask(session.Everybody)
		time.Sleep(2 * attendEvery)
		if s.outcomes(); s.tells() != 2 {
			t.Errorf("told %d", s.tells())
		}
	})
}

// While directory or store is away nobody is looked at, nothing ends, and nobody is
// forgotten.
func TestAskedWhileAway(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, s *site) {
		s.judge.finds(regrants("g1"))
		s.open("a1", "alice@corp")
		s.open("c1", "carol@lab")
		s.service(0, nil)
		s.realms[0].fail(true)
		s.ask("alice@corp", "carol@lab")
		time.Sleep(time.Minute)
		s.wantOutcomes("alice's directory is away", "c1 asked: posture: changed, granted anew")
		s.store.away.Store(true)
		s.realms[0].fail(false)
		time.Sleep(time.Minute)
		s.wantOutcomes("the store is away")
		s.store.away.Store(false)
		time.Sleep(11 * attendEvery) // a lease that was left, and then a second
		s.wantOutcomes("back", "a1 asked: posture: changed, granted anew")
		s.wantLive("in the end", "a1", "c1")
	})
}

// A service that dies between taking and writing loses nothing.
func TestDeadTaker(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, s *site) {
		s.judge.finds(regrants("g1"))
		s.open("a1", "alice@corp")
		s.due("d1", "bob@corp", time.Second)
		s.ask("alice@corp")
		if taken, _, err := s.sessions.TakeReviews(context.Background(), 10); err != nil || len(taken) != 1 {
			t.Fatal(taken, err)
		}
		time.Sleep(time.Second)
		if taken, _, _, _, err := s.sessions.TakeDue(context.Background(), 10); err != nil || len(taken) != 1 {
			t.Fatal(taken, err)
		}
		s.service(0, nil)
		time.Sleep(8 * time.Second)
		s.wantOutcomes("somebody is at it")
		time.Sleep(4 * time.Second)
		if got := s.outcomes(); len(got) != 2 {
			t.Errorf("taken over: %q", got)
		}
	})
}

// due makes a session that is due.
func (s *site) due(acct, user string, in time.Duration) {
	s.t.Helper()
	s.realms[0].mu.Lock()
	s.realms[0].accounts[user] = directory.Account{Name: user, State: directory.Active}
	s.realms[0].mu.Unlock()
	s.start(session.Record{
		ID: session.ID("gw1", acct), Node: "gw1", Acct: acct, Via: "gateway", User: user, Rule: "staff", Decision: "d-" + acct,
		Source: netip.MustParseAddr("192.0.2.5"), Due: time.Now().Add(in),
	})
}

// What time changes takes effect at its instant, of a session whose day ends and of one
// that is looked at every so often; one service does it.
func TestDue(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, s *site) {
		end := time.Now().Add(90*time.Second + 300*time.Millisecond)
		var looks atomic.Int32
		s.judge.finds(func(c *authz.Case) {
			looks.Add(1)
			switch {
			case c.Session.User == "bob@corp":
				c.Next.Due = time.Now().Add(time.Minute)
			case time.Now().Before(end):
				c.Next.Due = end // it came too early
			default:
				c.Outcome, c.Reason = authz.OutcomeEnded, authz.PolicyNoMatch
			}
		})
		s.due("a1", "alice@corp", time.Until(end)-10*time.Second)
		s.due("b1", "bob@corp", time.Minute)
		for range 2 {
			s.service(0, nil)
		}
		time.Sleep(time.Until(end) - 10*time.Millisecond)
		s.wantLive("before", "a1", "b1")
		// Both services may come upon the same session, which costs a look and nothing else.
		if n := looks.Load(); n < 2 || n > 4 {
			t.Errorf("looked %d times", n)
		}
		time.Sleep(200 * time.Millisecond) // the NAS takes a moment, too
		s.wantLive("at the instant", "b1")
		s.wantOutcomes("at the instant", "a1 due: ended, no policy matched")
		time.Sleep(10 * time.Minute)
		if n := looks.Load(); n < 13 || n > 26 {
			t.Errorf("looked %d times", n)
		}
	})
}

// One that nobody can be asked about is not looked at for ever.
func TestDueOfNobody(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, s *site) {
		s.due("d1", "dora@nowhere", time.Second)
		s.service(0, nil)
		time.Sleep(time.Minute)
		if _, waiting, _, next, err := s.sessions.TakeDue(context.Background(), 10); err != nil || waiting != 0 || !next.IsZero() {
			t.Errorf("%d wait, next %v, %v", waiting, next, err)
		}
		s.wantLive("and stays", "d1")
	})
}

// A session that is stepped up, ends or reports while it is looked at: what was decided of
// it as it was does not count.
func TestChangesMeanwhile(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, s *site) {
		rec := s.hold("a1", time.Hour)
		s.realms[0].state("alice@corp", directory.Active)
		looks := 0
		s.judge.finds(func(c *authz.Case) {
			switch looks++; {
			case looks == 1: // a step-up, right now
				s.release(rec)
				c.Outcome, c.Reason = authz.OutcomeReleased, authz.Released
				c.Next.Quarantine, c.Change = time.Time{}, authz.Change{Filter: &authz.FilterChange{Name: "wrong"}}
			case looks == 2: // a report of its NAS
				if c.Session.Factor != "code" || !c.Session.Quarantine.IsZero() {
					t.Errorf("looked at what was: %+v", c.Session)
				}
				if _, err := s.sessions.Touch(context.Background(), session.Report{Node: "gw1", Acct: "a1", Usage: session.Usage{Time: time.Minute}}); err != nil {
					t.Error(err)
				}
				c.Outcome, c.Reason = authz.OutcomeEnded, authz.PolicyDenied
			}
		})
		s.service(0, nil)
		s.ask("alice@corp")
		time.Sleep(5 * attendEvery)
		s.wantOutcomes("in the end")
		if looks != 3 {
			t.Errorf("looked %d times", looks)
		}
		s.mu.Lock()
		if len(s.told) != 1 || s.told[0].Filter.Name != "f1" {
			t.Errorf("told %+v", s.told)
		}
		s.mu.Unlock()
		s.wantLive("released, and not ended", "a1")

		s.judge.finds(func(c *authz.Case) {
			if _, err := s.sessions.Stop(context.Background(), session.Report{Node: "gw1", Acct: "a1"}); err != nil {
				t.Error(err)
			}
			regrants("late")(c)
		})
		s.ask("alice@corp")
		time.Sleep(5 * attendEvery)
		s.wantOutcomes("ended by itself")
		if s.wantLive("ended by itself"); s.tells() != 1 {
			t.Error("a NAS was told of a session that has ended")
		}
	})
}

// Two services that look at the same time tell the NAS once, and the audit log.
func TestTwoLookAtOnce(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, s *site) {
		s.open("a1", "alice@corp")
		a, _ := s.service(interval, nil)
		b, _ := s.service(interval, nil)
		time.Sleep(interval)
		var at atomic.Int32
		s.judge.finds(func(c *authz.Case) {
			if c.Session.Granted == "" { // both see it as it was
				for at.Add(1); at.Load() < 2; {
					time.Sleep(time.Millisecond)
				}
			}
			regrants("g1")(c)
		})
		a.PolicyChanged()
		b.PolicyChanged()
		time.Sleep(settle + 5*wishesEvery)
		if got := s.outcomes(); len(got) != 1 || s.tells() != 1 || at.Load() != 2 {
			t.Errorf("%q, told %d times, %d looked", got, s.tells(), at.Load())
		}
	})
}

// A NAS that was away gets the last state when it is back, with what is left of its times.
func TestLastState(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, s *site) {
		s.answers(func(string) authz.NASAnswer { return authz.NASNoAnswer })
		s.open("a1", "alice@corp")
		s.service(0, nil)
		for _, g := range []string{"g1", "g2", "g3"} {
			s.judge.finds(func(c *authz.Case) {
				regrants(g)(c)
				c.Change.Session = time.Hour
			})
			s.ask("alice@corp")
			time.Sleep(time.Minute)
		}
		s.mu.Lock()
		s.told = nil
		s.mu.Unlock()
		s.answers(nil)
		time.Sleep(retryMax + wishesEvery)
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.told) != 1 || s.told[0].Filter.Name != "g3" || s.told[0].Session > time.Hour-50*time.Second || s.told[0].Session < 58*time.Minute {
			t.Errorf("told %+v", s.told)
		}
	})
}

// One that its NAS does not hold back ends, and one that stays in quarantine for too long.
func TestUnconfined(t *testing.T) {
	isolates := func(c *authz.Case) {
		if c.Session.Quarantine.IsZero() {
			c.Outcome, c.Reason = authz.OutcomeHeld, authz.Isolated
			c.Next.Quarantine, c.Next.Isolated = time.Now().Add(time.Minute), true
			c.Change = authz.Change{Quarantine: &authz.Quarantine{For: time.Minute, URL: "https://portal"}}
		}
	}
	onVirtualTime(t, func(t *testing.T, s *site) {
		s.answers(func(string) authz.NASAnswer {
			if s.busy == 0 { // of Change, which does not count
				return authz.NASRefused
			}
			return authz.NASDone
		})
		s.judge.finds(isolates)
		s.open("a1", "alice@corp")
		s.service(0, nil)
		s.ask("alice@corp")
		time.Sleep(5 * wishesEvery)
		s.wantLive("its NAS refuses")
		s.wantLines("its NAS refuses", "a1 cannot isolate: its NAS refused the quarantine:  (done)")
	})
	onVirtualTime(t, func(t *testing.T, s *site) {
		s.judge.finds(isolates)
		s.open("a1", "alice@corp")
		s.service(0, nil)
		s.ask("alice@corp")
		time.Sleep(time.Minute)
		s.wantLive("within its time", "a1")
		time.Sleep(35 * time.Second)
		s.wantLive("too long")
	})
}

// many is fewer where the race detector makes each dear.
var many = 10_000

// 10,000 sessions after a change of the policy: each is looked at once, no more a second
// than allowed, and its NAS is told once.
func TestPolicyChangeOfMany(t *testing.T) {
	const perSecond = 1000
	onVirtualTime(t, func(t *testing.T, s *site) {
		var opens []store.Seq
		for i := range many {
			user := fmt.Sprintf("u%05d@corp", i)
			s.realms[0].accounts[user] = directory.Account{Name: user, State: directory.Active}
			rec := session.Record{
				ID: session.ID("gw1", fmt.Sprint(i)), Node: "gw1", Acct: fmt.Sprint(i), Via: "gateway", User: user, Rule: "staff",
				Source: netip.MustParseAddr("192.0.2.5"),
			}
			o := s.sessions.Open(time.Now(), rec, 0)
			opens = append(opens, o.UserSeqs()...)
			opens = append(opens, o.NodeSeqs()...)
		}
		opens = append(opens, store.Seq{&store.Enter{Key: store.Nodes(), Member: "gw1", For: 48 * time.Hour}})
		if err := s.store.Do(context.Background(), opens...); err != nil {
			t.Fatal(err)
		}
		f, _ := s.service(24*time.Hour, nil)
		time.Sleep(time.Second)
		var looks atomic.Int32
		var last atomic.Int64
		s.judge.finds(func(c *authz.Case) {
			looks.Add(1)
			last.Store(time.Now().UnixMilli())
			regrants("g1")(c)
		})
		trips, began := s.store.trips.Load(), time.Now()
		f.PolicyChanged()
		time.Sleep(settle + time.Duration(many/perSecond)*time.Second)
		took := time.UnixMilli(last.Load()).Sub(began)
		t.Logf("%d sessions looked at in %v, with %d trips to the store, those of telling the NAS included", looks.Load(), took, s.store.trips.Load()-trips)
		if int(looks.Load()) != many || took < time.Duration(many/perSecond-1)*time.Second {
			t.Errorf("%d looks in %v", looks.Load(), took)
		}
		time.Sleep(10 * time.Second)
		if s.tells() != many {
			t.Errorf("told %d times", s.tells())
		}
		if b, err := json.Marshal(s.told[0]); err != nil || string(b) != `{"filter":{"name":"g1"}}` {
			t.Errorf("%s, %v", b, err)
		}
	})
}
