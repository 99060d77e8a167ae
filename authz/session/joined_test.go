package session

import (
	"testing"
	"time"

	"postern/internal/store"
	"postern/internal/store/storetest"
)

// Two services let one attempt in, or one of them does not: whichever comes first, the
// session is whole or is not there, and one that is reported starts once.
func TestJoined(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		r := New(b, Config{})
		begin := func(acct string) (rec Record, one, two *Opening) {
			t.Helper()
			rec = record("n1", acct, "alice")
			rec.Attempt = "attempt of " + acct
			for _, o := range []**Opening{&one, &two} {
				*o = r.Open(time.Now(), rec, 0)
				if err := b.Do(ctx, store.Join((*o).UserSeqs(), (*o).NodeSeqs())...); err != nil {
					t.Fatal(err)
				}
			}
			if one.Repeated() || !two.Repeated() {
				t.Fatalf("repeated: %v, %v", one.Repeated(), two.Repeated())
			}
			return rec, one, two
		}
		live := func(rec *Record) bool {
			t.Helper()
			_, found, err := r.Get(ctx, rec.ID)
			if err != nil {
				t.Fatal(err)
			}
			return found
		}
		abandon := func(rec Record) {
			t.Helper()
			if err := r.Abandon(ctx, rec); err != nil {
				t.Fatal(err)
			}
		}

		// The first stands still before it takes back what it did.
		rec, _, two := begin("joined")
		if err := two.Settle(ctx, true); err != nil || !live(&rec) {
			t.Fatal(err)
		}
		must(t, r.Start, Report{Node: "n1", Acct: "joined"})
		abandon(rec)
		must(t, r.Touch, Report{Node: "n1", Acct: "joined", Usage: Usage{Time: time.Minute}})
		must(t, r.Stop, Report{Node: "n1", Acct: "joined", Usage: Usage{Time: 2 * time.Minute}})

		rec, _, two = begin("joined, not reported yet")
		if err := two.Settle(ctx, true); err != nil {
			t.Fatal(err)
		}
		if abandon(rec); !live(&rec) {
			t.Error("a session that somebody was let in to is abandoned")
		}

		// The first takes it back before the second has joined.
		rec, _, two = begin("abandoned")
		abandon(rec)
		if err := two.Settle(ctx, true); err == nil || live(&rec) {
			t.Errorf("let in to a session that is abandoned: %v", err)
		}
		rec, _, two = begin("abandoned by both")
		if err := two.Settle(ctx, false); err != nil {
			t.Fatal(err)
		}
		if abandon(rec); live(&rec) {
			t.Error("a session that nobody was let in to is there")
		}

		// It has ended: what was answered stays true.
		rec, _, two = begin("ended")
		must(t, r.Start, Report{Node: "n1", Acct: "ended"})
		must(t, r.Stop, Report{Node: "n1", Acct: "ended"})
		if err := two.Settle(ctx, true); err != nil || live(&rec) {
			t.Error(err)
		}
		events, err := r.History(ctx, 100)
		if err != nil {
			t.Fatal(err)
		}
		told := map[string]int{}
		for _, e := range events {
			told[string(e.Kind)+" "+e.Acct]++
		}
		if len(told) != 4 || len(events) != 4 {
			t.Errorf("%v", told)
		}
	})
}
