package follow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"postern/authz"
	"postern/authz/session"
)

const (
	// wishesEvery is how often is looked for wishes of another service, or of an
	// operator, whether we were told of one or not.
	wishesEvery = time.Second
	// gather is how long is waited for more wishes after the first we are told of.
	gather = 50 * time.Millisecond
	// carriers bounds how many NAS are asked at once.
	carriers = 16
	// carryTime is how long one may take: longer than UDP's repetitions.
	carryTime = 20 * time.Second
	// A NAS that was not reached is asked again after retryFirst, then twice as long
	// each time, to retryMax.
	retryFirst = time.Second
	retryMax   = 30 * time.Second
	// tellAfter is how many tries later it is worth a line: most often another service
	// reaches the NAS.
	tellAfter = 2
	// confirmAfter is when a NAS that knows no such session is asked again, before the
	// session is taken for lost: its Stop may be on its way, with the true usage.
	confirmAfter = 5 * time.Second
)

// attempt is what we have done about one wish.
type attempt struct {
	wish     string // its name
	running  bool
	tries    int
	notFound int
	left     bool
	next     time.Time
}

// verdict is what is to be done about a wish next.
type verdict uint8

const (
	later   verdict = iota // again, and later each time
	confirm                // again, to be sure
	leave                  // again when nobody is at it any more
	over
)

type outcome struct {
	*attempt
	verdict
}

// carry fulfils wishes until ctx ends.
func (f *Follower) carry(ctx context.Context) {
	ticker := time.NewTicker(wishesEvery)
	defer ticker.Stop()
	told, soon := f.told(ctx), (<-chan time.Time)(nil)
	done := make(chan outcome)
	attempts := make(map[string]*attempt)
	running, away := 0, trouble(false)
	defer func() { // who was asked gives up with ctx
		for ; running > 0; running-- {
			<-done
		}
	}()
	var names []string
	for news := true; ; {
		if news {
			list, err := f.cfg.Sessions.Wishes(ctx)
			if ctx.Err() != nil {
				return
			}
			if begun, over := away.now(err); begun {
				f.log.Warn("sessions that must end or change are not looked for", "error", err)
			} else if over {
				f.log.Info("sessions that must end or change are looked for again")
			}
			if names = list; err == nil {
				f.m.waiting.Set(float64(len(names)))
				keep(attempts, names)
			}
		}
		now := time.Now()
		for _, name := range names {
			a := attempts[name]
			if running == carriers {
				break
			}
			if a == nil || a.running || now.Before(a.next) {
				continue
			}
			a.running = true
			running++
			go func() { done <- outcome{a, f.try(ctx, a)} }() // carry waits, for running
		}
		news = false
		for wait := true; wait; {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				news, wait = true, false
				if told == nil {
					told = f.told(ctx)
				}
				f.overdue(ctx)
			case <-f.wish:
				news, wait = true, false
			case _, open := <-told:
				switch {
				case !open:
					told = nil
				case soon == nil:
					soon = time.After(gather)
				}
			case <-soon:
				soon, news, wait = nil, true, false
			case o := <-done:
				running--
				o.running = false
				if o.verdict == over { // should it be listed again, it is a new one
					delete(attempts, o.wish)
				}
				o.schedule(o.verdict)
				wait = running > carriers/2 // there may be more to do
			}
		}
	}
}

// keep has an attempt for each wish that is listed, and for no other that is at rest.
func keep(attempts map[string]*attempt, names []string) {
	listed := make(map[string]bool, len(names))
	for _, name := range names {
		listed[name] = true
		if attempts[name] == nil {
			attempts[name] = &attempt{wish: name}
		}
	}
	for name, a := range attempts {
		if !listed[name] && !a.running {
			delete(attempts, name)
		}
	}
}

// told is where other services, and step-ups of ours, tell of new wishes; nil while
// the store is away.
func (f *Follower) told(ctx context.Context) <-chan string {
	c, err := f.cfg.Store.Watch(ctx, session.WishesTopic)
	if err != nil {
		return nil // they are looked for all the same, only later
	}
	return c
}

// overdue wishes for the end of sessions that are in quarantine longer than they may:
// their NAS should have ended them. One that is released right then is not.
func (f *Follower) overdue(ctx context.Context) {
	late, err := f.cfg.Sessions.Overdue(ctx)
	if err != nil {
		return // carry tells of the store
	}
	var cases []*authz.Case
	for _, s := range late {
		cases = append(cases, &authz.Case{
			Session: s, Next: s.Record, Outcome: authz.OutcomeEnded, Reason: authz.StepUpExpired,
			Detail: "in quarantine until " + s.Quarantine.UTC().Format(time.RFC3339),
		})
	}
	_, _ = f.settle(ctx, causeOverdue, "", cases) // else at the next look
}

// schedule says when an attempt comes again.
func (a *attempt) schedule(v verdict) {
	switch v {
	case later:
		wait := min(retryFirst<<min(a.tries, 10), retryMax)
		a.tries++
		a.next = time.Now().Add(wait - rand.N(wait/4))
	case confirm:
		a.next = time.Now().Add(confirmAfter)
	case leave:
		a.next = time.Now().Add(carryTime)
	case over:
	}
}

// try asks the NAS once. Only one goroutine has the attempt meanwhile.
func (f *Follower) try(ctx context.Context, a *attempt) verdict {
	ctx, cancel := context.WithTimeout(ctx, carryTime)
	defer cancel()
	w, rec, found, err := f.cfg.Sessions.Wish(ctx, a.wish)
	switch {
	case err != nil:
		return later
	case !found: // another service was faster
		return over
	case rec.ID == "" && !a.left:
		// It has ended. Whoever told its NAS, if anybody did, is about to write that down,
		// and must find the wish.
		a.left = true
		return leave
	case rec.ID == "": // by itself
		if _, err := f.cfg.Sessions.Answered(ctx, w); err != nil {
			return later
		}
		return over
	}
	answer, err := f.tellNAS(ctx, &w, rec)
	switch answer {
	case authz.NASDone:
		return f.answered(ctx, w, rec, answer, nil)
	case authz.NASRefused:
		return f.answered(ctx, w, rec, answer, err)
	case authz.NASNotFound:
		if rec.State == session.Pending && w.Reason == authz.Replaced.String() {
			return later // it is coming up, or never will and is forgotten soon
		}
		if a.notFound++; a.notFound < 2 {
			return confirm
		}
		if err := f.cfg.Sessions.Lost(ctx, rec); err != nil {
			return later
		}
		return f.answered(ctx, w, rec, answer, nil)
	case authz.NASNoWay, authz.NASNoAnswer, authz.NASUnknown:
	}
	if ctx.Err() == nil && a.tries == tellAfter { // once; other services may have a way
		f.log.Warn("session that must end or change is not reached", "wish", w.Kind.String(), "session", rec.ID, "user", rec.User, "reason", w.Reason, "answer", answer.String(), "error", err)
	}
	return later
}

// tellNAS asks the NAS for what is wished.
func (f *Follower) tellNAS(ctx context.Context, w *session.Wish, rec session.Record) (authz.NASAnswer, error) {
	switch w.Kind {
	case session.WishEnd:
		return f.cfg.NAS.Disconnect(ctx, rec, w.Text)
	case session.WishChange:
		to, err := changeOf(w)
		if err != nil {
			return authz.NASRefused, err // nobody will be able to carry it out
		}
		return f.cfg.NAS.Change(ctx, rec, to.After(time.Since(w.Asked)))
	case session.WishUnknown:
	}
	return authz.NASRefused, errNoWish
}

var errNoWish = errors.New("what is wished cannot be read")

func changeOf(w *session.Wish) (to authz.Change, err error) {
	if err := json.Unmarshal(w.Change, &to); err != nil {
		return authz.Change{}, fmt.Errorf("%w: %w", errNoWish, err)
	}
	return to, nil
}

// answered takes the wish away, and writes down what came of it, once in all services.
func (f *Follower) answered(ctx context.Context, w session.Wish, rec session.Record, answer authz.NASAnswer, refusal error) verdict {
	done := f.cfg.Sessions.Answered
	if refusal != nil {
		done = f.cfg.Sessions.Refused
	}
	first, err := done(ctx, w)
	if err != nil {
		return later
	}
	if !first && w.Kind == session.WishChange {
		poke(f.wish) // it may have been replaced by another one
		return over
	}
	if !first {
		return over
	}
	now := time.Now()
	log := f.log.With("session", rec.ID, "user", rec.User, "reason", w.Reason)
	if w.Kind == session.WishChange {
		f.m.changed.WithLabelValues(answer.String()).Inc()
		to, _ := changeOf(&w)
		f.cfg.Audit.SessionChanged(&authz.Changed{
			Time: now, Session: rec, Reason: w.Reason, Detail: w.Detail, Rule: w.Rule, Policy: w.Policy, Change: to, Answer: answer, Asked: w.Asked, Err: refusal,
		})
		if refusal != nil {
			log.Error("session that must change stays as it is: its NAS refuses", "error", refusal)
			if to.Quarantine != nil {
				return f.unconfined(ctx, &w)
			}
			return over
		}
		log.Info("session changed", "answer", answer.String())
		return over
	}
	f.m.ended.WithLabelValues(answer.String()).Inc()
	f.cfg.Audit.SessionEnded(&authz.Ended{
		Time: now, Session: rec, Reason: w.Reason, Detail: w.Detail, Rule: w.Rule, Policy: w.Policy, Answer: answer, Asked: w.Asked, Err: refusal,
	})
	if refusal != nil {
		log.Error("session that must end goes on: its NAS refuses", "error", refusal)
		return over
	}
	log.Info("session ended", "answer", answer.String())
	return over
}

// unconfined wishes for the end of a session that its NAS does not hold back.
func (f *Follower) unconfined(ctx context.Context, w *session.Wish) verdict {
	_, err := f.cfg.Sessions.AskEnd(ctx, session.Wish{
		Session: w.Session, Opened: w.Opened, Reason: authz.CannotIsolate.String(), Detail: "its NAS refused the quarantine: " + w.Detail,
		Rule: w.Rule, Policy: w.Policy, Text: f.cfg.Judge.Parting(authz.CannotIsolate), Asked: time.Now().UTC(),
	})
	if err != nil {
		f.log.Error("session that should be in quarantine goes on", "session", w.Session, "error", err)
	}
	f.m.decided.WithLabelValues(authz.CannotIsolate.String()).Inc()
	return over
}
