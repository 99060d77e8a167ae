package pptp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
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
	"postern/pptp/filter"
)

// Dynamic ends and changes running sessions for services (RFC 5176).
func (n *Node) Dynamic() *radius.Dynamic { return n.dynamic }

// order is what a request wants done, and with which session.
type order struct {
	session string // Acct-Session-Id
	nas     netip.Addr
	is      []func(*session) bool // what else it says of the session: all must hold
	changes []change
	enforce *enforcement // nil: the filter stays
	limited bool         // one of changes sets up and down
	up      uint64       // bits a second
	down    uint64
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
	if p.Code == radius.CodeDisconnectRequest {
		return s.disconnect(o)
	}
	return s.change(o)
}

// meant tells whether the session is the one that a request speaks of. shard.mu is held.
func (s *session) meant(o *order) error {
	switch {
	case o.nas.IsValid() && o.nas != s.local:
		return radius.CauseNASMismatch
	case s.phase == phaseGone || slices.ContainsFunc(o.is, func(holds func(*session) bool) bool { return !holds(s) }):
		return radius.CauseSessionNotFound
	}
	return nil
}

// disconnect does what a Disconnect-Request asks for.
func (s *session) disconnect(o *order) error {
	now := s.shard.enter()
	defer s.shard.leave()
	if err := s.meant(o); err != nil {
		return err
	}
	if s.phase != phaseClosing { // else it is being done
		s.text = o.text
		s.end(now, AdminReset)
	}
	return nil
}

// change does what a CoA-Request asks for: first what can fail, in the packet filter
// and without the shard, for it waits for the kernel; then the rest. A session that
// ends meanwhile takes its place in the filter with it, whatever it was changed to.
func (s *session) change(o *order) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	s.shard.enter()
	err := s.changeable(o)
	post, e := s.post, o.enforce
	var c filter.Client
	if err == nil && e != nil {
		g := s.grant
		g.enforce = *e
		c, err = g.client(s.node.routed.held(g.routes, s)), s.node.enforceable(e)
	}
	s.shard.leave()
	if err != nil {
		return s.refusal(err)
	}
	if e != nil {
		err = s.node.fence.change(post, c)
	}
	now := s.shard.enter()
	defer s.shard.leave()
	if err := s.changeable(o); err != nil { // it ended meanwhile, its place with it
		return err
	}
	if err != nil {
		return s.refusal(err)
	}
	if e != nil {
		s.log.Info("filter changed", "user", redact(s.user), "was", s.grant.enforce.name(), "filter", e.name(), "rules", len(e.rules))
		s.enforced(now, e)
	}
	for _, do := range o.changes {
		do(s, now)
	}
	s.arm()
	return nil
}

// changeable is meant for a CoA-Request: a session that nobody was let in on yet, or
// that is ending, has nothing to change. shard.mu is held.
func (s *session) changeable(o *order) error {
	switch err := s.meant(o); {
	case err != nil:
		return err
	case !s.accepted || s.phase == phaseClosing:
		return radius.CauseSessionNotFound
	case len(o.changes) == 0 && o.enforce == nil:
		return radius.CauseMissingAttribute
	}
	return nil
}

// refusal is the Error-Cause of a change that was not made. What a service may be told
// no more of is logged here.
func (s *session) refusal(err error) error {
	cause := filterCause(err)
	if cause == radius.CauseUnknown {
		return err // it is one
	}
	s.log.Error("filter not changed", "error", err, "error_cause", cause.String())
	return cause
}

// filterCause is the Error-Cause for a filter that is not in force.
func filterCause(err error) radius.ErrorCause {
	switch {
	case errors.Is(err, errFilterParts):
		return radius.CauseMissingAttribute
	case errors.Is(err, errFilterValue), errors.Is(err, filter.ErrUnknownFilter):
		return radius.CauseInvalidValue
	case errors.Is(err, errNoFilter):
		return radius.CauseUnsupportedAttribute
	case errors.Is(err, errNoPortal):
		return radius.CauseProhibited
	case errors.Is(err, errFilterSet):
		return radius.CauseResourcesUnavailable
	}
	return radius.CauseUnknown
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
	if err := o.readFilter(p); err != nil {
		return nil, err
	}
	if len(o.text) > maxText || !printable(o.text) {
		o.text = ""
	}
	return o, nil
}

// readFilter reads what several attributes say together.
func (o *order) readFilter(p *radius.Packet) error {
	if p.Code == radius.CodeDisconnectRequest {
		return nil
	}
	e, given, err := readEnforcement(p)
	switch {
	case err != nil:
		return filterCause(err)
	case given:
		o.enforce = &e
	}
	return nil
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
	case rfc2865.FilterID_Type, typeFilterRule: // readFilter's
		return nil
	case rfc2865.VendorSpecific_Type:
		return changeVendor(o, v)
	default:
		return radius.CauseUnsupportedAttribute
	}
}

// changeVendor reads a Vendor-Specific attribute. The two bandwidths go together: of
// which there is one, the other has no limit any more.
func changeVendor(o *order, v []byte) error {
	vendor, all, err := vendorAttributes(v)
	if err != nil {
		return err
	}
	for _, a := range all {
		switch (vendorAttribute{vendor, a.typ}) {
		case quarantineTimeout, quarantineURL: // readFilter's
		case bandwidthUp, bandwidthDown:
			limit, err := number(a.value)
			if err != nil {
				return err
			}
			if !o.limited {
				o.limited = true
				o.changes = append(o.changes, func(s *session, now time.Time) {
					s.grant.up, s.grant.down = o.up, o.down
					s.setLimits(now)
				})
			}
			if a.typ == bandwidthUp.typ {
				o.up = uint64(limit)
			} else {
				o.down = uint64(limit)
			}
		default:
			return radius.CauseUnsupportedAttribute
		}
	}
	return nil
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
