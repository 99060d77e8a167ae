package pptp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2868"
	"layeh.com/radius/rfc2869"

	"postern/internal/mschap"
	"postern/internal/radius"
	"postern/pptp/chap"
	"postern/pptp/ppp"
)

// grant is what an Access-Accept allows a session.
type grant struct {
	user             string // the service's name for the user; as typed if it gives none
	addr             netip.Addr
	dns, nbns        []netip.Addr
	session, idle    time.Duration
	interim          time.Duration
	enforce          enforcement
	up, down         uint64         // bits a second; 0: no limit
	routes           []netip.Prefix // networks behind the client
	turn             uint64         // whose they are when two sessions come with the same
	unrouted         []unrouted     // what else there was
	class            [][]byte
	require          bool
	strengths        ppp.MPPEBits
	sendKey, recvKey [16]byte // MPPE start keys, the node's point of view
}

// verdict is a service's answer as the session needs it.
type verdict struct {
	accept bool
	text   string // MS-CHAP2-Success or MS-CHAP-Error, for the client word for word
	grant  grant
}

// noReason is what a client reads when the service refuses without MS-CHAP-Error,
// which RFC 2548 §2.1.5 leaves to it: authentication failure, no retry.
const noReason = "E=691 R=0 V=3 M=Access denied"

var (
	errNoAddress   = errors.New("the service granted no usable Framed-IP-Address")
	errNoProof     = errors.New("the service accepted without MS-CHAP2-Success")
	errNoKeys      = errors.New("the service accepted without MPPE keys, and encryption is required")
	errUnexpected  = errors.New("the service answered with an unexpected code")
	errServerTypes = errors.New("the service allows none of the node's MPPE strengths")
)

// askService asks a service about a login, in a goroutine that ends with the answer;
// the session goes on answering echoes meanwhile. err says why p could not be made.
func (s *session) askService(now time.Time, p *radius.Packet, err error) {
	s.asking = true
	if err != nil { // an attribute that does not fit: the peer's fault
		s.log.Debug("unusable login", "error", err)
		s.asking = false
		s.chapStep(now, s.chap.Failure(now, noReason))
		return
	}
	ctx, cancel := context.WithDeadline(s.node.ctx, s.loginBy)
	if !s.node.spawn(func() { // counted in Node.spawn, waited for in Node.Wait
		defer cancel()
		reply, err := s.node.exchanger().Exchange(ctx, p)
		a := s.judge(reply, err)
		now := s.shard.enter()
		spare := s.answered(now, &a)
		s.arm()
		s.shard.leave()
		s.lower(spare)
	}) {
		cancel()
	}
}

// accessRequest is a login as RADIUS carries it (RFC 2865, 2548, 2868).
func (s *session) accessRequest(r *chap.Response) (*radius.Packet, error) {
	resp := radius.MSCHAP2Response{Ident: r.Ident, Flags: r.Flags, PeerChallenge: r.PeerChallenge, NTResponse: r.NTResponse}
	return s.request(r.Name, func(p *radius.Packet) error { return radius.AddMSCHAP2Response(p, &r.Challenge, &resp) })
}

// changeRequest is a login with a new password. Name, NAS and Acct-Session-Id are
// those of the login before: by them the service knows that the second factor was
// given in this dialogue.
func (s *session) changeRequest(c *chap.ChangePassword) (*radius.Packet, error) {
	change := radius.MSCHAP2CPW{
		Ident: c.Ident, EncryptedPassword: c.EncryptedPassword, EncryptedHash: c.EncryptedHash,
		PeerChallenge: c.PeerChallenge, NTResponse: c.NTResponse,
	}
	return s.request(c.Name, func(p *radius.Packet) error { return radius.AddMSCHAP2CPW(p, &c.Challenge, &change) })
}

func (s *session) request(name string, proof func(*radius.Packet) error) (*radius.Packet, error) {
	p := &radius.Packet{Code: radius.CodeAccessRequest}
	if err := s.describe(p); err != nil {
		return nil, err
	}
	return p, errors.Join(
		rfc2865.UserName_SetString(p, name),
		proof(p),
		radius.AddRASClient(p, s.clientName, s.clientVersion))
}

// describe adds what every request about this session says.
func (s *session) describe(p *radius.Packet) error {
	peer, local := s.peer.String(), s.local.String()
	return errors.Join(
		rfc2865.NASIdentifier_SetString(p, s.node.name),
		rfc2865.NASIPAddress_Set(p, s.local.AsSlice()),
		rfc2865.NASPort_Set(p, rfc2865.NASPort(s.callID)),
		rfc2865.NASPortType_Set(p, rfc2865.NASPortType_Value_Virtual),
		rfc2865.ServiceType_Set(p, rfc2865.ServiceType_Value_FramedUser),
		rfc2865.FramedProtocol_Set(p, rfc2865.FramedProtocol_Value_PPP),
		rfc2865.CallingStationID_SetString(p, peer),
		rfc2865.CalledStationID_SetString(p, local),
		rfc2868.TunnelType_Set(p, 0, rfc2868.TunnelType_Value_PPTP),
		rfc2868.TunnelMediumType_Set(p, 0, rfc2868.TunnelMediumType_Value_IPv4),
		rfc2868.TunnelClientEndpoint_SetString(p, 0, peer),
		rfc2868.TunnelServerEndpoint_SetString(p, 0, local),
		rfc2866.AcctSessionID_SetString(p, s.id))
}

// answer is a service's, and what came of it.
type answer struct {
	reply *radius.Packet
	err   error // none came
	verdict
	bad  error // it cannot be used
	post *post // of an accepted session
}

// judge reads a service's answer and, if it accepts, takes the networks behind the client
// and has the packet filter hold its session to what it may do. It waits for the kernel:
// no shard is held.
func (s *session) judge(reply *radius.Packet, err error) answer {
	n, a := s.node, answer{reply: reply, err: err}
	if err != nil {
		return a
	}
	if a.verdict, a.bad = readVerdict(reply, n.settings.Load()); a.bad != nil || !a.accept {
		return a
	}
	g := &a.grant
	if a.bad = n.enforceable(&g.enforce); a.bad != nil {
		return a
	}
	if a.post, a.bad = n.fence.reserve(g.addr); a.bad != nil {
		return a
	}
	s.claim(g)
	if a.bad = n.fence.raise(a.post, g.client(g.routes)); a.bad != nil {
		a.post = nil // the networks go with the session
	}
	return a
}

// answered takes the service's answer. What it returns is not needed, and the caller's
// to lower.
func (s *session) answered(now time.Time, a *answer) (spare *post) {
	s.asking = false
	if s.phase != phaseAuth {
		// The client has gone meanwhile. If the service accepted, it holds an address
		// for this session, and a Stop gives it back.
		if a.err == nil && a.reply.Code == radius.CodeAccessAccept {
			s.disclaim(a.grant.routes)
			s.grant, _ = readGrant(a.reply, s.node.settings.Load(), false)
			s.node.fence.release(a.post)
			s.account(now, acctStop)
		}
		return a.post
	}
	logins := s.node.metrics.logins
	v := &a.verdict
	switch {
	case a.err != nil:
		s.log.Warn("no service answered a login", "error", a.err)
		logins.WithLabelValues("unanswered").Inc()
		s.end(now, ServiceUnavailable)
	case a.bad != nil:
		s.log.Error("unusable answer from the service", "error", a.bad)
		logins.WithLabelValues("unusable").Inc()
		if a.reply.Code == radius.CodeAccessAccept {
			s.grant, s.accepted = v.grant, true
		}
		s.end(now, causeOf(a.bad))
	case !v.accept:
		logins.WithLabelValues("refused").Inc()
		s.logRefusal(v.text)
		s.chapStep(now, s.chap.Failure(now, v.text))
	default:
		logins.WithLabelValues("accepted").Inc()
		s.grant, s.accepted, s.post = v.grant, true, a.post
		s.requireMPPE = s.requireMPPE || v.grant.require
		s.inner = v.grant.addr.As4()
		s.enforced(now, &v.grant.enforce)
		s.setLimits(now)
		s.tellUnrouted(v.grant.unrouted...)
		s.chapStep(now, s.chap.Success(now, v.text))
		s.network(now)
	}
	return nil
}

// causeOf is why a session ends that was accepted with what cannot be used.
func causeOf(err error) Cause {
	for _, filter := range []error{errFilterValue, errFilterParts, errNoFilter, errNoPortal, errFilterSet} {
		if errors.Is(err, filter) {
			return FilterFailed
		}
	}
	return ServiceFault
}

// lower takes a place in the packet filter away. It waits for the kernel.
func (s *session) lower(p *post) {
	if err := s.node.fence.lower(p); err != nil {
		s.log.Error("left behind in the packet filter", "address", p.addr, "error", err)
	}
}

// readVerdict reads an answer. With an error and an Access-Accept, the grant holds
// what is needed to tell accounting that nothing came of it.
func readVerdict(p *radius.Packet, set *settings) (verdict, error) {
	switch p.Code {
	case radius.CodeAccessAccept:
	case radius.CodeAccessReject:
		_, text, ok := radius.GetMSCHAPError(p)
		if !ok || text == "" {
			text = noReason
		}
		return verdict{text: text}, nil
	default: // Access-Challenge: MS-CHAPv2 has no place for one (RFC 2759)
		return verdict{}, fmt.Errorf("%w: %v", errUnexpected, p.Code)
	}
	var v verdict
	var err error
	v.accept = true
	v.grant, err = readGrant(p, set, true)
	if err != nil {
		return v, err
	}
	_, text, ok := radius.GetMSCHAP2Success(p)
	if !ok {
		return v, errNoProof
	}
	v.text = text
	return v, nil
}

// readGrant reads an Access-Accept; strict says what is missing for a session.
func readGrant(p *radius.Packet, set *settings, strict bool) (grant, error) {
	g := grant{
		user:    rfc2865.UserName_GetString(p),
		session: time.Duration(rfc2865.SessionTimeout_Get(p)) * time.Second,
		idle:    time.Duration(rfc2865.IdleTimeout_Get(p)) * time.Second,
		interim: time.Duration(rfc2869.AcctInterimInterval_Get(p)) * time.Second,
	}
	g.up, g.down = radius.GetBandwidth(p)
	if g.interim > 0 {
		g.interim = cmp.Or(set.interim, max(g.interim, time.Minute)) // RFC 2869 §5.16
	}
	if class, err := rfc2865.Class_Gets(p); err == nil {
		g.class = class
	}
	ns := radius.GetNameServers(p)
	g.dns, g.nbns = ns.DNS, ns.NBNS
	policy, types := radius.GetMPPEPolicy(p)
	g.require = policy == radius.EncryptionRequired
	g.strengths = mppeBits(types)
	var haveKeys bool
	g.sendKey, g.recvKey, haveKeys = radius.MPPEKeys(p)
	if a, ok := netip.AddrFromSlice(rfc2865.FramedIPAddress_Get(p)); ok {
		g.addr = a.Unmap()
	}
	if !strict {
		return g, nil
	}
	var bad []error
	g.routes, bad = radius.GetRoutes(p, g.addr)
	for _, err := range bad {
		g.unrouted = append(g.unrouted, unrouted{RouteUnreadable, err})
	}
	// 255.255.255.255 and .254 leave the choice to client or node (RFC 2865 §5.8);
	// a node without state has none to make.
	if !g.addr.Is4() || g.addr.IsUnspecified() || g.addr.IsLoopback() || g.addr.IsMulticast() || g.addr.As4()[0] >= 240 || g.addr == set.Inside {
		return g, errNoAddress
	}
	var err error
	if g.enforce, _, err = readEnforcement(p); err != nil {
		return g, err
	}
	require := set.MPPE.Require || g.require
	switch {
	case require && !haveKeys:
		return g, errNoKeys
	case require && g.strengths&set.strengths == 0:
		return g, errServerTypes
	case !haveKeys:
		g.strengths = 0
	}
	return g, nil
}

// mppeBits turns MS-MPPE-Encryption-Types into CCP's bits. Absent, the node's
// configuration alone decides.
func mppeBits(t radius.EncryptionTypes) ppp.MPPEBits {
	var b ppp.MPPEBits
	if t&radius.Encryption128 != 0 {
		b |= ppp.MPPE128
	}
	if t&radius.Encryption56 != 0 {
		b |= ppp.MPPE56
	}
	if t&radius.Encryption40 != 0 {
		b |= ppp.MPPE40
	}
	if b == 0 {
		b = ppp.MPPE128 | ppp.MPPE56 | ppp.MPPE40
	}
	return b
}

// logRefusal logs what the client is told, but for the challenge.
func (s *session) logRefusal(text string) {
	e, err := mschap.ParseError(text)
	if err != nil {
		e = mschap.Error{Message: text}
	}
	s.log.Info("login refused", "user", redact(s.user), "mschap_error", e.Code, "message", e.Message)
}
