package storetest

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/store"
)

// Suite is what a store promises. Each part runs on a store of its own.
func Suite(t *testing.T) {
	for _, part := range parts {
		t.Run(part.name, func(t *testing.T) { Each(t, part.test) })
	}
}

// SuiteOn is Suite for one back end, that open opens empty for each part.
func SuiteOn(t *testing.T, open func(t testing.TB) Backend) {
	for _, part := range parts {
		t.Run(part.name, func(t *testing.T) { part.test(t, open(t)) })
	}
}

var parts = []struct {
	name string
	test func(*testing.T, Backend)
}{
	{"values", values}, {"once", once}, {"swap", swap}, {"guards", guards},
	{"count", count}, {"windows", windows}, {"marks", marks}, {"index", index}, {"admission", admission}, {"parallelAdmissions", parallelAdmissions},
	{"reserve", reserve}, {"reserveOrder", reserveOrder}, {"parallelPlaces", parallelPlaces},
	{"streams", streams}, {"totals", totals}, {"lease", lease}, {"leaseOrder", leaseOrder}, {"leaseReload", leaseReload},
	{"leaseBudget", leaseBudget}, {"oneCodeOnce", oneCodeOnce}, {"parallelLeases", parallelLeases},
	{"parallelCounts", parallelCounts}, {"watch", watch}, {"names", names}, {"restart", restart},
	{"closed", closed},
}

const (
	long  = time.Hour
	short = 30 * time.Millisecond
	pause = 2 * short // short is over after it
)

func do(t testing.TB, s store.Store, seqs ...store.Seq) {
	t.Helper()
	if err := s.Do(context.Background(), seqs...); err != nil {
		t.Fatal(err)
	}
}

// one runs a single operation and returns its outcome.
func one(t testing.TB, s store.Store, op store.Op) bool {
	t.Helper()
	q := store.Seq{op}
	do(t, s, q)
	return q.OK()
}

func value(t testing.TB, s store.Store, k store.Key) (string, bool) {
	t.Helper()
	g := &store.Get{Key: k}
	one(t, s, g)
	return g.Value, g.Found
}

func values(t *testing.T, b Backend) {
	k, k2 := store.UserTokens("a"), store.UserTokens("b")
	if v, found := value(t, b, k); found {
		t.Errorf("empty store has %q", v)
	}
	binary := "x\x00\xff{}\r\n"
	one(t, b, &store.Put{Key: k, Value: binary})
	one(t, b, &store.Put{Key: k2, Value: "", TTL: short})
	if v, found := value(t, b, k); !found || v != binary {
		t.Errorf("got %q, %v", v, found)
	}
	b.Sleep(pause)
	if _, found := value(t, b, k2); found {
		t.Error("value outlived its TTL")
	}
	if _, found := value(t, b, k); !found {
		t.Error("value without TTL is gone")
	}
	one(t, b, &store.Put{Key: k2, Value: "", TTL: long})
	if v, found := value(t, b, k2); !found || v != "" {
		t.Error("empty value is no value")
	}
	one(t, b, &store.Delete{Key: k})
	one(t, b, &store.Delete{Key: k}) // again is no error
	if _, found := value(t, b, k); found {
		t.Error("deleted value is there")
	}
	a, c := &store.Time{}, &store.Time{}
	one(t, b, a)
	b.Sleep(pause)
	one(t, b, c)
	if d := c.Now.Sub(a.Now); d < short {
		t.Errorf("the clock moved by %v", d)
	}
}

func once(t *testing.T, b Backend) {
	k := store.UserTokens("a")
	if !one(t, b, &store.Once{Key: k, Value: "1", TTL: long}) {
		t.Error("first lost")
	}
	if one(t, b, &store.Once{Key: k, Value: "2", TTL: long}) {
		t.Error("second won")
	}
	if !one(t, b, &store.Once{Key: k, Value: "1", TTL: long}) {
		t.Error("the winner asks again and loses")
	}
	k = store.UserTokens("b")
	one(t, b, &store.Once{Key: k, Value: "1", TTL: short})
	b.Sleep(pause)
	if !one(t, b, &store.Once{Key: k, Value: "2", TTL: long}) {
		t.Error("expired value still wins")
	}
}

func swap(t *testing.T, b Backend) {
	k := store.UserTokens("a")
	if one(t, b, &store.Swap{Key: k, Old: "", New: "x"}) {
		t.Error("swapped what is not there")
	}
	if !one(t, b, &store.Swap{Key: k, Absent: true, New: "1"}) {
		t.Error("lost on an absent value")
	}
	s := &store.Swap{Key: k, Old: "0", New: "2"}
	if one(t, b, s) || !s.Found || s.Value != "1" {
		t.Errorf("wrong old value: %+v", s)
	}
	if one(t, b, &store.Swap{Key: k, Absent: true, New: "2"}) {
		t.Error("absent won over a value")
	}
	for range 2 { // the second time the answer of the first was lost
		if !one(t, b, &store.Swap{Key: k, Old: "1", New: "2", TTL: long}) {
			t.Error("lost with the right old value")
		}
	}
	if v, _ := value(t, b, k); v != "2" {
		t.Errorf("value %q", v)
	}
}

// A lost guard stops its own sequence and no other.
func guards(t *testing.T, b Backend) {
	ka, kb := store.UserTokens("a"), store.UserTokens("b")
	a := store.Seq{
		&store.Put{Key: ka, Value: "before"},
		&store.Swap{Key: ka, Old: "no", New: "x"},
		&store.Put{Key: ka, Value: "behind"},
	}
	c := store.Seq{&store.Put{Key: kb, Value: "other"}, &store.Get{Key: kb}}
	do(t, b, a, c)
	if a.OK() || !c.OK() {
		t.Errorf("OK: %v, %v", a.OK(), c.OK())
	}
	if v, _ := value(t, b, ka); v != "before" {
		t.Errorf("value %q", v)
	}
	if g := c[1].(*store.Get); g.Value != "other" {
		t.Errorf("value %q", g.Value)
	}
	// A sequence used again starts afresh.
	a[1] = &store.Swap{Key: ka, Old: "before", New: "x"}
	do(t, b, a)
	if !a.OK() {
		t.Error("not OK the second time")
	}
	// Different tags in one sequence are our own fault and refused.
	err := b.Do(context.Background(), store.Seq{&store.Get{Key: ka}, &store.Get{Key: kb}})
	if err == nil {
		t.Error("two tags in one sequence")
	}
	if err := b.Do(context.Background(), store.Seq{}); err == nil {
		t.Error("empty sequence")
	}
}

func count(t *testing.T, b Backend) {
	k := store.UserFailures("a")
	c := func(id string, most int) *store.Count {
		return &store.Count{Key: k, ID: id, Window: long, Max: most}
	}
	for i, id := range []string{"x", "y", "z"} {
		op := c(id, 3)
		if !one(t, b, op) || op.N != i+1 || op.Oldest.IsZero() || op.Newest.Before(op.Oldest) {
			t.Errorf("%s: %+v", id, op)
		}
	}
	if op := c("y", 3); !one(t, b, op) || op.N != 3 {
		t.Errorf("the same event again: %+v", op)
	}
	if op := c("w", 3); one(t, b, op) || op.N != 3 {
		t.Errorf("one too many: %+v", op)
	}
	if op := c("w", 0); !one(t, b, op) || op.N != 4 {
		t.Errorf("without a limit: %+v", op)
	}
	one(t, b, &store.Uncount{Key: k, ID: "x"})
	one(t, b, &store.Uncount{Key: k, ID: "nobody"})
	for _, row := range []struct {
		op  store.Tally
		won bool
	}{
		{store.Tally{}, true}, {store.Tally{Below: 4}, true}, {store.Tally{Below: 3}, false},
	} {
		op := row.op
		op.Key, op.Window = k, long
		if won := one(t, b, &op); won != row.won || op.N != 3 {
			t.Errorf("%+v: %v", op, won)
		}
	}
	strikes := store.UserStrikes("a")
	for i, want := range []int{1, 0, 0, 0, 0} { // the fourth event is a strike, once
		op := &store.Count{Key: k, ID: fmt.Sprint("s", i/2), Window: long, At: 4, Strikes: strikes, Memory: long}
		if one(t, b, op); op.Struck != want {
			t.Errorf("event %d is strike %d", i, op.Struck)
		}
	}
	if op := (&store.Tally{Key: strikes, Window: long}); !one(t, b, op) || op.N != 1 {
		t.Errorf("strikes: %+v", op)
	}
	again := &store.Count{Key: k, ID: "again", Window: long, At: 7, Strikes: strikes, Memory: long}
	if one(t, b, again); again.N != 7 || again.Struck != 2 {
		t.Errorf("the second strike: %+v", again)
	}
	one(t, b, &store.Delete{Key: k})
	if op := (&store.Tally{Key: k, Window: long}); !one(t, b, op) || op.N != 0 || !op.Oldest.IsZero() {
		t.Errorf("after delete: %+v", op)
	}
	for i := range 300 { // bounded however often
		one(t, b, c(fmt.Sprint(i), 0))
	}
	if op := (&store.Tally{Key: k, Window: long}); one(t, b, op) && op.N != 256 {
		t.Errorf("%d events kept", op.N)
	}
}

// Three events, gap apart; each kind of window is read when the first is older
// than it and the last is not.
func windows(t *testing.T, b Backend) {
	const gap = 300 * time.Millisecond
	for _, row := range []struct {
		kind Window
		n    int
	}{{store.Sliding, 2}, {store.Fixed, 0}, {store.Idle, 3}} {
		k := store.UserFailures(row.kind.String())
		var first, second time.Time
		for i := range 3 {
			op := &store.Count{Key: k, ID: fmt.Sprint(i), Window: long, Kind: row.kind}
			one(t, b, op)
			if first = op.Oldest; i == 1 {
				second = op.Newest
			}
			b.Sleep(gap)
		}
		now := &store.Time{}
		one(t, b, now)
		edge := first.Add(second.Sub(first) / 2)
		op := &store.Tally{Key: k, Window: now.Now.Sub(edge), Kind: row.kind}
		if one(t, b, op); op.N != row.n {
			t.Errorf("%v: %d, want %d", row.kind, op.N, row.n)
		}
		op = &store.Tally{Key: k, Window: time.Millisecond, Kind: row.kind}
		if one(t, b, op); op.N != 0 {
			t.Errorf("%v: %d long after", row.kind, op.N)
		}
		// What the window has forgotten does not count for the next event.
		c := &store.Count{Key: k, ID: "0", Window: time.Millisecond, Kind: row.kind, Max: 1}
		if !one(t, b, c) || c.N != 1 {
			t.Errorf("%v: a new event: %+v", row.kind, c)
		}
	}
}

// Window is store.Window, short for the rows above.
type Window = store.Window

func marks(t *testing.T, b Backend) {
	k := store.UserSteps("a")
	adv := func(field string, to int64, id string) *store.Advance {
		return &store.Advance{Key: k, Field: field, To: to, ID: id, TTL: long}
	}
	for _, row := range []struct {
		op   *store.Advance
		won  bool
		last int64
	}{
		{adv("p", 5, "i"), true, 0}, {adv("p", 5, "j"), false, 5}, {adv("p", 5, "i"), true, 5},
		{adv("p", 5, ""), false, 5}, {adv("p", 4, "i"), false, 5}, {adv("p", 6, ""), true, 5},
		{adv("p", 6, ""), false, 6}, {adv("q", 1<<53, "a b"), true, 0}, {adv("q", 1<<53, "a b"), true, 1 << 53},
	} {
		if won := one(t, b, row.op); won != row.won || row.op.Last != row.last {
			t.Errorf("%+v: want %v, %d", row.op, row.won, row.last)
		}
	}
	m := &store.Marks{Key: k}
	one(t, b, m)
	if want := map[string]int64{"p": 6, "q": 1 << 53}; !maps.Equal(m.Last, want) {
		t.Errorf("%v", m.Last)
	}
	// A note goes with the mark that won, and decides nothing.
	noted := adv("p", 6, "n")
	noted.Note = 9
	if one(t, b, noted) {
		t.Error("a note wins")
	}
	noted = adv("p", 7, "n")
	noted.Note = -3
	again := adv("p", 7, "n")
	again.Note = 4
	if !one(t, b, noted) || !one(t, b, again) {
		t.Error("a note loses")
	}
	one(t, b, m)
	if want := map[string]int64{"p": -3}; !maps.Equal(m.Note, want) || m.Last["p"] != 7 {
		t.Errorf("%v of %v", m.Note, m.Last)
	}
	k2 := store.UserSteps("b")
	one(t, b, &store.Advance{Key: k2, Field: "p", To: 9, TTL: short})
	b.Sleep(pause)
	m = &store.Marks{Key: k2}
	if one(t, b, m); len(m.Last) != 0 {
		t.Errorf("mark outlived its TTL: %v", m.Last)
	}
	one(t, b, &store.Delete{Key: k})
	m = &store.Marks{Key: k}
	if one(t, b, m); m.Last != nil {
		t.Errorf("after delete: %v", m.Last)
	}
}

func index(t *testing.T, b Backend) {
	k := store.UserLive("a")
	enter := func(m string, d time.Duration, most int) *store.Enter {
		return &store.Enter{Key: k, Member: m, For: d, Max: most}
	}
	one(t, b, enter("late", 2*long, 2))
	if op := enter("brief", short, 2); !one(t, b, op) || op.N > 2 {
		t.Errorf("second: %+v", op)
	}
	b.Sleep(pause)
	if op := enter("new", long, 2); !one(t, b, op) || op.N != 2 {
		t.Errorf("in the place of a lapsed member: %+v", op)
	}
	if op := enter("more", long, 2); one(t, b, op) || op.N != 2 {
		t.Errorf("one too many: %+v", op)
	}
	if op := enter("new", long, 1); !one(t, b, op) {
		t.Errorf("a member keeps its place: %+v", op)
	}
	list := &store.Members{Key: k, Limit: 10}
	one(t, b, list)
	if list.N != 2 || len(list.List) != 2 || list.List[0].Name != "new" || list.List[1].Name != "late" ||
		!list.List[0].Until.Before(list.List[1].Until) {
		t.Errorf("live: %+v", list)
	}
	list = &store.Members{Key: k, Offset: 1, Limit: 1}
	if one(t, b, list); list.N != 2 || len(list.List) != 1 || list.List[0].Name != "late" {
		t.Errorf("page: %+v", list)
	}
	list = &store.Members{Key: k}
	if one(t, b, list); list.N != 2 || len(list.List) != 0 {
		t.Errorf("count: %+v", list)
	}
	list = &store.Members{Key: k, Lapsed: true, Limit: 10}
	if one(t, b, list); list.N != 1 || list.List[0].Name != "brief" {
		t.Errorf("lapsed: %+v", list)
	}
	k2 := store.UserLive("b")
	for _, max := range []int{0, 5} { // forgotten as soon as it is said
		one(t, b, &store.Enter{Key: k2, Member: fmt.Sprint("m", max), For: short, Max: max, Lapsed: time.Millisecond})
	}
	b.Sleep(pause)
	one(t, b, &store.Enter{Key: k2, Member: "m", For: long, Lapsed: time.Millisecond})
	list = &store.Members{Key: k2, Lapsed: true, Limit: 10}
	if one(t, b, list); list.N != 0 {
		t.Errorf("lapsed and remembered: %+v", list)
	}
	k3 := store.UserLive("c")
	for _, max := range []int{0, 5} { // later only
		one(t, b, &store.Enter{Key: k3, Member: "m", For: long, Max: max})
		one(t, b, &store.Enter{Key: k3, Member: "m", For: short, Max: max, Later: true})
		one(t, b, &store.Enter{Key: k3, Member: "n", For: short, Max: max, Later: true})
		b.Sleep(pause)
		list = &store.Members{Key: k3, Limit: 10}
		if one(t, b, list); list.N != 1 || list.List[0].Name != "m" {
			t.Errorf("later only: %+v", list)
		}
	}
	list = &store.Members{Key: k, Limit: 10}
	if one(t, b, list); list.N != 2 || list.List[1].Name != "late" {
		t.Fatalf("before leaving: %+v", list)
	}
	until := list.List[1].Until
	if one(t, b, &store.Leave{Key: k, Member: "late", Until: until.Add(time.Millisecond)}) {
		t.Error("one whose deadline was moved has left")
	}
	if one(t, b, list); list.N != 2 {
		t.Errorf("after nobody has left: %+v", list)
	}
	if !one(t, b, &store.Leave{Key: k, Member: "late", Until: until}) {
		t.Error("one whose deadline is the same stays")
	}
	one(t, b, &store.Leave{Key: k, Member: "late"})
	list = &store.Members{Key: k, Limit: 10}
	if one(t, b, list); list.N != 1 {
		t.Errorf("after leaving: %+v", list)
	}
}

// admit asks for a place for a member of a's.
func admit(t testing.TB, b Backend, member string, most int, replace, later bool) *store.Admit {
	t.Helper()
	op := &store.Admit{
		Live: store.UserLive("a"), Since: store.UserSince("a"), Member: member, For: long, Max: most, Replace: replace, Spare: 1, Later: later,
	}
	one(t, b, op)
	return op
}

func admission(t *testing.T, b Backend) {
	want := func(what string, op *store.Admit, ok bool, n int, replaced, going string) {
		t.Helper()
		if op.OK != ok || op.N != n || strings.Join(op.Replaced, " ") != replaced || strings.Join(op.Going, " ") != going {
			t.Errorf("%s: %v, %d in, replaced %q, going %q", what, op.OK, op.N, op.Replaced, op.Going)
		}
		b.Sleep(2 * time.Millisecond) // who came when is counted in those
	}
	want("first", admit(t, b, "s1", 2, true, true), true, 1, "", "")
	want("second", admit(t, b, "s2", 2, true, true), true, 2, "", "")
	want("refused", admit(t, b, "s3", 2, false, true), false, 2, "", "")
	want("in already", admit(t, b, "s1", 2, false, true), true, 2, "", "")
	want("in the place of the oldest", admit(t, b, "s3", 2, true, true), true, 2, "s1", "s1")
	want("in the place of the next", admit(t, b, "s4", 2, true, true), true, 2, "s2", "s1 s2")
	want("the same once more", admit(t, b, "s4", 2, true, true), true, 2, "", "s1 s2")
	want("one that was replaced", admit(t, b, "s1", 2, true, true), false, -1, "", "")
	want("refused counts all", admit(t, b, "s5", 4, false, true), false, 4, "", "")
	want("no limit", admit(t, b, "s5", 0, false, true), true, 0, "", "s1 s2")
	stay := func(member, going string) {
		t.Helper()
		op := &store.Stay{Live: store.UserLive("a"), Since: store.UserSince("a"), Member: member, For: long}
		if one(t, b, op); strings.Join(op.Going, " ") != going {
			t.Errorf("%s stays: going %q", member, op.Going)
		}
	}
	stay("s1", "s1 s2") // it does not get its place back
	stay("s5", "s1 s2")
	stay("s0", "s1 s2") // of a service of before, or unknown
	one(t, b, &store.Leave{Key: store.UserLive("a"), Member: "s0"})
	want("too many have to go", admit(t, b, "s6", 2, true, true), false, 3, "", "")
	leave := func(member string) {
		t.Helper()
		do(t, b, store.Seq{&store.Leave{Key: store.UserLive("a"), Member: member}, &store.Leave{Key: store.UserSince("a"), Member: member}})
	}
	leave("s1")
	want("several at once", admit(t, b, "s6", 2, true, true), true, 2, "s3 s4", "s2 s3 s4")
	leave("s6")
	back := &store.Readmit{Live: store.UserLive("a"), Since: store.UserSince("a"), Max: 2, Names: []string{"s3", "s4", "s9"}}
	if one(t, b, back); strings.Join(back.Back, " ") != "s4" {
		t.Errorf("back: %q", back.Back)
	}
	want("in the place of who is back", admit(t, b, "s7", 1, true, false), false, 2, "", "")
	leave("s2")
	leave("s3")
	want("older by when they came", admit(t, b, "s7", 1, true, false), true, 1, "s4 s5", "s4 s5")
	want("an ID that is used again, refused", admit(t, b, "s4", 1, false, false), false, 2, "", "")
	want("an ID that is used again", admit(t, b, "s4", 1, true, false), true, 1, "s7", "s5 s7")
	live := &store.Members{Key: store.UserLive("a"), Limit: 10}
	if one(t, b, live); live.N != 3 {
		t.Errorf("live: %+v", live.List)
	}
	// One that its service of before took from one index only.
	one(t, b, &store.Leave{Key: store.UserLive("a"), Member: "s5"})
	want("who has left", admit(t, b, "s4", 1, true, true), true, 1, "", "s7")
	since := &store.Members{Key: store.UserSince("a"), Lapsed: true, Limit: 10}
	if one(t, b, since); since.N != 1 {
		t.Errorf("since: %+v", since.List)
	}
}

// parallelAdmissions: whoever comes at once, as many stay as may.
func parallelAdmissions(t *testing.T, b Backend) {
	for _, most := range []int{1, 3} {
		user := fmt.Sprint("par", most)
		in := parallel(t, 40, func(i int) string {
			op := &store.Admit{
				Live: store.UserLive(user), Since: store.UserSince(user), Member: fmt.Sprint(i), For: long, Max: most, Replace: true, Spare: 100,
			}
			if err := b.Do(context.Background(), store.Seq{op}); err != nil || !op.OK {
				t.Error(op.OK, err)
			}
			return strings.Join(op.Replaced, " ")
		})
		slices.Sort(in)
		if got := len(slices.Compact(in)); got != 40-most {
			t.Errorf("at most %d: %d were replaced, each once, want %d", most, got, 40-most)
		}
	}
}

// place asks for one under a ceiling, as whoever is trusted by k if that is one.
func place(t testing.TB, b Backend, id string, c store.Ceiling, trust store.Key) *store.Reserve {
	t.Helper()
	op := &store.Reserve{
		Key: store.UserPlaces("a"), Fails: store.UserAsked("a"), Known: store.UserCeiling("a"), Trust: trust, ID: id, For: long, Else: c,
	}
	if !one(t, b, op) {
		t.Errorf("%s: lost a guard that is none", id)
	}
	return op
}

func reserve(t *testing.T, b Backend) {
	trusted := store.PairGood("a", netip.MustParsePrefix("192.0.2.1/32"))
	one(t, b, &store.Put{Key: trusted, Value: "1", TTL: long})
	three := store.Ceiling{Most: 3, Trusted: 4, Window: long}
	for i, row := range []struct {
		id     string
		trust  store.Key
		taken  bool
		ahead  int
		leaves string // before
	}{
		{"x", store.Key{}, true, 0, ""},
		{"y", trusted, true, 1, ""},
		{"x", store.Key{}, true, 0, ""}, // the same again
		{"z", store.PairGood("a", netip.MustParsePrefix("192.0.2.2/32")), true, 2, ""}, // not of the trusted
		{"w", store.Key{}, false, 3, ""},
		{"w", trusted, true, 3, ""},
		{"v", trusted, false, 4, ""},
		{"v", trusted, true, 3, "x"},
		{"y", trusted, true, 0, ""}, // moved up
	} {
		if row.leaves != "" {
			one(t, b, &store.Leave{Key: store.UserPlaces("a"), Member: row.leaves})
		}
		op := place(t, b, row.id, three, row.trust)
		if op.Taken != row.taken || op.Ahead != row.ahead || op.Trusted != (row.trust == trusted) || op.Told || op.Ceiling != three {
			t.Errorf("%d, %s: %+v", i, row.id, op)
		}
	}
	one(t, b, &store.Delete{Key: store.UserPlaces("a")})

	// Our own failures and those that are counted elsewhere are the same ones.
	for _, id := range []string{"1", "2"} {
		one(t, b, &store.Count{Key: store.UserAsked("a"), ID: id, Window: long, Kind: store.Idle})
	}
	now := &store.Time{}
	one(t, b, now)
	put := func(c store.Ceiling) {
		one(t, b, &store.Put{Key: store.UserCeiling("a"), Value: c.String(), TTL: long})
	}
	for i, row := range []struct {
		known store.Ceiling
		taken bool
	}{
		{store.Ceiling{Most: 3, Trusted: 4, Window: long, Failed: 1, Newest: now.Now}, true},
		{store.Ceiling{Most: 3, Trusted: 4, Window: long, Failed: 3, Newest: now.Now}, false},
		{store.Ceiling{Most: 3, Trusted: 4, Window: long, Failed: 3, Newest: now.Now.Add(-2 * long)}, true}, // forgotten there
		{store.Ceiling{Most: 2, Trusted: 2, Window: long}, false},                                           // ours are enough
		{store.Ceiling{Most: 2, Trusted: 2, Window: time.Millisecond}, true},                                // and forgotten
		{store.Ceiling{}, true}, // no limit
	} {
		put(row.known)
		b.Sleep(5 * time.Millisecond)
		op := place(t, b, fmt.Sprint("p", i), three, store.Key{})
		if op.Taken != row.taken || !op.Told || op.Ahead != 0 || op.Ceiling.String() != row.known.String() {
			t.Errorf("under %+v: %+v", row.known, op)
		}
		one(t, b, &store.Leave{Key: store.UserPlaces("a"), Member: fmt.Sprint("p", i)})
	}
	put(store.Ceiling{Most: 3, Window: long})
	if op := place(t, b, "last", three, store.Key{}); op.Failed != 2 || op.Newest.IsZero() {
		t.Errorf("own failures: %+v", op)
	}
	// What nobody can read is no ceiling.
	one(t, b, &store.Put{Key: store.UserCeiling("a"), Value: "9 9 9 x", TTL: long})
	if op := place(t, b, "last", three, store.Key{}); op.Told || op.Ceiling != three {
		t.Errorf("under nonsense: %+v", op)
	}
}

// Places of one millisecond keep their order, and lapse.
func reserveOrder(t *testing.T, b Backend) {
	ask := func(user, id string, life time.Duration) *store.Reserve {
		op := &store.Reserve{
			Key: store.UserPlaces(user), Fails: store.UserAsked(user), Known: store.UserCeiling(user), ID: id, For: life,
			Else: store.Ceiling{Most: 20, Trusted: 20, Window: long},
		}
		one(t, b, op)
		return op
	}
	for i := range 9 {
		if op := ask("a", fmt.Sprint(9-i), long); !op.Taken || op.Ahead != i {
			t.Errorf("%d: %+v", i, op)
		}
	}
	for i := range 9 {
		if op := ask("a", fmt.Sprint(9-i), long); op.Ahead > i {
			t.Errorf("%d again: %+v", i, op)
		}
	}
	ask("b", "first", short)
	b.Sleep(2 * pause)
	if op := ask("b", "late", long); !op.Taken || op.Ahead != 0 {
		t.Errorf("behind places that lapsed: %+v", op)
	}
}

func parallelPlaces(t *testing.T, b Backend) {
	got := parallel(t, 100, func(i int) string {
		op := &store.Reserve{
			Key: store.UserPlaces("a"), Fails: store.UserAsked("a"), Known: store.UserCeiling("a"), ID: fmt.Sprint(i), For: long,
			Else: store.Ceiling{Most: 3, Trusted: 4, Window: long},
		}
		if err := b.Do(context.Background(), store.Seq{op}); err != nil {
			t.Error(err)
		}
		if op.Taken {
			return fmt.Sprint(op.Ahead)
		}
		return ""
	})
	slices.Sort(got)
	if !slices.Equal(got, []string{"0", "1", "2"}) {
		t.Errorf("places behind %v others", got)
	}
}

func totals(t *testing.T, b Backend) {
	k := store.UserUsed("alice")
	read := func() *store.Totals {
		t.Helper()
		op := &store.Totals{Key: k, N: 2}
		do(t, b, store.Seq{op})
		return op
	}
	say := func(source string, now, base []uint64) {
		t.Helper()
		if !one(t, b, &store.Total{Key: k, Source: source, Now: now, Base: base, Keep: 3, TTL: time.Hour}) {
			t.Errorf("%s: not added", source)
		}
	}
	want := func(what string, sources uint64, sum ...uint64) {
		t.Helper()
		if r := read(); !r.Found || r.Sources != sources || !slices.Equal(r.Sum, sum) {
			t.Errorf("%s: %d sources, %v; want %d, %v", what, r.Sources, r.Sum, sources, sum)
		}
	}
	if r := read(); r.Found || !slices.Equal(r.Sum, []uint64{0, 0}) {
		t.Errorf("before anything: %+v", r)
	}
	if one(t, b, &store.Total{Key: k, Source: "s1", Now: []uint64{1, 1}, Known: true, Keep: 3, TTL: time.Hour}) || read().Found {
		t.Error("a source that nobody knows was added")
	}
	say("s1", []uint64{0, 0}, nil)
	say("s1", []uint64{10, 1 << 40}, nil)
	say("s1", []uint64{10, 1 << 40}, nil) // again
	say("s1", []uint64{5, 1}, nil)        // late
	say("s2", []uint64{1, 2}, nil)
	want("two sources", 2, 11, 1<<40+2)
	if !one(t, b, &store.Total{Key: k, Source: "s1", Now: []uint64{11, 1 << 40}, Known: true, Keep: 3, TTL: time.Hour}) {
		t.Error("a known source was not added")
	}
	want("a known source", 2, 12, 1<<40+2)
	first := read()
	if first.Since.IsZero() || first.At.Before(first.Since) {
		t.Errorf("since %v, at %v", first.Since, first.At)
	}
	for i := range 5 { // s1 and s2 are forgotten
		b.Sleep(3 * time.Millisecond)
		say(fmt.Sprint("t", i), []uint64{1, 0}, nil)
	}
	want("more sources than are remembered", 7, 17, 1<<40+2)
	say("s1", []uint64{12, 1 << 40}, []uint64{11, 1 << 40}) // its own record knows
	want("a source that was forgotten", 8, 18, 1<<40+2)
	if one(t, b, &store.Total{Key: k, Source: "s2", Now: []uint64{1, 2}, Known: true, Keep: 3, TTL: time.Hour}) {
		t.Error("a forgotten source is known")
	}
	for i := range 3 {
		say(fmt.Sprint("big", i), []uint64{1 << 63, 0}, nil)
	}
	want("large counters", 11, 18+3<<53, 1<<40+2)
	for range 1100 / 20 { // 63 bits are the end of it
		var seqs []store.Seq
		for range 20 {
			seqs = append(seqs, store.Seq{
				&store.Total{Key: k, Source: "x", Now: []uint64{0, 1 << 53}, Keep: 1, TTL: time.Hour},
				&store.Total{Key: k, Source: "y", Now: []uint64{0, 1 << 53}, Keep: 1, TTL: time.Hour},
			})
		}
		do(t, b, seqs...)
	}
	if r := read(); r.Sum[1] != 1<<63-1 {
		t.Errorf("sum %d, want the end of 63 bits", r.Sum[1])
	}
	b.Sleep(time.Millisecond)
	if r := read(); !r.Since.Equal(first.Since) || r.At.Before(first.At) {
		t.Errorf("since %v, at %v", r.Since, r.At)
	}
}

func streams(t *testing.T, b Backend) {
	k := store.History("s")
	var ids []store.EventID
	for i := range 5 {
		op := &store.Append{Key: k, Event: fmt.Sprint(i), Max: 1000, TTL: long}
		one(t, b, op)
		ids = append(ids, op.ID)
	}
	if !slices.IsSortedFunc(ids, func(a, b store.EventID) int {
		if a.Less(b) {
			return -1
		}
		return 1
	}) {
		t.Errorf("IDs %v", ids)
	}
	read := func(op store.Read) string {
		op.Key = k
		one(t, b, &op)
		s := ""
		for _, e := range op.Events {
			s += e.Data
		}
		return s
	}
	for _, row := range []struct {
		op   store.Read
		want string
	}{
		{store.Read{Limit: 10}, "01234"}, {store.Read{Limit: 2}, "01"}, {store.Read{After: ids[1], Limit: 2}, "23"},
		{store.Read{After: ids[4], Limit: 2}, ""}, {store.Read{Newest: true, Limit: 2}, "34"},
		{store.Read{Newest: true, After: ids[3], Limit: 9}, "4"}, {store.Read{}, ""},
	} {
		if got := read(row.op); got != row.want {
			t.Errorf("%+v: %q, want %q", row.op, got, row.want)
		}
	}
	// Bounded: Redis trims whole nodes of a stream (100 events), hence about.
	for i := range 400 {
		one(t, b, &store.Append{Key: k, Event: fmt.Sprint(i), Max: 100, TTL: long})
	}
	op := &store.Read{Key: k, Limit: 1000}
	if one(t, b, op); len(op.Events) < 100 || len(op.Events) > 200 || op.Events[len(op.Events)-1].Data != "399" {
		t.Errorf("%d events kept", len(op.Events))
	}
	k = store.History("a session in another shard")
	one(t, b, &store.Append{Key: k, Event: "x", Max: 10, TTL: short})
	b.Sleep(pause)
	op = &store.Read{Key: k, Limit: 10}
	if one(t, b, op); len(op.Events) != 0 {
		t.Errorf("events outlived their TTL: %v", op.Events)
	}
}

func addrs(first, last string) store.Range {
	return store.Range{First: netip.MustParseAddr(first), Last: netip.MustParseAddr(last)}
}

// taken leases and returns the address, "" when there is none.
func taken(t testing.TB, s store.Store, pool, holder, owner string, ttl time.Duration, rs ...store.Range) string {
	t.Helper()
	for range 100 {
		op := &store.Lease{Pool: pool, Ranges: rs, Holder: holder, Owner: owner, TTL: ttl}
		if one(t, s, op) {
			return op.Addr.String()
		}
		if !op.More {
			return ""
		}
	}
	t.Fatal("a lease is never decided")
	return ""
}

func lease(t *testing.T, b Backend) {
	r := addrs("10.0.0.1", "10.0.0.3")
	if got := taken(t, b, "p", "s1", "alice", long, r); got != "10.0.0.1" {
		t.Errorf("first: %s", got)
	}
	if got := taken(t, b, "p", "s1", "alice", long, r); got != "10.0.0.1" {
		t.Errorf("the same session again: %s", got)
	}
	if got := taken(t, b, "p", "s2", "alice", long, r); got != "10.0.0.2" {
		t.Errorf("alice's second session: %s", got)
	}
	if got := taken(t, b, "p", "s3", "", long, r); got != "10.0.0.3" {
		t.Errorf("third: %s", got)
	}
	if got := taken(t, b, "p", "s4", "", long, r); got != "" {
		t.Errorf("exhausted: %s", got)
	}
	if got := taken(t, b, "other", "s4", "", long, r); got != "10.0.0.1" {
		t.Errorf("another pool: %s", got)
	}
	used := &store.Leased{Pool: "p"}
	if one(t, b, used); used.N != 3 {
		t.Errorf("%d leased", used.N)
	}
	renew := func(holder string) string {
		op := &store.Renew{Pool: "p", Holder: holder, TTL: long}
		if !one(t, b, op) {
			return ""
		}
		return op.Addr.String()
	}
	if got := renew("s2"); got != "10.0.0.2" {
		t.Errorf("renewed %s", got)
	}
	one(t, b, &store.Release{Pool: "p", Holder: "nobody"})
	one(t, b, &store.Release{Pool: "p", Holder: "s2"})
	if got := renew("s2"); got != "" {
		t.Errorf("renewed a released lease: %s", got)
	}
	if got := taken(t, b, "p", "s5", "bob", long, r); got != "10.0.0.2" {
		t.Errorf("after release: %s", got)
	}
	// s2's claims ended with its release.
	one(t, b, &store.Release{Pool: "p", Holder: "s2"})
	if got := taken(t, b, "p", "s6", "", long, r); got != "" {
		t.Errorf("a former holder released bob's lease: %s", got)
	}
	if got := renew("S1"); got != "" {
		t.Errorf("session IDs fold case: %s", got)
	}
	if got := renew(""); got != "" {
		t.Errorf("renewed for no holder: %s", got)
	}
}

func leaseOrder(t *testing.T, b Backend) {
	r := addrs("10.0.0.1", "10.0.0.4")
	taken(t, b, "p", "s1", "u1", long, r)
	taken(t, b, "p", "s2", "u2", long, r)
	taken(t, b, "p", "s3", "u3", short, r)
	one(t, b, &store.Release{Pool: "p", Holder: "s2"})
	b.Sleep(pause) // u3's lease runs out after that
	one(t, b, &store.Release{Pool: "p", Holder: "s1"})
	b.Sleep(5 * time.Millisecond)
	// Sticky first, then never used, then free for longest.
	if got := taken(t, b, "p", "s4", "U1", long, r); got != "10.0.0.1" {
		t.Errorf("u1 comes back: %s", got)
	}
	if got := taken(t, b, "p", "s5", "u5", long, r); got != "10.0.0.4" {
		t.Errorf("never used: %s", got)
	}
	if got := taken(t, b, "p", "s6", "u6", long, r); got != "10.0.0.2" {
		t.Errorf("free for longest: %s", got)
	}
	// u3 was silent but nobody took its address: it may go on.
	if !one(t, b, &store.Renew{Pool: "p", Holder: "s3", TTL: short}) {
		t.Error("lost a lease that ran out but was free")
	}
	b.Sleep(pause)
	if got := taken(t, b, "p", "s7", "u7", long, r); got != "10.0.0.3" {
		t.Errorf("run out: %s", got)
	}
	if one(t, b, &store.Renew{Pool: "p", Holder: "s3", TTL: long}) {
		t.Error("renewed what somebody else has")
	}
	if got := taken(t, b, "p", "s8", "u2", long, r); got != "" {
		t.Errorf("full: %s", got)
	}
}

// A pool that changes ends no lease and gives out nothing outside.
func leaseReload(t *testing.T, b Backend) {
	old, now := addrs("10.0.0.1", "10.0.0.3"), addrs("10.0.0.3", "10.0.0.4")
	for i := range 3 {
		taken(t, b, "p", fmt.Sprint("s", i+1), fmt.Sprint("u", i+1), long, old)
	}
	one(t, b, &store.Release{Pool: "p", Holder: "s1"})
	if !one(t, b, &store.Renew{Pool: "p", Holder: "s2", TTL: long}) {
		t.Error("reload ended a lease")
	}
	if got := taken(t, b, "p", "s4", "u1", long, now); got != "10.0.0.4" {
		t.Errorf("u1's old address is not in the pool: %s", got)
	}
	if got := taken(t, b, "p", "s5", "u5", long, now); got != "" {
		t.Errorf("10.0.0.3 is leased, 10.0.0.1 outside: %s", got)
	}
	one(t, b, &store.Release{Pool: "p", Holder: "s3"})
	b.Sleep(5 * time.Millisecond)
	if got := taken(t, b, "p", "s5", "u5", long, now); got != "10.0.0.3" {
		t.Errorf("released: %s", got)
	}
	// s2 asks again: it moves into the pool when there is room, and lets go.
	if got := taken(t, b, "p", "s2", "u2", long, now); got != "" {
		t.Errorf("full: %s", got)
	}
	one(t, b, &store.Release{Pool: "p", Holder: "s5"})
	if got := taken(t, b, "p", "s2", "u2", long, now); got != "10.0.0.3" {
		t.Errorf("moved to %s", got)
	}
	if got := taken(t, b, "p", "s9", "u9", long, addrs("10.0.0.2", "10.0.0.2")); got != "10.0.0.2" {
		t.Errorf("what s2 had before: %q", got)
	}
	// Back again: 10.0.0.1, which the other shape forgot, is found.
	if got := taken(t, b, "p", "s6", "u6", long, old); got != "10.0.0.1" {
		t.Errorf("the old shape again: %q", got)
	}
	if got := taken(t, b, "p", "s7", "u7", long, old); got != "" {
		t.Errorf("leased twice: %s", got)
	}
}

// A pool cut anew over many used addresses needs more than one call.
func leaseBudget(t *testing.T, b Backend) {
	all := addrs("10.0.0.0", "10.0.15.255") // 4096
	var seqs []store.Seq
	for i := range 4095 {
		h := fmt.Sprint("s", i)
		seqs = append(seqs, store.Seq{&store.Lease{Pool: "p", Ranges: []store.Range{all}, Holder: h, TTL: long}})
		if len(seqs) == 256 {
			do(t, b, seqs...)
			seqs = nil
		}
	}
	do(t, b, seqs...)
	cut := addrs("10.0.0.1", "10.0.15.255")
	op := &store.Lease{Pool: "p", Ranges: []store.Range{cut}, Holder: "x", TTL: long}
	if one(t, b, op) || !op.More {
		t.Errorf("looked at 4096 addresses in one call: %+v", op)
	}
	if got := taken(t, b, "p", "x", "", long, cut); got != "10.0.15.255" {
		t.Errorf("the last: %q", got)
	}
	if got := taken(t, b, "p", "y", "", long, cut); got != "" {
		t.Errorf("full: %q", got)
	}
}

func oneCodeOnce(t *testing.T, b Backend) {
	won := parallel(t, 50, func(i int) string {
		op := &store.Advance{Key: store.UserSteps("a"), Field: "t", To: 7, ID: fmt.Sprint(i), TTL: long}
		if err := b.Do(context.Background(), store.Seq{op}); err != nil {
			t.Error(err)
		}
		if op.OK {
			return fmt.Sprint(i)
		}
		return ""
	})
	if len(won) != 1 {
		t.Errorf("one code opened %d logins", len(won))
	}
}

func parallelLeases(t *testing.T, b Backend) {
	r := addrs("10.0.0.1", "10.0.0.200")
	got := parallel(t, 250, func(i int) string {
		return taken(t, b, "p", fmt.Sprint("s", i), fmt.Sprint("u", i), long, r)
	})
	if len(got) != 200 {
		t.Errorf("%d leases of 200 addresses", len(got))
	}
	slices.Sort(got)
	if n := len(slices.Compact(got)); n != 200 {
		t.Errorf("%d different addresses", n)
	}
}

func parallelCounts(t *testing.T, b Backend) {
	got := parallel(t, 50, func(i int) string {
		op := &store.Count{Key: store.UserFailures("a"), ID: fmt.Sprint(i), Window: long, Max: 5}
		if err := b.Do(context.Background(), store.Seq{op}); err != nil {
			t.Error(err)
		}
		if op.OK {
			return fmt.Sprint(op.N)
		}
		return ""
	})
	slices.Sort(got)
	if !slices.Equal(got, []string{"1", "2", "3", "4", "5"}) {
		t.Errorf("numbers %v", got)
	}
}

// parallel runs f n times at once and returns what is not empty.
func parallel(t *testing.T, n int, f func(i int) string) (got []string) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			if s := f(i); s != "" {
				mu.Lock()
				got = append(got, s)
				mu.Unlock()
			}
		})
	}
	close(start)
	wg.Wait()
	return got
}

func watch(t *testing.T, b Backend) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ch, err := b.Watch(ctx, "news")
	if err != nil {
		t.Fatal(err)
	}
	k := store.UserTokens("a")
	do(t, b,
		store.Seq{&store.Publish{Topic: "other", Message: "x"}},
		store.Seq{&store.Swap{Key: k, Old: "no", New: "x"}, &store.Publish{Topic: "news", Message: "behind a lost guard"}},
	)
	do(t, b, store.Seq{&store.Put{Key: k, Value: "1"}, &store.Publish{Topic: "news", Message: "hello"}})
	select {
	case m := <-ch:
		if m != "hello" {
			t.Errorf("got %q", m)
		}
	case <-time.After(10 * time.Second):
		t.Error("nothing published arrived")
	}
	cancel()
	for range ch { // closed
	}
}

// Names come from strangers and stay apart; only case folds.
func names(t *testing.T, b Backend) {
	list := []string{"alice", "al{ice}", "a}:fail", "a", "%7d", "}", "a b", "ä", "\x00", "a:b", "a%3ab", "\xff"}
	for _, n := range list {
		one(t, b, &store.Put{Key: store.UserTokens(n), Value: n})
	}
	for _, n := range list {
		if v, _ := value(t, b, store.UserTokens(n)); v != n {
			t.Errorf("%q has the value of %q", n, v)
		}
	}
	if v, _ := value(t, b, store.UserTokens("ALICE")); v != "alice" {
		t.Errorf("ALICE: %q", v)
	}
	long := make([]byte, 4096)
	if err := b.Do(context.Background(), store.Seq{&store.Get{Key: store.UserTokens(string(long))}}); err == nil {
		t.Error("an oversize key")
	}
}

// What was answered is there after a crash.
func restart(t *testing.T, b Backend) {
	r := addrs("10.0.0.1", "10.0.0.2")
	do(t, b,
		store.Seq{
			&store.Count{Key: store.UserFailures("a"), ID: "1", Window: long},
			&store.Advance{Key: store.UserSteps("a"), Field: "t", To: 7, TTL: long},
			&store.Enter{Key: store.UserLive("a"), Member: "s1", For: long},
			&store.Put{Key: store.UserTokens("a"), Value: "token"},
		},
		store.Seq{&store.Append{Key: store.History("s1"), Event: "e", Max: 10, TTL: long}},
		store.Seq{&store.Lease{Pool: "p", Ranges: []store.Range{r}, Holder: "s1", TTL: long}},
	)
	s := b.Crash(t)
	if one(t, s, &store.Advance{Key: store.UserSteps("a"), Field: "t", To: 7, TTL: long}) {
		t.Error("a used code is usable again")
	}
	tally := &store.Tally{Key: store.UserFailures("a"), Window: long}
	live := &store.Members{Key: store.UserLive("a")}
	history := &store.Read{Key: store.History("s1"), Limit: 10}
	do(t, s, store.Seq{tally, live}, store.Seq{history})
	if tally.N != 1 || live.N != 1 || len(history.Events) != 1 {
		t.Errorf("failures %d, sessions %d, events %d", tally.N, live.N, len(history.Events))
	}
	if v, _ := value(t, s, store.UserTokens("a")); v != "token" {
		t.Errorf("token %q", v)
	}
	if got := taken(t, s, "p", "s2", "", long, r); got != "10.0.0.2" {
		t.Errorf("leased after the crash: %s", got)
	}
}

func closed(t *testing.T, b Backend) {
	b.Close()
	b.Close()
	for _, op := range []store.Op{&store.Get{Key: store.Nodes()}, &store.Put{Key: store.Nodes()}} {
		if err := b.Do(context.Background(), store.Seq{op}); !isUnavailable(err) {
			t.Errorf("closed store: %v", err)
		}
	}
	if _, err := b.Watch(context.Background(), "x"); !isUnavailable(err) {
		t.Errorf("watch on a closed store: %v", err)
	}
}
