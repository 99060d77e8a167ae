package store

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Total adds up the counters of several sources, a user's sessions. A source says
// each time how far its counters are since it began; they only grow, and what is added
// is by how much. So a word that comes twice, or late, counts once.
//
// Base is how far the source was as its own record says. It stands in for what is
// remembered of the source here, which is so for the Keep that spoke last.
type Total struct {
	Key    Key
	Source string
	Now    []uint64 // up to MaxTotal each
	Base   []uint64 // nil: nothing
	Known  bool     // a guard: add nothing for a source that is not remembered
	Keep   int
	TTL    time.Duration

	Outcome
}

// MaxTotal is the most that one counter of a source may be: what a script's numbers
// hold exactly. Sums are 63 bits and stay at their end.
const MaxTotal = 1 << 53

// totalFields are those of a hash of totals that belong to no source.
const totalFields = "since at sources"

func (o *Total) keys() []Key  { return []Key{o.Key} }
func (o *Total) name() string { return "total" }
func (o *Total) writes() bool { return true }

func (o *Total) args(a []any) []any {
	a = append(a, o.Source, bit(o.Known), max(o.Keep, 1), ms(o.TTL), len(o.Now))
	for i := range o.Now {
		a = append(a, o.at(o.Now, i))
	}
	for i := range o.Now {
		a = append(a, o.at(o.Base, i))
	}
	return a
}

func (o *Total) at(list []uint64, i int) string {
	if i >= len(list) {
		return "0"
	}
	return strconv.FormatUint(min(list[i], MaxTotal), 10)
}

func (o *Total) decode(_ bool, r reply) error { return r.err }

func (o *Total) apply(t *txn) bool {
	type source struct {
		name string
		at   int64
	}
	var before []uint64
	var others []source
	t.eachSub(o.Key, func(part string, v []byte) {
		name, is := strings.CutPrefix(part, "of:")
		if !is {
			return
		}
		if name == o.Source {
			before = parseCounters(string(v))[1:]
			return
		}
		others = append(others, source{name, int64(parseCounters(string(v))[0])})
	})
	if before == nil && o.Known {
		return false
	}
	sum := func(field string, by uint64) {
		v, _ := t.get(o.Key.sub(field))
		n, _ := strconv.ParseUint(string(v), 10, 63)
		t.put(o.Key.sub(field), strconv.FormatUint(n+min(by, math.MaxInt64-n), 10), o.TTL)
	}
	if before == nil {
		sum("sources", 1)
		for i := range o.Now {
			n, _ := strconv.ParseUint(o.at(o.Base, i), 10, 64)
			before = append(before, n)
		}
		slices.SortFunc(others, func(a, b source) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.name, b.name)) })
		for len(others) >= max(o.Keep, 1) {
			t.delete(o.Key.sub("of:" + others[0].name))
			others = others[1:]
		}
	}
	line := strconv.FormatInt(t.now, 10)
	for i := range o.Now {
		now, _ := strconv.ParseUint(o.at(o.Now, i), 10, 64)
		if i < len(before) && now <= before[i] {
			now = before[i]
			sum("n"+strconv.Itoa(i), 0)
		} else {
			was := uint64(0)
			if i < len(before) {
				was = before[i]
			}
			sum("n"+strconv.Itoa(i), now-was)
		}
		line += " " + strconv.FormatUint(now, 10)
	}
	since := strconv.FormatInt(t.now, 10)
	if v, found := t.get(o.Key.sub("since")); found {
		since = string(v)
	}
	t.put(o.Key.sub("since"), since, o.TTL)
	t.put(o.Key.sub("at"), strconv.FormatInt(t.now, 10), o.TTL)
	t.put(o.Key.sub("of:"+o.Source), line, o.TTL)
	return true
}

// parseCounters reads numbers between spaces; there is always one.
func parseCounters(s string) []uint64 {
	var list []uint64
	for w := range strings.FieldsSeq(s) {
		n, _ := strconv.ParseUint(w, 10, 64)
		list = append(list, n)
	}
	if len(list) == 0 {
		list = []uint64{0}
	}
	return list
}

// Totals reads what Total has added up.
type Totals struct {
	Key Key
	N   int // counters

	Outcome
	Found     bool
	Since, At time.Time // first and last word
	Sources   uint64    // that ever spoke
	Sum       []uint64
}

func (o *Totals) keys() []Key        { return []Key{o.Key} }
func (o *Totals) name() string       { return "totals" }
func (o *Totals) writes() bool       { return false }
func (o *Totals) args(a []any) []any { return append(a, o.N) }

func (o *Totals) decode(_ bool, r reply) error {
	fields := make([]string, len(strings.Fields(totalFields))+o.N)
	for i := range fields {
		fields[i] = r.str(i)
	}
	if r.err != nil {
		return r.err
	}
	return o.set(fields)
}

// set takes what totalFields names, and the sums.
func (o *Totals) set(fields []string) error {
	o.Found, o.Since, o.At, o.Sources, o.Sum = fields[0] != "", time.Time{}, time.Time{}, 0, make([]uint64, o.N)
	if !o.Found {
		return nil
	}
	n := make([]uint64, len(fields))
	for i, f := range fields {
		var err error
		if n[i], err = strconv.ParseUint(cmp.Or(f, "0"), 10, 63); err != nil {
			return fmt.Errorf("parse totals: %w", err)
		}
	}
	o.Since, o.At, o.Sources = at(int64(n[0])), at(int64(n[1])), n[2]
	copy(o.Sum, n[3:])
	return nil
}

func (o *Totals) apply(t *txn) bool {
	var fields []string
	for _, f := range strings.Fields(totalFields) {
		v, _ := t.get(o.Key.sub(f))
		fields = append(fields, string(v))
	}
	for i := range o.N {
		v, _ := t.get(o.Key.sub("n" + strconv.Itoa(i)))
		fields = append(fields, string(v))
	}
	if err := o.set(fields); err != nil && t.err == nil {
		t.err = err
	}
	return true
}
