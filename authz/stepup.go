package authz

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"postern/authz/session"
	"postern/policy"
)

// Errors of Visit.
var (
	// ErrReference: the reference was not made by us, or its time is over.
	ErrReference = errors.New("not a valid reference to a session")
	// ErrNoSession: its session has ended.
	ErrNoSession = errors.New("the session has ended")
)

// Visit is what the reference in a quarantined session's URL stands for.
type Visit struct {
	Session session.Record
	User    string        // canonical
	Until   time.Time     // when the reference lapses, and the session with it if it is still held back
	Demands policy.Factor // what it waits for
	Held    bool          // it waits for its second factor
	Lifting bool          // the factor was given, and the NAS has not said yet that all is open
}

// StepUp is a second factor for a session in quarantine.
type StepUp struct {
	Session  string // ID, from a Visit or a list of the user's sessions
	User     string // canonical, whose the portal believes it to be
	Code     string // one-time or recovery code
	WebAuthn bool   // the portal has verified a key of the user's instead
	From     netip.Addr
}

// StepUpResult says what became of it. Reason is Permitted when the session is
// released; its NAS is asked from then on, see Visit.Lifting.
type StepUpResult struct {
	Reason Reason
	Factor Factor // that was accepted
}

// SignIn is a login to the portal itself, outside any session.
type SignIn struct {
	Name     string // as typed; a code may stand behind it
	Password []byte
	Code     string // one-time or recovery code; "" when there is none behind the name either
	From     netip.Addr
}

// SignInResult says what became of it. User, canonical, is set as soon as the password
// was right. Of the reasons, Permitted is the only one to let somebody in; with
// CodeMissing and NotEnrolled the password was right and nothing else is known, so
// that the portal may ask for a key, or for what an enrolment takes.
type SignInResult struct {
	User     string
	Reason   Reason
	Factor   Factor
	Enrolled bool // the user has a token
}

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
	if r.Reason == Permitted {
		a.log.LogAttrs(context.Background(), slog.LevelInfo, "stepped up", attrs...)
		return
	}
	a.log.LogAttrs(context.Background(), slog.LevelInfo, "step-up refused", attrs...)
}
