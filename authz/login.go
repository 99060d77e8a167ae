package authz

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"postern/authz/directory"
	"postern/authz/grant"
	"postern/authz/lockout"
	"postern/authz/mfa"
	"postern/authz/posture"
	"postern/internal/mschap"
	"postern/internal/store"
	"postern/policy"
)

// login is one login on its way through the steps. What a step finds out it
// leaves here for those behind it.
type login struct {
	req    *Request
	ruling *ruling
	now    time.Time // the request's until the store has told its own
	began  time.Time
	rec    Record

	name     mfa.Name
	asked    directory.Name
	user     string // canonical
	counted  string // identity of the attempt, see attempt
	password []byte // by PAP, without a code

	given    string         // the code, "": none
	came     policy.Carrier // how
	form     *SignIn        // of the portal
	state    *state         // of the challenge that this answers
	stateErr error          // why it does not

	directory string           // the realm that the name selects
	locker    directory.Locker // that has a lockout of its own; nil: none
	seat      *lockout.Place   // below that; nil: none is needed

	shield  *lockout.Query
	tokens  *mfa.Query
	grants  *grant.Query
	device  *posture.Query
	noted   *store.Get // what became of the leave to change the password, or of the state
	passed  lockout.Verdict
	account *directory.Account

	challengeHash [8]byte
	proof         directory.Proof
	proved        bool   // the password was right
	expired       Reason // for which the right password opens nothing; unknown: none

	code     mfa.Result
	checked  bool // a code was looked at
	factor   Factor
	kind     Factor        // of a remembered factor
	facts    *policy.Facts // nil: the policy was not asked
	decision policy.Decision

	known *evidence // of the session that is stepped up

	// What comes in the place of a factor, see carry.
	use     *grant.Write // one that is remembered
	retry   *store.Once  // the note that the client is asked for a code
	retried bool         // it was, a moment ago
	asks    []byte       // the State of a challenge
	held    time.Time    // until when the session is in quarantine
	url     string       // its page in the portal

	give   *grant.Write // the factor is to be remembered
	commit *commitment

	leave *store.Once // to change the password in this dialogue
	taken bool        // this very attempt took the leave before
}

// maxTyped is the most a User-Name can hold (RFC 2865 §5.1).
const maxTyped = 253

// readName takes the name apart.
func (d *Decider) readName(_ context.Context, l *login) (Reason, bool) {
	typed := l.req.User
	if typed == "" || len(typed) > maxTyped || !utf8.ValidString(typed) ||
		strings.ContainsFunc(typed, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return BadName, true
	}
	l.name = mfa.SplitCode(typed, d.cfg.Separator).Tagged(d.cfg.DeviceSeparator)
	l.rec.Typed = l.name.Name
	l.password = l.req.Password
	if l.name.Code != "" {
		l.given, l.came = l.name.Code, policy.Inline
	}
	l.asked = AskedName(l.name)
	l.user = d.cfg.Directory.Canonical(l.asked)
	return Permitted, false
}

// AskedName is what a directory is asked for when a name was typed.
func AskedName(n mfa.Name) directory.Name {
	down := n.Domain != "" && strings.HasPrefix(n.Name, n.Domain+`\`)
	return directory.Name{User: n.Account, Realm: n.Domain, Down: down}
}

// checkMethod refuses a password in clear where it may not be, and always inside
// a tunnel: a PPTP client that is asked for PAP gives its password to anybody who
// answers, and gets no MPPE key.
func (d *Decider) checkMethod(_ context.Context, l *login) (Reason, bool) {
	switch l.req.Method {
	case MethodMSCHAPv2, MethodMSCHAPv2Change:
		// The peer hashes the name as it was typed, without the domain in front but
		// with the code behind it (RFC 2759 §8.2).
		l.challengeHash = mschap.ChallengeHash(&l.req.MSCHAPv2.PeerChallenge, &l.req.MSCHAPv2.Challenge, mschap.TrimDomain(l.req.User))
		l.counted = l.attempt()
		return MethodRefused, l.changing() && l.req.Change == nil
	case MethodPAP:
		return MethodRefused, !l.req.AllowPAP || l.req.Tunnel != ""
	case MethodPortal, MethodUnknown:
	}
	return MethodRefused, true
}

// attempt identifies an attempt by what both sides drew at random for it, so that
// a NAS that asks another service because our answer was lost neither counts a
// failure twice nor replays its own code. With PAP nothing is drawn, and each failure
// counts; see same.
func (l *login) attempt() string {
	m := &l.req.MSCHAPv2
	return l.digest(l.req.User, m.Challenge[:], m.PeerChallenge[:], m.Response[:])
}

// same is what one attempt has in common with its repetition at another service, where
// attempt cannot tell: "" is nothing. The answer to a challenge has the State, which is
// drawn at random; a code besides is used once, and so names the attempt that used it, if
// the NAS says whose dialogue it is. Nothing is named by what could be a password.
func (l *login) same() string {
	switch {
	case l.counted != "":
		return l.counted
	case l.req.SessionID == "":
	case l.state != nil:
		return l.digest(l.req.User, l.state.nonce[:])
	case l.req.Source.IsValid() && (l.code.Outcome == mfa.OK || l.code.Outcome == mfa.Replayed):
		return l.digest(l.req.User, []byte(l.req.Source.String()), []byte{0}, []byte(l.given))
	}
	return ""
}

// digest is a name for something of this dialogue of a NAS with its client.
func (l *login) digest(typed string, drawn ...[]byte) string {
	h := sha256.New()
	for _, s := range []string{l.req.NAS.ID, l.req.NAS.Addr.String(), l.req.SessionID, typed} {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(s))))
		h.Write([]byte(s))
	}
	for _, b := range drawn {
		h.Write(b)
	}
	return idEncoding.EncodeToString(h.Sum(nil)[:15])
}

// load reads all that the store knows of the login in one trip.
func (d *Decider) load(ctx context.Context, l *login) (Reason, bool) {
	began := d.cfg.Clock()
	l.shield, l.tokens, l.grants = d.cfg.Shield.Ask(l.user, l.req.Source), d.cfg.MFA.Ask(l.user), grant.Ask(l.user)
	l.device = posture.Ask(l.user, l.name.Device, l.req.ClientName)
	if l.req.Method == MethodPortal {
		l.tokens.WithRecovery()
	}
	seqs := [][]store.Seq{l.shield.Seqs(), l.tokens.Seqs(), l.grants.Seqs(), l.device.Seqs(), d.takeSeat(l)}
	switch {
	case l.changing():
		l.noted = &store.Get{Key: l.leaveKey()}
		seqs = append(seqs, []store.Seq{{l.noted}})
	case l.state != nil:
		l.noted = &store.Get{Key: l.stateKey()}
		seqs = append(seqs, []store.Seq{{l.noted}})
	}
	err := d.cfg.Store.Do(ctx, store.Join(seqs...)...)
	l.rec.Load += d.cfg.Clock().Sub(began)
	if err != nil {
		l.rec.Err = err
		return StoreDown, true
	}
	if t := l.shield.Now(); !t.IsZero() {
		l.now = t
	}
	return Permitted, false
}

// askShield keeps guessers away from the directory.
func (d *Decider) askShield(ctx context.Context, l *login) (Reason, bool) {
	l.passed = l.shield.Check(l.now)
	l.rec.Locked = l.passed.Scope
	if !l.passed.Allowed {
		return LockedOut, true
	}
	return d.askSeat(ctx, l)
}

// find looks the account up. A directory that learns the canonical name only now
// makes us load again, under the name that counts.
func (d *Decider) find(ctx context.Context, l *login) (Reason, bool) {
	began := d.cfg.Clock()
	a, err := d.cfg.Directory.Find(ctx, l.asked)
	l.rec.Directory += d.cfg.Clock().Sub(began)
	if err != nil {
		if r, no := directory.IsRejected(err); no && r.Reason == directory.NoSuchUser {
			return Permitted, false // verify refuses, after the same work as for a known name
		}
		l.rec.Err = err
		return DirectoryDown, true
	}
	l.account, l.rec.Realm, l.rec.SID = a, a.Realm, a.SID
	if a.Name == l.user {
		d.seeds(l)
		return Permitted, false
	}
	l.user = a.Name
	if reason, done := d.load(ctx, l); done {
		return reason, true
	}
	d.seeds(l)
	return d.askShield(ctx, l)
}

// split takes a code off the end of a password, for clients that have one field for
// both. Whoever has no token has a password only.
func (d *Decider) split(_ context.Context, l *login) (Reason, bool) {
	if l.req.Method != MethodPAP || !l.req.CodeInPassword || l.given != "" || l.req.State != nil {
		return Permitted, false
	}
	digits, err := l.tokens.Digits()
	if err != nil {
		l.rec.Err = err
		return InternalError, true
	}
	for _, n := range digits {
		at := len(l.password) - n
		if at > 0 && !slices.ContainsFunc(l.password[at:], func(c byte) bool { return c < '0' || c > '9' }) {
			l.password, l.given, l.came = l.password[:at], string(l.password[at:]), policy.Password
			break
		}
	}
	return Permitted, false
}

// verify has the directory verify the password. A right one that has expired goes
// on: what comes of it the second factor and the policy say, see expire.
func (d *Decider) verify(ctx context.Context, l *login) (Reason, bool) {
	switch {
	case l.changing():
		return Permitted, false // the new one, once it is in force
	case l.state != nil: // it was right when the code was asked for
		l.proved = l.account != nil
		return NoSuchUser, !l.proved
	}
	reason := d.ask(ctx, l)
	if outdated(reason) && l.account != nil {
		l.expired, l.proved = reason, true
		return Permitted, false
	}
	return reason, reason != Permitted
}

// ask asks the directory about the password.
func (d *Decider) ask(ctx context.Context, l *login) Reason {
	l.seat.Asking()
	began := d.cfg.Clock()
	var err error
	if m := &l.req.MSCHAPv2; l.req.Method.MSCHAPv2() {
		l.proof, err = d.cfg.Directory.VerifyMSCHAPv2(ctx, l.asked, l.account, &directory.MSCHAPv2{
			ChallengeHash: l.challengeHash, Response: m.Response,
			Typed: l.req.User, Ident: m.Ident, Challenge: m.Challenge, PeerChallenge: m.PeerChallenge,
		})
	} else {
		l.proof, err = d.cfg.Directory.VerifyPassword(ctx, l.asked, l.account, l.password)
	}
	l.rec.Directory += d.cfg.Clock().Sub(began)
	if err == nil && l.account == nil {
		// Found by one question and not by the other: the accounts changed meanwhile.
		err = directory.Rejected{Reason: directory.NoSuchUser}
	}
	if err != nil {
		return l.refused(err)
	}
	l.proved = true
	if len(l.proof.Groups) > 0 {
		a := *l.account // the directory's own
		a.Groups = append(slices.Clone(a.Groups), l.proof.Groups...)
		l.account = &a
	}
	return Permitted
}

// refused is the reason in what a directory said of a password.
func (l *login) refused(err error) Reason {
	r, no := directory.IsRejected(err)
	if !no || r.Detail != "" {
		l.rec.Err = err
	}
	if !no {
		l.seat.Lapses() // it may have counted
		return DirectoryDown
	}
	switch r.Reason {
	case directory.NoSuchUser:
		return NoSuchUser
	case directory.AccountState:
		return stateReason(r.State)
	case directory.BadPassword:
		return NewPasswordRefused
	case directory.WrongPassword, directory.ReasonUnknown:
	}
	return WrongPassword
}

// lookAt refuses accounts that are not to be used. It comes behind the password:
// only who knows it learns of the account's state.
func (d *Decider) lookAt(_ context.Context, l *login) (Reason, bool) {
	if l.account.State == directory.Active {
		return Permitted, false
	}
	reason := stateReason(l.account.State)
	switch {
	case !outdated(reason):
		return reason, true
	case !l.changing(): // who changes the password ends this state
		l.expired = reason
	}
	return Permitted, false
}

// stateReason maps what the directory thinks of an account.
func stateReason(s directory.State) Reason {
	switch s {
	case directory.Disabled:
		return AccountDisabled
	case directory.Expired:
		return AccountExpired
	case directory.Locked:
		return AccountLocked
	case directory.PasswordExpired:
		return PasswordExpired
	case directory.PasswordMustChange:
		return PasswordMustChange
	case directory.OutsideHours:
		return OutsideHours
	case directory.NoDialin:
		return NoDialin
	case directory.NotFromHere:
		return WorkstationDenied
	case directory.Restricted:
		return AccountRestricted
	case directory.Gone:
		return NoSuchUser
	case directory.Active, directory.StateUnknown:
	}
	return InternalError
}

// checkCode looks at a code if there is one; whether there must be one the policy
// says. It stands behind the password, so that guessing codes takes the password,
// and a code that was typed with a wrong one is still good.
func (d *Decider) checkCode(ctx context.Context, l *login) (Reason, bool) {
	if l.given == "" || l.changing() { // it was burnt in the login before
		return Permitted, false
	}
	if v := d.cfg.Shield.CheckCode(l.now, l.shield.Counters()); !v.Allowed {
		l.rec.Locked = v.Scope
		return CodeLocked, true
	}
	var err error
	l.code, err = d.cfg.MFA.Check(l.now, l.tokens, l.given)
	if err != nil {
		l.rec.Err = err
		return InternalError, true
	}
	if l.code.Outcome == mfa.Replayed {
		if reason, done := d.ownReplay(ctx, l); done {
			return reason, true
		}
	}
	switch l.code.Outcome {
	case mfa.OK:
		l.checked, l.factor = true, FactorCode
		if l.code.Recovery {
			l.factor = FactorRecovery
		}
		return Permitted, false
	case mfa.NotEnrolled:
		return Permitted, false // no factor; the policy may not want one
	case mfa.Wrong, mfa.Replayed, mfa.OutcomeUnknown:
	}
	l.checked = true
	return CodeWrong, true
}

// ownReplay is for a code that was used before: it is right all the same if this
// very attempt used it, see attempt. A replay is not counted as a failure: nothing
// can be guessed with codes that were right, and clients that redial by
// themselves send the same one again.
func (d *Decider) ownReplay(ctx context.Context, l *login) (Reason, bool) {
	id := l.same()
	if id == "" {
		return CodeReplayed, true
	}
	burn := d.cfg.MFA.Burn(l.user, l.code, id)
	seqs := burn.Seqs()
	if err := d.cfg.Store.Do(ctx, seqs...); err != nil {
		l.rec.Err = err
		return StoreDown, true
	}
	if !seqs[0].OK() {
		return CodeReplayed, true
	}
	l.code.Outcome = mfa.OK
	return Permitted, false
}

// applyPolicy asks the policy, and then looks for the factor it demands, see carry.
func (d *Decider) applyPolicy(_ context.Context, l *login) (Reason, bool) {
	facts := d.facts(l)
	l.facts = &facts
	l.rec.Country, l.rec.ASN, l.rec.Device, l.rec.Join = facts.Country, facts.ASN, facts.Device.ID, facts.Device.Join
	l.decision = l.ruling.policy.Evaluate(l.now, l.facts)
	l.rec.Rule, l.rec.Policy = l.decision.RuleID, l.decision.Version
	d.lookBeside(l)
	if l.decision.Verdict != policy.Permit {
		if l.decision.Fault != "" {
			l.rec.Err = errors.New(l.decision.Fault)
		}
		return refusal(&l.decision), true
	}
	o := &l.decision.Obligations
	if !counts(o, l.came) {
		l.factor = FactorNone // it is burnt all the same
	}
	if meets(l.factor, l.kind, o.Factor) {
		return Permitted, false
	}
	reason := d.carry(l)
	return reason, reason != Permitted
}

// refusal is the reason of a policy that does not permit.
func refusal(d *policy.Decision) Reason {
	switch d.Reason {
	case policy.Denied:
		return PolicyDenied
	case policy.DeniedSource:
		return SourceDenied
	case policy.RuleFailed:
		return PolicyFailed
	case policy.NoMatch, policy.Permitted:
	}
	return PolicyNoMatch
}

// realm is the account's realm, or where there is one only, the domain as typed: a
// claim.
func (l *login) realm() string {
	if l.account.Realm != "" {
		return l.account.Realm
	}
	return l.asked.Realm
}

// filterQuarantine is the filter of a session that waits for its factor; no policy and
// no node may define it.
const filterQuarantine = "quarantine"

// grant is what the policy obliges us to give.
func (l *login) grant(interim time.Duration) Grant {
	o := &l.decision.Obligations
	g := Grant{
		DNS: o.DNS, NBNS: o.NBNS, Routes: l.routes(), Filter: o.Filter, Rules: o.Rules, Bandwidth: o.Bandwidth,
		SessionTimeout: o.SessionTimeout, IdleTimeout: o.IdleTimeout, InterimInterval: interim,
		Class: []byte(l.rec.DecisionID),
	}
	if o.Interim > 0 {
		// A session that reports less often than the registry expects would lapse.
		g.InterimInterval = min(interim, o.Interim)
	}
	if !l.held.IsZero() {
		g.Filter, g.Rules, g.Quarantine = filterQuarantine, nil, Quarantine{For: l.held.Sub(l.now), URL: l.url}
	}
	if l.commit != nil {
		g.Addr = l.commit.session.Addr
	}
	if g.Addr.IsValid() {
		g.Mask = g.Addr.BitLen()
	}
	return g
}

// routes are the rule's and the account's own. One of the account's that has an address of a
// pool in it is left out: what is leased to one client must not lead to another.
func (l *login) routes() []netip.Prefix {
	all := l.decision.Obligations.Routes
	for _, p := range l.account.Routes {
		if slices.Contains(all, p) {
			continue
		}
		if err := l.ruling.pools.Overlap([]netip.Prefix{p}); err != nil {
			l.rec.Err = fmt.Errorf("the account's route is left out: %w", err)
			continue
		}
		all = append(all[:len(all):len(all)], p)
	}
	return all
}

// prove makes what only a service that had the response verified can make.
func (l *login) prove(res *Result) {
	if !l.req.Method.MSCHAPv2() {
		return
	}
	if k := l.proof.Keys; k != nil {
		res.Success, res.SendKey, res.RecvKey = k.Success, k.Send, k.Recv
		return
	}
	response, hashHash := &l.req.MSCHAPv2.Response, &l.proof.HashHash
	res.Success = mschap.AuthenticatorResponse(hashHash, response, l.challengeHash)
	master := mschap.MasterKey(hashHash, response)
	res.SendKey, res.RecvKey = mschap.StartKeys(&master, true)
}
