package follow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"postern/authz"
	"postern/authz/directory"
	"postern/authz/session"
)

// cause is why a session is looked at again. The zero value is no cause.
//
// Handled in: causeNames, which label a metric.
type cause uint8

const (
	causeNone      cause = iota
	causeDirectory       // its user's account may have changed
	causePolicy          // another policy is in force
	causeAsked           // somebody asked for its user, see session.AskReview
	causeDue             // its instant has come
	causeOverdue         // it is in quarantine for longer than it may
)

var causeNames = [...]string{
	causeNone: "none", causeDirectory: "directory", causePolicy: "policy", causeAsked: "asked", causeDue: "due", causeOverdue: "overdue",
}

// String returns the cause as audit lines and metrics spell it.
func (c cause) String() string { return causeNames[c] }

const (
	// together is how many sessions are looked at in one go: a few trips to the store.
	together = 500
	// rounds bounds how often a session is looked at that changes while it is.
	rounds = 8
)

var errChanging = errors.New("sessions change all the time")

// review looks at sessions with their users' accounts, and has settled what comes of it.
// Sessions whose user is not among the accounts stay as they are. Its error is the
// store's.
func (f *Follower) review(ctx context.Context, why cause, said string, seen []session.Seen, accounts map[string]*directory.Account) error {
	for range rounds {
		var lost []string
		for some := range slices.Chunk(seen, together) {
			again, err := f.reviewSome(ctx, why, said, some, accounts)
			if err != nil {
				return err
			}
			lost = append(lost, again...)
		}
		if len(lost) == 0 {
			return nil
		}
		var err error
		if seen, err = f.cfg.Sessions.Look(ctx, lost...); err != nil {
			return err
		}
	}
	return errChanging
}

// reviewSome returns the IDs of those that must be looked at again.
func (f *Follower) reviewSome(ctx context.Context, why cause, said string, some []session.Seen, accounts map[string]*directory.Account) ([]string, error) {
	var cases []*authz.Case
	for _, s := range some {
		if a := accounts[s.User]; a != nil && authz.Followable(&s.Record) {
			cases = append(cases, &authz.Case{Session: s, Account: a})
		}
	}
	if len(cases) == 0 {
		return nil, nil
	}
	if err := f.cfg.Judge.Reevaluate(ctx, cases...); err != nil {
		return nil, err
	}
	return f.settle(ctx, why, said, cases)
}

// settle writes down what looks came to, and returns the IDs of sessions that have changed
// meanwhile.
func (f *Follower) settle(ctx context.Context, why cause, said string, cases []*authz.Case) (lost []string, err error) {
	var all []*session.Settlement
	var of []*authz.Case
	for _, c := range cases {
		if c.Outcome == authz.OutcomeUnknown || c.Outcome == authz.OutcomeSame && c.Next == c.Session.Record && !c.Session.Taken() {
			f.m.reviews.WithLabelValues(why.String(), c.Outcome.String()).Inc()
			continue
		}
		w, err := f.wishOf(c)
		if err != nil {
			return nil, err
		}
		all, of = append(all, &session.Settlement{Seen: c.Session, Next: c.Next, Wish: w}), append(of, c)
	}
	if len(all) == 0 {
		return nil, nil
	}
	if err := f.cfg.Sessions.Settle(ctx, all...); err != nil {
		return nil, err
	}
	wished := false
	for i, s := range all {
		if !s.Done {
			lost = append(lost, s.Seen.ID)
			continue
		}
		f.m.reviews.WithLabelValues(why.String(), of[i].Outcome.String()).Inc()
		if s.Fresh {
			wished = true
			f.tell(why, said, of[i], s)
		}
	}
	if wished {
		poke(f.wish)
	}
	return lost, nil
}

// wishOf is what is wished of the NAS; nil: nothing.
func (f *Follower) wishOf(c *authz.Case) (*session.Wish, error) {
	w := &session.Wish{
		Kind: session.WishChange, Reason: c.Reason.String(), Detail: c.Detail, Rule: c.Rule, Policy: c.Policy, Asked: time.Now().UTC(),
	}
	switch c.Outcome {
	case authz.OutcomeEnded:
		w.Kind, w.Text = session.WishEnd, f.cfg.Judge.Parting(c.Reason)
	case authz.OutcomeChanged, authz.OutcomeHeld, authz.OutcomeReleased:
		b, err := json.Marshal(c.Change)
		if err != nil {
			return nil, fmt.Errorf("session %s: %w", c.Session.ID, err)
		}
		w.Change = b
	case authz.OutcomeSame, authz.OutcomeUnknown:
		return nil, nil
	}
	return w, nil
}

// tell writes down what has been decided of a session.
func (f *Follower) tell(why cause, said string, c *authz.Case, s *session.Settlement) {
	if c.Outcome == authz.OutcomeEnded {
		f.m.decided.WithLabelValues(c.Reason.String()).Inc()
	}
	text := why.String()
	if said != "" {
		text += ": " + said
	}
	f.cfg.Audit.SessionReviewed(&authz.Reviewed{
		Time: s.Wish.Asked, Session: s.Next, Cause: text, Outcome: c.Outcome, Reason: c.Reason, Detail: c.Detail,
		Before: s.Seen.Rule, Rule: c.Rule, Policy: c.Policy,
	})
	f.log.Info("session reviewed", "session", s.Seen.ID, "user", s.Seen.User, "cause", text, "outcome", c.Outcome.String(),
		"reason", c.Reason.String(), "detail", c.Detail)
}

// answers are what directories say of users.
type answers struct {
	accounts map[string]*directory.Account
	away     map[string]bool // users whose directory does not answer
	realms   map[*realm]bool // that do not
}

// ask asks the directories for users as they are now. A directory that was away when it
// was asked before is not asked again; before may be nil.
func (f *Follower) ask(ctx context.Context, users []string, before *answers) *answers {
	all := &answers{make(map[string]*directory.Account, len(users)), make(map[string]bool), make(map[*realm]bool)}
	if before != nil {
		all.realms = before.realms
	}
	slices.Sort(users)
	users = slices.Compact(users)
	for _, r := range f.realms {
		var own []string
		for _, u := range users {
			if r.Owns(u) {
				own = append(own, u)
			}
		}
		for names := range slices.Chunk(own, chunk) {
			if !all.realms[r] {
				changed, _, err := f.changed(ctx, r, names, "")
				if err == nil {
					for i := range changed {
						all.accounts[changed[i].Name] = &changed[i]
					}
					continue
				}
				f.log.Debug("a directory is not asked for accounts", "realm", r.Realm, "error", err)
				all.realms[r] = true
			}
			for _, u := range names {
				all.away[u] = true
			}
		}
	}
	return all
}

// users are whose sessions these are.
func users(seen []session.Seen) []string {
	all := make([]string, 0, len(seen))
	for i := range seen {
		if authz.Followable(&seen[i].Record) {
			all = append(all, seen[i].User)
		}
	}
	return all
}

// everybody looks at all sessions, no more of them a second than PerSecond, and begins
// anew when told, for another policy is in force by then. It returns whether every
// directory answered; its error is the store's.
func (f *Follower) everybody(ctx context.Context, why cause, said string, told <-chan struct{}) (bool, error) {
	for {
		all, anew, err := f.everybodyOnce(ctx, why, said, told)
		if !anew || err != nil {
			return all, err
		}
	}
}

func (f *Follower) everybodyOnce(ctx context.Context, why cause, said string, told <-chan struct{}) (all, anew bool, err error) {
	defer f.m.left.Set(0)
	ids, err := f.cfg.Sessions.AllIDs(ctx)
	if err != nil {
		return false, false, err
	}
	f.m.left.Set(float64(len(ids)))
	began, looked := time.Now(), 0
	var got *answers
	all = true
	for some := range slices.Chunk(ids, min(together, max(f.cfg.PerSecond/4, 1))) {
		seen, err := f.cfg.Sessions.Look(ctx, some...)
		if err != nil {
			return false, false, err
		}
		got = f.ask(ctx, users(seen), got)
		all = all && len(got.away) == 0
		if err := f.review(ctx, why, said, seen, got.accounts); err != nil {
			return false, false, err
		}
		looked += len(some)
		f.m.left.Set(float64(len(ids) - looked))
		select {
		case <-ctx.Done():
			return false, false, ctx.Err()
		case <-told:
			return false, true, nil
		case <-time.After(time.Until(began.Add(time.Duration(looked) * time.Second / time.Duration(f.cfg.PerSecond)))):
		}
	}
	return all, false, nil
}
