package authz

import (
	"context"
	"log/slog"
	"time"

	"postern/authz/session"
)

// Ended is what the audit log says of a session that was ended against its user's
// will.
type Ended struct {
	Time    time.Time
	Session session.Record
	Reason  string // of a Reason
	Detail  string
	Rule    string // of the policy that refuses now, if it was asked
	Policy  string // its version
	Answer  NASAnswer
	Asked   time.Time // when it was decided
	Err     error     // what the NAS said, if it did not do it
}

// SessionEnded implements Audit.
func (a auditLog) SessionEnded(e *Ended) {
	attrs := append(sessionAttrs(e.Time, &e.Session),
		slog.String("reason", e.Reason),
		slog.String("detail", e.Detail),
		slog.String("answer", e.Answer.String()),
		slog.String("rule", e.Rule),
		slog.String("policy", e.Policy),
		slog.Duration("took", e.Time.Sub(e.Asked)),
	)
	if e.Err != nil {
		attrs = append(attrs, slog.String("error", e.Err.Error()))
	}
	a.log.LogAttrs(context.Background(), slog.LevelInfo, "session ended", attrs...)
}

// sessionAttrs are what an audit line says of the session it is about.
func sessionAttrs(at time.Time, s *session.Record) []slog.Attr {
	return []slog.Attr{
		slog.String("at", at.UTC().Format(time.RFC3339Nano)),
		slog.String("decision", s.Decision), // the login's
		slog.String("user", s.User),
		slog.String("realm", s.Realm),
		slog.String("sid", s.SID),
		slog.String("source", addrText(s.Source)),
		slog.String("nas", s.Node),
		slog.String("nas_address", addrText(s.NASAddr)),
		slog.String("session", s.Acct),
		slog.String("tunnel", s.Tunnel),
		slog.String("factor", s.Factor),
		slog.String("address", addrText(s.Addr)),
		slog.String("opened", s.Opened.UTC().Format(time.RFC3339Nano)),
	}
}
