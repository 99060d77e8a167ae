package authz

import (
	"net/netip"
	"time"

	"postern/authz/directory"
	"postern/authz/posture"
	"postern/authz/session"
	"postern/policy"
)

// Geo says where an address is; package geo's databases do. It is safe for concurrent use.
type Geo interface {
	// Lookup returns the country's ISO 3166-1 code and the number of the autonomous system;
	// "" and 0 where they are not known.
	Lookup(netip.Addr) (country string, asn uint32)
}

// facts is what the policy may know of a login.
func (d *Decider) facts(l *login) policy.Facts {
	f := policy.Facts{
		User: l.user, Realm: l.realm(), Groups: l.account.Groups, Source: l.req.Source,
		NAS: l.req.NAS.ID, NASAddress: l.req.NAS.Addr, Node: l.req.Node, Tunnel: l.req.Tunnel,
		ClientName: l.req.ClientName, ClientVersion: l.req.ClientVersion,
		Key: keyOf(l.req.Method), Given: givenOf(l.factor),
		Device: l.device.Device(l.now, l.req.Source, d.cfg.Fresh),
	}
	f.Country, f.ASN = d.locate(l.req.Source)
	c := l.shield.Counters()
	f.LastSuccess = c.Last
	f.Risk = policy.Risk{UserFailures: c.User.Failures, SourceFailures: c.Source.Failures, SourceUsers: c.Sprayed.Failures, CodeFailures: c.Codes.Failures}
	return f
}

// factsOfSession is what the policy may know of a session that is up, with its user's
// account as it is now, and its device as it was found at the login. What was counted, and
// when the user had got in before, is what it was at the login: a session is not ended for
// what is counted later. A factor that was remembered counts as little as it did at the login.
func (d *Decider) factsOfSession(rec *session.Record, a *directory.Account, device *posture.Query, now time.Time) policy.Facts {
	f := policy.Facts{
		User: rec.User, Realm: rec.Realm, Groups: a.Groups, Source: rec.Source,
		NAS: rec.NASID, NASAddress: rec.NASAddr, Node: rec.OurNode, Tunnel: rec.Tunnel,
		ClientName: rec.Client, ClientVersion: rec.Version,
		Key: parseKey(rec.Key), Given: givenOf(ParseFactor(rec.Factor)),
		Device: device.Device(now, rec.Source, d.cfg.Fresh), LastSuccess: rec.Before,
		Risk: policy.Risk{UserFailures: rec.Failures[0], SourceFailures: rec.Failures[1], SourceUsers: rec.Failures[2], CodeFailures: rec.Failures[3]},
	}
	f.Country, f.ASN = d.locate(rec.Source)
	return f
}

// deviceOf asks for a session's device: the one of its login, and where there was none, as
// a login would.
func deviceOf(rec *session.Record) *posture.Query {
	if rec.Device != "" {
		return posture.AskDevice(rec.User, rec.Device, rec.Join)
	}
	return posture.Ask(rec.User, "", rec.Client)
}

func (d *Decider) locate(a netip.Addr) (country string, asn uint32) {
	if d.cfg.Geo == nil || !a.IsValid() {
		return "", 0
	}
	return d.cfg.Geo.Lookup(a.Unmap())
}

// keyOf is what a method leaves the session's keys made of.
func keyOf(m Method) policy.KeyGrade {
	if m.MSCHAPv2() {
		return policy.KeyNTLM
	}
	return policy.KeyNone
}

func parseKey(s string) policy.KeyGrade {
	for _, k := range []policy.KeyGrade{policy.KeyNTLM, policy.KeyTLS} {
		if k.String() == s {
			return k
		}
	}
	return policy.KeyNone
}

// givenOf is a factor as rules see it.
func givenOf(f Factor) policy.Given {
	switch f {
	case FactorCode:
		return policy.GivenCode
	case FactorRecovery:
		return policy.GivenRecovery
	case FactorWebAuthn:
		return policy.GivenWebAuthn
	case FactorNone, FactorRemembered:
	}
	return policy.GivenNone
}
