package authz

import (
	"postern/authz/directory"
	"postern/authz/session"
	"postern/policy"
)

// facts is what the policy may know of a login.
func (d *Decider) facts(l *login) policy.Facts {
	return policy.Facts{
		User: l.user, Realm: l.realm(), Groups: l.account.Groups, Source: l.req.Source,
		NAS: l.req.NAS.ID, NASAddress: l.req.NAS.Addr, Node: l.req.Node, Tunnel: l.req.Tunnel,
		ClientName: l.req.ClientName, ClientVersion: l.req.ClientVersion,
	}
}

// factsOfSession is what the policy may know of a session that is up, with its user's
// account as it is now.
func (d *Decider) factsOfSession(rec *session.Record, a *directory.Account) policy.Facts {
	return policy.Facts{
		User: rec.User, Realm: rec.Realm, Groups: a.Groups, Source: rec.Source,
		NAS: rec.NASID, NASAddress: rec.NASAddr, Tunnel: rec.Tunnel,
		ClientName: rec.Client,
	}
}
