package pptp

import (
	"errors"
	"time"

	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"

	"postern/internal/radius"
)

// Acct-Status-Type (RFC 2866 §5.1).
const (
	acctStart   = rfc2866.AcctStatusType_Value_Start
	acctStop    = rfc2866.AcctStatusType_Value_Stop
	acctInterim = rfc2866.AcctStatusType_Value_InterimUpdate
	acctOn      = rfc2866.AcctStatusType_Value_AccountingOn
	acctOff     = rfc2866.AcctStatusType_Value_AccountingOff
)

// account hands a record of the session to the spool, which keeps it until a service
// has answered. Counters are read now, so a Stop is right whatever was sent before.
func (s *session) account(now time.Time, status rfc2866.AcctStatusType) {
	s.accountAnd(now, status, nil)
}

// accountAnd is account, and calls answered, without the session's lock, when a service has.
func (s *session) accountAnd(now time.Time, status rfc2866.AcctStatusType, answered func()) {
	p, err := s.accountingRequest(now, status)
	if err != nil {
		s.log.Error("accounting record lost", "status", status.String(), "error", err)
		return
	}
	s.stopped = status == acctStop
	s.node.spool.AddAnd(s.id, status, p, now, answered)
}

func (s *session) accountingRequest(now time.Time, status rfc2866.AcctStatusType) (*radius.Packet, error) {
	p := &radius.Packet{Code: radius.CodeAccountingRequest}
	user := s.grant.user
	if user == "" {
		user = s.user
	}
	err := errors.Join(
		rfc2866.AcctStatusType_Set(p, status),
		rfc2865.UserName_SetString(p, user),
		rfc2866.AcctAuthentic_Set(p, rfc2866.AcctAuthentic_Value_RADIUS),
		rfc2869.EventTimestamp_Set(p, now),
		s.describe(p))
	if s.grant.addr.Is4() {
		err = errors.Join(err, rfc2865.FramedIPAddress_Set(p, s.grant.addr.AsSlice()))
	}
	if name := s.grant.enforce.name(); name != "" && s.post != nil {
		err = errors.Join(err, rfc2865.FilterID_SetString(p, name))
	}
	for _, c := range s.grant.class {
		err = errors.Join(err, rfc2865.Class_Add(p, c))
	}
	if status == acctStart {
		return p, err
	}
	var up time.Duration
	if !s.upAt.IsZero() {
		up = now.Sub(s.upAt)
	}
	in, out := s.in, s.sent()
	err = errors.Join(err,
		rfc2866.AcctSessionTime_Set(p, rfc2866.AcctSessionTime(up/time.Second)),
		rfc2866.AcctInputOctets_Set(p, rfc2866.AcctInputOctets(uint32(in.octets))),
		rfc2866.AcctOutputOctets_Set(p, rfc2866.AcctOutputOctets(uint32(out.octets))),
		rfc2869.AcctInputGigawords_Set(p, rfc2869.AcctInputGigawords(in.octets>>32)),
		rfc2869.AcctOutputGigawords_Set(p, rfc2869.AcctOutputGigawords(out.octets>>32)),
		rfc2866.AcctInputPackets_Set(p, rfc2866.AcctInputPackets(uint32(in.packets))),
		rfc2866.AcctOutputPackets_Set(p, rfc2866.AcctOutputPackets(uint32(out.packets))))
	if status == acctStop {
		err = errors.Join(err, rfc2866.AcctTerminateCause_Set(p, s.cause.info().terminate), radius.AddDisconnectCode(p, s.cause.info().ppp))
	}
	return p, err
}

// nodeRecord is Accounting-On or -Off: every session of this node before is over.
func (n *Node) nodeRecord(now time.Time, status rfc2866.AcctStatusType) (*radius.Packet, error) {
	p := &radius.Packet{Code: radius.CodeAccountingRequest}
	return p, errors.Join(
		rfc2866.AcctStatusType_Set(p, status),
		rfc2865.NASIdentifier_SetString(p, n.name),
		rfc2866.AcctSessionID_SetString(p, n.boot),
		rfc2869.EventTimestamp_Set(p, now))
}
