package pptp

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/rfc3162"

	"postern/internal/radius"
)

// Dynamic ends and changes running sessions for services (RFC 5176).
func (n *Node) Dynamic() *radius.Dynamic { return n.dynamic }

// order is what a request wants done, and with which session.
type order struct {
	session string // Acct-Session-Id
	nas     netip.Addr
	is      []func(*session) bool // what else it says of the session: all must hold
	changes []change
	text    string // for the user
}

// maxText is how much of a Reply-Message fits into any peer's link.
const maxText = 253

// change changes a running session. A limit counts from now on, not from the
// session's beginning: who asks need not know our clock.
type change func(s *session, now time.Time)

// carryOut does what a believed request asks for. A request is done as a whole or not
// at all (RFC 5176 §2.2).
func (n *Node) carryOut(_ context.Context, p *radius.Packet) error {
	o, err := readOrder(p, n.name)
	if err != nil {
		return err
	}
	s := n.calls.named(o.session)
	if s == nil {
		return radius.CauseSessionNotFound
	}
	now := s.shard.enter()
	defer s.shard.leave()
	switch {
	case o.nas.IsValid() && o.nas != s.local:
		return radius.CauseNASMismatch
	case s.phase == phaseGone || slices.ContainsFunc(o.is, func(holds func(*session) bool) bool { return !holds(s) }):
		return radius.CauseSessionNotFound
	}
	if p.Code == radius.CodeDisconnectRequest {
		if s.phase != phaseClosing { // else it is being done
			s.text = o.text
			s.end(now, AdminReset)
		}
		return nil
	}
	switch {
	case !s.accepted || s.phase == phaseClosing:
		return radius.CauseSessionNotFound
	case len(o.changes) == 0:
		return radius.CauseMissingAttribute
	}
	for _, do := range o.changes {
		do(s, now)
	}
	s.arm()
	return nil
}

// readOrder reads a request to the node of that name. All attributes are mandatory
// (RFC 5176 §3): one that we would pass over might be the very thing that was meant.
func readOrder(p *radius.Packet, name string) (*order, error) {
	o := new(order)
	for _, a := range p.Attributes {
		v := a.Attribute
		var err error
		switch a.Type {
		case rfc2869.MessageAuthenticator_Type, rfc2869.EventTimestamp_Type, rfc2865.ProxyState_Type: // radius.Dynamic's

		case rfc2865.NASIdentifier_Type:
			if string(v) != name {
				return nil, radius.CauseNASMismatch
			}
		case rfc2865.NASIPAddress_Type:
			o.nas, err = address(v)
		case rfc3162.NASIPv6Address_Type: // PPTP has none (RFC 2637)
			return nil, radius.CauseNASMismatch

		case rfc2866.AcctSessionID_Type:
			if o.session != "" {
				return nil, radius.CauseSelectionNotSupported
			}
			o.session = string(v)
		case rfc2865.UserName_Type:
			o.is = append(o.is, func(s *session) bool { return s.called(string(v)) })
		case rfc2865.NASPort_Type:
			var port uint32
			port, err = number(v)
			o.is = append(o.is, func(s *session) bool { return port == uint32(s.callID) })
		case rfc2865.FramedIPAddress_Type:
			var inner netip.Addr
			inner, err = address(v)
			o.is = append(o.is, func(s *session) bool { return inner == s.grant.addr })
		case rfc2865.CallingStationID_Type:
			o.is = append(o.is, func(s *session) bool { return string(v) == s.peer.String() })
		case rfc2865.CalledStationID_Type:
			o.is = append(o.is, func(s *session) bool { return string(v) == s.local.String() })

		case rfc2865.ReplyMessage_Type:
			o.text += string(v)
		case rfc2865.ServiceType_Type: // "Authorize Only" for one (RFC 5176 §3.2)
			return nil, radius.CauseUnsupportedService
		default:
			if p.Code == radius.CodeDisconnectRequest {
				err = disconnectAttribute(o, a.Type, v)
			} else {
				err = changeAttribute(o, a.Type, v)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	if o.session == "" {
		return nil, radius.CauseMissingAttribute
	}
	if len(o.text) > maxText || !printable(o.text) {
		o.text = ""
	}
	return o, nil
}

// disconnectAttribute reads what only a Disconnect-Request may carry (RFC 5176 §3.6).
func disconnectAttribute(o *order, t radius.Type, v []byte) error {
	switch t {
	case rfc2865.Class_Type: // note 4: here it identifies
		o.is = append(o.is, func(s *session) bool {
			return slices.ContainsFunc(s.grant.class, func(c []byte) bool { return bytes.Equal(c, v) })
		})
		return nil
	case rfc2866.AcctTerminateCause_Type:
		why, err := number(v)
		if err == nil && rfc2866.AcctTerminateCause(why) != AdminReset.info().terminate {
			err = radius.CauseInvalidValue
		}
		return err
	default:
		return radius.CauseUnsupportedAttribute
	}
}

// changeAttribute reads what a CoA-Request may change: a case for each attribute that
// we carry out.
func changeAttribute(o *order, t radius.Type, v []byte) error {
	switch t {
	case rfc2865.SessionTimeout_Type:
		limit, err := seconds(v)
		o.changes = append(o.changes, func(s *session, now time.Time) {
			if s.grant.session = limit; s.started {
				s.endAt = now.Add(limit)
			}
		})
		return err
	case rfc2865.IdleTimeout_Type:
		limit, err := seconds(v)
		o.changes = append(o.changes, func(s *session, _ time.Time) {
			if s.grant.idle = limit; s.started {
				s.idleAt = time.Unix(s.lastActive.Load(), 0).Add(limit)
			}
		})
		return err
	default:
		return radius.CauseUnsupportedAttribute
	}
}

// called tells whether name is the session's user: as the service calls him, or as
// was typed. Until a service has accepted him there is nothing to compare.
func (s *session) called(name string) bool {
	return !s.accepted || strings.EqualFold(name, s.grant.user) || strings.EqualFold(name, s.user)
}

func address(v []byte) (netip.Addr, error) {
	a, ok := netip.AddrFromSlice(v)
	if !ok || !a.Is4() {
		return netip.Addr{}, radius.CauseInvalidValue
	}
	return a, nil
}

func number(v []byte) (uint32, error) {
	if len(v) != 4 {
		return 0, radius.CauseInvalidValue
	}
	return binary.BigEndian.Uint32(v), nil
}

// seconds reads a limit. Zero is none of them: a limit is moved, not taken away.
func seconds(v []byte) (time.Duration, error) {
	n, err := number(v)
	if err == nil && n == 0 {
		err = radius.CauseInvalidValue
	}
	return time.Duration(n) * time.Second, err
}

// printable tells whether a user may be shown text.
func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}
