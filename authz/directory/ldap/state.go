package ldap

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"postern/authz/directory"
	"postern/internal/ldapc"
)

// stateAttributes are those that say whether somebody may log on.
var stateAttributes = []string{
	"sambaAcctFlags", "sambaKickoffTime", "sambaPwdMustChange", "sambaPwdLastSet", "sambaLogonHours", // Samba 3
	"shadowExpire",                                       // shadow(5), RFC 2307
	"nsAccountLock",                                      // 389 and FreeIPA
	"pwdAccountLockedTime", "pwdReset", "pwdChangedTime", // OpenLDAP's ppolicy
	"krbPrincipalExpiration", "krbPasswordExpiration", "krbLastPwdChange", // FreeIPA
}

// passwords is what is known of a password's age. Zero: not known, or never.
type passwords struct{ set, expires time.Time }

// reader reads an entry's attributes and keeps the first mistake.
type reader struct {
	entry *ldapc.Entry
	err   error
}

// value reads an attribute with parse, if it is there.
func value[T any](r *reader, name string, parse func(string) (T, error)) (v T, there bool) {
	text := r.entry.GetEqualFoldAttributeValue(name)
	if text == "" {
		return v, false
	}
	v, err := parse(text)
	if err != nil {
		r.err = errors.Join(r.err, fmt.Errorf("%s %.100q: %w", name, text, err))
		return v, false
	}
	return v, true
}

// readState is what the entry says of the account at a time. What forbids the logon
// for good goes before what a new password would mend. With an error the state is
// unknown.
func readState(e *ldapc.Entry, now time.Time, lockTime time.Duration) (directory.State, passwords, error) {
	r := &reader{entry: e}
	flags, _ := value(r, "sambaAcctFlags", parseAcctFlags)
	kickoff, _ := value(r, "sambaKickoffTime", parseUnix)
	mustChange, hasMustChange := value(r, "sambaPwdMustChange", parseUnix)
	lastSet, hasLastSet := value(r, "sambaPwdLastSet", parseUnix)
	hours, hasHours := value(r, "sambaLogonHours", parseHours)
	shadow, hasShadow := value(r, "shadowExpire", parseDays)
	nsLock, _ := value(r, "nsAccountLock", parseBool)
	locked, isLocked := value(r, "pwdAccountLockedTime", parseLock)
	reset, _ := value(r, "pwdReset", parseBool)
	changed, _ := value(r, "pwdChangedTime", parseTime)
	principal, hasPrincipal := value(r, "krbPrincipalExpiration", parseTime)
	krbPassword, hasKrbPassword := value(r, "krbPasswordExpiration", parseTime)
	krbChanged, _ := value(r, "krbLastPwdChange", parseTime)

	var p passwords
	for _, t := range []time.Time{krbChanged, changed, lastSet} {
		if !t.IsZero() {
			p.set = t
		}
	}
	never := flags.has(flagNoExpiry)
	switch {
	case hasKrbPassword:
		p.expires = krbPassword
	case !never:
		p.expires = mustChange // zero: at once, or never
	}
	if r.err != nil {
		return directory.StateUnknown, p, r.err
	}
	over := func(t time.Time) bool { return !now.Before(t) }
	switch {
	case flags.has(flagDisabled), nsLock:
		return directory.Disabled, p, nil
	case !kickoff.IsZero() && over(kickoff), hasShadow && over(shadow), hasPrincipal && over(principal):
		return directory.Expired, p, nil
	case flags.has(flagLocked), isLocked && locked.at(now, lockTime):
		return directory.Locked, p, nil
	case flags.has(flagMachine):
		return directory.Restricted, p, nil // a computer's, or another domain's
	case hasHours && !hours.allow(now):
		return directory.OutsideHours, p, nil
	case reset, !never && (hasLastSet && lastSet.IsZero() || hasMustChange && mustChange.IsZero()):
		return directory.PasswordMustChange, p, nil
	case !p.expires.IsZero() && over(p.expires):
		return directory.PasswordExpired, p, nil
	}
	return directory.Active, p, nil
}

// parseBool reads a boolean (RFC 4517 §3.3.3), and what administrators make of it.
func parseBool(s string) (bool, error) {
	switch {
	case strings.EqualFold(s, "TRUE"):
		return true, nil
	case strings.EqualFold(s, "FALSE"):
		return false, nil
	}
	return false, errors.New("neither TRUE nor FALSE")
}

// lock is when an account was locked.
type lock struct {
	forever bool
	since   time.Time
}

// lockedForever is ppolicy's for an administrator's lock (draft-behera §5.3.3).
const lockedForever = "000001010000Z"

func parseLock(s string) (lock, error) {
	if s == lockedForever {
		return lock{forever: true}, nil
	}
	t, err := parseTime(s)
	return lock{since: t}, err
}

// at says whether the lock holds. With a time that it lasts, it may have ended: the
// server takes the attribute away at the next bind, which we do not make.
func (l lock) at(now time.Time, lasts time.Duration) bool {
	return l.forever || lasts <= 0 || now.Before(l.since.Add(lasts))
}
