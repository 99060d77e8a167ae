package activation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"postern/internal/store"
	"postern/internal/store/storetest"
	"postern/policy"
)

// made is a bundle and its policy.
type made struct {
	Bundle
	*policy.Policy
}

func make1(t testing.TB, more string) made {
	t.Helper()
	b := good(nil, more)
	p, _, err := (&Gate{}).Open(b, someday)
	if err != nil {
		t.Fatal(err)
	}
	return made{*b, p}
}

func number(t testing.TB, n int) made { return make1(t, fmt.Sprintf("# %d\n", n)) }

var alice = By{Who: "alice@host", From: "git 0123 policy.yaml", Comment: "why not"}

func (m made) activate(t testing.TB, d *Desk) State {
	t.Helper()
	base, err := d.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Activate(t.Context(), base, m.Bundle, m.Policy, alice)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDesk(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		d, ctx := NewDesk(b), t.Context()
		if s, err := d.State(ctx); err != nil || s.Active.Set() {
			t.Fatalf("%+v, %v", s, err)
		}
		if _, err := d.Rollback(ctx, State{}, "", alice); !errors.Is(err, ErrNotKept) {
			t.Error(err)
		}
		var all []made
		for i := range 4 {
			all = append(all, number(t, i))
		}
		for i, m := range all {
			s := m.activate(t, d)
			again, err := d.State(ctx)
			if err != nil || again.encode() != s.encode() || again.Active.Version != m.Version() || again.Active.Sum != m.Sum() || again.Serial != uint64(i+1) {
				t.Fatalf("%+v, %+v, %v", s, again, err)
			}
			if version, got, err := d.Bundle(ctx, m.Version()[:8]); err != nil || got.Sum() != m.Sum() || version != m.Version() {
				t.Fatalf("%v", err)
			}
		}
		// Back, and further back; not to and fro.
		back := func(version string, want int) {
			t.Helper()
			s, err := d.State(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if s, err = d.Rollback(ctx, s, version, alice); err != nil || s.Active.Version != all[want].Version() || s.Active.Action != RolledBack {
				t.Fatalf("%+v, %v; want %d, %s", s.Active, err, want, all[want].Version())
			}
		}
		back("", 2)
		back("", 1)
		back(all[3].Version(), 3)
		back("", 2)
		all[2].activate(t, d) // once more: what to go back to stays
		back("", 1)
		all[3].activate(t, d)
		back("", 1)
		events, err := d.History(ctx, 100)
		if err != nil {
			t.Fatal(err)
		}
		var said []string
		for i, e := range events {
			n := func(version string) string {
				for i, m := range all {
					if m.Version() == version {
						return fmt.Sprint(i)
					}
				}
				return "-"
			}
			said = append(said, fmt.Sprintf("%v %s>%s", e.Action, n(e.Before), n(e.After)))
			if e.Who != alice.Who || e.From != alice.From || e.Comment != alice.Comment || e.At.IsZero() || e.Serial != uint64(i+1) {
				t.Errorf("%+v", e)
			}
		}
		want := "activate ->0, activate 0>1, activate 1>2, activate 2>3, rollback 3>2, rollback 2>1, rollback 1>3, rollback 3>2, activate 2>2, rollback 2>1, activate 1>3, rollback 3>1"
		if got := strings.Join(said, ", "); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

func TestCandidate(t *testing.T) {
	b := storetest.Embedded(t)
	d, ctx := NewDesk(b), t.Context()
	first, second := number(t, 1), number(t, 2)
	s := first.activate(t, d)
	s, err := d.Propose(ctx, s, second.Bundle, second.Policy, alice)
	if err != nil || s.Active.Version != first.Version() || s.Candidate.Version != second.Version() {
		t.Fatalf("%+v, %v", s, err)
	}
	s = second.activate(t, d)
	if s.Candidate.Version != second.Version() {
		t.Errorf("%+v", s)
	}
	if s, err = d.Withdraw(ctx, s, alice); err != nil || s.Candidate.Set() || s.Active.Version != second.Version() {
		t.Fatalf("%+v, %v", s, err)
	}
	if s, err = d.Rollback(ctx, s, "", alice); err != nil || s.Active.Version != first.Version() {
		t.Errorf("%+v, %v", s.Active, err)
	}
}

// Of many at once that have seen the same state, one changes it; and of two that want the
// very same thing.
func TestActivationsAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		d := NewDesk(b)
		base := number(t, 0).activate(t, d)
		const n = 20
		var wg sync.WaitGroup
		errs := make([]error, n)
		for i := range n {
			m := number(t, 1+i%3)
			wg.Go(func() { _, errs[i] = d.Activate(context.Background(), base, m.Bundle, m.Policy, alice) })
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			switch {
			case err == nil:
				won++
			case !errors.Is(err, ErrChanged):
				t.Error(err)
			}
		}
		s, err := d.State(t.Context())
		if won != 1 || err != nil || s.Serial != 2 {
			t.Errorf("%d won, %+v, %v", won, s, err)
		}
		if events, err := d.History(t.Context(), 100); err != nil || len(events) != 2 {
			t.Errorf("%d events, %v", len(events), err)
		}
	})
}

// The last fifty are kept, and what is in use however old.
func TestKept(t *testing.T) {
	b := storetest.Embedded(t)
	d, ctx := NewDesk(b), t.Context()
	old := number(t, 0)
	s, err := d.Propose(ctx, State{}, old.Bundle, old.Policy, alice)
	if err != nil {
		t.Fatal(err)
	}
	for i := range keepVersions + 5 {
		number(t, 1+i).activate(t, d)
	}
	versions, err := d.Versions(ctx)
	if err != nil || len(versions) != keepVersions || versions[0] != number(t, keepVersions+5).Version() {
		t.Fatalf("%d, %v", len(versions), err)
	}
	if _, _, err := d.Bundle(ctx, old.Version()); err != nil {
		t.Errorf("the candidate: %v", err)
	}
	if _, _, err := d.Bundle(ctx, number(t, 1).Version()); !errors.Is(err, ErrNotKept) {
		t.Errorf("the oldest: %v", err)
	}
	get := &store.Get{Key: store.PolicyVersion(number(t, 1).Version())}
	if err := b.Do(ctx, store.Seq{get}); err != nil || get.Found {
		t.Errorf("its files are there, %v", err)
	}
	if _, err := d.Rollback(ctx, s, "", alice); err == nil {
		t.Error("rolled back from nothing")
	}
}

func TestFind(t *testing.T) {
	list := []kept{{Version: "aa11"}, {Version: "aa22"}, {Version: "bb"}}
	for version, want := range map[string]string{"aa1": "aa11", "b": "bb", "aa": "", "": "", "c": ""} {
		if k, err := find(list, version); k.Version != want || (err == nil) != (want != "") {
			t.Errorf("%q: %+v, %v", version, k, err)
		}
	}
}

func TestWhatPeopleSayIsBounded(t *testing.T) {
	d := NewDesk(storetest.Embedded(t))
	m := number(t, 1)
	s, err := d.Activate(t.Context(), State{}, m.Bundle, m.Policy, By{Who: strings.Repeat("ä", 2000), Comment: strings.Repeat("x", 1<<20)})
	if err != nil || len(s.Active.Who) > maxSaid || len(s.Active.Comment) > maxSaid || len(s.encode()) > maxState {
		t.Errorf("%d, %d, %v", len(s.Active.Who), len(s.Active.Comment), err)
	}
	if _, err := d.State(t.Context()); err != nil {
		t.Error(err)
	}
	if got := bounded("ääää", 6); got != "ä…" {
		t.Errorf("%q", got)
	}
}
