package netlogon

import "strings"

// check refuses what a DC may answer and no user may be let in with: a guest stands
// for anybody, and a DC that had to ask its cache or an LM hash did not verify the
// response. Without the key there would be no authenticator response.
func (l *Logon) check() error {
	switch {
	case l.Flags&FlagGuest != 0:
		return &Rejected{StatusNoSuchUser}
	case l.Flags&(FlagLM|FlagCached) != 0, l.HashHash == [16]byte{}, l.SID == "":
		return &Rejected{StatusLogonFailure}
	}
	return nil
}

// own says whether a request surely names the DC's own domain. Of a DNS name only
// the first label can be compared.
func (p *Pool) own(r *Request) bool {
	if strings.Contains(r.User, "@") {
		return false
	}
	label, _, _ := strings.Cut(r.Domain, ".")
	return label == "" || strings.EqualFold(label, p.cfg.Domain)
}
