// Package ppp negotiates a PPP link as PPTP carries it: the option negotiation
// automaton (RFC 1661 §4), LCP (RFC 1661 §5-6, RFC 1570 §2.1-2.2), CCP with the
// MPPE option (RFC 1962, RFC 3078 §2) and IPCP (RFC 1332, RFC 1877).
//
//	GRE payload:  [FF 03] protocol(1 or 2)  payload
//	control:      code(1) identifier(1) length(2) data
//	option:       type(1) length(1) value
//
// There is no byte stuffing, no flag and no FCS: PPTP hands over whole frames
// (RFC 2637 §4.1), so of RFC 1662 only the address and control octets are left.
//
// The machines hold no clock, socket or goroutine. Packets, the time and the
// state of the layer below go in; a Step comes out. A machine is not safe for
// concurrent use: it belongs to the session that made it.
//
// Left out on purpose: authentication itself (its own package), multilink,
// callback, link quality, Van Jacobson compression, MPPC and every compressor
// but MPPE. IPV6CP has no machine; the session answers it with LCP.ProtocolReject.
//
// A peer that never converges costs bounded work: every input yields at most a
// few packets, and rounds, refusals, repetitions and re-openings are counted
// (see automaton.go). Each of these ends the machine with a Reason.
package ppp
