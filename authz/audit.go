package authz

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"postern/authz/activation"
	"postern/authz/lockout"
	"postern/authz/session"
)

// Record is what the audit log says of one decision. It holds no password, hash,
// response, challenge, code or key, and nothing they could be had from.
type Record struct {
	Time       time.Time
	DecisionID string
	User       string // canonical; "" when the name could not be read
	Typed      string // as typed, without the code
	Realm      string // of the account; "" where there is one only
	SID        string
	Source     netip.Addr
	NAS        NAS
	SessionID  string
	Tunnel     string
	Method     Method
	Change     bool // the password was to be changed
	Factor     Factor
	Kind       Factor // of a remembered factor: which it was
	Answers    string // the decision whose challenge this answers; "": none
	Verdict    Verdict
	Reason     Reason
	Rule       string // of the policy that was asked; "" when none was
	Policy     string // its version
	Country    string // of the source; "" unknown
	ASN        uint32
	Device     string // that the login comes from; "" unknown
	Join       string // how it was found, one of policy.Joins
	// What a rule in shadow would have done; "": there is none that matters.
	ShadowRule, ShadowVerdict string
	// What a candidate beside the policy would have done, where it is something else.
	Candidate, CandidateRule, CandidateVerdict string
	Locked                                     lockout.Scope
	Replaced                                   []string // the sessions that have to end for this one
	Pool                                       string
	Addr                                       netip.Addr

	// Where the time went.
	Duration, Load, Directory, Commit time.Duration

	Err error // what the directory or the store itself said
}

// Audit takes one Record for each decision and one StepUpRecord for each step-up,
// before the answer goes out, one Ended for each session that was ended against its
// user's will, one Changed for each that its NAS was asked to change, one Reviewed for
// another look at a session that came to something, one session.Told for each start and stop
// of a session, one Event for what the shield has come
// upon, and one activation.Event for each policy that comes into force or is refused. It is
// called from many goroutines.
type Audit interface {
	Decision(*Record)
	StepUp(*StepUpRecord)
	SessionEnded(*Ended)
	SessionChanged(*Changed)
	SessionReviewed(*Reviewed)
	SessionTold(*session.Told)
	Event(*lockout.Event)
	PolicyChanged(*activation.Event)
}

// auditLog writes records as JSON lines.
type auditLog struct{ log *slog.Logger }

// NewAudit writes an audit line of JSON for each decision to w.
func NewAudit(w io.Writer) Audit {
	return auditLog{slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: plainTime}))}
}

// plainTime takes slog's own time away: a record has one.
func plainTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
		return slog.Attr{}
	}
	return a
}

// Decision implements Audit.
func (a auditLog) Decision(r *Record) {
	attrs := []slog.Attr{
		slog.String("at", r.Time.UTC().Format(time.RFC3339Nano)),
		slog.String("decision", r.DecisionID),
		slog.String("verdict", r.Verdict.String()),
		slog.String("reason", r.Reason.String()),
		slog.String("user", r.User),
		slog.String("typed", r.Typed),
		slog.String("realm", r.Realm),
		slog.String("sid", r.SID),
		slog.String("source", addrText(r.Source)),
		slog.String("nas", r.NAS.ID),
		slog.String("nas_address", addrText(r.NAS.Addr)),
		slog.String("session", r.SessionID),
		slog.String("tunnel", r.Tunnel),
		slog.String("method", r.Method.String()),
		slog.Bool("change", r.Change),
		slog.String("factor", r.Factor.String()),
		slog.String("remembered", r.Kind.String()),
		slog.String("rule", r.Rule),
		slog.String("policy", r.Policy),
		slog.String("locked", r.Locked.String()),
		slog.String("pool", r.Pool),
		slog.String("address", addrText(r.Addr)),
		slog.Duration("took", r.Duration),
		slog.Duration("took_load", r.Load),
		slog.Duration("took_directory", r.Directory),
		slog.Duration("took_commit", r.Commit),
	}
	if r.Country != "" {
		attrs = append(attrs, slog.String("country", r.Country))
	}
	if r.ASN != 0 {
		attrs = append(attrs, slog.Uint64("asn", uint64(r.ASN)))
	}
	if r.Device != "" {
		attrs = append(attrs, slog.String("device", r.Device), slog.String("device_join", r.Join))
	}
	if len(r.Replaced) > 0 {
		attrs = append(attrs, slog.Any("replaced", r.Replaced))
	}
	if r.Answers != "" {
		attrs = append(attrs, slog.String("answers", r.Answers))
	}
	if r.ShadowVerdict != "" {
		attrs = append(attrs, slog.String("shadow_rule", r.ShadowRule), slog.String("shadow_verdict", r.ShadowVerdict))
	}
	if r.CandidateVerdict != "" {
		attrs = append(attrs, slog.String("candidate", r.Candidate),
			slog.String("candidate_rule", r.CandidateRule), slog.String("candidate_verdict", r.CandidateVerdict))
	}
	if r.Err != nil {
		attrs = append(attrs, slog.String("error", r.Err.Error()))
	}
	a.log.LogAttrs(context.Background(), slog.LevelInfo, "login", attrs...)
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
