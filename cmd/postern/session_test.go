package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
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
	s.asked(t, &events, "session", "history", "--events")
	var kinds []string
	for _, e := range events {
		kinds = append(kinds, string(e.Kind)+" "+e.User)
	}
	if want := []string{"start alice", "start bob", "start alice", "stop bob"}; !reflect.DeepEqual(kinds, want) {
		t.Errorf("%q, want %q", kinds, want)
	}
	events = nil
	if s.asked(t, &events, "session", "history", "--events", "-n", "1"); len(events) != 1 || events[0].Kind != session.EventStop || events[0].Cause != 4 {
		t.Errorf("%+v", events)
	}
	last := rows(s.must(t, "", "session", "history", "--events", "--number=1"))[1]
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

// several are sessions of two users on two nodes, one of which has ended.
func (s *site) several(t *testing.T) {
	t.Helper()
	s.open(t, func(cfg *config.Service, st store.Store) {
		r := service.NewSessions(cfg, st)
		for i, rec := range []session.Record{
			{Node: "gw1", Acct: "s1", User: "alice", Source: netip.MustParseAddr("192.0.2.5"), Addr: netip.MustParseAddr("10.20.0.10"), Device: "LT-1", Rule: "staff"},
			{Node: "gw2", Acct: "s2", User: "alice", Source: netip.MustParseAddr("198.51.100.7"), Addr: netip.MustParseAddr("10.20.0.11"), Rule: "staff", Quarantine: time.Now().Add(time.Hour)},
			{Node: "gw2", Acct: "s3", User: "bob", Source: netip.MustParseAddr("192.0.2.77"), Addr: netip.MustParseAddr("10.20.1.9"), Rule: "plant"},
			{Node: "gw1", Acct: "s4", User: "bob", Source: netip.MustParseAddr("192.0.2.77"), Addr: netip.MustParseAddr("10.20.1.10"), Rule: "plant"},
		} {
			rec.ID = session.ID(rec.Node, rec.Acct)
			o := r.Open(time.Now(), rec, 0)
			if err := st.Do(t.Context(), append(o.NodeSeqs(), o.UserSeqs()...)...); err != nil {
				t.Fatal(err)
			}
			if i == 2 {
				continue // it stays pending
			}
			rep := session.Report{Node: rec.Node, Acct: rec.Acct}
			if _, err := r.Start(t.Context(), rep); err != nil {
				t.Fatal(err)
			}
			rep.Usage = session.Usage{Time: time.Minute, InOctets: uint64(i+1) << 10, OutOctets: 1 << 10}
			if _, err := r.Touch(t.Context(), rep); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Millisecond) // events of one millisecond have no order
		}
		rec, found, err := r.Get(t.Context(), "gw1/s4")
		if err != nil || !found {
			t.Fatal(found, err)
		}
		if _, err := r.AskEnd(t.Context(), session.Wish{Session: rec.ID, Opened: rec.Opened, Reason: "ended by an operator", Detail: "by root", Asked: time.Now()}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Stop(t.Context(), session.Report{Node: "gw1", Acct: "s4", Usage: session.Usage{Time: 90 * time.Second, InOctets: 8 << 10, OutOctets: 1 << 10}, Cause: 6}); err != nil {
			t.Fatal(err)
		}
		w, _, found, err := r.Wish(t.Context(), "end gw1/s4")
		if err != nil || !found {
			t.Fatal(found, err)
		}
		if _, err := r.Answered(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	})
}

func TestSessionFilters(t *testing.T) {
	s := newSite(t)
	s.must(t, "x", "user", "add", "alice")
	s.several(t)
	for args, want := range map[string]string{
		"": "s1 s2 s3", "--address 10.20.0.11": "s2", "--address 10.20.0.0/24": "s1 s2", "--address 10.20.0.11 --node gw1": "",
		"--device lt-1": "s1", "--device LT-9": "", "--source 192.0.2.0/24": "s1 s3", "--source 192.0.2.77": "s3", "--rule plant": "s3",
		"--state pending": "s3", "--state active": "s1", "--state quarantined": "s2", "--state ending": "",
		"--since 1h": "s1 s2 s3", "--since 2199-01-01": "", "--user alice --since 1h --rule staff": "s1 s2",
	} {
		var list []liveSession
		s.asked(t, &list, append([]string{"session", "list"}, strings.Fields(args)...)...)
		var got []string
		for _, x := range list {
			got = append(got, x.Acct)
		}
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("list %s: %q, want %q", args, got, want)
		}
	}
	for args, words := range map[string]string{
		"list --address here": "neither an address nor a network", "list --source 10.0.0.0/99": "--source:", "list --state up": "want one of pending, active",
		"list --since soon": "--since:", "history --since soon": "--since:", "list --watch=1ms": "want 100ms or more",
		"show s9": `no session "s9"`, "history --events --totals": "none of the others can be",
	} {
		s.fails(t, "", words, append([]string{"session"}, strings.Fields(args)...)...)
	}
	for args, want := range map[string]string{
		"": "s4 s1 s2", "--user bob": "s4", "--node gw2": "s2", "s1": "s1", "gw1/s1 s4": "s4 s1", "--user alice s4": "", "-n 1": "s4",
		"--since 2199-01-01": "", "--address 10.20.1.0/24": "s4",
	} {
		var list []session.Span
		s.asked(t, &list, append([]string{"session", "history"}, strings.Fields(args)...)...)
		var got []string
		for _, x := range list {
			got = append(got, x.Acct)
			if x.Starts != 1 || x.Stops != len(strings.Split(x.Acct, "4"))-1 {
				t.Errorf("history %s: %+v", args, x)
			}
		}
		slices.Sort(got)
		wanted := strings.Fields(want)
		slices.Sort(wanted)
		if !slices.Equal(got, wanted) {
			t.Errorf("history %s: %q, want %q", args, got, want)
		}
	}
	if out := s.must(t, "", "session", "history", "s4"); !strings.Contains(out, "admin-reset (ended by an operator)") || !strings.Contains(out, "1m30s") {
		t.Errorf("why it ended: %s", out)
	}
}

func TestSessionTotals(t *testing.T) {
	s := newSite(t)
	s.several(t)
	var live, past []usage
	s.asked(t, &live, "session", "list", "--totals")
	if len(live) != 2 || live[0].User != "alice" || live[0].Sessions != 2 || live[0].Usage.InOctets != 3<<10 || live[0].Usage.Time != 2*time.Minute {
		t.Errorf("%+v", live)
	}
	// Those of sessions that have ended count, too.
	if live[1].User != "bob" || live[1].Usage.InOctets != 0 || live[1].All == nil || live[1].All.Usage.InOctets != 8<<10 || live[1].All.Sessions != 1 {
		t.Errorf("%+v", live[1])
	}
	s.asked(t, &past, "session", "history", "--totals")
	if len(past) != 2 || past[0].User != "bob" || past[0].Usage.InOctets != 8<<10 || past[0].All != nil {
		t.Errorf("%+v", past)
	}
	for _, args := range []string{"session list --totals", "session history --totals"} {
		if table := rows(s.must(t, "", strings.Fields(args)...)); len(table) != 3 || table[0][0] != "USER" {
			t.Errorf("%s: %q", args, table)
		}
	}
}

func TestSessionShow(t *testing.T) {
	s := newSite(t)
	s.several(t)
	var up, over sessionJSON
	s.asked(t, &up, "session", "show", "s2")
	if !up.Live || up.Session.ID != "gw2/s2" || up.Ending != nil || len(up.Events) != 1 {
		t.Errorf("%+v", up)
	}
	s.asked(t, &over, "session", "show", "gw1/s4")
	if over.Live || over.Session.Why != "ended by an operator" || len(over.Events) != 2 {
		t.Errorf("%+v", over)
	}
	for name, lines := range map[string][]string{
		"s2": {"STATE +quarantined", "ADDRESS +10.20.0.11", "RULE +staff"},
		"s4": {"CAUSE +admin-reset", "ENDED FOR +ended by an operator: by root", "IN +8.0 KiB"},
	} {
		out := s.must(t, "", "session", "show", name)
		for _, line := range lines {
			if !regexp.MustCompile(line).MatchString(out) {
				t.Errorf("%s: no %q in\n%s", name, line, out)
			}
		}
	}
}

// A watch shows the list again and again, as lines of JSON too.
func TestSessionWatch(t *testing.T) {
	s := newSite(t)
	s.several(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { // waited for below
		root := newRoot(&cli{in: strings.NewReader(""), out: w, errs: io.Discard})
		root.SetArgs([]string{"--config", s.path("radiusd.yaml"), "-o", "json", "session", "list", "--watch=100ms"})
		err := root.ExecuteContext(ctx)
		w.Close()
		done <- err
	}()
	lines := bufio.NewScanner(r)
	for range 3 {
		var list []liveSession
		if !lines.Scan() {
			t.Fatal(lines.Err())
		}
		if err := json.Unmarshal(lines.Bytes(), &list); err != nil || len(list) != 3 {
			t.Fatalf("%v: %s", err, lines.Bytes())
		}
	}
	cancel()
	go func() { _, _ = io.Copy(io.Discard, r) }() // ends with the writer
	if err := <-done; err != nil {
		t.Error(err)
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
