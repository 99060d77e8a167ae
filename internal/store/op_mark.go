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
	Note  int64 // kept beside the mark and not compared
	ID    string
	TTL   time.Duration // the least life of the mark from here on; 0: unlimited

	Outcome
	Last int64 // the mark before, 0 if there was none
}

func (o *Advance) keys() []Key  { return []Key{o.Key} }
func (o *Advance) name() string { return "advance" }
func (o *Advance) writes() bool { return true }

func (o *Advance) args(a []any) []any {
	return append(a, o.Field, o.To, o.Note, o.ID, ms(o.TTL))
}

func (o *Advance) decode(_ bool, r reply) error {
	o.Last = r.int(0)
	return r.err
}

func (o *Advance) apply(t *txn) bool {
	k := o.Key.sub(o.Field)
	v, found := t.get(k)
	last, _, id := parseMark(string(v))
	if o.Last = last; found && last >= o.To {
		return last == o.To && o.ID != "" && id == o.ID
	}
	t.put(k, strconv.FormatInt(o.To, 10)+" "+strconv.FormatInt(o.Note, 10)+" "+o.ID, o.TTL)
	return true
}

// Marks reads all marks of a key.
type Marks struct {
	Key Key

	Outcome
	Last map[string]int64 // nil when there is none
	Note map[string]int64 // of those that have one
}

func (o *Marks) keys() []Key        { return []Key{o.Key} }
func (o *Marks) name() string       { return "marks" }
func (o *Marks) writes() bool       { return false }
func (o *Marks) args(a []any) []any { return a }

func (o *Marks) decode(_ bool, r reply) error {
	o.Last, o.Note = nil, nil
	for i := 0; i+1 < len(r.v); i += 2 {
		o.set(r.str(i), r.str(i+1))
	}
	return r.err
}

func (o *Marks) apply(t *txn) bool {
	o.Last, o.Note = nil, nil
	t.eachSub(o.Key, func(field string, v []byte) { o.set(field, string(v)) })
	return true
}

func (o *Marks) set(field, mark string) {
	if o.Last == nil {
		o.Last, o.Note = make(map[string]int64), make(map[string]int64)
	}
	last, note, _ := parseMark(mark)
	if o.Last[field] = last; note != 0 {
		o.Note[field] = note
	}
}

func parseMark(s string) (last, note int64, id string) {
	n, rest, _ := strings.Cut(s, " ")
	m, id, _ := strings.Cut(rest, " ")
	last, _ = strconv.ParseInt(n, 10, 64)
	note, _ = strconv.ParseInt(m, 10, 64)
	return last, note, id
}
