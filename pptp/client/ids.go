package client

import "postern/pptp/ppp"

// runningIDs numbers the packets of all protocols in one run, as Windows does, over
// machines that each have a run of their own: an LCP request 1, then IPV6CP's is 5,
// CCP's 6, IPCP's 7. Answers get the number back that the machine knows. The zero
// value begins with 0, as Windows does.
type runningIDs struct {
	next  byte
	asked [3]struct {
		own, wire byte
		used      bool
	}
}

// slot is a protocol's place in asked; -1: it has none.
func slot(p ppp.Proto) int {
	switch p {
	case ppp.ProtoLCP:
		return 0
	case ppp.ProtoCCP:
		return 1
	case ppp.ProtoIPCP:
		return 2
	default:
		return -1
	}
}

// out renumbers a packet that we send.
func (r *runningIDs) out(p ppp.Proto, data []byte) {
	i := slot(p)
	if i < 0 {
		return
	}
	a := &r.asked[i]
	switch ppp.Code(data[0]) {
	case ppp.CodeConfigureRequest, ppp.CodeTerminateRequest:
		if !a.used || a.own != data[1] {
			a.own, a.wire, a.used = data[1], r.take(), true
		}
		data[1] = a.wire
	case ppp.CodeCodeReject, ppp.CodeProtocolReject, ppp.CodeEchoRequest, ppp.CodeDiscardRequest, ppp.CodeIdentification,
		ppp.CodeTimeRemaining, ppp.CodeResetRequest: // no answer is told by its number
		data[1] = r.take()
	default: // an answer has its request's
	}
}

// take is the next number.
func (r *runningIDs) take() byte {
	r.next++
	return r.next - 1
}

// in gives an answer the number that its machine knows, and one to something else a
// number that it does not.
func (r *runningIDs) in(p ppp.Proto, data []byte) {
	i := slot(p)
	if i < 0 || len(data) < 2 {
		return
	}
	a := &r.asked[i]
	switch ppp.Code(data[0]) {
	case ppp.CodeConfigureAck, ppp.CodeConfigureNak, ppp.CodeConfigureReject, ppp.CodeTerminateAck:
		switch {
		case a.used && data[1] == a.wire:
			data[1] = a.own
		case data[1] == a.own:
			data[1]++
		}
	default:
	}
}
