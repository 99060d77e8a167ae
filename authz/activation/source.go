package activation

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"time"

	"postern/internal/store"
)

// Source activates what it finds in a node's policy file, for all services. Of several
// services one does so at a time. Its Act is a Watcher's.
//
// The file is the one that people look after, and it is looked at for changes: what was
// rolled back stays so until the file changes again. Where each node has a copy of its own,
// one that is behind must not take back what another has activated: so a node acts on what
// is new to itself, and not on what was acted on last.
type Source struct {
	Store store.Store
	Node  string        // what it found is remembered under this name
	Every time.Duration // of its Watcher
	Gate  func() Gate
	Board *Board
	Log   *slog.Logger
	From  func() string // where the file is, for the history

	self string
}

// Act is for a Watcher.
func (s *Source) Act(ctx context.Context, f Found) (done bool) {
	done, err := s.act(ctx, f)
	switch {
	case errors.Is(err, ErrChanged) || ctx.Err() != nil: // at the next look
	case err != nil:
		s.Log.Warn("a changed policy file is not activated yet", "error", err)
	}
	return done
}

func (s *Source) act(ctx context.Context, f Found) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	if mine, err := s.takeTurn(ctx); !mine || err != nil {
		return false, err
	}
	desk := NewDesk(s.Store)
	base, err := desk.State(ctx)
	if err != nil {
		return false, err
	}
	own := &store.Get{Key: store.PolicySource(s.Node)}
	if err := s.Store.Do(ctx, store.Seq{own}); err != nil {
		return false, err
	}
	switch {
	case base.Source == f.ID: // it was acted on, here or elsewhere
		s.Board.Clear(AlarmFile)
		return s.remember(ctx, f.ID)
	case own.Value == f.ID, own.Value == "" && base.Source != "": // behind
		return s.remember(ctx, f.ID)
	}
	gate := s.Gate()
	by := By{Who: s.Node, From: s.From(), Comment: "found by policy.watch"}
	p, signer, err := gate.open(f, time.Now())
	switch {
	case err != nil:
		e := Event{At: time.Now(), Action: Refused, Who: by.Who, From: by.From, Comment: by.Comment, Before: base.Active.Version, Service: s.Node, Error: err.Error()}
		if noted := desk.note(ctx, base, f.ID, &e); noted != nil {
			return false, noted
		}
		s.Board.Refused(AlarmFile, e, err)
		return s.remember(ctx, f.ID)
	case p.Version() == base.Active.Version && f.Bundle.Sum() == base.Active.Sum:
		s.Board.Clear(AlarmFile)
		err = desk.note(ctx, base, f.ID, nil)
	default:
		s.Board.Clear(AlarmFile)
		s.Log.Info("policy file has changed", "version", p.Version(), "from", by.From, "signer", signer)
		_, err = desk.put(ctx, base, f.Bundle, p, by, Activated, f.ID)
	}
	if err != nil {
		return false, err
	}
	return s.remember(ctx, f.ID)
}

// takeTurn says whether it is our turn to look: it is until we stop asking.
func (s *Source) takeTurn(ctx context.Context) (bool, error) {
	if s.self == "" {
		s.self = s.Node + " " + rand.Text()[:8]
	}
	op := &store.Swap{Key: store.PolicyTurn(), Absent: true, New: s.self, TTL: 3*s.Every + time.Second}
	err := s.Store.Do(ctx, store.Seq{op})
	return op.OK, err
}

func (s *Source) remember(ctx context.Context, id string) (bool, error) {
	err := s.Store.Do(ctx, store.Seq{&store.Put{Key: store.PolicySource(s.Node), Value: id, TTL: sourceLife}})
	return err == nil, err
}
