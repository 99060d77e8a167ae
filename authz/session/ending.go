package session

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"postern/internal/store"
)

// Ending is the wish that a session should end. It is written down by whoever decides
// so, a service or an operator, and carried out by whichever service reaches the
// session's NAS. It stays until the NAS has answered, the session is gone, or
// endingLife is over.
type Ending struct {
	Session string    `json:"session"` // ID
	Opened  time.Time `json:"opened"`  // of the session that is meant: an ID may return
	Reason  string    `json:"reason"`  // authz.Reason's name
	Detail  string    `json:"detail,omitempty"`
	Rule    string    `json:"rule,omitempty"`   // of the policy that refuses now
	Policy  string    `json:"policy,omitempty"` // its version
	Text    string    `json:"text,omitempty"`   // what the user may be shown
	Asked   time.Time `json:"asked"`

	raw string // as it stands in the store
}

const (
	endingLife = 24 * time.Hour
	// endingDone keeps a wish that was fulfilled, so that another service that has just
	// fulfilled it, too, finds that it was not the first.
	endingDone = 10 * time.Second
)

// AskEnd writes the wish down; false: there is one already.
func (r *Registry) AskEnd(ctx context.Context, e Ending) (bool, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return false, fmt.Errorf("write down the end of session %s: %w", e.Session, err)
	}
	seq := store.Seq{
		&store.Once{Key: store.Ending(e.Session), Value: string(b), TTL: endingLife},
		&store.Enter{Key: store.Endings(), Member: e.Session, For: endingLife},
	}
	if err := r.store.Do(ctx, seq); err != nil {
		return false, err
	}
	return seq.OK(), nil
}

// Endings lists the sessions that should end.
func (r *Registry) Endings(ctx context.Context) ([]string, error) {
	return r.members(ctx, store.Endings(), false)
}

// Ending reads the wish to end a session, and the session. The record is empty when
// the session is gone, or its ID is another one's by now.
func (r *Registry) Ending(ctx context.Context, id string) (e Ending, rec Record, found bool, err error) {
	why, what := &store.Get{Key: store.Ending(id)}, &store.Get{Key: store.Session(id)}
	if err := r.store.Do(ctx, store.Seq{why}, store.Seq{what}); err != nil {
		return Ending{}, Record{}, false, err
	}
	if !why.Found {
		return Ending{}, Record{}, false, nil
	}
	if err := json.Unmarshal([]byte(why.Value), &e); err != nil {
		e = Ending{Session: id} // nobody's wish; to be taken away
	}
	e.raw = why.Value
	if what.Found {
		if rec, err = parseRecord(what.Value); err != nil {
			return e, Record{}, true, err
		}
		if !rec.Opened.Equal(e.Opened) {
			rec = Record{}
		}
	}
	return e, rec, true, nil
}

// EndAnswered takes the wish away; true: by this call and no other.
func (r *Registry) EndAnswered(ctx context.Context, e Ending) (bool, error) {
	seq := store.Seq{
		&store.Swap{Key: store.Ending(e.Session), Old: e.raw, New: "done " + rand.Text(), TTL: endingDone},
		&store.Leave{Key: store.Endings(), Member: e.Session},
	}
	if err := r.store.Do(ctx, seq); err != nil {
		return false, err
	}
	return seq.OK(), nil
}

// Lost ends a session that its NAS does not know any more.
func (r *Registry) Lost(ctx context.Context, rec Record) error {
	clock := &store.Time{}
	if err := r.store.Do(ctx, store.Seq{clock}); err != nil {
		return err
	}
	_, err := r.end(ctx, rec.Node, []string{rec.ID}, func(now Record) (time.Time, Cause, bool) {
		return clock.Now, LostCarrier, now.Opened.Equal(rec.Opened)
	})
	return err
}
