package store

import (
	"strconv"
	"time"
)

// Enter puts a member into an index until a deadline, or moves its deadline.
// With Max it is a guard against more than Max members before their deadlines;
// who is in already stays in.
type Enter struct {
	Key    Key
	Member string
	For    time.Duration
	Max    int           // 0: no limit
	Lapsed time.Duration // how long the index remembers it after its deadline; 0: lapsedFor
	Later  bool          // a deadline is moved later only

	Outcome
	N int // live members afterwards; counted with Max only
}

func (o *Enter) keys() []Key  { return []Key{o.Key} }
func (o *Enter) name() string { return "enter" }
func (o *Enter) writes() bool { return true }

func (o *Enter) args(a []any) []any {
	later := 0
	if o.Later {
		later = 1
	}
	return append(a, o.Member, ms(o.For), o.Max, o.lapsed(), later)
}

func (o *Enter) lapsed() int64 {
	if o.Lapsed > 0 {
		return ms(o.Lapsed)
	}
	return ms(lapsedFor)
}

func (o *Enter) decode(_ bool, r reply) error {
	o.N = int(r.int(0))
	return r.err
}

func (o *Enter) apply(t *txn) bool {
	until := t.now + ms(o.For)
	if o.Later {
		for _, m := range t.members(o.Key) {
			if m.name == o.Member {
				until = max(until, m.score)
			}
		}
	}
	if o.Max <= 0 { // no need to count
		t.setMember(o.Key, o.Member, until, until+o.lapsed())
		o.N = 0
		return true
	}
	in := false
	o.N = 0
	for _, m := range t.members(o.Key) {
		if m.score > t.now {
			o.N++
			in = in || m.name == o.Member
		}
	}
	if !in {
		if o.N >= o.Max {
			return false
		}
		o.N++
	}
	t.setMember(o.Key, o.Member, until, until+o.lapsed())
	return true
}

// Leave takes a member out of an index. With Until it is a guard: it is lost, and the
// member stays, when its deadline is another one by now.
type Leave struct {
	Key    Key
	Member string
	Until  time.Time

	Outcome
}

func (o *Leave) keys() []Key                  { return []Key{o.Key} }
func (o *Leave) name() string                 { return "leave" }
func (o *Leave) writes() bool                 { return true }
func (o *Leave) args(a []any) []any           { return append(a, o.Member, o.until()) }
func (o *Leave) decode(_ bool, r reply) error { return r.err }

// until is 0 where any deadline will do.
func (o *Leave) until() int64 {
	if o.Until.IsZero() {
		return 0
	}
	return o.Until.UnixMilli()
}

func (o *Leave) apply(t *txn) bool {
	if until := o.until(); until != 0 {
		if had, in := t.member(o.Key, o.Member); in && had != until {
			return false
		}
	}
	t.deleteMember(o.Key, o.Member)
	return true
}

// Member is one entry of an index.
type Member struct {
	Name  string
	Until time.Time
}

// Members lists an index by deadline: live members, or with Lapsed those whose
// deadline has passed.
type Members struct {
	Key    Key
	Lapsed bool
	Offset int
	Limit  int // 0: only count

	Outcome
	N    int // all of that kind, listed or not
	List []Member
}

func (o *Members) keys() []Key  { return []Key{o.Key} }
func (o *Members) name() string { return "members" }
func (o *Members) writes() bool { return false }

func (o *Members) args(a []any) []any {
	return append(a, bit(o.Lapsed), o.Offset, o.Limit)
}

func (o *Members) decode(_ bool, r reply) error {
	o.N, o.List = int(r.int(0)), nil
	for i := 1; i+1 < len(r.v); i += 2 {
		until, err := strconv.ParseInt(r.str(i+1), 10, 64)
		if err != nil {
			return err
		}
		o.List = append(o.List, Member{r.str(i), at(until)})
	}
	return r.err
}

func (o *Members) apply(t *txn) bool {
	o.N, o.List = 0, nil
	for _, m := range t.members(o.Key) {
		if (m.score <= t.now) != o.Lapsed {
			continue
		}
		if o.N >= o.Offset && len(o.List) < o.Limit {
			o.List = append(o.List, Member{m.name, at(m.score)})
		}
		o.N++
	}
	return true
}
