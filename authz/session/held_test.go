package session

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/store"
	"postern/internal/store/storetest"
)

// held opens a session in quarantine.
func held(t *testing.T, b storetest.Backend, r *Registry, acct string, life time.Duration) Record {
	t.Helper()
	rec := record("n1", acct, "alice")
	rec.Quarantine = storeTime(t, b).Add(life)
	o := r.Open(storeTime(t, b), rec, 0)
	if err := b.Do(ctx, store.Join(o.UserSeqs(), o.NodeSeqs())...); err != nil {
		t.Fatal(err)
	}
	rec, found, err := r.Get(ctx, rec.ID)
	if err != nil || !found || rec.Quarantine.IsZero() {
		t.Fatalf("%+v, %v", rec, err)
	}
	return rec
}

func storeTime(t *testing.T, b storetest.Backend) time.Time {
	t.Helper()
	c := &store.Time{}
	if err := b.Do(ctx, store.Seq{c}); err != nil {
		t.Fatal(err)
	}
	return c.Now
}

var open8h = Wish{Reason: "stepped up", Change: json.RawMessage(`{"session":28800}`)}

// Of many step-ups at once one releases the session, and accounting that comes at the
// same time neither undoes that nor is lost.
func TestRelease(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		r := New(b, Config{})
		rec := held(t, b, r, "a1", time.Hour)
		var won atomic.Int32
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				got, err := r.Release(ctx, rec, open8h, func(rec *Record) { rec.Factor = "code" })
				switch {
				case err == nil && got.Quarantine.IsZero() && got.Factor == "code":
					won.Add(1)
				case !errors.Is(err, ErrNotHeld):
					t.Errorf("%+v, %v", got, err)
				}
			})
		}
		for i := range 4 {
			wg.Go(func() {
				if _, err := r.Touch(ctx, Report{Node: "n1", Acct: "a1", Addr: inn, Usage: Usage{Time: time.Duration(i+1) * time.Minute}}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		got, _, err := r.Get(ctx, rec.ID)
		if err != nil || won.Load() != 1 || !got.Quarantine.IsZero() || got.Factor != "code" || got.State != Active || got.Addr != inn || got.Usage.Time != 4*time.Minute {
			t.Errorf("%d won: %+v, %v", won.Load(), got, err)
		}
		if h := history(t, r); h != "start a1; " {
			t.Errorf("history %q", h)
		}
		if lifting, err := r.Lifting(ctx, rec.ID); !lifting || err != nil {
			t.Errorf("lifting %v, %v", lifting, err)
		}
		w, of, found, err := r.Wish(ctx, "change "+rec.ID)
		if err != nil || !found || w.Kind != WishChange || of.ID != rec.ID || string(w.Change) != string(open8h.Change) || w.Reason != "stepped up" {
			t.Fatalf("%+v, %v, %v", w, found, err)
		}
		if first, err := r.Answered(ctx, w); !first || err != nil {
			t.Errorf("%v, %v", first, err)
		}
		if lifting, err := r.Lifting(ctx, rec.ID); lifting || err != nil {
			t.Errorf("lifting %v, %v", lifting, err)
		}
	})
}

func TestReleaseOfNothing(t *testing.T) {
	b := storetest.Embedded(t)
	r := New(b, Config{})
	rec := held(t, b, r, "a1", time.Hour)
	other := rec
	other.Opened = other.Opened.Add(-time.Minute)
	if _, err := r.Release(ctx, other, open8h, func(*Record) {}); !errors.Is(err, ErrGone) {
		t.Errorf("another of the same ID: %v", err)
	}
	must(t, r.Stop, Report{Node: "n1", Acct: "a1"})
	if _, err := r.Release(ctx, rec, open8h, func(*Record) {}); !errors.Is(err, ErrGone) {
		t.Errorf("ended: %v", err)
	}
	if names, err := r.Wishes(ctx); err != nil || len(names) != 0 {
		t.Errorf("%q, %v", names, err)
	}
}

// A change that is wished again while the NAS is asked for the one before is not
// taken for carried out.
func TestWishReplaced(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		r := New(b, Config{})
		rec := held(t, b, r, "a1", time.Hour)
		wish := func(change string) Wish {
			t.Helper()
			w := Wish{Kind: WishChange, Session: rec.ID, Opened: rec.Opened, Change: json.RawMessage(change)}
			seq, err := w.seq()
			if err == nil {
				err = b.Do(ctx, seq)
			}
			if err != nil {
				t.Fatal(err)
			}
			w, _, _, err = r.Wish(ctx, "change "+rec.ID)
			if err != nil {
				t.Fatal(err)
			}
			return w
		}
		old := wish(`{"session":1}`)
		wish(`{"session":2}`)
		if first, err := r.Answered(ctx, old); first || err != nil {
			t.Errorf("%v, %v", first, err)
		}
		w, _, found, err := r.Wish(ctx, "change "+rec.ID)
		if err != nil || !found || string(w.Change) != `{"session":2}` {
			t.Errorf("%+v, %v, %v", w, found, err)
		}
		names, err := r.Wishes(ctx)
		if err != nil || strings.Join(names, ",") != "change "+rec.ID {
			t.Errorf("%q, %v", names, err)
		}
	})
}

func TestOverdue(t *testing.T) {
	b := storetest.Embedded(t)
	r := New(b, Config{Pending: time.Hour})
	ids := func() string {
		t.Helper()
		recs, err := r.Overdue(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var s []string
		for _, rec := range recs {
			s = append(s, rec.Acct)
		}
		return strings.Join(s, ",")
	}
	late, free := held(t, b, r, "late", time.Minute), held(t, b, r, "free", time.Minute)
	held(t, b, r, "gone", time.Minute)
	held(t, b, r, "long", time.Hour)
	if _, err := r.Release(ctx, free, open8h, func(*Record) {}); err != nil {
		t.Fatal(err)
	}
	must(t, r.Stop, Report{Node: "n1", Acct: "gone"})
	b.Sleep(time.Minute + heldSlack - time.Second)
	if got := ids(); got != "" {
		t.Errorf("early: %q", got)
	}
	b.Sleep(2 * time.Second)
	for range 2 {
		if got := ids(); got != "late" {
			t.Errorf("late: %q", got)
		}
	}
	if fresh, err := r.AskEnd(ctx, Wish{Session: late.ID, Opened: late.Opened, Reason: "step-up expired"}); !fresh || err != nil {
		t.Errorf("%v, %v", fresh, err)
	}
	if got := ids(); got != "" {
		t.Errorf("asked for: %q", got)
	}
	// What has left is forgotten, too.
	if left, err := r.membersOf(ctx, store.Held(), true); err != nil || len(left) != 0 {
		t.Errorf("%q are left, %v", left, err)
	}
}
