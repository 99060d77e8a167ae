package authz

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"postern/authz/session"
)

// StepUpRecord is what the audit log says of a step-up, one that was refused, too.
type StepUpRecord struct {
	Time    time.Time
	Session session.Record // with Session.Decision the login's decision ID
	From    netip.Addr     // where the portal's visitor sits
	Factor  Factor
	Reason  Reason
	Rule    string // of the policy that was asked; "" when none was
	Policy  string // its version
	Err     error  // what the directory or the store itself said
}

// StepUp implements Audit.
func (a auditLog) StepUp(r *StepUpRecord) {
	s := &r.Session
	verdict := answerTo(r.Reason).verdict
	attrs := []slog.Attr{
		slog.String("at", r.Time.UTC().Format(time.RFC3339Nano)),
		slog.String("decision", s.Decision),
		slog.String("verdict", verdict.String()),
		slog.String("reason", r.Reason.String()),
		slog.String("user", s.User),
		slog.String("realm", s.Realm),
		slog.String("sid", s.SID),
		slog.String("source", addrText(s.Source)),
		slog.String("from", addrText(r.From)),
		slog.String("nas", s.Node),
		slog.String("nas_address", addrText(s.NASAddr)),
		slog.String("session", s.Acct),
		slog.String("tunnel", s.Tunnel),
		slog.String("factor", r.Factor.String()),
		slog.String("rule", r.Rule),
		slog.String("policy", r.Policy),
		slog.String("address", addrText(s.Addr)),
	}
	if r.Err != nil {
		attrs = append(attrs, slog.String("error", r.Err.Error()))
	}
	if verdict == Accept { // and perhaps isolated all the same
		a.log.LogAttrs(context.Background(), slog.LevelInfo, "stepped up", attrs...)
		return
	}
	a.log.LogAttrs(context.Background(), slog.LevelInfo, "step-up refused", attrs...)
}
