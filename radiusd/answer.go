package radiusd

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"time"
	"unicode/utf8"

	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2869"

	"postern/authz"
	"postern/internal/mschap"
	"postern/internal/radius"
)

const (
	maxText = 253 // RFC 2865 §5: a text attribute
	// maxErrorText is what is left for MS-CHAP-Error's text in a Vendor-Specific,
	// behind vendor, type, length and Ident (RFC 2548 §2.1.5).
	maxErrorText = 246
	minMTU       = 64    // RFC 2865 §5.12
	maxMTU       = 65535 //
	minInterim   = 60    // RFC 2869 §5.16
)

// accept makes an Access-Accept of what was granted.
func accept(t *ticket, r *authz.Request, res *authz.Result) (*radius.Packet, error) {
	g := &res.Grant
	p := radius.NewReply(t.packet, radius.CodeAccessAccept)
	var errs []error
	do := func(when bool, add func() error) {
		if when {
			errs = append(errs, add())
		}
	}
	// RFC 2865 §5.1: the NAS uses this name in accounting, so that the code that was
	// typed behind it goes no further.
	do(res.User != "", func() error { return rfc2865.UserName_AddString(p, res.User) })
	if r.Method.MSCHAPv2() {
		errs = append(errs,
			radius.AddMSCHAP2Success(p, r.MSCHAPv2.Ident, res.Success),
			radius.AddMPPEKeys(p, &res.SendKey, &res.RecvKey),
			radius.AddMPPEPolicy(p, radius.EncryptionRequired, t.client.Strengths))
	}
	// A NAS that asks for a login to itself, a switch for its operator, gets no
	// Service-Type, and so no more than its least (RFC 2865 §5.6).
	service, err := rfc2865.ServiceType_Lookup(t.packet)
	if framed := err == nil && service == rfc2865.ServiceType_Value_FramedUser; framed || r.Method.MSCHAPv2() {
		errs = append(errs,
			rfc2865.ServiceType_Add(p, rfc2865.ServiceType_Value_FramedUser),
			rfc2865.FramedProtocol_Add(p, rfc2865.FramedProtocol_Value_PPP))
	}
	do(g.Addr.IsValid(), func() error { return rfc2865.FramedIPAddress_Add(p, g.Addr.AsSlice()) })
	do(g.Addr.IsValid() && g.Mask > 0, func() error { return rfc2865.FramedIPNetmask_Add(p, net.IP(net.CIDRMask(g.Mask, 32))) })
	do(g.MTU >= minMTU && g.MTU <= maxMTU, func() error { return rfc2865.FramedMTU_Add(p, rfc2865.FramedMTU(g.MTU)) })
	do(len(g.DNS)+len(g.NBNS) > 0, func() error { return radius.AddNameServers(p, radius.NameServers{DNS: g.DNS, NBNS: g.NBNS}) })
	do(g.SessionTimeout > 0, func() error { return rfc2865.SessionTimeout_Add(p, rfc2865.SessionTimeout(seconds(g.SessionTimeout))) })
	do(g.IdleTimeout > 0, func() error { return rfc2865.IdleTimeout_Add(p, rfc2865.IdleTimeout(seconds(g.IdleTimeout))) })
	do(g.InterimInterval > 0, func() error {
		return rfc2869.AcctInterimInterval_Add(p, rfc2869.AcctInterimInterval(max(seconds(g.InterimInterval), minInterim)))
	})
	errs = append(errs, enforce(p, g, t.client.Node))
	for _, route := range g.Routes {
		do(true, func() error { return addRoute(p, route) })
	}
	do(len(g.Class) > 0, func() error { return rfc2865.Class_Add(p, g.Class) })
	return p, errors.Join(errs...)
}

// enforce adds what a NAS is to hold its client to. What only our nodes understand goes
// to nobody else; login has seen to it that no quarantine is among it then.
func enforce(p *radius.Packet, g *authz.Grant, node bool) error {
	var errs []error
	switch {
	case g.Quarantine != authz.Quarantine{}:
		errs = append(errs, radius.AddQuarantine(p, g.Quarantine.For, g.Quarantine.URL))
	case g.Filter != "":
		errs = append(errs, rfc2865.FilterID_AddString(p, g.Filter))
		if node {
			errs = append(errs, radius.AddFilterRules(p, g.Rules))
		}
	case len(g.Rules) > 0:
		errs = append(errs, fmt.Errorf("add rules of a filter without a name: %w", radius.ErrValue))
	}
	if node {
		errs = append(errs, radius.AddBandwidth(p, g.Bandwidth.Up, g.Bandwidth.Down))
	}
	return errors.Join(errs...)
}

// addRoute adds a Framed-Route in the words of RFC 2865 §5.22: the network, the
// gateway, 0.0.0.0 for the user's own address, and a metric.
func addRoute(p *radius.Packet, route netip.Prefix) error {
	if !route.Addr().Is4() {
		return fmt.Errorf("add route %v: %w", route, radius.ErrValue)
	}
	return rfc2865.FramedRoute_AddString(p, route.Masked().String()+" 0.0.0.0 1")
}

// seconds is a time-out as attributes carry it; it never rounds down to none.
func seconds(d time.Duration) uint32 {
	s := (d + time.Second - 1) / time.Second
	return uint32(min(s, math.MaxUint32))
}

// reject makes an Access-Reject. It says what res says and no more.
func reject(request *radius.Packet, res *authz.Result) *radius.Packet {
	p := radius.NewReply(request, radius.CodeAccessReject)
	// None of these can fail: the texts are cut to what fits.
	if ident, ok := chapIdent(request); ok {
		e := mschap.Error{Code: res.ErrorCode, Retry: res.Retry, Version: mschap.Version, Message: res.Message}
		switch {
		case e.Code == 0:
			e.Code = mschap.ErrorAuthenticationFailed
		case e.Code == mschap.ErrorPasswordExpired && !res.Change:
			e.Version = 0 // V=3 would ask for a new password, which we should refuse
		}
		// With R=1 the next response is to this challenge, and so is a new password's (RFC
		// 2759 §6, §7).
		_, _ = rand.Read(e.Challenge[:])
		_ = radius.AddMSCHAPError(p, ident, cut(e.String(), maxErrorText))
	}
	if eap, ok := request.Lookup(rfc2869.EAPMessage_Type); ok {
		// RFC 2869 §5.13: a server that does not know EAP rejects it; with EAP-Failure in
		// it the NAS can tell its client in the client's own words (RFC 3748 §4.2).
		const failure, header = 4, 4
		if len(eap) >= header {
			p.Add(rfc2869.EAPMessage_Type, radius.Attribute{failure, eap[1], 0, header})
		}
	}
	if res.Message != "" {
		_ = rfc2865.ReplyMessage_AddString(p, cut(res.Message, maxText))
	}
	return p
}

// challenge makes an Access-Challenge: what the user is to be asked for, and the State
// that the answer to it must carry (RFC 2865 §4.4).
func challenge(request *radius.Packet, res *authz.Result) (*radius.Packet, error) {
	p := radius.NewReply(request, radius.CodeAccessChallenge)
	if len(res.State) == 0 { // the answer would be a new login
		return nil, fmt.Errorf("make a challenge without State: %w", radius.ErrValue)
	}
	if err := rfc2865.State_Add(p, res.State); err != nil { // more than one attribute holds
		return nil, fmt.Errorf("make a challenge: %w", err)
	}
	if res.Message != "" {
		_ = rfc2865.ReplyMessage_AddString(p, cut(res.Message, maxText)) // fits
	}
	return p, nil
}

// chapIdent is the identifier of the CHAP packet in the request, if one is there.
func chapIdent(request *radius.Packet) (byte, bool) {
	if _, r, ok := radius.GetMSCHAP2Response(request); ok {
		return r.Ident, true
	}
	_, c, ok := radius.GetMSCHAP2CPW(request)
	return c.Ident, ok
}

// cut shortens s to n octets, and not within a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
