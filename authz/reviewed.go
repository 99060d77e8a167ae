package authz

import (
	"context"
	"log/slog"
	"time"

	"postern/authz/session"
)

// Reviewed is what the audit log says of another look at a running session that came to
// something. What its NAS made of that has a line of its own.
type Reviewed struct {
	Time    time.Time
	Session session.Record // as it is from now on
	Cause   string         // why it was looked at
	Outcome Outcome
	Reason  Reason
	Detail  string
	Before  string // the rule that it went by
	Rule    string // of the policy that was asked
	Policy  string // its version
}

// SessionReviewed implements Audit.
func (a auditLog) SessionReviewed(r *Reviewed) {
	a.log.LogAttrs(context.Background(), slog.LevelInfo, "session reviewed", append(sessionAttrs(r.Time, &r.Session),
		slog.String("cause", r.Cause),
		slog.String("outcome", r.Outcome.String()),
		slog.String("reason", r.Reason.String()),
		slog.String("detail", r.Detail),
		slog.String("before", r.Before),
		slog.String("rule", r.Rule),
		slog.String("policy", r.Policy),
		slog.Bool("isolated", r.Session.Isolated),
	)...)
}
