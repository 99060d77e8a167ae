package main

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/authz/session"
	"postern/internal/store/redistest"
)

// With the embedded store no service runs: grants go at once, and the wishes wait for one.
func TestUserRevoke(t *testing.T) {
	s := newSite(t)
	s.must(t, "x", "user", "add", "alice")
	s.several(t)
	s.remembered(t, "alice", netip.MustParseAddr("192.0.2.5"))
	s.fails(t, "", `no user "carol"`, "user", "revoke", "carol", "--yes")
	s.fails(t, "", "not at a terminal: give --yes", "user", "revoke", "alice")

	var had revocationJSON
	s.asked(t, &had, "user", "revoke", "ALICE", "--dry-run")
	if !had.DryRun || had.User != "alice" || len(had.Live) != 2 || len(had.Grants) != 1 || len(had.Sessions) != 0 {
		t.Errorf("%+v", had)
	}
	out := s.must(t, "", "user", "revoke", "alice", "--dry-run")
	if !strings.Contains(out, "alice has 2 live sessions and 1 remembered factors") || !strings.Contains(out, "10.20.0.11") || !strings.Contains(out, "192.0.2.5") {
		t.Error(out)
	}
	if got := s.wishes(t); len(got) != 0 {
		t.Errorf("a dry run wishes %v", got)
	}

	out = s.must(t, "", "user", "revoke", "alice", "--yes", "--reason", "lost telephone")
	if strings.Count(out, "asked to end") != 2 || !strings.Contains(out, "0 of 2 sessions ended, 1 remembered factors forgotten") {
		t.Error(out)
	}
	got := s.wishes(t)
	if w := got["gw2/s2"]; len(got) != 2 || w.Reason != "revoked" || !strings.HasSuffix(w.Detail, ": lost telephone") || w.Text != "Ended by an operator" {
		t.Errorf("%+v", got)
	}
	had = revocationJSON{}
	if s.asked(t, &had, "user", "revoke", "alice", "--dry-run"); len(had.Grants) != 0 || len(had.Live) != 2 || !had.Live[0].Ending || !had.Live[1].Ending {
		t.Errorf("%+v", had)
	}
	// Somebody without an account may still be in, by another NAS' word.
	if out := s.must(t, "", "user", "revoke", "bob", "--yes"); !strings.Contains(out, "0 of 1 sessions ended") {
		t.Error(out)
	}
}

// With services the command tells of the progress, and of who is in again.
func TestUserRevokeWaits(t *testing.T) {
	s := newSite(t)
	redis := redistest.Start(t)
	s.write(t, "radiusd.yaml", strings.Replace(s.read(t, "radiusd.yaml"), "store: {path: state/store.db}", "store: {kind: redis, urls: ['"+redis.URL()+"']}", 1))
	s.must(t, "x", "user", "add", "alice")
	st := redis.Open(t)
	r := session.New(st, session.Config{})
	began(t, st, r, "gw1", "s1", "alice")
	began(t, st, r, "gw2", "s2", "alice")
	stop := make(chan error, 1)
	go func() { // waited for below: what services do
		for range 1000 {
			time.Sleep(20 * time.Millisecond)
			ids, err := r.Wishes(t.Context())
			if err == nil && len(ids) < 2 {
				continue
			}
			began(t, st, r, "gw1", "s9", "alice") // he is quick
			for _, node := range []string{"gw1", "gw2"} {
				_, failed := r.Stop(t.Context(), session.Report{Node: node, Acct: map[string]string{"gw1": "s1", "gw2": "s2"}[node]})
				err = errors.Join(err, failed)
				time.Sleep(300 * time.Millisecond)
			}
			stop <- err
			return
		}
		stop <- errors.New("no wishes")
	}()
	out, errs, err := s.run("", "user", "revoke", "alice", "--yes")
	if err != nil {
		t.Fatal(err)
	}
	if err := <-stop; err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, "alice: 2 of 2 sessions ended, 0 remembered factors forgotten") {
		t.Error(out)
	}
	for _, words := range []string{"2 sessions on 2 nodes are asked to end", "1 of 2 sessions have ended", "logged in again meanwhile (1 sessions)"} {
		if !strings.Contains(errs, words) {
			t.Errorf("no %q in %s", words, errs)
		}
	}
	_, _, err = s.run("", "user", "revoke", "alice", "--review", "--yes", "--wait", "300ms")
	if err == nil || !strings.Contains(err.Error(), "no service has looked at the sessions") {
		t.Errorf("a review without a service: %v", err)
	}
}

// A service looks at the sessions again: who is permitted still goes on.
func TestUserRevokeReview(t *testing.T) {
	s, redis := activatedSite(t)
	s.must(t, "", "policy", "activate", "--yes", "--comment", "first")
	s.runs(t, redis, "one")
	st := redis.Open(t)
	began(t, st, session.New(st, session.Config{}), "gw1", "s1", "alice")
	var had revocationJSON
	s.asked(t, &had, "-q", "user", "revoke", "alice", "--review", "--yes")
	if !had.Reviewed || len(had.Sessions) != 1 {
		t.Errorf("%+v", had)
	}
}
