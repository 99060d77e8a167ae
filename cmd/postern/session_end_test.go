package main

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/authz/session"
	"postern/cmd/internal/service"
	"postern/internal/config"
	"postern/internal/store"
	"postern/internal/store/redistest"
)

// wishes are the sessions that should end, and why.
func (s *site) wishes(t *testing.T) map[string]session.Wish {
	t.Helper()
	all := map[string]session.Wish{}
	s.open(t, func(cfg *config.Service, st store.Store) {
		r := service.NewSessions(cfg, st)
		names, err := r.Wishes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			w, rec, found, err := r.Wish(t.Context(), name)
			if err != nil || !found || w.Kind != session.WishEnd || rec.ID != w.Session {
				t.Fatalf("%s: %+v, %v, %v", name, rec, found, err)
			}
			all[rec.ID] = w
		}
	})
	return all
}

// With the embedded store no service runs: the wish waits for one.
func TestSessionEnd(t *testing.T) {
	s := newSite(t)
	s.must(t, "x", "user", "add", "alice")
	s.open(t, func(cfg *config.Service, st store.Store) {
		r := service.NewSessions(cfg, st)
		began(t, st, r, "gw1", "s1", "alice")
		began(t, st, r, "gw2", "s1", "bob")
		began(t, st, r, "gw2", "s2", "alice")
		began(t, st, r, "gw3", "s3", "carol")
	})
	for words, args := range map[string]string{
		"which sessions?":         "session end",
		`no live session "s9"`:    "session end s9",
		`no live session "s3"`:    "session end s3 --node gw1",
		"one of gw1/s1, gw2/s1":   "session end s1",
		`invalid argument "soon"`: "session end s2 --wait soon",
	} {
		s.fails(t, "", words, strings.Fields(args)...)
	}
	if got := s.wishes(t); len(got) != 0 {
		t.Errorf("wishes %v", got)
	}
	out := s.must(t, "", "session", "end", "gw1/s1", "s3", "--reason", "stolen laptop", "--message", "Call us")
	if strings.Count(out, "asked to end") != 2 || !strings.Contains(out, "carol") {
		t.Errorf("%s", out)
	}
	got := s.wishes(t)
	if e := got["gw1/s1"]; len(got) != 2 || e.Reason != "ended by an operator" || e.Text != "Call us" ||
		!strings.HasPrefix(e.Detail, "by ") || !strings.HasSuffix(e.Detail, ": stolen laptop") || time.Since(e.Asked).Abs() > time.Minute {
		t.Errorf("%+v", got)
	}
	var list []endingJSON
	s.asked(t, &list, "session", "end", "--user", "ALICE", "--node", "gw2")
	if len(list) != 1 || list[0] != (endingJSON{Session: "gw2/s2", User: "alice", Node: "gw2"}) {
		t.Errorf("%+v", list)
	}
	if got := slices.Sorted(maps.Keys(s.wishes(t))); !slices.Equal(got, []string{"gw1/s1", "gw2/s2", "gw3/s3"}) {
		t.Errorf("%q", got)
	}
	if e := s.wishes(t)["gw2/s2"]; e.Text != "Ended by an operator" {
		t.Errorf("%+v", e)
	}
}

// With a store that services share the command tells what came of it.
func TestSessionEndWaits(t *testing.T) {
	s := newSite(t)
	redis := redistest.Start(t)
	s.write(t, "radiusd.yaml", strings.Replace(s.read(t, "radiusd.yaml"), "store: {path: state/store.db}", "store: {kind: redis, urls: ['"+redis.URL()+"']}", 1))
	st := redis.Open(t)
	r := session.New(st, session.Config{})
	began(t, st, r, "gw1", "s1", "alice")
	began(t, st, r, "gw1", "s2", "bob")
	stop := make(chan error, 1)
	go func() { // waited for below: what a service does
		for range 1000 {
			time.Sleep(20 * time.Millisecond)
			ids, err := r.Wishes(t.Context())
			if err == nil && len(ids) < 2 {
				continue
			}
			if err == nil {
				_, err = r.Stop(t.Context(), session.Report{Node: "gw1", Acct: "s1"})
			}
			stop <- err
			return
		}
		stop <- errors.New("no wishes")
	}()
	out, _, err := s.run("", "-o", "json", "session", "end", "s1", "s2", "--wait", "2s")
	if err == nil || !strings.Contains(err.Error(), "1 of 2 sessions have not ended") {
		t.Errorf("%v", err)
	}
	if err := <-stop; err != nil {
		t.Fatal(err)
	}
	var list []endingJSON
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 2 || !list[0].Ended || list[1].Ended {
		t.Errorf("%s: %v", out, err)
	}
	if out := s.must(t, "", "session", "end", "s2", "--wait", "0s"); !strings.Contains(out, "asked to end") {
		t.Errorf("%s", out)
	}
}
