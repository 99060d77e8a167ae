package ad

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"postern/authz/directory"
	"postern/authz/directory/netlogon"
	"postern/internal/failover"
	"postern/internal/ldapc"
	"postern/internal/mschap"
)

// errNotTrusted passes a domain controller over: another may accept MS-CHAPv2.
var errNotTrusted = errors.New("this domain controller does not accept MS-CHAPv2: users are not tried, because it would count a wrong password")

// trusted says whether a user may be tried at a domain controller, and tries the
// probe account first where that is due.
func (d *Directory) trusted(ctx context.Context, c *dc, user string) error {
	c.mu.Lock()
	advice := c.trust.ask(d.cfg.Now(), user)
	c.mu.Unlock()
	if advice == adviceProbe {
		result, what := d.probe(ctx, c)
		now := d.cfg.Now()
		c.mu.Lock()
		c.trust.probed(now, result)
		advice = c.trust.ask(now, user)
		c.mu.Unlock()
		d.tellProbe(c, result, what)
	}
	if advice == adviceRefuse {
		return failover.Away(errNotTrusted)
	}
	return nil
}

// settle notes what a logon's end says about the domain controller.
func (d *Directory) settle(c *dc, a *directory.Account, err error) {
	now := d.cfg.Now()
	var no *netlogon.Rejected
	switch {
	case err == nil || errors.As(err, &no):
		d.alarms.clear(now, c.host, AlarmMachine, AlarmBlocked)
	default:
		d.tellUnavailable(c, err)
		return
	}
	c.mu.Lock()
	switch {
	case err == nil || provesPassword(no.Status):
		c.trust.right()
	case a != nil && no.Status == netlogon.StatusWrongPassword:
		c.trust.refused(now, a.Name)
	}
	state := c.trust.state
	c.mu.Unlock()
	switch state {
	case accepts:
		d.alarms.clear(now, c.host, AlarmSuspect, AlarmMSCHAPv2)
	case suspected:
		d.alarms.raise(now, c.host, AlarmSuspect, fmt.Sprintf("wrong passwords for %d users or more within %v, and a right one for nobody", suspects, trustWindow))
	case untested, refuses:
	}
}

// probe tries the probe account.
func (d *Directory) probe(ctx context.Context, c *dc) (probeResult, string) {
	password, err := d.cfg.Probe.Password()
	if err != nil {
		return probeNothing, fmt.Sprintf("the probe account's password cannot be read: %v", err)
	}
	defer clear(password)
	req := &netlogon.Request{Domain: d.cfg.NetBIOS, User: d.cfg.Probe.User}
	_, _ = rand.Read(req.ChallengeHash[:]) // never fails
	hash := mschap.NTHash(string(password))
	req.Response = mschap.NTResponse(req.ChallengeHash, &hash)
	got, err := d.logon(ctx, c, req)
	got.Wipe()
	var no *netlogon.Rejected
	switch {
	case err == nil:
		return probeAccepted, ""
	case !errors.As(err, &no):
		d.tellUnavailable(c, err)
		return probeNothing, ""
	case provesPassword(no.Status):
		return probeAccepted, ""
	case no.Status != netlogon.StatusWrongPassword:
		return probeNothing, fmt.Sprintf("the probe account is refused: %v", no.Status)
	}
	// Is it the password, or MS-CHAPv2?
	err = c.ldap.Bind(ctx, d.cfg.NetBIOS+`\`+d.cfg.Probe.User, password)
	switch {
	case err == nil:
		return probeRefused, "the probe account's password is right for LDAP and wrong for MS-CHAPv2"
	case ldapc.IsInvalidCredentials(err):
		code, _ := ldapc.SubCode(err)
		return probeWrong, "the probe account cannot log on: " + bindRefused(code).Error()
	}
	return probeNothing, ""
}

func (d *Directory) tellProbe(c *dc, r probeResult, what string) {
	now := d.cfg.Now()
	switch r {
	case probeAccepted:
		d.alarms.clear(now, c.host, AlarmProbe, AlarmMSCHAPv2, AlarmSuspect, AlarmMachine, AlarmBlocked)
	case probeRefused:
		d.alarms.clear(now, c.host, AlarmProbe, AlarmSuspect)
		d.alarms.raise(now, c.host, AlarmMSCHAPv2, what)
	case probeWrong, probeNothing:
		if what != "" {
			d.alarms.raise(now, c.host, AlarmProbe, what)
		}
	}
}
