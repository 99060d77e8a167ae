package ad

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/authz/directory"
	"postern/internal/ldapc"
)

// AD locks an account out by itself ([MS-ADTS] §3.1.1.4.5.17, [MS-SAMR] §3.1.1.8): a
// failure counts in badPwdCount, which begins at one again when lockOutObservationWindow
// has passed since badPasswordTime, and at lockoutThreshold the account is locked. Both
// are the domain's, or those of the fine-grained policy that results for the person. Each
// domain controller counts by itself, so that it is one that is asked for everything.

// policy is a lockout policy.
type policy struct {
	threshold int // 0: never
	window    time.Duration
}

// policies are those of a domain controller, as they were read.
type policies struct {
	domain policy
	fine   map[string]policy // by DN in lower case, those that we may read
	ahead  time.Duration     // the domain controller's clock, of ours
	read   time.Time
}

const (
	// policyLife is how long policies are believed: an administrator who has changed one
	// does not expect it to count everywhere at once either.
	policyLife = time.Minute
	// clockSlack is how exact the domain controller's clock is told: to the second, and it
	// takes a while. What seems to be just forgotten may not be.
	clockSlack = 5 * time.Second
	// Of a policy that we may not read, as is the rule for fine-grained ones, the worst
	// is assumed that is in use anywhere.
	hiddenThreshold = 3
	hiddenWindow    = 30 * time.Minute
)

// Lockout implements directory.Locker.
func (d *Directory) Lockout(ctx context.Context, _ directory.Name, a *directory.Account) (directory.Lockout, error) {
	dn := "CN=" + nobody + "," + d.base
	if a != nil {
		dn = a.Ref
	}
	var found directory.Lockout
	err := d.withLDAP(ctx, func(ctx context.Context, c *dc) error {
		found = directory.Lockout{}
		p, err := d.policies(ctx, c)
		if err != nil {
			return err
		}
		entries, err := c.ldap.Search(ctx, &ldapc.Search{
			Base: dn, Scope: ldap.ScopeBaseObject, Filter: anything, Attributes: []string{"badPwdCount", "badPasswordTime", "msDS-ResultantPSO"},
		})
		if ldapc.IsNoSuchObject(err) || err == nil && len(entries) == 0 {
			return nil // nobody, or somebody who is just gone
		}
		if err != nil {
			return err
		}
		if a != nil && a.State != directory.Locked {
			found = d.lockout(entries[0], p)
		}
		return nil
	})
	if err != nil {
		return directory.Lockout{}, directory.Unavailable{Doing: "read the lockout", Err: err}
	}
	return found, nil
}

func (d *Directory) lockout(e *ldap.Entry, p *policies) directory.Lockout {
	applies := d.applies(e.GetEqualFoldAttributeValue("msDS-ResultantPSO"), p)
	l := directory.Lockout{Threshold: applies.threshold, Window: applies.window}
	l.Failures, _ = strconv.Atoi(e.GetEqualFoldAttributeValue("badPwdCount")) // absent: never
	last := readFileTime(e.GetEqualFoldAttributeValue("badPasswordTime"))
	if l.Failures <= 0 || last.never() {
		l.Failures = 0
		return l
	}
	l.Ago = max(d.cfg.Now().Add(p.ahead).Sub(last.Time())-clockSlack, 0)
	if l.Ago >= l.Window {
		l.Failures, l.Ago = 0, 0
	}
	return l
}

// applies is the policy of a person whose resultant PSO has a DN; "": none.
func (d *Directory) applies(pso string, p *policies) policy {
	if pso == "" {
		return p.domain
	}
	if fine, read := p.fine[strings.ToLower(pso)]; read {
		return fine
	}
	d.once.say("pso "+pso, func() {
		d.cfg.Log.Warn("a password settings object cannot be read, and its lockout threshold is assumed: let the account that we bind as read it",
			"domain", d.cfg.Domain, "object", pso, "assumed", hiddenThreshold)
	})
	return hidden(p.domain)
}

// hidden is what is assumed of a policy that cannot be read.
func hidden(domain policy) policy {
	p := policy{hiddenThreshold, max(hiddenWindow, domain.window)}
	if domain.threshold > 0 {
		p.threshold = min(p.threshold, domain.threshold)
	}
	return p
}

// policies returns what a domain controller has, and reads it again now and then.
func (d *Directory) policies(ctx context.Context, c *dc) (*policies, error) {
	now, p := d.cfg.Now(), c.policies.Load()
	if p != nil && now.Sub(p.read) < policyLife && !now.Before(p.read) {
		return p, nil
	}
	p, err := d.readPolicies(ctx, c)
	if err != nil {
		return nil, err
	}
	c.policies.Store(p)
	return p, nil
}

func (d *Directory) readPolicies(ctx context.Context, c *dc) (*policies, error) {
	p := &policies{read: d.cfg.Now()}
	root, err := c.ldap.RootDSE(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the clock: %w", err)
	}
	// A controller that hides its clock is taken to have ours.
	if theirs, err := generalizedTime(root.GetEqualFoldAttributeValue("currentTime")); err == nil {
		p.ahead = theirs.Sub(p.read)
	}
	entries, err := c.ldap.Search(ctx, &ldapc.Search{
		Base: d.base, Scope: ldap.ScopeBaseObject, Filter: anything, Attributes: []string{"lockoutThreshold", "lockOutObservationWindow"},
	})
	if err != nil {
		return nil, fmt.Errorf("read the domain's policy: %w", err)
	}
	var readable bool
	if len(entries) == 1 {
		p.domain, readable = readPolicy(entries[0], "lockoutThreshold", "lockOutObservationWindow")
	}
	if !readable {
		p.domain = hidden(policy{})
		d.once.say("domain", func() {
			d.cfg.Log.Warn("the domain's lockout policy cannot be read, and its threshold is assumed: let the account that we bind as read it",
				"domain", d.cfg.Domain, "assumed", hiddenThreshold)
		})
	}
	p.fine, err = d.readFine(ctx, c)
	if err != nil {
		return nil, err
	}
	if p.domain.threshold == 1 {
		d.once.say("one", func() {
			d.cfg.Log.Warn("accounts are locked by one wrong password: nothing can protect them from being locked out from outside", "domain", d.cfg.Domain)
		})
	}
	return p, nil
}

// readFine reads the fine-grained policies that we may read: none, as a rule.
func (d *Directory) readFine(ctx context.Context, c *dc) (map[string]policy, error) {
	entries, err := c.ldap.Search(ctx, searchPSOs(d.base))
	if err != nil && !ldapc.IsAnswer(err) {
		return nil, fmt.Errorf("read fine-grained policies: %w", err)
	}
	fine := make(map[string]policy, len(entries))
	for _, e := range entries {
		if p, ok := readPolicy(e, "msDS-LockoutThreshold", "msDS-LockoutObservationWindow"); ok {
			fine[strings.ToLower(e.DN)] = p
		}
	}
	return fine, nil
}

// searchPSOs finds the password settings objects ([MS-ADTS] §6.1.1.4.11).
func searchPSOs(base string) *ldapc.Search {
	return &ldapc.Search{
		Base: "CN=Password Settings Container,CN=System," + base, Scope: ldap.ScopeSingleLevel, Filter: "(objectClass=msDS-PasswordSettings)",
		PageSize: pageSize, Attributes: []string{"cn", "msDS-LockoutThreshold", "msDS-LockoutObservationWindow"},
	}
}

// readPolicy reads a policy; false: its threshold is not there to be read.
func readPolicy(e *ldap.Entry, threshold, window string) (policy, bool) {
	n, err := strconv.Atoi(e.GetEqualFoldAttributeValue(threshold))
	if err != nil || n < 0 {
		return policy{}, false
	}
	p := policy{n, span(e.GetEqualFoldAttributeValue(window))}
	if n > 0 && p.window <= 0 {
		p.window = hiddenWindow
	}
	return p, true
}

// spoken has things said once.
type spoken struct{ said sync.Map }

func (s *spoken) say(what string, f func()) {
	if _, before := s.said.LoadOrStore(what, true); !before {
		f()
	}
}
