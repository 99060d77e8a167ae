package store

import (
	"strconv"
	"strings"
	"time"
)

// Reserve takes a place among those who try something whose failures somebody else
// counts, and who must not count too many: as long as the failures known and the
// places taken together are fewer than the ceiling allows. A place ends with Leave on
// the same key, or at its deadline. It is no guard: Taken says what came of it.
type Reserve struct {
	Key   Key // zset of places, by deadline
	Fails Key // a Count of our own failures; the ceiling has its window, the kind is Idle
	Known Key // a value, the Ceiling as it was told last; without one Else counts
	Trust Key // a value: whose it is has the ceiling of the trusted; the zero Key: nobody's

	ID   string
	For  time.Duration
	Else Ceiling

	Outcome
	Taken   bool
	Ahead   int       // places taken before this one
	Failed  int       // our own failures in the window
	Newest  time.Time // of them
	Trusted bool
	Told    bool    // there was a ceiling
	Ceiling Ceiling // that counted
}

// Ceiling is what is known of who counts the failures.
type Ceiling struct {
	Most    int           // failures and places at once; 0: no limit
	Trusted int           // the same, for the trusted
	Window  time.Duration // all failures are forgotten so long after the last
	Failed  int           // as counted there
	Newest  time.Time     // of them
	Told    time.Time     // when this was told
}

// For returns the limit that counts.
func (c *Ceiling) For(trusted bool) int {
	if trusted {
		return c.Trusted
	}
	return c.Most
}

// Count is how many failures are still remembered there.
func (c *Ceiling) Count(now time.Time) int {
	if !now.Before(c.Newest.Add(c.Window)) {
		return 0
	}
	return c.Failed
}

// String is the ceiling as it is stored.
func (c *Ceiling) String() string {
	b := strconv.AppendInt(nil, int64(max(c.Most, 0)), 10)
	for _, n := range [...]int64{int64(max(c.Trusted, 0)), ms(c.Window), int64(max(c.Failed, 0)), since1970(c.Newest), since1970(c.Told)} {
		b = strconv.AppendInt(append(b, ' '), max(n, 0), 10)
	}
	return string(b)
}

func since1970(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// maxStored bounds each number of a stored ceiling: Lua counts in floating point.
const maxStored = 1 << 53

// ParseCeiling reads what String wrote.
func ParseCeiling(s string) (c Ceiling, ok bool) {
	var n [6]int64
	for i := range n {
		text, rest, more := strings.Cut(s, " ")
		if more == (i == len(n)-1) || text == "" || text[0] == '+' || text[0] == '-' {
			return Ceiling{}, false
		}
		v, err := strconv.ParseInt(text, 10, 64)
		if err != nil || v > maxStored {
			return Ceiling{}, false
		}
		n[i], s = v, rest
	}
	const most = 1 << 30
	if n[0] > most || n[1] > most || n[3] > most || n[2] > int64(1<<40) {
		return Ceiling{}, false
	}
	return Ceiling{
		Most: int(n[0]), Trusted: int(n[1]), Window: time.Duration(n[2]) * time.Millisecond,
		Failed: int(n[3]), Newest: at(n[4]), Told: at(n[5]),
	}, true
}

func (o *Reserve) keys() []Key {
	ks := []Key{o.Key, o.Fails, o.Known}
	if o.Trust != (Key{}) {
		ks = append(ks, o.Trust)
	}
	return ks
}

func (o *Reserve) name() string { return "reserve" }
func (o *Reserve) writes() bool { return true }

func (o *Reserve) args(a []any) []any { return append(a, o.ID, ms(o.For), o.Else.String()) }

func (o *Reserve) decode(_ bool, r reply) error {
	o.Taken, o.Ahead, o.Failed, o.Newest = r.int(0) == 1, int(r.int(1)), int(r.int(2)), at(r.int(3))
	o.Trusted, o.Told = r.int(4) == 1, r.int(5) == 1
	if o.Ceiling = o.Else; o.Told {
		o.Ceiling, _ = ParseCeiling(r.str(6)) // the script has read it, too
	}
	return r.err
}

func (o *Reserve) apply(t *txn) bool {
	known, _ := t.get(o.Known)
	if o.Ceiling, o.Told = ParseCeiling(string(known)); !o.Told {
		o.Ceiling = o.Else
	}
	c := &o.Ceiling
	o.Failed, _, o.Newest = summary(remembered(t.members(o.Fails), t.now-ms(c.Window), Idle))
	o.Trusted = false
	if o.Trust != (Key{}) {
		_, o.Trusted = t.get(o.Trust)
	}
	o.Taken, o.Ahead = true, 0
	live := t.members(o.Key)
	for len(live) > 0 && live[0].score <= t.now {
		live = live[1:]
	}
	for i, m := range live {
		if m.name == o.ID {
			o.Ahead = i
			return true
		}
	}
	most := c.For(o.Trusted)
	if most <= 0 {
		return true
	}
	o.Ahead = len(live)
	if max(c.Count(at(t.now)), o.Failed)+o.Ahead >= most {
		o.Taken = false
		return true
	}
	until := t.now + ms(o.For)
	if o.Ahead > 0 {
		until = max(until, live[o.Ahead-1].score+1)
	}
	t.setMember(o.Key, o.ID, until, until)
	return true
}
