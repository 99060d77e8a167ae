package ad

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"postern/authz/directory"
	"postern/authz/directory/netlogon"
	"postern/internal/failover"
	"postern/internal/ldapc"
	"postern/internal/mschap"
)

// nobody is asked for in place of names that belong to no account, so that they
// cost as much. No account can have the name: a colon is forbidden in one
// ([MS-SAMR] §3.1.1.6). The name as typed might be a computer's or that of somebody
// outside our base, to whom failures would be counted.
const nobody = "postern:nobody"

// VerifyMSCHAPv2 implements directory.Directory.
func (d *Directory) VerifyMSCHAPv2(ctx context.Context, _ directory.Name, a *directory.Account, r *directory.MSCHAPv2) (directory.Proof, error) {
	req := &netlogon.Request{
		Domain: d.cfg.NetBIOS, User: nobody, ChallengeHash: r.ChallengeHash, Response: r.Response,
	}
	if a != nil {
		req.User = a.Name
	}
	var got *netlogon.Logon
	err := d.withLogon(ctx, func(ctx context.Context, c *dc) (err error) {
		if err := d.trusted(ctx, c, req.User); err != nil {
			return err
		}
		got, err = d.logon(ctx, c, req)
		d.settle(c, a, err)
		return err
	})
	switch {
	case err != nil:
		return directory.Proof{}, answer("verify response", err)
	case a == nil:
		return directory.Proof{}, directory.Rejected{Reason: directory.NoSuchUser}
	case got.SID != a.SID:
		// The account was deleted, and another has its name.
		d.forget(a.Name)
		return directory.Proof{}, directory.Unavailable{Doing: "verify response", Err: fmt.Errorf("found %s, verified %s", a.SID, got.SID)}
	}
	return directory.Proof{HashHash: got.HashHash, Groups: d.more(a.Groups, got.Groups)}, nil
}

// more returns the groups of a logon that are not among those known, with their
// names as far as they are at hand.
func (d *Directory) more(known, logon []string) []string {
	var sids []sid
	for _, text := range logon {
		if s, err := sidOf(text); err == nil && !slices.Contains(known, text) {
			sids = append(sids, s)
		}
	}
	if len(sids) == 0 {
		return nil
	}
	found, _ := d.names.find(d.cfg.Now(), sids)
	return withNames(sids, found)
}

// answer is a question's error as everybody else may see it: the directory's no, or
// none.
func answer(doing string, err error) error {
	var rejected *netlogon.Rejected
	if errors.As(err, &rejected) {
		return refused(rejected.Status)
	}
	return directory.Unavailable{Doing: doing, Err: err}
}

// VerifyPassword implements directory.Directory: by a bind as the person. A DC
// counts failures as it does for a logon.
func (d *Directory) VerifyPassword(ctx context.Context, _ directory.Name, a *directory.Account, password []byte) (directory.Proof, error) {
	// An empty password would make an anonymous bind, which succeeds (RFC 4513 §5.1.2).
	if len(password) == 0 || !utf8.Valid(password) || bytes.IndexByte(password, 0) >= 0 {
		return directory.Proof{}, directory.Rejected{Reason: directory.WrongPassword, Detail: "no password that a directory could have"}
	}
	dn := "CN=" + nobody + "," + d.base
	if a != nil {
		dn = a.Ref
	}
	err := d.withLDAP(ctx, func(ctx context.Context, c *dc) error {
		return c.ldap.Bind(ctx, dn, password)
	})
	switch {
	case err == nil && a == nil:
		return directory.Proof{}, directory.Rejected{Reason: directory.NoSuchUser}
	case err == nil:
		return directory.Proof{}, nil
	case ldapc.IsInvalidCredentials(err):
		code, _ := ldapc.SubCode(err)
		r := bindRefused(code)
		if a == nil {
			r.Reason, r.State = directory.NoSuchUser, directory.StateUnknown
		}
		return directory.Proof{}, r
	}
	return directory.Proof{}, directory.Unavailable{Doing: "verify password", Err: err}
}

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
	_, err = d.logon(ctx, c, req)
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
