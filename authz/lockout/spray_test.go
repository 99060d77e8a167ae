package lockout

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"postern/internal/store"
	"postern/internal/store/storetest"
)

// begun counts a failure, and tells of what it brought to light. It returns what was
// new, as "kind scope subject".
func begun(t testing.TB, sh *Shield, st store.Store, f Failure, user string, source netip.Addr, id string) (news []string) {
	t.Helper()
	failing := sh.Failed(f, user, source, id)
	do(t, st, failing)
	for _, e := range failing.Begun() {
		e.User, e.Source, e.Decision = user, source, id
		first, err := Tell(context.Background(), st, e)
		if err != nil {
			t.Fatal(err)
		}
		if first {
			news = append(news, e.Kind.String()+" "+e.lock())
		}
	}
	return news
}

// 15 users, a failure each, from one source: it is locked, and the users are not.
func TestSpraySource(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		sh := New(Config{})
		for i := range 15 {
			if v := check(t, sh, b, fmt.Sprint("u", i), other); !v.Allowed {
				t.Fatalf("refused after %d users: %+v", i, v)
			}
			news := begun(t, sh, b, WrongPassword, fmt.Sprint("u", i), other, fmt.Sprint("a", i))
			// The same user again is no other user.
			news = append(news, begun(t, sh, b, WrongPassword, fmt.Sprint("U", i), other, fmt.Sprint("b", i))...)
			want := "[]"
			if i == 14 { // its 30th failure as well
				want = "[spraying spray 198.51.100.9/32 lockout source 198.51.100.9/32]"
			}
			if got := fmt.Sprint(news); got != want {
				t.Errorf("user %d: %s", i, got)
			}
		}
		if v := check(t, sh, b, "bob", other); v.Allowed {
			t.Errorf("the spraying source: %+v", v)
		}
		if v := check(t, sh, b, "u1", home); !v.Allowed || v.Scope != ScopeNone {
			t.Errorf("a victim at home: %+v", v)
		}
		st, err := sh.ShowSource(context.Background(), b, Source(other))
		if err != nil || st.Counters.Sprayed.Failures != 15 || st.Counters.Source.Failures != 30 || st.Login.Allowed {
			t.Errorf("shown: %+v, %v", st, err)
		}
		locks, all, err := List(context.Background(), b, 0, 10)
		if err != nil || all != 2 || len(locks) != 2 || locks[0].String() != "source 198.51.100.9/32" ||
			locks[1].String() != "spray 198.51.100.9/32" || !locks[0].Until.Before(locks[1].Until) {
			t.Errorf("list: %v of %d, %v", locks, all, err)
		}
		must(t, sh.Reset(context.Background(), b, What{Source: other}))
		if v := check(t, sh, b, "bob", other); !v.Allowed || v.Scope != ScopeNone {
			t.Errorf("after clear: %+v", v)
		}
		if locks, all, _ := List(context.Background(), b, 0, 10); all != 0 || len(locks) != 0 {
			t.Errorf("list after clear: %v", locks)
		}
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A morning at the office: everybody mistypes once and then gets in.
func TestOfficeIsNoSpray(t *testing.T) {
	b := storetest.Embedded(t)
	sh := New(Config{Source: Limit{Failures: -1}, Prefix: Limit{Failures: -1}})
	for i := range 40 {
		user := fmt.Sprint("u", i)
		if news := begun(t, sh, b, WrongPassword, user, home, fmt.Sprint(i)); len(news) != 0 {
			t.Fatalf("user %d: %v", i, news)
		}
		v := check(t, sh, b, user, home)
		if !v.Allowed || !v.Tried {
			t.Fatalf("user %d: %+v", i, v)
		}
		do(t, b, store.Join(sh.Clear(time.Now(), user, home, v, false)))
	}
	if _, c := load(t, sh, b, "x", home); c.Sprayed.Failures != 0 || c.PrefixSprayed.Failures != 0 {
		t.Errorf("%+v", c)
	}
	tally := &store.Tally{Key: store.SprayUsers(), Window: time.Hour}
	do(t, b, []store.Seq{{tally}})
	if tally.N != 0 {
		t.Errorf("%d users of the crowd are left", tally.N)
	}
}

// From 60 sources of one network, each with a user of its own.
func TestSprayPrefix(t *testing.T) {
	b := storetest.Embedded(t)
	sh := New(Config{})
	var news []string
	for i := range 60 {
		from := netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})
		news = append(news, begun(t, sh, b, UnknownUser, fmt.Sprint("u", i), from, fmt.Sprint(i))...)
	}
	if got := fmt.Sprint(news); got != "[spraying spray 198.51.100.0/24]" {
		t.Error(got)
	}
	if v := check(t, sh, b, "bob", netip.MustParseAddr("198.51.100.200")); v.Allowed || v.Scope != ScopeSpray {
		t.Errorf("a neighbour: %+v", v)
	}
	if v := check(t, sh, b, "bob", netip.MustParseAddr("198.51.101.200")); !v.Allowed {
		t.Errorf("not a neighbour: %+v", v)
	}
	st, err := sh.ShowSource(context.Background(), b, netip.MustParsePrefix("198.51.100.0/24"))
	if err != nil || st.Login.Allowed || st.Counters.PrefixSprayed.Failures != 60 || st.Counters.Prefix.Failures != 60 {
		t.Errorf("shown: %+v, %v", st, err)
	}
	must(t, sh.Reset(context.Background(), b, What{Prefix: netip.MustParsePrefix("198.51.100.7/24")}))
	if v := check(t, sh, b, "bob", netip.MustParseAddr("198.51.100.200")); !v.Allowed {
		t.Errorf("after clear: %+v", v)
	}
}

// One failure each of many users from as many networks locks nobody, and is told once.
func TestSprayAnywhere(t *testing.T) {
	b := storetest.Embedded(t)
	sh := New(Config{Crowd: Limit{Failures: 20, Window: 10 * time.Minute}})
	told := 0
	for i := range 90 {
		from := netip.AddrFrom4([4]byte{100, byte(i), 0, 1})
		for _, n := range begun(t, sh, b, WrongPassword, fmt.Sprint("u", i), from, fmt.Sprint(i)) {
			if n != "spraying spray anywhere" {
				t.Error(n)
			}
			told++
		}
		b.Sleep(20 * time.Second) // 30 users in 10 minutes
		if v := check(t, sh, b, "bob", from); !v.Allowed {
			t.Fatalf("%+v", v)
		}
	}
	if told != 1 {
		t.Errorf("told %d times in half an hour", told)
	}
	if locks, _, _ := List(context.Background(), b, 0, 10); len(locks) > 1 || len(locks) == 1 && locks[0].Subject != Anywhere {
		t.Errorf("%v", locks)
	}
}

// What is exempt is not locked, and does not lock its network.
func TestExemptOfPrefix(t *testing.T) {
	b := storetest.Embedded(t)
	sh := New(Config{Exempt: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/28")}, Prefix: Limit{Failures: 10}})
	for i := range 40 {
		if news := begun(t, sh, b, WrongPassword, fmt.Sprint("u", i), home, fmt.Sprint(i)); len(news) != 0 {
			t.Error(news)
		}
	}
	if v := check(t, sh, b, "bob", netip.MustParseAddr("192.0.2.99")); !v.Allowed || v.Scope != ScopeNone {
		t.Errorf("a neighbour: %+v", v)
	}
	for i := range 10 {
		begun(t, sh, b, WrongPassword, fmt.Sprint("v", i), netip.MustParseAddr("192.0.2.99"), fmt.Sprint("v", i))
	}
	if v := check(t, sh, b, "bob", netip.MustParseAddr("192.0.2.98")); v.Allowed || v.Scope != ScopePrefix {
		t.Errorf("another neighbour: %+v", v)
	}
	if v := check(t, sh, b, "bob", home); !v.Allowed || v.Scope != ScopeNone {
		t.Errorf("exempt in a locked network: %+v", v)
	}
}

// Whoever strikes tells; two services that see the same are one event.
func TestTellOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		events, err := Watch(ctx, b)
		must(t, err)
		now := &store.Time{}
		do(t, b, []store.Seq{{now}})
		e := Event{
			At: now.Now, Kind: KindLockout, Scope: ScopeUser, Subject: "al ice", Until: now.Now.Add(time.Hour), Failures: 5,
			User: "al ice", Source: home,
		}
		var mu sync.Mutex
		var wg sync.WaitGroup
		firsts := 0
		for i := range 20 {
			wg.Go(func() {
				mine := e
				mine.Decision = fmt.Sprint(i)
				first, err := Tell(ctx, b, mine)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				if first {
					firsts++
				}
			})
		}
		wg.Wait()
		if firsts != 1 {
			t.Errorf("told %d times", firsts)
		}
		got := <-events
		got.Decision = ""
		if !got.At.Equal(e.At) || !got.Until.Equal(e.Until) {
			t.Errorf("%+v", got)
		}
		got.At, got.Until = e.At, e.Until
		if got != e {
			t.Errorf("%+v, want %+v", got, e)
		}
		select {
		case more := <-events:
			t.Errorf("told again: %+v", more)
		default:
		}
		locks, n, err := List(ctx, b, 0, 10)
		if err != nil || n != 1 || locks[0].Scope != ScopeUser || locks[0].Subject != "al ice" {
			t.Errorf("%v, %d, %v", locks, n, err)
		}
		// A replay is in no list, and quiet for a while.
		replay := Event{At: now.Now, Kind: KindReplay, Subject: "alice", Decision: "x"}
		if first, err := Tell(ctx, b, replay); err != nil || !first {
			t.Errorf("%v, %v", first, err)
		}
		replay.Decision = "y"
		if first, _ := Tell(ctx, b, replay); first {
			t.Error("replays one after the other are two events")
		}
		if _, n, _ := List(ctx, b, 0, 10); n != 1 {
			t.Errorf("%d locks", n)
		}
	})
}

func TestEventText(t *testing.T) {
	for _, bad := range []string{"", "{}", `{"event":"none"}`, `{"event":"lockout","scope":"moon"}`, `[]`} {
		var e Event
		if json.Unmarshal([]byte(bad), &e) == nil {
			t.Errorf("%q is an event", bad)
		}
	}
	for _, k := range Kinds()[1:] {
		e := Event{Kind: k, Subject: "x", At: noon}
		b, err := json.Marshal(e)
		must(t, err)
		var again Event
		if err := json.Unmarshal(b, &again); err != nil || again != e {
			t.Errorf("%s: %+v, %v", b, again, err)
		}
	}
	for _, s := range Scopes()[1:] {
		if kindOf(s) == KindNone {
			t.Errorf("%v is no event", s)
		}
	}
	if Kind(99).String() != "none" {
		t.Error("names")
	}
}

// Entries of the list are somebody else's, perhaps a newer service's.
func FuzzParseLock(f *testing.F) {
	f.Add("user alice")
	f.Add("pair 192.0.2.1/32 al ice")
	f.Add("moon alice")
	f.Fuzz(func(t *testing.T, s string) {
		if l, ok := parseLock(s); ok && l.String() != s {
			t.Fatalf("%q: %q", s, l)
		}
	})
}

func TestPasswords(t *testing.T) {
	p := New(Config{Password: Limit{Failures: 3, Window: time.Hour}}).NewPasswords()
	at := noon
	try := func(user, password string) bool {
		e, told := p.Wrong(at, user, []byte(password))
		if told && (e.Kind != KindSpraying || e.Subject != OnePassword || e.Failures != 3 || !e.Until.Equal(noon.Add(time.Hour))) {
			t.Errorf("%+v", e)
		}
		return told
	}
	for range 9 {
		if try("alice", "Winter2026!") {
			t.Error("one user with one password")
		}
	}
	for i := range 9 {
		if try("bob", fmt.Sprint("guess", i)) {
			t.Error("one user with many")
		}
	}
	if try("ALICE", "Winter2026!") || try("bob", "Winter2026!") || !try("carol", "Winter2026!") {
		t.Error("three users with one")
	}
	if try("dave", "Winter2026!") || try("erin", "Winter2026!") {
		t.Error("told twice")
	}
	at = at.Add(time.Hour)
	if key := p.key; try("frank", "Winter2026!") || key == p.key {
		t.Error("a new window has the old key, or what was under it")
	}
	for i := range 2 * maxPasswords {
		p.Wrong(at, "x", fmt.Append(nil, i))
	}
	if len(p.users) > maxPasswords {
		t.Errorf("%d passwords are remembered", len(p.users))
	}
	for tag := range p.users {
		if tag >= 1<<passwordBits {
			t.Fatalf("%x has more than %d bits", tag, passwordBits)
		}
	}
	if New(Config{Disabled: true}).NewPasswords() != nil || New(Config{Password: Limit{Failures: -1}}).NewPasswords() != nil {
		t.Error("looks at passwords")
	}
	if _, told := (*Passwords)(nil).Wrong(noon, "x", nil); told {
		t.Error("nobody tells")
	}
}
