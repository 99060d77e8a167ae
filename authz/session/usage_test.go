package session

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"postern/internal/store"
	"postern/internal/store/storetest"
)

func TestUnfold(t *testing.T) {
	const turn = 1 << 32
	for _, row := range []struct{ now, before, want uint64 }{
		{5, 0, 5},
		{5, 5, 5},                          // repeated
		{3, turn - 10, turn + 3},           // over its end
		{7, turn + 3, turn + 7},            // and on
		{3, 3*turn - 10, 3*turn + 3},       // once more
		{0, 100, 100},                      // left out
		{50, 100, 100},                     // fallen from the lower half: begun again
		{turn / 2, turn/2 + 1, turn/2 + 1}, // fallen to the upper half
		{turn + 5, 7, turn + 5},            // it has Gigawords after all
		{1<<64 - 1, 1<<64 - 2, 1<<64 - 1},  // the largest there is
		{turn - 1, 5*turn + turn - 2, 5*turn + turn - 1}, //
		{1<<64 - 10, 1<<64 - 1, 1<<64 - 1},               // wide, and fallen
	} {
		if got := unfold(row.now, row.before); got != row.want {
			t.Errorf("%d after %d: %d, want %d", row.now, row.before, got, row.want)
		}
	}
}

func FuzzUnfold(f *testing.F) {
	f.Add(uint64(0), uint64(3))
	f.Add(uint64(1)<<40, uint64(1)<<32-1)
	f.Fuzz(func(t *testing.T, before, more uint64) {
		before, more = before%(1<<60), more%(1<<31)
		now := before + more
		if got := unfold(now%(1<<32), before); got != now && (before%(1<<32) >= 1<<31 || now%(1<<32) >= before%(1<<32)) {
			t.Fatalf("%d after %d: %d, want %d", now%(1<<32), before, got, now)
		}
		if got := unfold(more, before); got < before {
			t.Fatalf("%d after %d falls to %d", more, before, got)
		}
	})
}

func TestUsageAfter(t *testing.T) {
	before := Usage{time.Minute, 1<<32 - 1, 1<<32 - 1, 1<<32 - 1, 7}
	if got := (Usage{59 * time.Second, 1 << 50, 1, 1, 1}).after(before, Wide); got != before {
		t.Errorf("a late report: %+v", got)
	}
	if got := (Usage{2 * time.Minute, 5, 5, 5, 5}).after(before, Narrow); got != (Usage{2 * time.Minute, 1<<32 + 5, 1<<32 + 5, 1<<32 + 5, 7}) {
		t.Errorf("narrow: %+v", got)
	}
	if got := (Usage{2 * time.Minute, 1 << 33, 1 << 34, 5, 8}).after(before, Wide); got != (Usage{2 * time.Minute, 1 << 33, 1 << 34, 1<<32 + 5, 8}) {
		t.Errorf("wide: %+v", got)
	}
}

// What a user's sessions used is added up once, whatever is said twice or late.
func TestTotals(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		r := New(b, Config{})
		used := func(sessions, in uint64, up time.Duration) {
			t.Helper()
			all, err := r.Totals(ctx, "alice", "nobody")
			if err != nil || len(all) != 2 {
				t.Fatal(all, err)
			}
			if a := all[0]; a.Sessions != sessions || a.Usage.InOctets != in || a.Usage.Time != up || a.Since.IsZero() {
				t.Errorf("%+v; want %d sessions, %d octets in %v", a, sessions, in, up)
			}
			if n := all[1]; n != (Totals{User: "nobody"}) {
				t.Errorf("nobody: %+v", n)
			}
		}
		rep := func(acct string, up time.Duration, in uint64) Report {
			return Report{Node: "n1", Acct: acct, User: "alice", Usage: Usage{Time: up, InOctets: in}}
		}
		must := func(_ Outcome, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(r.Start(ctx, rep("1", 0, 0)))
		must(r.Touch(ctx, rep("1", time.Minute, 100)))
		must(r.Touch(ctx, rep("1", time.Minute, 100)))
		must(r.Start(ctx, rep("2", 0, 0)))
		must(r.Touch(ctx, rep("1", 30*time.Second, 50)))
		must(r.Touch(ctx, rep("2", time.Minute, 1<<40)))
		used(2, 1<<40+100, 2*time.Minute)
		must(r.Stop(ctx, rep("1", 2*time.Minute, 150)))
		must(r.Stop(ctx, rep("1", 2*time.Minute, 150)))
		used(2, 1<<40+150, 3*time.Minute)
		must(r.Stop(ctx, rep("3", time.Minute, 7))) // nothing else of it came
		used(3, 1<<40+157, 4*time.Minute)
		// The NAS counts from zero again.
		b.Sleep(5 * time.Millisecond)
		must(Outcome{}, b.Do(ctx, r.Open(clockNow(t, b), Record{ID: ID("n1", "1"), Node: "n1", Acct: "1", User: "alice"}, 0).NodeSeqs()...))
		must(r.Start(ctx, rep("1", 0, 0)))
		must(r.Touch(ctx, rep("1", time.Second, 10)))
		used(4, 1<<40+167, 4*time.Minute+time.Second)
	})
}

func clockNow(t *testing.T, s store.Store) time.Time {
	t.Helper()
	op := &store.Time{}
	if err := s.Do(ctx, store.Seq{op}); err != nil {
		t.Fatal(err)
	}
	return op.Now
}

// partly carries some sequences of a Do out and loses the rest.
type partly struct {
	store.Store
	lose func(store.Op) bool
}

func (p *partly) Do(ctx ctxType, seqs ...store.Seq) error {
	if p.lose == nil {
		return p.Store.Do(ctx, seqs...)
	}
	var kept []store.Seq
	lost := false
	for _, s := range seqs {
		if p.lose(s[len(s)-1]) {
			lost = true
			continue
		}
		kept = append(kept, s)
	}
	if len(kept) > 0 {
		if err := p.Store.Do(ctx, kept...); err != nil {
			return err
		}
	}
	if lost {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, errors.New("lost on the way"))
	}
	return nil
}

// Of a report that was half done when the store went away, the repetition does the rest.
func TestTotalsAfterHalfAReport(t *testing.T) {
	p := &partly{Store: storetest.Embedded(t)}
	r := New(p, Config{})
	say := func(f func(ctxType, Report) (Outcome, error), up time.Duration, in uint64, fails bool) {
		t.Helper()
		_, err := f(ctx, Report{Node: "n1", Acct: "1", User: "alice", Usage: Usage{Time: up, InOctets: in}})
		if (err != nil) != fails {
			t.Fatal(err)
		}
	}
	total := func(o store.Op) bool { _, is := o.(*store.Total); return is }
	say(r.Start, 0, 0, false)
	for i, lose := range []func(store.Op) bool{total, func(o store.Op) bool { return !total(o) }} {
		up, in := time.Duration(i+1)*time.Minute, uint64(i+1)*100
		p.lose = lose
		say(r.Touch, up, in, true)
		p.lose = nil
		say(r.Touch, up, in, false)
		all, err := r.Totals(ctx, "alice")
		if err != nil || all[0].Usage.InOctets != in || all[0].Usage.Time != up {
			t.Errorf("interim %d: %+v, %v", i, all, err)
		}
	}
	p.lose = total
	say(r.Stop, 3*time.Minute, 500, true)
	p.lose = nil
	say(r.Stop, 3*time.Minute, 500, false)
	if all, err := r.Totals(ctx, "alice"); err != nil || all[0].Usage.InOctets != 500 || all[0].Sessions != 1 {
		t.Errorf("stop: %+v, %v", all, err)
	}
}
