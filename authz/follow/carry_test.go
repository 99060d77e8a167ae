package follow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"postern/authz"
	"postern/authz/directory"
	"postern/authz/session"
	"postern/internal/store"
)

// far is a NAS that this service does not reach.
type far struct{}

func (far) Disconnect(context.Context, session.Record, string) (authz.NASAnswer, error) {
	return authz.NASNoWay, errors.New("far")
}

func (far) Change(context.Context, session.Record, authz.Change) (authz.NASAnswer, error) {
	return authz.NASNoWay, errors.New("far")
}

// Change implements NAS.
func (s *site) Change(_ context.Context, rec session.Record, to authz.Change) (authz.NASAnswer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, to)
	if s.answer != nil {
		if answer := s.answer(rec.Acct); answer != authz.NASDone {
			return answer, errors.New(answer.String())
		}
	}
	return authz.NASDone, nil
}

// hold makes a session in quarantine.
func (s *site) hold(acct string, life time.Duration) session.Record {
	s.t.Helper()
	rec := session.Record{
		ID: session.ID("gw1", acct), Node: "gw1", Acct: acct, Via: "gateway", User: "alice@corp", Rule: "staff", Decision: "d-" + acct,
		Factor: "none", Quarantine: time.Now().Add(life),
	}
	s.start(rec)
	rec, found, err := s.sessions.Get(context.Background(), rec.ID)
	if err != nil || !found {
		s.t.Fatal(found, err)
	}
	return rec
}

var opened = authz.Change{Session: 8 * time.Hour, Filter: &authz.FilterChange{Name: "f1", Rules: []string{"permit in ip from assigned to any"}}}

// release is what a step-up does at a service.
func (s *site) release(rec session.Record) {
	s.t.Helper()
	b, err := json.Marshal(opened)
	if err == nil {
		_, err = s.sessions.Release(context.Background(), rec, session.Wish{
			Reason: authz.SteppedUp.String(), Rule: "staff", Policy: "v1", Change: b, Asked: time.Now(),
		}, func(rec *session.Record) { rec.Factor = "code" })
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// A service that cannot reach the NAS releases a session, and the one that can has it
// done, before anybody has counted to one.
func TestChangeByAnotherService(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, s *site) {
		s.service(0, nil)
		s.far = true
		s.service(0, nil)
		rec := s.hold("a1", time.Hour)
		time.Sleep(wishesEvery / 2) // between two looks
		s.release(rec)
		time.Sleep(2 * gather)
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.told) != 1 || !reflect.DeepEqual(s.told[0], opened) {
			t.Fatalf("the NAS was told %+v", s.told)
		}
		if len(s.changed) != 1 {
			t.Fatalf("audit %+v", s.changed)
		}
		c := s.changed[0]
		if c.Answer != authz.NASDone || c.Err != nil || c.Reason != "stepped up" || c.Session.Decision != "d-a1" || c.Session.Factor != "code" || !reflect.DeepEqual(c.Change, opened) {
			t.Errorf("audit %+v", c)
		}
		if lifting, err := s.sessions.Lifting(context.Background(), rec.ID); lifting || err != nil {
			t.Errorf("still lifting: %v", err)
		}
	})
}

// A session's Stop comes before its NAS has answered, and a service that cannot reach the
// NAS finds it gone: the end is written down all the same.
func TestStopBeforeAnswer(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, s *site) {
		s.late = carryTime / 2
		s.open("a1", "alice@corp")
		s.service(interval, nil)
		s.far = true
		s.service(0, nil)
		s.realms[0].state("alice@corp", directory.Disabled)
		time.Sleep(interval + 2*carryTime)
		s.wantLive("ended")
		s.wantLines("ended", "a1 account disabled: disabled (done)")
		if names, err := s.sessions.Wishes(context.Background()); err != nil || len(names) != 0 {
			t.Errorf("wishes %q, %v", names, err)
		}
	})
}

// Nobody reaches the NAS at first.
func TestChangeRetries(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, s *site) {
		s.service(0, nil)
		s.answers(func(string) authz.NASAnswer { return authz.NASNoAnswer })
		rec := s.hold("a1", time.Hour)
		s.release(rec)
		time.Sleep(time.Minute)
		if lifting, err := s.sessions.Lifting(context.Background(), rec.ID); !lifting || err != nil {
			t.Errorf("given up: %v", err)
		}
		s.answers(nil)
		time.Sleep(retryMax + wishesEvery)
		if lifting, err := s.sessions.Lifting(context.Background(), rec.ID); lifting || err != nil || len(s.changed) != 1 {
			t.Errorf("%v, %v, audit %+v", lifting, err, s.changed)
		}
		s.wantLive("changed", "a1")
	})
}

// A NAS that will not is asked once, and the audit log says so. One that does not know
// the session has none.
func TestChangeRefused(t *testing.T) {
	for _, tt := range []struct {
		answer authz.NASAnswer
		err    bool
		live   []string
	}{{authz.NASRefused, true, []string{"a1"}}, {authz.NASNotFound, false, nil}} {
		onVirtualTime(t, func(t *testing.T, s *site) {
			s.service(0, nil)
			s.answers(func(string) authz.NASAnswer { return tt.answer })
			s.release(s.hold("a1", time.Hour))
			time.Sleep(confirmAfter + 2*wishesEvery)
			s.wantLive(tt.answer.String(), tt.live...)
			s.mu.Lock()
			if len(s.changed) != 1 || s.changed[0].Answer != tt.answer || (s.changed[0].Err != nil) != tt.err {
				t.Errorf("audit %+v", s.changed)
			}
			s.mu.Unlock()
			if names, err := s.sessions.Wishes(context.Background()); err != nil || len(names) != 0 {
				t.Errorf("wishes %q, %v", names, err)
			}
		})
	}
}

// What cannot be read is asked of no NAS.
func TestWishUnreadable(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, s *site) {
		rec := s.hold("a1", time.Hour)
		_, err := s.sessions.Release(context.Background(), rec, session.Wish{Reason: "x", Change: json.RawMessage(`[]`)}, func(*session.Record) {})
		if err != nil {
			t.Fatal(err)
		}
		for name, id := range map[string]string{"end gw1/b1": "gw1/b1", "change gw1/b2": "gw1/b2"} {
			if err := s.store.Do(context.Background(), store.Seq{
				&store.Put{Key: store.Wish(id, name), Value: "{"}, &store.Enter{Key: store.WishesOf(id), Member: name, For: time.Hour},
			}); err != nil {
				t.Fatal(err)
			}
		}
		s.service(0, nil)
		time.Sleep(carryTime + 2*wishesEvery)
		if len(s.told) != 0 || s.count() != 0 || len(s.changed) != 1 || s.changed[0].Answer != authz.NASRefused {
			t.Errorf("told %+v, audit %+v", s.told, s.changed)
		}
		if names, err := s.sessions.Wishes(context.Background()); err != nil || len(names) != 0 {
			t.Errorf("wishes %q, %v", names, err)
		}
	})
}

// A session that its NAS leaves in quarantine for too long is ended; one that was
// released in time, or has ended, is not.
func TestOverdue(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, s *site) {
		s.service(0, nil)
		s.service(0, nil)
		s.hold("late", time.Minute)
		released := s.hold("released", time.Minute)
		s.hold("patient", time.Hour)
		s.hold("gone", time.Minute)
		time.Sleep(30 * time.Second)
		s.release(released)
		if _, err := s.sessions.Stop(context.Background(), session.Report{Node: "gw1", Acct: "gone"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(45 * time.Second)
		s.wantLive("within the NAS' own time", "late", "patient", "released")
		time.Sleep(20 * time.Second)
		s.wantLive("overdue", "patient", "released")
		if len(s.audit) != 1 || s.audit[0].Reason != "step-up expired" || s.audit[0].Session.Acct != "late" {
			t.Errorf("audit %+v", s.audit)
		}
		if s.texts["late"] != "bye: step-up expired" {
			t.Errorf("text %q", s.texts["late"])
		}
		time.Sleep(time.Minute)
		if len(s.audit) != 1 {
			t.Errorf("audit %+v", s.audit)
		}
	})
}

// What is newly wished is carried out at once also while many NAS keep us waiting, and
// some answer.
func TestWishWhileBusy(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, s *site) {
		s.service(0, nil)
		wish := func(slow time.Duration, names ...string) {
			t.Helper()
			s.mu.Lock()
			s.slow = slow
			s.mu.Unlock()
			for _, name := range names {
				s.open(name, "alice@corp")
				rec, _, err := s.sessions.Get(t.Context(), "gw1/"+name)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.sessions.AskEnd(t.Context(), session.Wish{Session: rec.ID, Opened: rec.Opened, Reason: authz.Revoked.String(), Asked: time.Now()}); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(2 * gather)
		}
		var slow []string
		for i := range carriers/2 + 1 {
			slow = append(slow, fmt.Sprint("slow", i))
		}
		wish(carryTime/2, slow...)
		wish(gather+gather/2, "answers") // amid the next one's gathering
		wish(0, "next")
		if got, want := s.count(), len(slow)+2; got != want {
			t.Errorf("%d sessions were told to end, want %d", got, want)
		}
	})
}
