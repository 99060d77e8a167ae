package authz

import (
	"context"
	"time"

	"postern/authz/session"
	"postern/policy"
)

// isolate holds a login back that may go on, because its rule isolates it. One that waits
// for its factor is held back already, and waits for both.
func (d *Decider) isolate(_ context.Context, l *login) (Reason, bool) {
	if !l.decision.Obligations.Isolate || !l.held.IsZero() {
		return Permitted, false
	}
	if d.quarantine(l) != Quarantined {
		return CannotIsolate, true
	}
	return Isolated, true
}

// quarantineFor is how long a session may be held back.
func (d *Decider) quarantineFor(o *policy.Obligations) time.Duration {
	if o.Quarantine > 0 {
		return o.Quarantine
	}
	return d.cfg.Quarantine
}

// confine is the quarantine of a session that is up, and until when; false: its NAS knows
// none, or there is no portal.
func (d *Decider) confine(o *policy.Obligations, rec *session.Record, now time.Time) (q Quarantine, until time.Time, ok bool) {
	if !rec.OurNode || rec.Tunnel == "" || d.cfg.Portal == "" {
		return Quarantine{}, time.Time{}, false
	}
	life := d.quarantineFor(o)
	until = now.Add(life).UTC()
	url, err := d.refer(reference{session: rec.ID, opened: rec.Opened, until: until})
	return Quarantine{For: life, URL: url}, until, err == nil
}

// dueAt is when a session must be looked at again although nothing happens: when the rules
// may say otherwise of it because time passes, and as often as its rule says. Zero: never.
func (r *ruling) dueAt(decision *policy.Decision, now time.Time, facts *policy.Facts) time.Time {
	due := r.policy.NextChange(now, facts)
	if every := decision.Obligations.Review; every > 0 && (due.IsZero() || now.Add(every).Before(due)) {
		due = now.Add(every)
	}
	return due.UTC()
}
