package radius

import (
	"fmt"
	"slices"
	"time"

	layeh "layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
)

// prepare makes of p the request for one service: a random Authenticator of its own
// (RFC 2865 §3: unpredictable and unique; Accounting's is computed in the end), what
// hangs on the old one made anew, and the time that has passed in Acct-Delay-Time.
func prepare(p *Packet, secret Secret, passed time.Duration) (*Packet, error) {
	q := NewRequest(p.Code, secret)
	q.Attributes = slices.Clone(p.Attributes)
	if hidden, ok := p.Lookup(rfc2865.UserPassword_Type); ok {
		plain, err := layeh.UserPassword(hidden, p.Secret, p.Authenticator[:])
		if err != nil {
			return nil, fmt.Errorf("take User-Password out: %w", err)
		}
		again, err := layeh.NewUserPassword(plain, q.Secret, q.Authenticator[:])
		clear(plain)
		if err != nil {
			return nil, fmt.Errorf("hide User-Password: %w", err)
		}
		q.Set(rfc2865.UserPassword_Type, again)
	}
	if _, ok := p.Lookup(rfc2865.CHAPPassword_Type); ok {
		if _, ok := p.Lookup(rfc2865.CHAPChallenge_Type); !ok { // then the Authenticator was the challenge (RFC 2865 §2.2)
			q.Add(rfc2865.CHAPChallenge_Type, slices.Clone(p.Authenticator[:]))
		}
	}
	if delay, ok := acctDelay(p); ok {
		_ = rfc2866.AcctDelayTime_Set(q, delay+rfc2866.AcctDelayTime(passed/time.Second))
	}
	return q, nil
}

// acctDelay is there in an Accounting-Request that says how old its event is.
func acctDelay(p *Packet) (rfc2866.AcctDelayTime, bool) {
	if p.Code != CodeAccountingRequest {
		return 0, false
	}
	d, err := rfc2866.AcctDelayTime_Lookup(p)
	return d, err == nil
}
