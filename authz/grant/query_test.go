package grant

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/store"
	"postern/internal/store/storetest"
	"postern/policy"
)

func any(string) bool { return true }

func load(t *testing.T, b store.Store, user string) *Query {
	t.Helper()
	q := Ask(user)
	do(t, b, q.Seqs()...)
	return q
}

func do(t *testing.T, b store.Store, seqs ...store.Seq) {
	t.Helper()
	if err := b.Do(context.Background(), seqs...); err != nil {
		t.Fatal(err)
	}
}

func now(t *testing.T, b store.Store) time.Time {
	t.Helper()
	c := &store.Time{}
	do(t, b, store.Seq{c})
	return c.Now
}

// give remembers a factor and returns its ID.
func give(t *testing.T, b store.Store, user string, p *Place, factor string) string {
	t.Helper()
	w, err := load(t, b, user).Give(now(t, b), p, factor, "D1")
	if err != nil || w == nil {
		t.Fatalf("%v, %v", w, err)
	}
	do(t, b, w.Seqs()...)
	if !w.OK() {
		t.Fatal("lost")
	}
	return w.Grant.ID
}

// used is the factor of the grant that a login uses, "" for none.
func used(t *testing.T, b store.Store, user string, p *Place) string {
	t.Helper()
	w, err := load(t, b, user).Use(now(t, b), p, time.Time{}, any)
	if err != nil {
		t.Fatal(err)
	}
	if w == nil {
		return ""
	}
	do(t, b, w.Seqs()...)
	if !w.OK() {
		t.Fatal("lost")
	}
	return w.Grant.Factor
}

func TestGiveAndUse(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		here := &Place{Source: home, Device: "PC1", Remember: policy.Remember{For: 24 * time.Hour, Idle: time.Hour, Device: true}}
		if got := used(t, b, "alice", here); got != "" {
			t.Errorf("used %q of nothing", got)
		}
		give(t, b, "alice", here, "code")
		there := *here
		there.Source = netip.MustParseAddr("198.51.100.8")
		if got := used(t, b, "Alice", here); got != "code" {
			t.Errorf("used %q", got)
		}
		for about, p := range map[string]*Place{"another source": &there, "another's": here} {
			user := "alice"
			if about == "another's" {
				user = "bob"
			}
			if got := used(t, b, user, p); got != "" {
				t.Errorf("%s: used %q", about, got)
			}
		}
		// What suits is the policy's to say; the newest that suits is taken.
		give(t, b, "alice", here, "webauthn")
		w, err := load(t, b, "alice").Use(now(t, b), here, time.Time{}, func(f string) bool { return f == "code" })
		if err != nil || w == nil || w.Grant.Factor != "code" {
			t.Errorf("%+v, %v", w, err)
		}
		if strings.HasSuffix(t.Name(), "redis") {
			return // the rest takes hours there
		}
		for range 30 { // used again and again, until the absolute limit
			b.Sleep(50 * time.Minute)
			if now(t, b).Before(t0.Add(24*time.Hour)) != (used(t, b, "alice", here) == "code" || used(t, b, "alice", here) == "webauthn") {
				t.Errorf("at %v", now(t, b))
			}
		}
		if q := load(t, b, "alice"); q.op.Found {
			t.Errorf("the list outlives its grants: %s", q.op.Value)
		}
	})
}

// Nothing is remembered that the policy does not want remembered, or that could not be
// told from anywhere else.
func TestGiveNothing(t *testing.T) {
	for _, p := range []*Place{{Source: home}, {Remember: day}} {
		if w, err := Ask("alice").Give(t0, p, "code", ""); w != nil || err != nil {
			t.Errorf("%+v: %+v, %v", p, w, err)
		}
	}
}

// The list is bounded, and one place has one grant of a kind.
func TestBounded(t *testing.T) {
	b := storetest.Embedded(t)
	for i := range 30 {
		p := &Place{Source: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), Device: strings.Repeat("x", 200), Remember: day}
		give(t, b, "alice", p, "code")
		give(t, b, "alice", p, "code")
		b.Sleep(time.Minute)
	}
	list, err := New(b).List(context.Background(), "alice")
	if err != nil || len(list) != maxGrants || list[0].Source.String() != "192.0.2.29" || list[maxGrants-1].Source.String() != "192.0.2.10" {
		t.Errorf("%d: %+v, %v", len(list), list, err)
	}
	if len(list[0].Device) != maxDevice {
		t.Errorf("device %q", list[0].Device)
	}
}

// Logins in parallel use one grant together, and give many without losing one.
func TestParallel(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		here := &Place{Source: home, Remember: day}
		id := give(t, b, "alice", here, "code")
		at := now(t, b)
		var wg sync.WaitGroup
		var lost atomic.Int32
		for range 20 {
			wg.Go(func() {
				q := Ask("alice")
				do(t, b, q.Seqs()...)
				w, err := q.Use(at, here, time.Time{}, any)
				if err != nil || w == nil || w.Grant.ID != id {
					t.Errorf("%+v, %v", w, err)
					return
				}
				do(t, b, w.Seqs()...)
				if !w.OK() {
					lost.Add(1)
				}
			})
		}
		wg.Wait()
		if lost.Load() != 0 {
			t.Errorf("%d of 20 lost", lost.Load())
		}
		k := New(b)
		for i := range 10 {
			wg.Go(func() {
				p := &Place{Source: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), Remember: day}
				q := Ask("alice")
				do(t, b, q.Seqs()...)
				w, err := q.Give(at, p, "code", "")
				if err != nil {
					t.Error(err)
					return
				}
				do(t, b, w.Seqs()...)
				if !w.OK() {
					if err := k.Remember(context.Background(), q, w, p); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if list, err := k.List(context.Background(), "alice"); err != nil || len(list) != 11 {
			t.Errorf("%d grants, %v", len(list), err)
		}
	})
}

// What is revoked between a login's read and its commit is not used, and decided again
// on what there is then.
func TestRevokedMeanwhile(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		here, k := &Place{Source: home, Remember: day}, New(b)
		id := give(t, b, "alice", here, "code")
		q := load(t, b, "alice")
		w, err := q.Use(now(t, b), here, time.Time{}, any)
		if err != nil || w == nil {
			t.Fatal(w, err)
		}
		if ok, err := k.Revoke(context.Background(), "alice", id); !ok || err != nil {
			t.Fatal(ok, err)
		}
		do(t, b, w.Seqs()...)
		if w.OK() {
			t.Fatal("a revoked grant was used")
		}
		if err := q.Again(w); err != nil {
			t.Fatal(err)
		}
		if w, err := q.Use(now(t, b), here, time.Time{}, any); w != nil || err != nil {
			t.Errorf("%+v, %v", w, err)
		}
	})
}
