package authz

import (
	"context"
	"log/slog"
	"time"

	"postern/authz/session"
	"postern/policy"
)

// Change is what a NAS is asked to change of a running session (RFC 5176
// CoA-Request). What is nil or zero stays as it is.
type Change struct {
	Session    time.Duration     `json:"session,omitempty"` // time left, from now on
	Idle       time.Duration     `json:"idle,omitempty"`
	Filter     *FilterChange     `json:"filter,omitempty"` // any but a quarantine ends a quarantine
	Bandwidth  *policy.Bandwidth `json:"bandwidth,omitempty"`
	Quarantine *Quarantine       `json:"quarantine,omitempty"` // narrows the session
}

// FilterChange is the filter from now on. Name "": none, everything passes.
type FilterChange struct {
	Name  string   `json:"name,omitempty"`
	Rules []string `json:"rules,omitempty"` // of that filter; none: the NAS has its own
}

// Changed is what the audit log says of a session that its NAS was asked to change.
type Changed struct {
	Time    time.Time
	Session session.Record
	Reason  string // of a Reason
	Detail  string
	Rule    string // of the policy that was asked
	Policy  string // its version
	Change  Change
	Answer  NASAnswer
	Asked   time.Time // when it was decided
	Err     error     // what the NAS said, if it did not do it
}

// SessionChanged implements Audit.
func (a auditLog) SessionChanged(c *Changed) {
	attrs := append(sessionAttrs(c.Time, &c.Session),
		slog.String("reason", c.Reason),
		slog.String("detail", c.Detail),
		slog.String("answer", c.Answer.String()),
		slog.String("rule", c.Rule),
		slog.String("policy", c.Policy),
		slog.Bool("quarantined", c.Change.Quarantine != nil),
		slog.Duration("took", c.Time.Sub(c.Asked)),
	)
	if f := c.Change.Filter; f != nil {
		attrs = append(attrs, slog.String("filter", f.Name))
	}
	if c.Err != nil {
		attrs = append(attrs, slog.String("error", c.Err.Error()))
	}
	a.log.LogAttrs(context.Background(), slog.LevelInfo, "session changed", attrs...)
}
