package follow

import (
	"context"
	"math/rand/v2"
	"time"

	"postern/authz"
	"postern/authz/session"
)

const (
	// wishesEvery is how soon a wish of another service, or of an operator, is seen.
	wishesEvery = time.Second
	// carriers bounds how many NAS are asked at once.
	carriers = 16
	// carryTime is how long one may take: longer than UDP's repetitions.
	carryTime = 20 * time.Second
	// A NAS that was not reached is asked again after retryFirst, then twice as long
	// each time, to retryMax.
	retryFirst = time.Second
	retryMax   = 30 * time.Second
	// confirmAfter is when a NAS that knows no such session is asked again, before the
	// session is taken for lost: its Stop may be on its way, with the true usage.
	confirmAfter = 5 * time.Second
)

// attempt is what we have done about one wish.
type attempt struct {
	id       string
	running  bool
	tries    int
	notFound int
	next     time.Time
}

// verdict is what is to be done about a wish next.
type verdict uint8

const (
	later   verdict = iota // again, and later each time
	confirm                // again, to be sure
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
	done := make(chan outcome)
	attempts := make(map[string]*attempt)
	running, away := 0, trouble(false)
	defer func() { // who was asked gives up with ctx
		for ; running > 0; running-- {
			<-done
		}
	}()
	for {
		ids, err := f.cfg.Sessions.Endings(ctx)
		if ctx.Err() != nil {
			return
		}
		if begun, over := away.now(err); begun {
			f.log.Warn("sessions that must end are not looked for", "error", err)
		} else if over {
			f.log.Info("sessions that must end are looked for again")
		}
		if err == nil {
			f.m.waiting.Set(float64(len(ids)))
			listed := make(map[string]bool, len(ids))
			now := time.Now()
			for _, id := range ids {
				listed[id] = true
				a := attempts[id]
				if a == nil {
					a = &attempt{id: id}
					attempts[id] = a
				}
				if a.running || now.Before(a.next) || running == carriers {
					continue
				}
				a.running = true
				running++
				go func() { done <- outcome{a, f.try(ctx, a)} }() // carry waits, for running
			}
			for id, a := range attempts {
				if !listed[id] && !a.running {
					delete(attempts, id)
				}
			}
		}
		for wait := true; wait; {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				wait = false
			case <-f.wish:
				wait = false
			case o := <-done:
				running--
				o.running = false
				o.schedule(o.verdict)
				wait = running > carriers/2 // there may be more to do
			}
		}
	}
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
	case over:
		a.next = time.Now().Add(retryMax) // should the list still have it
	}
}

// try asks the NAS once. Only one goroutine has the attempt meanwhile.
func (f *Follower) try(ctx context.Context, a *attempt) verdict {
	ctx, cancel := context.WithTimeout(ctx, carryTime)
	defer cancel()
	e, rec, found, err := f.cfg.Sessions.Ending(ctx, a.id)
	switch {
	case err != nil:
		return later
	case !found: // another service was faster
		return over
	case rec.ID == "": // it has ended by itself
		if _, err := f.cfg.Sessions.EndAnswered(ctx, e); err != nil {
			return later
		}
		return over
	}
	answer, err := f.cfg.NAS.Disconnect(ctx, rec, e.Text)
	switch answer {
	case authz.NASDone:
		return f.answered(ctx, e, rec, answer, nil)
	case authz.NASRefused:
		return f.answered(ctx, e, rec, answer, err)
	case authz.NASNotFound:
		if a.notFound++; a.notFound < 2 {
			return confirm
		}
		if err := f.cfg.Sessions.Lost(ctx, rec); err != nil {
			return later
		}
		return f.answered(ctx, e, rec, answer, nil)
	case authz.NASNoWay, authz.NASNoAnswer, authz.NASUnknown:
	}
	if ctx.Err() == nil && a.tries == 0 { // once; other services may have a way
		f.log.Warn("session that must end is not reached", "session", rec.ID, "user", rec.User, "reason", e.Reason, "answer", answer.String(), "error", err)
	}
	return later
}

// answered takes the wish away, and writes down what came of it, once in all services.
func (f *Follower) answered(ctx context.Context, e session.Ending, rec session.Record, answer authz.NASAnswer, refusal error) verdict {
	first, err := f.cfg.Sessions.EndAnswered(ctx, e)
	if err != nil {
		return later
	}
	if !first {
		return over
	}
	f.m.ended.WithLabelValues(answer.String()).Inc()
	f.cfg.Audit.SessionEnded(&authz.Ended{
		Time: time.Now(), Session: rec, Reason: e.Reason, Detail: e.Detail, Rule: e.Rule, Policy: e.Policy, Answer: answer, Asked: e.Asked, Err: refusal,
	})
	if refusal != nil {
		f.log.Error("session that must end goes on: its NAS refuses", "session", rec.ID, "user", rec.User, "reason", e.Reason, "error", refusal)
		return over
	}
	f.log.Info("session ended", "session", rec.ID, "user", rec.User, "reason", e.Reason, "answer", answer.String())
	return over
}
