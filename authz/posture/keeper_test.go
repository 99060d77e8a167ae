package posture

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/store"
	"postern/internal/store/storetest"
	"postern/policy"
)

// clock is the store's.
func clock(t *testing.T, b store.Store) time.Time {
	t.Helper()
	op := &store.Time{}
	if err := b.Do(t.Context(), store.Seq{op}); err != nil {
		t.Fatal(err)
	}
	return op.Now
}

// A device that changes hands leaves its owner of before, and both are looked at again.
func TestOwners(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		st := b.Store
		var mu sync.Mutex
		var reviewed []string
		k := New(st, Config{Review: func(_ context.Context, why string, users ...string) error {
			mu.Lock()
			defer mu.Unlock()
			reviewed = append(reviewed, users...)
			return nil
		}})
		now := clock(t, b)
		for _, owner := range []string{"alice", "bob"} {
			reviewed = nil
			changed, err := k.Put(t.Context(), agent(now, 0, "LT-1", owners(owner)))
			if err != nil || !slices.Equal(changed, reviewed) || !slices.Contains(changed, owner) {
				t.Fatalf("%v, %v, reviewed %v", changed, err, reviewed)
			}
		}
		if !slices.Equal(reviewed, []string{"alice", "bob"}) {
			t.Errorf("reviewed %v", reviewed)
		}
		if recs, err := k.List(t.Context(), "alice"); err != nil || len(recs) != 0 {
			t.Errorf("alice has %v, %v", recs, err)
		}
		if recs, err := k.List(t.Context(), "BOB"); err != nil || len(recs) != 1 || recs[0].Device != "lt-1" {
			t.Errorf("bob has %v, %v", recs, err)
		}
		// A second source knows a second owner: it is both's.
		if _, err := k.Put(t.Context(), at(now, 0, "lt-1", "intune", policy.Inventory, owners("alice"))); err != nil {
			t.Fatal(err)
		}
		if recs, _ := k.List(t.Context(), "alice"); len(recs) != 2 {
			t.Errorf("alice has %v", recs)
		}
		if err := k.Remove(t.Context(), "lt-1", "intune"); err != nil {
			t.Fatal(err)
		}
		if recs, _ := k.List(t.Context(), "alice"); len(recs) != 0 {
			t.Errorf("after the removal alice has %v", recs)
		}
		if err := k.Remove(t.Context(), "lt-1"); err != nil {
			t.Fatal(err)
		}
		if recs, err := k.List(t.Context(), ""); err != nil || len(recs) != 0 {
			t.Errorf("%v, %v", recs, err)
		}
		if _, found, err := k.Get(t.Context(), "lt-1"); found || err != nil {
			t.Errorf("%v, %v", found, err)
		}
	})
}

// What is older than what its source said before changes nothing, and nothing is of the
// future.
func TestOrder(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		k := New(b, Config{})
		now := clock(t, b)
		for _, r := range []Record{
			agent(now, time.Minute, "lt-1", with(func(f *Facts) { f.Firewall = policy.Yes })),
			agent(now, time.Hour, "lt-1", with(func(f *Facts) { f.Firewall = policy.No })),
		} {
			if _, err := k.Put(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		recs, _, err := k.Get(t.Context(), "LT-1")
		if err != nil || len(recs) != 1 || recs[0].Facts.Firewall != policy.Yes {
			t.Errorf("%+v, %v", recs, err)
		}
		if _, err := k.Put(t.Context(), agent(now, -24*time.Hour, "lt-2", with(func(f *Facts) { f.Patched = now.Add(time.Hour) }))); err != nil {
			t.Fatal(err)
		}
		recs, _, _ = k.Get(t.Context(), "lt-2")
		if r := recs[0]; r.At.After(clock(t, b)) || r.Facts.Patched.After(clock(t, b)) {
			t.Errorf("of the future: %+v", r)
		}
	})
}

// Many sources that speak of one device at once are all heard.
func TestAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		st := b.Store
		now := clock(t, b)
		var wg sync.WaitGroup
		for i := range maxSources {
			wg.Go(func() { // waited for below
				k := New(st, Config{})
				r := at(now, 0, "lt-1", fmt.Sprint("source", i), policy.Inventory, owners(fmt.Sprint("user", i%3)))
				if _, err := k.Put(context.Background(), r); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		k := New(st, Config{})
		recs, _, err := k.Get(t.Context(), "lt-1")
		if err != nil || len(recs) != maxSources {
			t.Fatalf("%d sources, %v", len(recs), err)
		}
		for i := range 3 {
			if mine, err := k.List(t.Context(), fmt.Sprint("user", i)); err != nil || len(mine) != maxSources {
				t.Errorf("user%d sees %d sources, %v", i, len(mine), err)
			}
		}
	})
}

// Each broken record is refused, and the others are written all the same.
func TestBadRecords(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		k := New(b, Config{})
		now := clock(t, b)
		bad := []Record{
			agent(now, 0, ""), agent(now, 0, "a b"), agent(now, 0, strings.Repeat("x", 65)), agent(now, 0, "lt\n1"),
			at(now, 0, "lt-2", "", policy.Inventory), at(now, 0, "lt-3", "intune", policy.NoConfidence), at(now, 0, "lt-4", "intune", 9),
			{Device: "lt-5", Source: "intune", Confidence: policy.Inventory},
			agent(now, 0, "lt-6", owners(make([]string, maxOwners+1)...)),
			agent(now, 0, "lt-7", named(strings.Repeat("x", maxText+1))),
			agent(now, 0, "lt-8", with(func(f *Facts) { f.Groups = make([]string, maxGroups+1) })),
		}
		_, err := k.Put(t.Context(), append(bad, agent(now, 0, "lt-9"))...)
		if !errors.Is(err, ErrBadRecord) {
			t.Errorf("%v", err)
		}
		if n := strings.Count(fmt.Sprint(err), "not a record"); n != len(bad) {
			t.Errorf("%d of %d refused: %v", n, len(bad), err)
		}
		if all, err := k.List(t.Context(), ""); err != nil || len(all) != 1 || all[0].Device != "lt-9" {
			t.Errorf("%v, %v", all, err)
		}
	})
}

// Whoever has a session from a device is looked at again with its owners, when it changes
// and when it is forgotten; who that is may not be known, and then the caller is told.
func TestUsing(t *testing.T) {
	b := storetest.Embedded(t)
	var failing error
	k := New(b, Config{
		Review: func(context.Context, string, ...string) error { return nil },
		Using: func(_ context.Context, device string) ([]string, error) {
			return []string{"bob", "user of " + device}, failing
		},
	})
	rec := agent(clock(t, b), 0, "LT-1", owners("bob"))
	want := []string{"bob", "user of lt-1"}
	if users, err := k.Put(t.Context(), rec); err != nil || !slices.Equal(users, want) {
		t.Errorf("%q, %v", users, err)
	}
	failing = errors.New("away")
	if _, err := k.Put(t.Context(), rec); !errors.Is(err, failing) {
		t.Error(err)
	}
	if err := k.Remove(t.Context(), "lt-1"); !errors.Is(err, failing) {
		t.Error(err)
	}
	quiet := New(b, Config{Using: k.cfg.Using})
	if users, err := quiet.Put(t.Context(), rec); err != nil || !slices.Equal(users, []string{"bob"}) {
		t.Errorf("nobody is looked at again: %q, %v", users, err)
	}
}
