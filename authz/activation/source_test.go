package activation

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/store"
	"postern/internal/store/storetest"
)

func found(m made) Found { return Found{Bundle: m.Bundle, ID: m.Version()} }

// What counts is content that two looks agree on.
func TestWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two, half := found(number(t, 1)), found(number(t, 2)), Found{ID: "half"}
		looks := []Found{one, one, two, half, two, two, two, one, one}
		want := []string{two.ID, two.ID, one.ID} // the first time it is not done with
		var got []string
		ctx, cancel := context.WithCancel(t.Context())
		w := Watcher{
			Every: time.Second, Known: one.ID,
			Look: func() Found {
				f := looks[0]
				if looks = looks[1:]; len(looks) == 0 {
					cancel()
				}
				return f
			},
			Act: func(_ context.Context, f Found) bool {
				got = append(got, f.ID)
				return len(got) > 1
			},
		}
		w.Run(ctx)
		if !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// Look sees content and signature, and neither names of directories nor times.
func TestLook(t *testing.T) {
	dir := t.TempDir()
	name := write(t, dir, "policy.yaml", goodText)
	first := Look(name)
	if first.Err != nil {
		t.Fatal(first.Err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(name, old, old); err != nil {
		t.Fatal(err)
	}
	other := write(t, t.TempDir(), "policy.yaml", goodText)
	if Look(name).ID != first.ID || Look(other).ID != first.ID {
		t.Error("the same is another")
	}
	write(t, dir, "policy.yaml.sig", "x")
	signed := Look(name)
	write(t, dir, "policy.yaml", goodText+"# more\n")
	more := Look(name)
	gone := Look(filepath.Join(dir, "none"))
	ids := []string{first.ID, signed.ID, more.ID, gone.ID}
	slices.Sort(ids)
	if len(slices.Compact(ids)) != 4 || gone.Err == nil {
		t.Errorf("%q", ids)
	}
}

// nodes are services with a policy file each.
type node struct {
	*Source
	*service
}

func newNode(t *testing.T, st store.Store, name string) *node {
	t.Helper()
	s := newService(t, st, name)
	return &node{&Source{
		Store: st, Node: name, Every: time.Second, Board: s.board, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Gate: func() Gate { return s.gate }, From: func() string { return "git 0123 policy.yaml" },
	}, s}
}

func active(t *testing.T, st store.Store) string {
	t.Helper()
	s, err := NewDesk(st).State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.Active.Version
}

func TestSource(t *testing.T) {
	b := storetest.Embedded(t)
	d, ctx := NewDesk(b), t.Context()
	one, two := newNode(t, b, "one"), newNode(t, b, "two")
	p := make([]made, 5)
	for i := range p {
		p[i] = number(t, i)
	}
	act := func(n *node, m made, done bool, want made) {
		t.Helper()
		if got := n.Act(ctx, found(m)); got != done {
			t.Errorf("%s: done %v, want %v", n.Node, got, done)
		}
		if got := active(t, b); got != want.Version() {
			t.Errorf("%s: %s is active, want %s", n.Node, got, want.Version())
		}
	}
	act(one, p[0], true, p[0])  // the first thing there is
	act(two, p[0], false, p[0]) // not its turn
	act(one, p[1], true, p[1])
	// What was rolled back stays so, until the file changes.
	s, err := d.State(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Rollback(ctx, s, "", alice); err != nil {
		t.Fatal(err)
	}
	act(one, p[1], true, p[0])
	act(one, p[2], true, p[2])
	b.Sleep(time.Minute) // the first is gone
	// The other one's checkout is behind: that takes nothing back.
	act(two, p[1], true, p[2])
	act(two, p[2], true, p[2])
	act(two, p[3], true, p[3])
	// A commit that takes another back is a change like any other.
	act(two, p[2], true, p[2])
	b.Sleep(time.Minute)
	act(one, p[2], true, p[2])
	events, err := d.History(ctx, 20)
	if err != nil || len(events) != 6 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	if e := events[0]; e.Who != "one" || e.From != "git 0123 policy.yaml" || e.Action != Activated {
		t.Errorf("%+v", e)
	}
}

// What is refused is told once for each content, whoever finds it, and after a restart.
func TestSourceRefuses(t *testing.T) {
	b := storetest.Embedded(t)
	d, ctx := NewDesk(b), t.Context()
	one := newNode(t, b, "one")
	fine := number(t, 1)
	one.Act(ctx, found(fine))
	bad := Found{Bundle: *good(nil, "nonsense: 1\n"), ID: "bad"}
	gone := Look(filepath.Join(t.TempDir(), "none"))
	for i, f := range []Found{bad, gone, bad} {
		if !one.Act(ctx, f) || active(t, b) != fine.Version() || one.gauge(t, "postern_policy_alarm", "policy file refused") != 1 {
			t.Errorf("%d: %s is active", i, active(t, b))
		}
	}
	if m, s := one.gauge(t, "postern_policy_refused_total", "mistakes"), one.gauge(t, "postern_policy_refused_total", "source"); m != 2 || s != 1 {
		t.Errorf("refused %v and %v times", m, s)
	}
	again := newNode(t, b, "one") // restarted
	b.Sleep(time.Minute)
	if !again.Act(ctx, bad) || len(again.said()) != 0 {
		t.Errorf("told again: %q", again.said())
	}
	events, err := d.History(ctx, 20)
	if err != nil || len(events) != 4 || events[1].Action != Refused || events[1].Error == "" || events[1].Who != "one" {
		t.Errorf("%+v, %v", events, err)
	}
	b.Sleep(time.Minute)
	if !one.Act(ctx, found(number(t, 2))) || one.gauge(t, "postern_policy_alarm", "policy file refused") != 0 {
		t.Error("the alarm is not over")
	}
}

// Of many nodes that find the same change at once, one activates it.
func TestSourcesAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		var nodes []*node
		for _, name := range []string{"a", "b", "c", "d"} {
			nodes = append(nodes, newNode(t, b, name))
		}
		m := number(t, 1)
		var wg sync.WaitGroup
		for _, n := range nodes {
			wg.Go(func() { n.Act(context.Background(), found(m)) })
		}
		wg.Wait()
		if events, err := NewDesk(b).History(t.Context(), 20); err != nil || len(events) != 1 || active(t, b) != m.Version() {
			t.Errorf("%+v, %v", events, err)
		}
	})
}
