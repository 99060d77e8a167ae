package main

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"postern/authz/session"
	"postern/cmd/internal/service"
	"postern/internal/config"
	"postern/internal/store"
)

// began and ended report sessions as NAS do.
func began(t *testing.T, st store.Store, r *session.Registry, node, acct, user string) {
	t.Helper()
	rec := session.Record{
		ID: session.ID(node, acct), Node: node, Acct: acct, User: user, Factor: "totp",
		Source: netip.MustParseAddr("192.0.2.5"), Addr: netip.MustParseAddr("10.20.0.10"),
	}
	o := r.Open(time.Now(), rec, 0)
	if err := st.Do(t.Context(), append(o.NodeSeqs(), o.UserSeqs()...)...); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Start(t.Context(), session.Report{Node: node, Acct: acct}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Millisecond) // events of one millisecond have no order
}

func TestSessions(t *testing.T) {
	s := newSite(t)
	s.must(t, "x", "user", "add", "alice")
	for _, args := range []string{"session list", "session history"} {
		if out := s.must(t, "", append([]string{"-o", "json"}, strings.Fields(args)...)...); out != "[]\n" {
			t.Errorf("%s: none is %q", args, out)
		}
		if out := s.must(t, "", strings.Fields(args)...); strings.Count(out, "\n") != 1 {
			t.Errorf("%s: none is %q", args, out)
		}
	}
	s.open(t, func(cfg *config.Service, st store.Store) {
		r := service.NewSessions(cfg, st)
		began(t, st, r, "gw1", "s1", "alice")
		began(t, st, r, "gw1", "s2", "bob")
		began(t, st, r, "gw2", "s3\x1b[2J\n", "alice")
		if _, err := r.Touch(t.Context(), session.Report{Node: "gw1", Acct: "s1", Usage: session.Usage{Time: time.Minute, InOctets: 5 << 20, OutOctets: 100}}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Stop(t.Context(), session.Report{Node: "gw1", Acct: "s2", Usage: session.Usage{Time: 90 * time.Second, OutOctets: 2048}, Cause: 4}); err != nil {
			t.Fatal(err)
		}
	})
	for args, want := range map[string]string{
		"": "alice/s1 alice/s3\x1b[2J\n", "--user ALICE": "alice/s1 alice/s3\x1b[2J\n", "--user bob": "", "--node gw1": "alice/s1",
		"--node gw2 --user alice@x": "alice/s3\x1b[2J\n", "--node gw9": "",
	} {
		var list []session.Record
		s.asked(t, &list, append([]string{"session", "list"}, strings.Fields(args)...)...)
		var got []string
		for _, x := range list {
			got = append(got, x.User+"/"+x.Acct)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
	out := s.must(t, "", "session", "ls", "--node", "gw1")
	table := rows(out)
	if want := strings.Fields("USER ADDRESS FROM NODE STATE SINCE IN OUT FACTOR SESSION"); len(table) != 2 || !reflect.DeepEqual(table[0], want) {
		t.Fatal(out)
	}
	if got := strings.Join(append(table[1][:5:5], table[1][7:]...), " "); got != "alice 10.20.0.10 192.0.2.5 gw1 active 5.0 MiB 100 B totp s1" {
		t.Errorf("%q", got)
	}
	if out := s.must(t, "", "session", "list"); strings.Contains(out, "\x1b") || strings.Count(out, "\n") != 3 || !strings.Contains(out, "s3?[2J?") {
		t.Errorf("a NAS may paint: %q", out)
	}

	var events []session.Event
	s.asked(t, &events, "session", "history")
	var kinds []string
	for _, e := range events {
		kinds = append(kinds, string(e.Kind)+" "+e.User)
	}
	if want := []string{"start alice", "start bob", "start alice", "stop bob"}; !reflect.DeepEqual(kinds, want) {
		t.Errorf("%q, want %q", kinds, want)
	}
	events = nil
	if s.asked(t, &events, "session", "history", "-n", "1"); len(events) != 1 || events[0].Kind != session.EventStop || events[0].Cause != 4 {
		t.Errorf("%+v", events)
	}
	last := rows(s.must(t, "", "session", "history", "--number=1"))[1]
	if got := strings.Join(last[2:], " "); got != "stop bob gw1 1m30s 0 B 2.0 KiB idle-timeout s2" {
		t.Errorf("%q", got)
	}
	for _, n := range []string{"0", "-1"} {
		s.fails(t, "", "-n "+n+": want 1 or more", "session", "history", "-n", n)
	}
	s.fails(t, "", `unknown command "alice" for "postern session list"`, "session", "list", "alice")
}

func TestSessionsOfRealms(t *testing.T) {
	s := withRealms(t)
	s.open(t, func(cfg *config.Service, st store.Store) {
		r := service.NewSessions(cfg, st)
		for i, user := range []string{"alice@corp.example", "alice@plant", "alice@old.example"} {
			began(t, st, r, "gw1", fmt.Sprint("s", i), user)
		}
	})
	for typed, want := range map[string]string{
		"alice": "s0", `CORP\ALICE`: "s0", "alice@corp.example": "s0", "alice@Plant": "s1", `PLANT\alice`: "s1", `old\alice`: "s2",
	} {
		var list []session.Record
		if s.asked(t, &list, "session", "list", "--user", typed); len(list) != 1 || list[0].Acct != want {
			t.Errorf("%s: %+v, want %s", typed, list, want)
		}
	}
}

func TestOctets(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1 << 20: "1.0 MiB", 3 << 30: "3.0 GiB", 1 << 63: "8.0 EiB",
	} {
		if got := octets(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
