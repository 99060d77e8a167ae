package authz

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"postern/authz/directory"
	"postern/authz/lockout"
	"postern/authz/mfa"
	"postern/authz/pool"
	"postern/authz/session"
	"postern/internal/store"
	"postern/policy"
)

// Config is what a Decider decides with. All but Separator, Retry and Clock must
// be there.
type Config struct {
	Directory directory.Directory
	Store     store.Store
	Shield    *lockout.Shield
	MFA       *mfa.Verifier
	Sessions  *session.Registry
	Policy    *policy.Policy
	Audit     Audit

	Separator byte // between name and code; 0: mfa.DefaultSeparator
	// Retry lets the peer try again on the same call (R=1, RFC 2759 §6) after an
	// answer with code 691.
	Retry bool
	// Disclose is what a refused client may learn.
	Disclose Disclosure
	// Clock measures how long steps take; nil: time.Now.
	Clock func() time.Time
}

// Decider decides logins. It is safe for concurrent use.
type Decider struct {
	cfg    Config
	policy atomic.Pointer[ruling]
}

// ruling is a policy in force with its pools. A login uses one from beginning to
// end, whatever is activated meanwhile.
type ruling struct {
	policy *policy.Policy
	pools  *pool.Pools
}

// New makes a Decider.
func New(c Config) (*Decider, error) {
	if c.Directory == nil || c.Store == nil || c.Shield == nil || c.MFA == nil || c.Sessions == nil || c.Policy == nil || c.Audit == nil {
		return nil, errors.New("new decider: a part is missing")
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	d := &Decider{cfg: c}
	if err := d.SetPolicy(c.Policy); err != nil {
		return nil, err
	}
	return d, nil
}

// SetPolicy puts a policy in force, at once and for every login that begins from
// then on. After an error the one before stays.
func (d *Decider) SetPolicy(p *policy.Policy) error {
	var specs []pool.Spec
	for name, q := range p.Pools() {
		spec := pool.Spec{Name: name}
		for _, r := range q.Ranges {
			spec.Include = append(spec.Include, r.String())
		}
		specs = append(specs, spec)
	}
	slices.SortFunc(specs, func(a, b pool.Spec) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	pools, err := pool.New(specs)
	if err != nil {
		return fmt.Errorf("set policy %s: %w", p.Version(), err)
	}
	d.policy.Store(&ruling{p, pools})
	return nil
}

// Policy returns the policy in force and its pools.
func (d *Decider) Policy() (*policy.Policy, *pool.Pools) {
	r := d.policy.Load()
	return r.policy, r.pools
}

// steps is the order of a login: cheapest and safest refusal first. None knows
// those before it, but for what they left in the login. A step that is done has
// found the reason to refuse; when none is, the login is permitted. The one
// commit follows whatever the outcome, because failures are committed, too.
var steps = [...]struct {
	name  string
	check func(d *Decider, ctx context.Context, l *login) (refusal Reason, done bool)
}{
	{"read the name", (*Decider).readName},
	{"check the method", (*Decider).checkMethod},
	{"load the facts", (*Decider).load},          // store trip 1
	{"ask the shield", (*Decider).askShield},     //
	{"find the account", (*Decider).find},        // directory
	{"take the leave", (*Decider).takeLeave},     // to change the password: store
	{"verify the password", (*Decider).verify},   // directory
	{"look at the account", (*Decider).lookAt},   // disabled, expired…
	{"check the code", (*Decider).checkCode},     //
	{"apply the policy", (*Decider).applyPolicy}, //
	{"change the password", (*Decider).change},   // directory
	{"ask for a new password", (*Decider).expire},
}

// Decide decides one login and writes its audit record. It never returns nil.
func (d *Decider) Decide(ctx context.Context, req *Request) *Result {
	began := d.cfg.Clock()
	now := req.Now
	if now.IsZero() {
		now = began
	}
	l := &login{
		req: req, now: now, ruling: d.policy.Load(),
		rec: Record{
			Time: now, DecisionID: newID(now), Source: req.Source, NAS: req.NAS,
			SessionID: req.SessionID, Tunnel: req.Tunnel, Method: req.Method, Change: req.Method == MethodMSCHAPv2Change,
		},
	}
	reason := Permitted
	for _, s := range steps {
		if refusal, done := s.check(d, ctx, l); done {
			reason = refusal
			break
		}
	}
	reason = d.commit(ctx, l, l.plain(reason)) // store trip 2
	res := d.result(l, reason)

	l.rec.User, l.rec.Factor = l.user, l.factor
	l.rec.Verdict, l.rec.Reason, l.rec.Addr = res.Verdict, res.Reason, res.Grant.Addr
	l.rec.Duration = d.cfg.Clock().Sub(began)
	d.cfg.Audit.Decision(&l.rec)
	return res
}

// result is what the listener makes a packet of.
func (d *Decider) result(l *login, reason Reason) *Result {
	a := answerTo(reason)
	res := &Result{Verdict: a.verdict, Reason: reason, DecisionID: l.rec.DecisionID, User: l.user}
	res.ErrorCode, res.Message = a.to(l.disclosure(d.cfg.Disclose, reason))
	switch a.verdict {
	case Accept:
		res.Grant = l.grant(d.cfg.Sessions.Interim())
		l.prove(res)
	case Reject:
		res.Change = l.leave != nil && reason == l.expired
		res.Retry = d.cfg.Retry && res.ErrorCode == failed && !l.changing()
		if reason == PolicyDenied || reason == SourceDenied {
			if m := l.decision.Message; m != "" { // the author wants it to be read
				res.Message = m
			}
		}
	case Silent, Challenge:
	}
	return res
}
