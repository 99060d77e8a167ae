package store

import (
	"strconv"
	"strings"
	"time"
)

// Advance is a guard: it wins if To is greater than the mark and moves the mark
// there. A used one-time code stays used and no older one passes after it. With
// an ID, the one that moved the mark to To wins again: a request that comes a
// second time because its answer was lost is not its own replay.
type Advance struct {
	Key   Key
	Field string
	To    int64 // up to 1<<53
	ID    string
	TTL   time.Duration // the least life of the mark from here on; 0: unlimited

	Outcome
	Last int64 // the mark before, 0 if there was none
}

func (o *Advance) keys() []Key  { return []Key{o.Key} }
func (o *Advance) name() string { return "advance" }
func (o *Advance) writes() bool { return true }

func (o *Advance) args(a []any) []any {
	return append(a, o.Field, o.To, o.ID, ms(o.TTL))
}

func (o *Advance) decode(_ bool, r reply) error {
	o.Last = r.int(0)
	return r.err
}

func (o *Advance) apply(t *txn) bool {
	k := o.Key.sub(o.Field)
	v, found := t.get(k)
	last, id := parseMark(string(v))
	if o.Last = last; found && last >= o.To {
		return last == o.To && o.ID != "" && id == o.ID
	}
	t.put(k, strconv.FormatInt(o.To, 10)+" "+o.ID, o.TTL)
	return true
}

// Marks reads all marks of a key.
type Marks struct {
	Key Key

	Outcome
	Last map[string]int64 // nil when there is none
}

func (o *Marks) keys() []Key        { return []Key{o.Key} }
func (o *Marks) name() string       { return "marks" }
func (o *Marks) writes() bool       { return false }
func (o *Marks) args(a []any) []any { return a }

func (o *Marks) decode(_ bool, r reply) error {
	o.Last = nil
	for i := 0; i+1 < len(r.v); i += 2 {
		o.set(r.str(i), r.str(i+1))
	}
	return r.err
}

func (o *Marks) apply(t *txn) bool {
	o.Last = nil
	t.eachSub(o.Key, func(field string, v []byte) { o.set(field, string(v)) })
	return true
}

func (o *Marks) set(field, mark string) {
	if o.Last == nil {
		o.Last = make(map[string]int64)
	}
	o.Last[field], _ = parseMark(mark)
}

func parseMark(s string) (last int64, id string) {
	n, id, _ := strings.Cut(s, " ")
	last, _ = strconv.ParseInt(n, 10, 64)
	return last, id
}
