package radiusd

import (
	"context"

	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"

	"postern/authz"
	"postern/authz/directory"
	"postern/internal/radius"
)

// login has an Access-Request decided, and makes the answer.
func (s *Server) login(ctx context.Context, t *ticket) (*radius.Packet, error) {
	r, how := s.request(t)
	res := s.decider.Decide(ctx, r)
	clear(r.Password)
	if r.Change != nil {
		*r.Change = directory.Change{}
	}
	if res == nil {
		res = &authz.Result{Verdict: authz.Silent, Reason: authz.InternalError}
	}
	if why := s.beyond(t, r, res); why != "" {
		// No Decider of ours does that. Should one, this is the last place to notice.
		s.log.Error("a decision goes beyond what may be answered, and the login is refused", "fault", why, "client", t.client.Name, "proof", how.String(), "decision", res.DecisionID)
		res = &authz.Result{Reason: authz.MethodRefused}
	}
	t.hold = res.Delay
	p, err := s.answerTo(t, r, res)
	switch {
	case err != nil:
		s.log.Error("login decided, but the answer cannot be made", "client", t.client.Name, "verdict", res.Verdict.String(), "decision", res.DecisionID, "error", err)
		s.metrics.login(how, authz.Silent, authz.InternalError)
		return nil, dropUnencodable
	case p == nil:
		s.metrics.login(how, authz.Silent, res.Reason)
		if s.quiet.now() {
			s.log.Warn("logins are left without an answer", "reason", res.Reason.String(), "decision", res.DecisionID)
		}
		return nil, dropUndecided
	}
	s.metrics.login(how, res.Verdict, res.Reason)
	return p, nil
}

// answerTo makes the packet; nil is silence.
func (s *Server) answerTo(t *ticket, r *authz.Request, res *authz.Result) (*radius.Packet, error) {
	switch res.Verdict {
	case authz.Accept:
		return accept(t, r, res)
	case authz.Challenge:
		return challenge(t.packet, res)
	case authz.Silent:
		return nil, nil //nolint:nilnil // see above
	case authz.Reject:
	}
	return reject(t.packet, res), nil
}

// beyond says in what a decision cannot be meant for who asks; "" is in nothing.
func (s *Server) beyond(t *ticket, r *authz.Request, res *authz.Result) string {
	proved := r.Method.MSCHAPv2() || r.Method == authz.MethodPAP && r.AllowPAP
	switch {
	case res.Verdict == authz.Accept && !proved:
		return "permitted without an allowed proof"
	case res.Verdict == authz.Accept && !t.client.Node && res.Grant.Quarantine != authz.Quarantine{}:
		return "quarantine at a NAS that is no node" // to it an Access-Accept as any
	case res.Verdict == authz.Challenge && r.Method != authz.MethodPAP:
		return "Access-Challenge to something else than PAP" // which MS-CHAP could not answer
	}
	return ""
}

// request maps an Access-Request. What it proves itself with and we do not take, the
// Decider sees as MethodUnknown, and refuses with an audit line like any other.
func (s *Server) request(t *ticket) (*authz.Request, proof) {
	p := t.packet
	r := &authz.Request{
		Now: t.taken, NAS: nas(t), User: rfc2865.UserName_GetString(p), Source: source(p),
		SessionID: text(rfc2866.AcctSessionID_GetString(p)), Tunnel: tunnel(p), AllowPAP: t.client.AllowPAP,
		Node: t.client.Node, CodeInPassword: t.client.CodeInPassword, State: stateOf(p),
	}
	name, version := radius.GetRASClient(p)
	r.ClientName, r.ClientVersion = text(name), text(version)
	how := proofOf(p)
	switch how {
	case proofPAP:
		password, err := rfc2865.UserPassword_Lookup(p)
		if err != nil {
			how = proofNone
			break
		}
		r.Method, r.Password = authz.MethodPAP, password
	case proofMSCHAPv2:
		challenge, m, ok := radius.GetMSCHAP2Response(p)
		if !ok {
			how = proofNone
			break
		}
		if s.open(t) {
			how = proofMSCHAPOpen
			break
		}
		r.Method = authz.MethodMSCHAPv2
		r.MSCHAPv2 = authz.MSCHAPv2{Ident: m.Ident, Challenge: challenge, PeerChallenge: m.PeerChallenge, Response: m.NTResponse}
	case proofCPW:
		challenge, c, ok := radius.GetMSCHAP2CPW(p)
		if !ok {
			break // misshapen, or a change of version 1
		}
		if s.open(t) {
			how = proofMSCHAPOpen
			break
		}
		r.Method = authz.MethodMSCHAPv2Change
		r.MSCHAPv2 = authz.MSCHAPv2{Ident: c.Ident, Challenge: challenge, PeerChallenge: c.PeerChallenge, Response: c.NTResponse}
		r.Change = &directory.Change{Encrypted: c.EncryptedPassword, OldHash: c.EncryptedHash}
	case proofNone, proofCHAP, proofMSCHAPv1, proofEAP, proofSeveral, proofMSCHAPOpen:
	}
	return r, how
}

// open says whether others on the way can read a request that holds MS-CHAP, and
// warns once.
func (s *Server) open(t *ticket) bool {
	if t.from.via != radius.UDP || t.from.addr.Addr().IsLoopback() || t.client.AllowMSCHAPOverUDP {
		return false
	}
	t.client.warned.Do(func() {
		s.log.Warn("MS-CHAP over UDP from another host is refused: who reads it on the way recovers the password's hash; use RadSec, or allow it for this client explicitly",
			"client", t.client.Name, "peer", t.from.addr.String())
	})
	return true
}
