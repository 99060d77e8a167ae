package authz

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/authz/directory"
	"postern/authz/grant"
	"postern/authz/lockout"
	"postern/authz/mfa"
	"postern/authz/pool"
	"postern/authz/session"
	"postern/internal/seal"
	"postern/internal/store"
	"postern/policy"
)

// Config is what a Decider decides with. What is below Audit need not be there, nor the
// policy: until there is one, the answer to every login is that the store is away.
type Config struct {
	Directory directory.Directory
	Store     store.Store
	Shield    *lockout.Shield
	MFA       *mfa.Verifier
	Sessions  *session.Registry
	Policy    *policy.Policy
	Audit     Audit

	// Inputs keeps what decisions were made on; nil: nothing is kept.
	Inputs Inputs

	// Ring seals what passes through the hands of clients and comes back: the State of
	// challenges and references to sessions. nil: no challenges, no quarantine.
	Ring *seal.Ring
	// Portal is the URL at which users reach the portal; "": no quarantine.
	Portal string
	// Quarantine is how long a session waits for its factor where the rule does not say;
	// 0: 5 min.
	Quarantine time.Duration

	Separator       byte // between name and code; 0: mfa.DefaultSeparator
	DeviceSeparator byte // between name and device; 0: names have no devices
	// Fresh is how old a report of a device may be to say that a login comes from it; 0:
	// 15 min.
	Fresh time.Duration
	Geo   Geo // nil: nobody knows where addresses are
	// Retry lets the peer try again on the same call (R=1, RFC 2759 §6) after an
	// answer with code 691.
	Retry bool
	// Disclose is what a refused client may learn.
	Disclose Disclosure
	// Clock measures how long steps take; nil: time.Now.
	Clock   func() time.Time
	Metrics prometheus.Registerer // nil: none
	// Log takes what somebody must set right in the directory; nil: nobody is told.
	Log *slog.Logger
}

// defaultQuarantine is time to find the telephone, and the portal.
const defaultQuarantine = 5 * time.Minute

// defaultFresh is a report of the agent's and one that was missed.
const defaultFresh = 15 * time.Minute

// Decider decides logins. It is safe for concurrent use.
type Decider struct {
	cfg      Config
	grants   *grant.Keeper
	keep     *keeper
	mistakes *mistakes
	metrics  *metrics
	policy   atomic.Pointer[ruling] // nil: none has been read yet

	candidate atomic.Pointer[asked] // nil: none, see SetShadow
}

// ruling is a policy in force with its pools. A login uses one from beginning to
// end, whatever is activated meanwhile.
type ruling struct {
	policy *policy.Policy
	pools  *pool.Pools
}

// New makes a Decider.
func New(c Config) (*Decider, error) {
	if c.Directory == nil || c.Store == nil || c.Shield == nil || c.MFA == nil || c.Sessions == nil || c.Audit == nil {
		return nil, errors.New("new decider: a part is missing")
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Fresh <= 0 {
		c.Fresh = defaultFresh
	}
	if c.Quarantine <= 0 {
		c.Quarantine = defaultQuarantine
	}
	m, err := newMetrics(c.Metrics)
	if err != nil {
		return nil, err
	}
	d := &Decider{cfg: c, grants: grant.New(c.Store), keep: newKeeper(c.Shield), mistakes: &mistakes{log: c.Log}, metrics: m}
	if c.Policy != nil {
		if err := d.SetPolicy(c.Policy); err != nil {
			return nil, err
		}
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

// Policy returns the policy in force and its pools; nil and no pools: there is none.
func (d *Decider) Policy() (*policy.Policy, *pool.Pools) {
	r := d.policy.Load()
	if r == nil {
		return nil, new(pool.Pools)
	}
	return r.policy, r.pools
}

// step is one of those of a login.
type step struct {
	name  string
	check func(d *Decider, ctx context.Context, l *login) (refusal Reason, done bool)
}

// steps is the order of a login: cheapest and safest refusal first. None knows
// those before it, but for what they left in the login. A step that is done has
// found the reason to refuse; when none is, the login is permitted. The one
// commit follows whatever the outcome, because failures are committed, too.
var steps = [...]step{
	{"read the name", (*Decider).readName},
	{"check the method", (*Decider).checkMethod},
	{"open the state", (*Decider).openState},     // of an answer to a challenge
	{"have a policy", (*Decider).havePolicy},     //
	{"load the facts", (*Decider).load},          // store trip 1
	{"ask the shield", (*Decider).askShield},     //
	{"check the state", (*Decider).checkState},   //
	{"find the account", (*Decider).find},        // directory
	{"check whose state", (*Decider).checkState}, // the canonical name may be known by now only
	{"split the password", (*Decider).split},     //
	{"stay below its lockout", (*Decider).enter}, // directory
	{"take the leave", (*Decider).takeLeave},     // to change the password: store
	{"verify the password", (*Decider).verify},   // directory
	{"look at the account", (*Decider).lookAt},   // disabled, expired…
	{"check the code", (*Decider).checkCode},     //
	{"apply the policy", (*Decider).applyPolicy}, //
	{"change the password", (*Decider).change},   // directory
	{"ask for a new password", (*Decider).expire},
	{"isolate", (*Decider).isolate}, // what a rule holds back whatever its factor
}

// Decide decides one login and writes its audit record. It never returns nil.
func (d *Decider) Decide(ctx context.Context, req *Request) *Result {
	l := d.begin(req)
	reason := d.settle(ctx, l, d.run(ctx, l, steps[:])) // store trip 2
	res := d.result(l, reason)
	res.Delay = d.delay(l, reason)
	l.rec.Addr = res.Grant.Addr
	d.write(l, reason)
	return res
}

// begin begins a login.
func (d *Decider) begin(req *Request) *login {
	began := d.cfg.Clock()
	now := req.Now
	if now.IsZero() {
		now = began
	}
	return &login{
		req: req, now: now, began: began, ruling: d.policy.Load(),
		rec: Record{
			Time: now, DecisionID: newID(now), Source: req.Source, NAS: req.NAS,
			SessionID: req.SessionID, Tunnel: req.Tunnel, Method: req.Method, Change: req.Method == MethodMSCHAPv2Change,
		},
	}
}

// run takes the steps until one is done.
func (d *Decider) run(ctx context.Context, l *login, list []step) Reason {
	for _, s := range list {
		if refusal, done := s.check(d, ctx, l); done {
			return refusal
		}
	}
	return Permitted
}

// write writes the audit record.
func (d *Decider) write(l *login, reason Reason) {
	l.rec.User, l.rec.Factor, l.rec.Kind = l.user, l.factor, l.kind
	l.rec.Verdict, l.rec.Reason = answerTo(reason).verdict, reason
	l.rec.Duration = d.cfg.Clock().Sub(l.began)
	d.metrics.took(&l.rec)
	d.cfg.Audit.Decision(&l.rec)
	d.keepLogin(l, reason)
}

// settle commits the outcome. What was decided on facts that others have changed by
// then, a remembered factor or that the client had not been asked yet, is decided again.
func (d *Decider) settle(ctx context.Context, l *login, reason Reason) Reason {
	reason = l.plain(reason)
	for range maxAgain {
		settled, again := d.commit(ctx, l, reason)
		if !again {
			d.replayed(ctx, l, settled)
			return settled
		}
		if reason = l.plain(d.carry(l)); reason == Permitted {
			reason, _ = d.isolate(ctx, l)
		}
	}
	l.rec.Err = errors.New("what is known of the user changes all the time")
	return StoreDown
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
		if reason == RetryAsked {
			res.Retry, res.Message = true, "Enter NAME"+string(cmp.Or(d.cfg.Separator, mfa.DefaultSeparator))+"CODE as your user name"
		}
		if reason == PolicyDenied || reason == SourceDenied {
			if m := l.decision.Message; m != "" { // the author wants it to be read
				res.Message = m
			}
		}
	case Challenge:
		res.State, res.Message = l.asks, "Enter the code"
	case Silent:
	}
	return res
}
