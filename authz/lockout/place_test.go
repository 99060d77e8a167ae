package lockout

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/store"
	"postern/internal/store/storetest"
)

// domain is a directory that counts as Active Directory does (badPwdCount, [MS-ADA1]):
// failures, forgotten together a window after the last.
type domain struct {
	threshold int
	window    time.Duration
	pause     time.Duration // of each answer
	now       func() time.Time

	mu     sync.Mutex
	failed int
	last   time.Time
	most   int // that were ever counted
	locked bool
	heard  atomic.Int64
	asked  atomic.Int64
}

func (d *domain) hear(context.Context) (Theirs, error) {
	d.heard.Add(1)
	d.mu.Lock()
	defer d.mu.Unlock()
	return Theirs{Threshold: d.threshold, Window: d.window, Failures: d.failed, Ago: d.now().Sub(d.last)}, nil
}

// ask is a password, right or wrong.
func (d *domain) ask(right bool) (ok bool) {
	d.asked.Add(1)
	if d.pause > 0 {
		time.Sleep(d.pause)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if right && !d.locked {
		d.failed = 0
		return true
	}
	if now := d.now(); now.Sub(d.last) >= d.window {
		d.failed, d.last = 1, now
	} else {
		d.failed, d.last = d.failed+1, now
	}
	d.most = max(d.most, d.failed)
	d.locked = d.locked || d.failed >= d.threshold
	return false
}

// door is what a service does, as far as it concerns the shield.
type door struct {
	shield *Shield
	store  store.Store
	dir    *domain
}

// knock is a login. It says what came of it: "in", "wrong", or whatever refused.
func (d door) knock(t testing.TB, user string, source netip.Addr, right bool) string {
	t.Helper()
	ctx := context.Background()
	q, p := d.shield.Ask(user, source), d.shield.Place(user, source, Theirs{})
	leave := func() {
		if seqs := p.Left(); len(seqs) > 0 {
			do(t, d.store, seqs)
		}
	}
	do(t, d.store, store.Join(q.Seqs(), p.Seqs()))
	v := q.Check(q.Now())
	if v.Allowed {
		if known := p.Check(q.Now()); !known.Allowed {
			v = known
		}
	}
	if v.Allowed {
		heard, err := p.Enter(ctx, d.store, q.Now(), d.dir.hear)
		if err != nil {
			t.Fatal(err)
		}
		if !heard.Allowed {
			v = heard
		}
	}
	if !v.Allowed {
		leave()
		return v.Scope.String()
	}
	p.Asking()
	if !d.dir.ask(right) {
		do(t, d.store, store.Join(d.shield.Failed(WrongPassword, user, source, ""), p.Failed()))
		return "wrong"
	}
	seqs := store.Join(p.Right(), d.shield.Guard(user, source, v, false), p.Clear(), d.shield.Clear(time.Now(), user, source, v, false))
	do(t, d.store, seqs)
	if !seqs[0].OK() {
		return "guard"
	}
	return "in"
}

// left is what of a user's places and failures is there.
func left(t testing.TB, st store.Store, user string) (places, failed int) {
	t.Helper()
	a := askAsked(user)
	do(t, st, a.seqs())
	return a.places.N, a.fails.N
}

func storeNow(t testing.TB, st store.Store) func() time.Time {
	return func() time.Time {
		now := &store.Time{}
		do(t, st, []store.Seq{{now}})
		return now.Now
	}
}

// off is a shield that counts nothing of its own, so that only the directory's lockout
// is in the way.
func off() Config {
	none := Limit{Failures: -1}
	return Config{User: none, Pair: none, Source: none, Prefix: none, Spray: none, PrefixSpray: none}
}

// The whole table of thresholds: how many wrong passwords strangers get, and then the
// user at home.
func TestOneShort(t *testing.T) {
	for _, row := range []struct{ threshold, strangers, home int }{
		{0, 20, 20}, // never locks
		{1, 20, 20}, // cannot be protected
		{2, 1, 0}, {3, 1, 1}, {4, 2, 1}, {5, 3, 1}, {10, 8, 1},
	} {
		t.Run(fmt.Sprint(row.threshold), func(t *testing.T) {
			b := storetest.Embedded(t)
			dir := &domain{threshold: row.threshold, window: 10 * time.Minute, now: storeNow(t, b)}
			d := door{New(off()), b, dir}
			if row.threshold != 1 {
				if got := d.knock(t, "alice", home, true); got != "in" {
					t.Fatalf("alice at home: %s", got)
				}
			}
			count := func(from netip.Addr) (n int) {
				for range 20 {
					if d.knock(t, "alice", from, false) == "wrong" {
						n++
					}
				}
				return n
			}
			if got := count(other); got != row.strangers {
				t.Errorf("%d wrong passwords of strangers, want %d", got, row.strangers)
			}
			if row.threshold > 2 && d.knock(t, "alice", home, true) != "in" {
				t.Error("alice at home is kept out")
			}
			if row.threshold > 2 {
				count(other)
			}
			if got := count(home); got != row.home && row.threshold != 1 {
				t.Errorf("%d wrong passwords at home, want %d", got, row.home)
			}
			if row.threshold > 1 && (dir.locked || dir.most >= row.threshold) {
				t.Errorf("counted to %d of %d", dir.most, row.threshold)
			}
			if places, _ := left(t, b, "alice"); places != 0 {
				t.Errorf("%d places are left behind", places)
			}
		})
	}
}

// A hundred at once on two services, again and again, and alice comes home every now
// and then.
func TestParallelAttemptsNeverLock(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		for _, threshold := range []int{2, 3, 5, 8} {
			user := fmt.Sprint("alice", threshold)
			dir := &domain{threshold: threshold, window: time.Hour, now: time.Now, pause: time.Millisecond}
			doors := []door{{New(off()), b, dir}, {New(off()), b, dir}}
			if got := doors[0].knock(t, user, home, true); got != "in" {
				t.Fatalf("%s at home: %s", user, got)
			}
			var mu sync.Mutex
			got := map[string]int{}
			var wg sync.WaitGroup
			for i := range 100 {
				wg.Go(func() {
					from := netip.AddrFrom4([4]byte{100, byte(i), 0, 1})
					r := doors[i%2].knock(t, user, from, false)
					mu.Lock()
					defer mu.Unlock()
					got[r]++
				})
				if i%25 == 24 {
					wg.Go(func() {
						r := doors[i/25%2].knock(t, user, home, true)
						mu.Lock()
						defer mu.Unlock()
						got["home "+r]++
					})
				}
			}
			wg.Wait()
			if dir.locked || dir.most >= threshold {
				t.Errorf("counted to %d of %d: %v", dir.most, threshold, got)
			}
			if threshold > 2 && got["home in"] != 4 {
				t.Errorf("threshold %d: alice at home %v", threshold, got)
			}
			if threshold > 6 && got["wrong"] == 0 { // of fewer, those of home may be all there are
				t.Errorf("nobody was asked for: %v", got)
			}
			if places, _ := left(t, b, user); places != 0 {
				t.Errorf("%d places are left behind", places)
			}
			t.Logf("threshold %d: counted to %d, %v", threshold, dir.most, got)
		}
	})
}

// What others do at the directory counts, and is forgotten when the directory forgets.
func TestFailuresElsewhere(t *testing.T) {
	b := storetest.Embedded(t)
	dir := &domain{threshold: 5, window: 10 * time.Minute, now: storeNow(t, b)}
	d := door{New(off()), b, dir}
	d.knock(t, "alice", home, true)
	dir.ask(false)
	dir.ask(false)
	if got := []string{d.knock(t, "alice", other, false), d.knock(t, "alice", other, false)}; got[0] != "wrong" || got[1] != "directory" {
		t.Errorf("after two elsewhere: %v", got)
	}
	dir.ask(false) // 4 of 5
	if got := d.knock(t, "alice", home, true); got != "directory" {
		t.Errorf("one short of it, at home: %s", got)
	}
	heard, asked := dir.heard.Load(), dir.asked.Load()
	for range 50 {
		if got := d.knock(t, "alice", other, true); got != "directory" {
			t.Fatalf("a stranger: %s", got)
		}
	}
	if dir.heard.Load() != heard || dir.asked.Load() != asked {
		t.Errorf("refused logins cost the directory %d questions and %d passwords", dir.heard.Load()-heard, dir.asked.Load()-asked)
	}
	// Somebody unlocked the account: it is noticed when the word has aged.
	dir.failed = 0
	b.Sleep(believed)
	if _, failed := left(t, b, "alice"); failed != 1 {
		t.Errorf("%d failures of ours", failed)
	}
	if got := d.knock(t, "alice", other, true); got != "in" {
		t.Errorf("after it: %s", got)
	}
	// And the window passes.
	third := netip.MustParseAddr("203.0.113.3")
	for range 3 {
		d.knock(t, "alice", third, false)
	}
	if got := d.knock(t, "alice", third, true); got != "directory" {
		t.Errorf("a stranger: %s", got)
	}
	b.Sleep(dir.window)
	if got := d.knock(t, "alice", third, true); got != "in" {
		t.Errorf("after the window: %s", got)
	}
}

// Each domain controller counts apart: ours is the floor.
func TestOtherController(t *testing.T) {
	b := storetest.Embedded(t)
	dir := &domain{threshold: 5, window: 10 * time.Minute, now: storeNow(t, b)}
	d := door{New(off()), b, dir}
	wrong := 0
	for range 20 {
		if d.knock(t, "alice", other, false) == "wrong" {
			wrong++
		}
		dir.mu.Lock()
		dir.failed = 0 // another one answers, that knows of nothing
		dir.mu.Unlock()
		b.Sleep(believed / 2)
	}
	if wrong != 3 {
		t.Errorf("%d wrong passwords", wrong)
	}
}

// A service that dies with places in its hands keeps them for a while only.
func TestPlacesLapse(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		cfg := off()
		cfg.Asking = 300 * time.Millisecond
		dir := &domain{threshold: 5, window: time.Hour, now: storeNow(t, b)}
		d := door{New(cfg), b, dir}
		d.knock(t, "alice", home, true) // from now on the limit is known
		for range 3 {
			p := d.shield.Place("alice", other, Theirs{})
			do(t, b, p.Seqs())
			if v, err := p.Enter(context.Background(), b, dir.now(), dir.hear); err != nil || !v.Allowed {
				t.Fatalf("%+v, %v", v, err)
			}
			p.Asking()
			p.Lapses()
			if len(p.Left()) != 0 {
				t.Error("what may yet count is given back")
			}
		}
		if got := d.knock(t, "alice", other, true); got != "directory" {
			t.Errorf("while they last: %s", got)
		}
		b.Sleep(400 * time.Millisecond)
		if got := d.knock(t, "alice", other, true); got != "in" {
			t.Errorf("afterwards: %s", got)
		}
	})
}

// A source that is known to be locked takes no places, so that it keeps nobody out.
func TestLockedSourceTakesNoPlace(t *testing.T) {
	b := storetest.Embedded(t)
	cfg := off()
	cfg.Source = Limit{Failures: 2}
	dir := &domain{threshold: 10, window: time.Hour, now: storeNow(t, b)}
	d := door{New(cfg), b, dir}
	for i := range 2 {
		d.knock(t, fmt.Sprint("u", i), other, false)
	}
	if got := d.knock(t, "alice", other, false); got != "source" {
		t.Fatal(got)
	}
	if p := d.shield.Place("alice", other, Theirs{}); len(p.Seqs()) != 0 || !p.Check(noon).Allowed {
		t.Error("a place for a locked source")
	}
	// A good pair there gets one all the same.
	do(t, b, d.shield.Clear(time.Now(), "bob", other, Verdict{Allowed: true}, false))
	if got := d.knock(t, "bob", other, true); got != "in" {
		t.Errorf("bob: %s", got)
	}
	if places, _ := left(t, b, "bob"); places != 0 {
		t.Errorf("%d places are left behind", places)
	}
	must(t, d.shield.Reset(context.Background(), b, What{Source: other}))
	if p := d.shield.Place("alice", other, Theirs{}); len(p.Seqs()) == 0 {
		t.Error("cleared, and remembered")
	}
}

// The first trip of somebody's first login is under what others of the domain have.
func TestPlaceOfStranger(t *testing.T) {
	b := storetest.Embedded(t)
	dir := &domain{threshold: 8, window: time.Hour, now: storeNow(t, b)}
	sh := New(off())
	trips := func(like Theirs, user string) (n int64) {
		before := dir.heard.Load()
		p := sh.Place(user, other, like)
		do(t, b, p.Seqs())
		if v, err := p.Enter(context.Background(), b, dir.now(), dir.hear); err != nil || !v.Allowed {
			t.Fatalf("%+v, %v", v, err)
		}
		do(t, b, p.Failed())
		return dir.heard.Load() - before
	}
	if n := trips(Theirs{}, "a"); n != 2 {
		t.Errorf("nothing known: heard %d times", n)
	}
	if n := trips(Theirs{Threshold: 8, Window: time.Hour}, "b"); n != 1 {
		t.Errorf("as others: heard %d times", n)
	}
	if n := trips(Theirs{}, "a"); n != 1 {
		t.Errorf("the second time: heard %d times", n)
	}
	dir.threshold = 5
	if n := trips(Theirs{}, "a"); n != 2 {
		t.Errorf("after a change of the policy: heard %d times", n)
	}
	if p := sh.Place("a", other, Theirs{}); len(p.Seqs()) != 1 {
		t.Error("no place")
	} else if do(t, b, p.Seqs()); p.op.Taken || p.Check(dir.now()).Allowed {
		t.Errorf("three of ours of five: %+v", p.op)
	}
	st, err := sh.Show(context.Background(), b, "a", other)
	if a := st.Asked; err != nil || a.Limit != 3 || a.Trusted != 4 || a.Ours != 3 || a.Now != 0 || a.Window != time.Hour {
		t.Errorf("%+v, %v", a, err)
	}
	if st.Login.Allowed || st.Login.Scope != ScopeDirectory || !st.Login.Until.Equal(st.Asked.Last.Add(time.Hour)) {
		t.Errorf("shown as %+v", st.Login)
	}
	must(t, sh.Reset(context.Background(), b, What{User: "A"}))
	if st, _ := sh.Show(context.Background(), b, "a", other); st.Asked.Limit != 0 || st.Asked.Ours != 0 {
		t.Errorf("after clear: %+v", st.Asked)
	}
}

func TestEnterFails(t *testing.T) {
	b := storetest.Embedded(t)
	sh, away := New(off()), errors.New("away")
	p := sh.Place("a", other, Theirs{})
	do(t, b, p.Seqs())
	if _, err := p.Enter(context.Background(), b, noon, func(context.Context) (Theirs, error) { return Theirs{}, away }); !errors.Is(err, away) {
		t.Error(err)
	}
	p.Lapses() // nobody was asked
	do(t, b, p.Left())
	if places, _ := left(t, b, "a"); places != 0 {
		t.Errorf("%d places are left behind", places)
	}
	b.Close()
	dir := &domain{threshold: 8, window: time.Hour, now: time.Now}
	if _, err := p.Enter(context.Background(), b, noon, dir.hear); !errors.Is(err, store.ErrUnavailable) {
		t.Error(err)
	}
	var none *Place
	if v, err := none.Enter(context.Background(), b, noon, nil); err != nil || !v.Allowed || !none.Check(noon).Allowed ||
		none.Seqs() != nil || none.Failed() != nil || none.Right() != nil || none.Clear() != nil || none.Left() != nil {
		t.Error("the nil Place is in the way")
	}
	none.Asking()
	none.Lapses()
	if New(Config{Disabled: true}).Place("a", other, Theirs{}) != nil {
		t.Error("disabled, and takes places")
	}
}
