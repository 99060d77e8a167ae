package radiusd

import (
	"context"
	"time"

	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"

	"postern/authz"
	"postern/authz/session"
	"postern/internal/radius"
)

// account has an Accounting-Request stored, and then acknowledges it. A NAS repeats
// what is not acknowledged, so what cannot be stored gets no answer (RFC 2866 §4.1).
func (s *Server) account(ctx context.Context, t *ticket) (*radius.Packet, error) {
	a, ok := accounting(t)
	if !ok {
		return nil, dropRecord
	}
	if err := s.accounter.Account(ctx, a); err != nil {
		if s.unstored.now() {
			s.log.Warn("accounting is not stored, and not acknowledged", "client", t.client.Name, "error", err)
		}
		return nil, dropNotStored
	}
	s.metrics.accounting[a.Status].Inc()
	s.registered(ctx, t, a)
	if s.forward != nil {
		s.forward.Forward(t.client.Name, a, t.packet)
	}
	return radius.NewReply(t.packet, radius.CodeAccountingResponse), nil
}

// accounting maps an Accounting-Request. Tunnel and link records (RFC 2867) and what
// vendors add have no status of ours.
func accounting(t *ticket) (*authz.Accounting, bool) {
	p := t.packet
	a := &authz.Accounting{
		Received: t.taken, NAS: nas(t), SessionID: text(rfc2866.AcctSessionID_GetString(p)), User: text(rfc2865.UserName_GetString(p)),
		Source: source(p), Addr: addr(rfc2865.FramedIPAddress_Get(p)), Decision: decision(p),
		Usage: session.Usage{
			Time:       time.Duration(rfc2866.AcctSessionTime_Get(p)) * time.Second,
			InOctets:   uint64(rfc2869.AcctInputGigawords_Get(p))<<32 | uint64(rfc2866.AcctInputOctets_Get(p)),
			OutOctets:  uint64(rfc2869.AcctOutputGigawords_Get(p))<<32 | uint64(rfc2866.AcctOutputOctets_Get(p)),
			InPackets:  uint64(rfc2866.AcctInputPackets_Get(p)),
			OutPackets: uint64(rfc2866.AcctOutputPackets_Get(p)),
		},
		Delay: time.Duration(rfc2866.AcctDelayTime_Get(p)) * time.Second,
	}
	if !has(p, rfc2869.AcctInputGigawords_Type) && !has(p, rfc2869.AcctOutputGigawords_Type) {
		a.Width = session.Narrow
	}
	if at, err := rfc2869.EventTimestamp_Lookup(p); err == nil {
		a.Event = at
	}
	switch rfc2866.AcctStatusType_Get(p) {
	case rfc2866.AcctStatusType_Value_Start:
		a.Status = authz.AcctStart
	case rfc2866.AcctStatusType_Value_InterimUpdate:
		a.Status = authz.AcctInterim
	case rfc2866.AcctStatusType_Value_Stop:
		a.Status = authz.AcctStop
		a.Cause = session.Cause(rfc2866.AcctTerminateCause_Get(p))
		a.Disconnect = session.Disconnect(radius.GetDisconnectCode(p))
	case rfc2866.AcctStatusType_Value_AccountingOn:
		a.Status = authz.AcctOn
		return a, true
	case rfc2866.AcctStatusType_Value_AccountingOff:
		a.Status = authz.AcctOff
		return a, true
	default:
		return a, false
	}
	return a, a.SessionID != "" // RFC 2866 §5.5
}

func has(p *radius.Packet, typ radius.Type) bool {
	_, ok := p.Lookup(typ)
	return ok
}

// Forwarder is told of each record that was stored, before the NAS is answered, and must
// not keep it waiting. The packet must not be changed, and is the server's afterwards.
type Forwarder interface {
	Forward(client string, a *authz.Accounting, p *radius.Packet)
}

// ForwardTo has f told; to be called before Start.
func (s *Server) ForwardTo(f Forwarder) { s.forward = f }

// maxDecision is longer than any decision ID of ours.
const maxDecision = 64

// decision is the decision ID in Class. A NAS may send Class attributes that others
// gave it, so one counts that looks like an ID.
func decision(p *radius.Packet) string {
	all, err := rfc2865.Class_GetStrings(p)
	if err != nil {
		return ""
	}
	for _, s := range all {
		if s != "" && len(s) <= maxDecision && text(s) == s {
			return s
		}
	}
	return ""
}
