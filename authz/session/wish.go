package session

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/internal/store"
)

// WishKind is what is wished of a session's NAS. The zero value is nothing that could
// be carried out.
//
// Handled in: wishNames, Registry.Ask; follow carries wishes out.
type WishKind uint8

const (
	WishUnknown WishKind = iota
	WishEnd              // that the session ends
	WishChange           // that it changes
)

var wishNames = [...]string{WishUnknown: "unknown", WishEnd: "end", WishChange: "change"}

func (k WishKind) String() string {
	if int(k) < len(wishNames) {
		return wishNames[k]
	}
	return wishNames[WishUnknown]
}

// MarshalText and UnmarshalText spell a kind in wishes.
func (k WishKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

func (k *WishKind) UnmarshalText(b []byte) error {
	*k = WishKind(max(slices.Index(wishNames[:], string(b)), 0))
	return nil
}

// Wish is what a session's NAS is to be asked for. It is written down by whoever
// decides so, a service or an operator, and carried out by whichever service reaches
// the NAS. It stays until the NAS has answered, the session is gone, or wishLife is
// over. A session may have one wish of each kind.
type Wish struct {
	Kind    WishKind        `json:"kind"`
	Session string          `json:"session"` // ID
	Opened  time.Time       `json:"opened"`  // of the session that is meant: an ID may return
	Reason  string          `json:"reason"`  // authz.Reason's name
	Detail  string          `json:"detail,omitempty"`
	Rule    string          `json:"rule,omitempty"`   // of the policy that was asked
	Policy  string          `json:"policy,omitempty"` // its version
	Text    string          `json:"text,omitempty"`   // what the user may be shown at the end
	Change  json.RawMessage `json:"change,omitempty"` // an authz.Change
	Asked   time.Time       `json:"asked"`

	name, raw string // as it stands in the store
}

const (
	wishLife = 24 * time.Hour
	// wishDone keeps a wish to end that was fulfilled, so that another service that has
	// just fulfilled it, too, finds that it was not the first.
	wishDone = 10 * time.Second
)

// WishesTopic is where the name of each new wish is published.
const WishesTopic = "wishes"

func wishName(k WishKind, session string) string { return k.String() + " " + session }

// wishKeys are where a wish of that name is, and where it is listed.
func wishKeys(name string) (what, list store.Key) {
	_, id, _ := strings.Cut(name, " ")
	return store.Wish(id, name), store.WishesOf(id)
}

// seq writes the wish down, under the session's tag. An end is wished once; of changes the
// last one counts, for it was decided with all that is known.
func (w *Wish) seq() (store.Seq, error) {
	b, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("write down what is wished of session %s: %w", w.Session, err)
	}
	name := wishName(w.Kind, w.Session)
	what, list := wishKeys(name)
	var write store.Op = &store.Once{Key: what, Value: string(b), TTL: wishLife}
	if w.Kind == WishChange {
		write = &store.Put{Key: what, Value: string(b), TTL: wishLife}
	}
	seq := store.Seq{write, &store.Enter{Key: list, Member: name, For: wishLife}}
	if w.Kind == WishEnd {
		seq = append(seq, &store.Put{Key: store.SessionWhy(w.Session), Value: string(b), TTL: wishLife})
	}
	return append(seq, &store.Publish{Topic: WishesTopic, Message: name}), nil
}

// AskEnd writes down that a session should end; false: that is wished already.
func (r *Registry) AskEnd(ctx context.Context, w Wish) (bool, error) {
	n, err := r.askEnds(ctx, []Wish{w})
	return n > 0, err
}

// AskEnds is AskEnd for many sessions, for one reason. It returns of how many nobody had
// wished it yet.
func (r *Registry) AskEnds(ctx context.Context, recs []Record, w Wish) (asked int, err error) {
	for some := range slices.Chunk(recs, page) {
		wishes := make([]Wish, len(some))
		for i := range some {
			wishes[i] = w
			wishes[i].Session, wishes[i].Opened = some[i].ID, some[i].Opened
		}
		n, err := r.askEnds(ctx, wishes)
		if asked += n; err != nil {
			return asked, err
		}
	}
	return asked, nil
}

func (r *Registry) askEnds(ctx context.Context, wishes []Wish) (asked int, err error) {
	seqs := make([]store.Seq, len(wishes))
	for i := range wishes {
		w := &wishes[i]
		w.Kind = WishEnd
		seq, err := w.seq()
		if err != nil {
			return 0, err
		}
		// One that has to end is waited for no longer.
		seqs[i] = append(store.Seq{&store.Leave{Key: store.HeldAs(w.Session), Member: w.Session}}, seq...)
	}
	if err := r.store.Do(ctx, seqs...); err != nil {
		return 0, err
	}
	for _, s := range seqs {
		if s.OK() {
			asked++
		}
	}
	return asked, nil
}

// why is what is kept of a wish to end until the session has: its NAS may answer before
// the session's last report comes.
type why Wish

func parseWhy(said *store.Get) (w why) {
	if !said.Found || json.Unmarshal([]byte(said.Value), &w) != nil {
		return why{} // nobody can say
	}
	return w
}

// wish is the same wish again.
func (w why) wish(id string) Wish {
	again := Wish(w)
	again.Session = id
	return again
}

// Wishes lists the names of all wishes.
func (r *Registry) Wishes(ctx context.Context) ([]string, error) {
	return r.membersOf(ctx, store.Wishes(), false)
}

// Wish reads a wish, and the session. The record is empty when the session is gone, or
// its ID is another one's by now.
func (r *Registry) Wish(ctx context.Context, name string) (w Wish, rec Record, found bool, err error) {
	key, _ := wishKeys(name)
	what := &store.Get{Key: key}
	if err := r.store.Do(ctx, store.Seq{what}); err != nil {
		return Wish{}, Record{}, false, err
	}
	if !what.Found {
		return Wish{}, Record{}, false, nil
	}
	if err := json.Unmarshal([]byte(what.Value), &w); err != nil {
		w = Wish{} // nobody's wish; to be taken away
	}
	w.name, w.raw = name, what.Value
	if w.Session == "" {
		return w, Record{}, true, nil
	}
	rec, found, err = r.Get(ctx, w.Session)
	if err != nil || !found || !rec.Opened.Equal(w.Opened) {
		rec = Record{}
	}
	return w, rec, true, err
}

// Answered takes the wish away; true: by this call and no other. A wish that was
// replaced meanwhile stays.
func (r *Registry) Answered(ctx context.Context, w Wish) (bool, error) { return r.answered(ctx, w) }

// Refused is Answered for a wish that its NAS has refused: what becomes of the session
// later has nothing to do with it.
func (r *Registry) Refused(ctx context.Context, w Wish) (bool, error) {
	if w.Kind != WishEnd || w.Session == "" {
		return r.answered(ctx, w)
	}
	return r.answered(ctx, w, &store.Delete{Key: store.SessionWhy(w.Session)})
}

func (r *Registry) answered(ctx context.Context, w Wish, more ...store.Op) (bool, error) {
	what, list := wishKeys(w.name)
	seq := append(store.Seq{
		&store.Swap{Key: what, Old: w.raw, New: "done " + rand.Text(), TTL: wishDone},
		&store.Leave{Key: list, Member: w.name},
	}, more...)
	if err := r.store.Do(ctx, seq); err != nil {
		return false, err
	}
	return seq.OK(), nil
}

// Lifting says whether a change of the session is wished that its NAS has not answered.
func (r *Registry) Lifting(ctx context.Context, id string) (bool, error) {
	w, _, found, err := r.Wish(ctx, wishName(WishChange, id))
	return found && w.Kind == WishChange, err
}

// Lost ends a session that its NAS does not know any more.
func (r *Registry) Lost(ctx context.Context, rec Record) error {
	clock := &store.Time{}
	if err := r.store.Do(ctx, store.Seq{clock}); err != nil {
		return err
	}
	_, err := r.end(ctx, rec.Node, []store.Member{{Name: rec.ID}}, func(now Record) (time.Time, Cause, bool) {
		return clock.Now, LostCarrier, now.Opened.Equal(rec.Opened)
	})
	return err
}
