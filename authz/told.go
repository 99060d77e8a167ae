package authz

import (
	"context"
	"log/slog"

	"postern/authz/session"
)

// SessionTold implements Audit. Of a session there is one line at its start and one at its
// stop, and more only with repeated=true: a NAS has reported again what was written down.
func (a auditLog) SessionTold(e *session.Told) {
	attrs := append(sessionAttrs(e.At, &e.Record),
		slog.Bool("repeated", e.Repeated),
		slog.String("pool", e.Pool),
		slog.String("rule", e.Rule),
	)
	if e.Kind == session.EventStart {
		a.log.LogAttrs(context.Background(), slog.LevelInfo, "session start", attrs...)
		return
	}
	u := &e.Usage
	attrs = append(attrs,
		slog.Bool("reported", !e.Own),
		slog.String("cause", e.Cause.String()),
		slog.String("disconnect", e.Disconnect.String()),
		slog.Duration("lasted", u.Time),
		slog.Uint64("octets_in", u.InOctets),
		slog.Uint64("octets_out", u.OutOctets),
		slog.Uint64("packets_in", u.InPackets),
		slog.Uint64("packets_out", u.OutPackets),
	)
	a.log.LogAttrs(context.Background(), slog.LevelInfo, "session stop", attrs...)
}
