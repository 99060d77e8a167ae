package portal

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"postern/authz"
	registry "postern/authz/session"
	"postern/policy"
)

// fake is a Backend of a few people, with the rules that the real one has: a code opens
// once, five wrong ones lock, nobody learns more than a Reason.
type fake struct {
	now func() time.Time

	mu       sync.Mutex
	people   map[string]*person
	visits   map[string]*authz.Visit // by reference
	tickets  map[string]string
	inside   []netip.Prefix // of the VPN
	down     error
	signIns  []authz.SignIn // without passwords
	stepUps  []authz.StepUp
	begun    int
	released []string
}

type person struct {
	password string
	code     string // the right one, once
	used     string
	wrong    int
	devices  []Device
	keys     int
	recovery []string
	disabled bool
	conns    []Connection
	places   []Place
}

var errDown = errors.New("the store is away")

func newFake(now func() time.Time) *fake {
	return &fake{now: now, people: map[string]*person{}, visits: map[string]*authz.Visit{}, tickets: map[string]string{}}
}

// add makes somebody with a device whose next code is 123456.
func (f *fake) add(name string) *person {
	p := &person{password: "correct horse", code: "123456"}
	p.devices = []Device{{ID: "dev1", Label: "Phone", Added: f.now().Add(-24 * time.Hour)}}
	p.recovery = recoveryCodes("old")
	f.people[name] = p
	return p
}

// hold puts a session of somebody into quarantine.
func (f *fake) hold(user, ref, source string) *authz.Visit {
	v := &authz.Visit{
		Session: registry.Record{ID: "gw1/" + ref, Node: "gw1", User: user, Source: netip.MustParseAddr(source), Opened: f.now()},
		User:    user, Until: f.now().Add(5 * time.Minute), Demands: policy.FactorCode, Held: true,
	}
	f.visits[ref] = v
	f.people[user].conns = append(f.people[user].conns, Connection{
		ID: v.Session.ID, Source: v.Session.Source, Address: netip.MustParseAddr("203.0.113.10"), Node: "gw1", Client: "MSRAS-0-PC7",
		Since: f.now(), Held: true, Until: v.Until, Factor: "none", In: 1234, Out: 98765432,
	})
	return v
}

func recoveryCodes(prefix string) []string {
	var all []string
	for i := range 10 {
		all = append(all, fmt.Sprintf("%s-%04d-wxyz", prefix, i))
	}
	return all
}

func (f *fake) lock() func() {
	f.mu.Lock()
	return f.mu.Unlock
}

func (f *fake) Visit(_ context.Context, ref string) (*authz.Visit, error) {
	defer f.lock()()
	if f.down != nil {
		return nil, f.down
	}
	v := f.visits[ref]
	switch {
	case v == nil, !f.now().Before(v.Until):
		return nil, authz.ErrReference
	case v.User == "":
		return nil, authz.ErrNoSession
	}
	c := *v
	return &c, nil
}

// judge looks at a code, and burns it.
func (p *person) judge(code string) (authz.Reason, authz.Factor) {
	switch {
	case p.wrong >= 5:
		return authz.CodeLocked, authz.FactorNone
	case code != "" && code == p.code:
		p.used, p.code = code, ""
		return authz.Permitted, authz.FactorCode
	case code != "" && code == p.used:
		return authz.CodeReplayed, authz.FactorNone
	}
	if i := slices.Index(p.recovery, code); i >= 0 {
		p.recovery = slices.Delete(slices.Clone(p.recovery), i, i+1)
		return authz.Permitted, authz.FactorRecovery
	}
	p.wrong++
	return authz.CodeWrong, authz.FactorNone
}

func (f *fake) StepUp(_ context.Context, s authz.StepUp) authz.StepUpResult {
	defer f.lock()()
	f.stepUps = append(f.stepUps, s)
	if f.down != nil {
		return authz.StepUpResult{Reason: authz.StoreDown}
	}
	for _, v := range f.visits {
		if v.Session.ID != s.Session || v.User != s.User {
			continue
		}
		switch {
		case !f.now().Before(v.Until):
			return authz.StepUpResult{Reason: authz.StepUpExpired}
		case !v.Held:
			return authz.StepUpResult{Reason: authz.NotQuarantined}
		case s.WebAuthn:
			v.Held, v.Lifting = false, true
			f.released = append(f.released, s.Session)
			return authz.StepUpResult{Reason: authz.Permitted, Factor: authz.FactorWebAuthn}
		case v.Demands == policy.FactorWebAuthn:
			return authz.StepUpResult{Reason: authz.FactorTooWeak}
		}
		reason, factor := f.people[s.User].judge(s.Code)
		switch {
		case reason != authz.Permitted:
		case v.Isolated:
			v.Waits, reason = false, authz.Isolated
		default:
			v.Held, v.Lifting = false, true
			f.released = append(f.released, s.Session)
		}
		return authz.StepUpResult{Reason: reason, Factor: factor}
	}
	return authz.StepUpResult{Reason: authz.SessionGone}
}

func (f *fake) SignIn(_ context.Context, s authz.SignIn) authz.SignInResult {
	defer f.lock()()
	password := string(s.Password)
	s.Password = nil
	f.signIns = append(f.signIns, s)
	p := f.people[s.Name]
	switch {
	case f.down != nil:
		return authz.SignInResult{Reason: authz.StoreDown}
	case p == nil:
		return authz.SignInResult{Reason: authz.NoSuchUser}
	case s.WebAuthn && !p.disabled:
		return authz.SignInResult{User: s.Name, Reason: authz.Permitted, Factor: authz.FactorWebAuthn}
	case p.password != password && !s.WebAuthn:
		return authz.SignInResult{Reason: authz.WrongPassword}
	case p.disabled:
		return authz.SignInResult{User: s.Name, Reason: authz.AccountDisabled}
	case len(p.devices) == 0 && p.keys == 0:
		return authz.SignInResult{User: s.Name, Reason: authz.NotEnrolled}
	case s.Code == "":
		return authz.SignInResult{User: s.Name, Reason: authz.CodeMissing, Enrolled: true}
	}
	reason, factor := p.judge(s.Code)
	return authz.SignInResult{User: s.Name, Reason: reason, Factor: factor, Enrolled: true}
}

func (f *fake) Ticket(_ context.Context, t string) (string, error) {
	defer f.lock()()
	user := f.tickets[t]
	switch {
	case f.down != nil:
		return "", f.down
	case user == "":
		return "", ErrTicket
	}
	delete(f.tickets, t)
	return user, nil
}

func (f *fake) Factors(_ context.Context, user string) (Factors, error) {
	defer f.lock()()
	p := f.people[user]
	return Factors{Devices: slices.Clone(p.devices), More: 5 - len(p.devices), Recovery: len(p.recovery), Keys: p.keys}, f.down
}

const fakeSecret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"

func (f *fake) Begin(_ context.Context, user, label string) (*Enrolment, error) {
	defer f.lock()()
	if len(f.people[user].devices) >= 5 {
		return nil, ErrTooMany
	}
	f.begun++
	return &Enrolment{
		Pending: fmt.Sprintf("%s/%s/%d", user, label, f.begun), Secret: fakeSecret, Account: user, Issuer: "Example VPN", Digits: 6, Period: 30,
		URL: "otpauth://totp/Example%20VPN:" + user + "?secret=" + fakeSecret + "&issuer=Example%20VPN&digits=6&period=30",
	}, f.down
}

func (f *fake) Confirm(_ context.Context, user, pending, code string) error {
	defer f.lock()()
	p := f.people[user]
	switch {
	case f.down != nil:
		return f.down
	case code != "654321":
		return ErrCode
	case len(p.devices) >= 5:
		return ErrTooMany
	}
	p.devices = append(p.devices, Device{ID: fmt.Sprintf("new%d", f.begun), Label: pending, Added: f.now()})
	return nil
}

func (f *fake) Remove(_ context.Context, user, id string) error {
	defer f.lock()()
	p := f.people[user]
	i := slices.IndexFunc(p.devices, func(d Device) bool { return d.ID == id })
	if i < 0 {
		return ErrNotFound
	}
	p.devices = slices.Delete(slices.Clone(p.devices), i, i+1)
	return nil
}

func (f *fake) NewRecovery(_ context.Context, user string) ([]string, error) {
	defer f.lock()()
	if f.down != nil {
		return nil, f.down
	}
	f.people[user].recovery = recoveryCodes("new")
	return slices.Clone(f.people[user].recovery), nil
}

func (f *fake) Connections(_ context.Context, user string) ([]Connection, error) {
	defer f.lock()()
	return slices.Clone(f.people[user].conns), f.down
}

func (f *fake) Disconnect(_ context.Context, user, id string, _ netip.Addr) error {
	defer f.lock()()
	p := f.people[user]
	i := slices.IndexFunc(p.conns, func(c Connection) bool { return c.ID == id })
	if i < 0 {
		return ErrNotFound
	}
	p.conns = slices.Delete(slices.Clone(p.conns), i, i+1)
	return nil
}

func (f *fake) Places(_ context.Context, user string) ([]Place, error) {
	defer f.lock()()
	return slices.Clone(f.people[user].places), f.down
}

func (f *fake) Forget(_ context.Context, user, id string) error {
	defer f.lock()()
	p := f.people[user]
	i := slices.IndexFunc(p.places, func(c Place) bool { return c.ID == id })
	if i < 0 {
		return ErrNotFound
	}
	p.places = slices.Delete(slices.Clone(p.places), i, i+1)
	return nil
}

func (f *fake) VPN(a netip.Addr) bool {
	return slices.ContainsFunc(f.inside, func(p netip.Prefix) bool { return p.Contains(a) })
}

func (f *fake) Healthy(context.Context) error {
	defer f.lock()()
	return f.down
}
