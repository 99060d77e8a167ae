package grant

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/internal/store"
)

// Query loads a user's grants.
type Query struct {
	user string
	op   store.Get

	found bool
	raw   string
	list  []Grant
	read  bool
}

// Ask says what to load for a login.
func Ask(user string) *Query {
	return &Query{user: user, op: store.Get{Key: store.UserGrants(user)}}
}

// Seqs is what to put into the Do that loads the login.
func (q *Query) Seqs() []store.Seq { return []store.Seq{{&q.op}} }

// parse reads the list on first need: most logins never look at it.
func (q *Query) parse() error {
	if q.read {
		return nil
	}
	return q.set(q.op.Found, q.op.Value)
}

func (q *Query) set(found bool, raw string) error {
	q.found, q.raw, q.list, q.read = found, raw, nil, true
	if !found {
		return nil
	}
	return parse(raw, &q.list)
}

func parse(raw string, list *[]Grant) error {
	if err := json.Unmarshal([]byte(raw), list); err != nil {
		*list = nil
		return fmt.Errorf("parse grants: %w", err)
	}
	return nil
}

// Write is a list of grants on its way into the store. It is a guard, lost when
// somebody else has written the list since it was read. One that is used stands first
// in the commit, so that [Query.Again] knows the list as it is; one that is given, last.
type Write struct {
	Grant Grant // that is used, or given
	op    store.Swap
}

// Seqs is what to put into the Do that commits the login.
func (w *Write) Seqs() []store.Seq { return []store.Seq{{&w.op}} }

// OK reports whether the list was written.
func (w *Write) OK() bool { return w.op.OK }

// Use picks a grant that is good at the place and that suits, and writes down that it
// was used. nil: there is none.
func (q *Query) Use(now time.Time, p *Place, passwordSet time.Time, suits func(factor string) bool) (*Write, error) {
	if err := q.parse(); err != nil {
		return nil, err
	}
	best := -1
	for i := range q.list {
		g := &q.list[i]
		if g.good(now, p, passwordSet) && suits(g.Factor) && (best < 0 || g.Given.After(q.list[best].Given)) {
			best = i
		}
	}
	if best < 0 {
		return nil, nil
	}
	list := slices.Clone(q.list)
	g := &list[best]
	if used := now.UTC().Truncate(grain); used.After(g.Used) {
		g.Used = used
	}
	return q.write(now, list, *g), nil
}

// Give remembers a factor given at the place. It takes the place of an older one of
// there. nil: the policy remembers none, or nothing is known to bind it to.
func (q *Query) Give(now time.Time, p *Place, factor, decision string) (*Write, error) {
	source := p.Source.Unmap()
	if p.Remember.For <= 0 || !source.IsValid() {
		return nil, nil
	}
	if err := q.parse(); err != nil {
		return nil, err
	}
	now = now.UTC()
	g := Grant{
		ID: rand.Text(), Factor: factor, Source: source, Bits: bits(source, p.Remember.Prefix), Device: device(p.Device), Bound: p.Remember.Device,
		Given: now, Used: now, For: p.Remember.For, Idle: p.Remember.Idle, Decision: decision,
	}
	list := slices.DeleteFunc(slices.Clone(q.list), func(old Grant) bool {
		return !now.Before(old.Until()) ||
			old.Network() == g.Network() && old.Factor == g.Factor && strings.EqualFold(old.Device, g.Device)
	})
	if n := len(list) - maxGrants + 1; n > 0 {
		slices.SortStableFunc(list, func(a, b Grant) int { return cmp.Or(a.Used.Compare(b.Used), a.Given.Compare(b.Given)) })
		list = list[n:]
	}
	return q.write(now, append(list, g), g), nil
}

// write is the compare and set of a list.
func (q *Query) write(now time.Time, list []Grant, g Grant) *Write {
	return &Write{Grant: g, op: *swap(store.UserGrants(q.user), q.found, q.raw, now, list)}
}

func swap(k store.Key, found bool, raw string, now time.Time, list []Grant) *store.Swap {
	if list == nil {
		list = []Grant{}
	}
	b, err := json.Marshal(list)
	if err != nil { // no field of ours can fail
		b = []byte("[]")
	}
	life := grain // of an empty list
	for i := range list {
		life = max(life, list[i].Given.Add(list[i].For).Sub(now))
	}
	return &store.Swap{Key: k, Absent: !found, Old: raw, New: string(b), TTL: life}
}

// Again takes the list as w found it, for another decision.
func (q *Query) Again(w *Write) error { return q.set(w.op.Found, w.op.Value) }

// Stands says whether a factor that let a session in has not been taken back: its grant is
// still there, or would have lapsed by itself, or there is another that is good at the
// place and suits.
func (q *Query) Stands(now time.Time, id string, end time.Time, p *Place, passwordSet time.Time, suits func(factor string) bool) (bool, error) {
	if err := q.parse(); err != nil {
		return false, err
	}
	if !now.Before(end) {
		return true, nil
	}
	return slices.ContainsFunc(q.list, func(g Grant) bool {
		return g.ID == id || g.good(now, p, passwordSet) && suits(g.Factor)
	}), nil
}
