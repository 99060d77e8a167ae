package client

import (
	"testing"

	"postern/pptp/ppp"
)

// The numbers of a Windows 10 log: LCP 0 and 1, Identifications 2 to 4, IPV6CP 5, CCP
// 6, IPCP 7, CCP again 8.
func TestRunningIDs(t *testing.T) {
	var r runningIDs
	for i, c := range []struct {
		proto ppp.Proto
		code  ppp.Code
		own   byte // the machine's; 0: of no machine
		want  byte
	}{
		{ppp.ProtoLCP, ppp.CodeConfigureRequest, 1, 0},
		{ppp.ProtoLCP, ppp.CodeConfigureRequest, 1, 0}, // repeated
		{ppp.ProtoLCP, ppp.CodeConfigureAck, 77, 77},
		{ppp.ProtoLCP, ppp.CodeConfigureRequest, 2, 1},
		{ppp.ProtoLCP, ppp.CodeIdentification, 3, 2},
		{ppp.ProtoLCP, ppp.CodeIdentification, 4, 3},
		{ppp.ProtoLCP, ppp.CodeIdentification, 5, 4},
		{ppp.ProtoIPV6CP, ppp.CodeConfigureRequest, 0, 5},
		{ppp.ProtoCCP, ppp.CodeConfigureRequest, 1, 6},
		{ppp.ProtoIPCP, ppp.CodeConfigureRequest, 1, 7},
		{ppp.ProtoCCP, ppp.CodeConfigureRequest, 2, 8},
		{ppp.ProtoIPCP, ppp.CodeConfigureRequest, 1, 7},
		{ppp.ProtoCHAP, 2, 200, 200}, // not of this run
		{ppp.ProtoLCP, ppp.CodeTerminateRequest, 9, 9},
	} {
		data := []byte{byte(c.code), c.own, 0, 4}
		if c.own == 0 {
			data[1] = r.take()
		} else {
			r.out(c.proto, data)
		}
		if data[1] != c.want {
			t.Errorf("packet %d: number %d, want %d", i, data[1], c.want)
		}
	}
	for _, c := range []struct {
		proto      ppp.Proto
		code       ppp.Code
		wire, want byte
	}{
		{ppp.ProtoCCP, ppp.CodeConfigureAck, 8, 2},
		{ppp.ProtoCCP, ppp.CodeConfigureNak, 6, 6}, // of the request before
		{ppp.ProtoIPCP, ppp.CodeConfigureReject, 7, 1},
		{ppp.ProtoIPCP, ppp.CodeConfigureReject, 1, 2}, // the machine's own number, which never was on the wire
		{ppp.ProtoLCP, ppp.CodeTerminateAck, 9, 9},
		{ppp.ProtoLCP, ppp.CodeConfigureRequest, 9, 9}, // the server's own
		{ppp.ProtoCHAP, 1, 9, 9},
	} {
		data := []byte{byte(c.code), c.wire, 0, 4}
		r.in(c.proto, data)
		if data[1] != c.want {
			t.Errorf("%s %s %d: %d, want %d", c.proto, c.code, c.wire, data[1], c.want)
		}
	}
	r.in(ppp.ProtoLCP, []byte{2}) // too short for a number
}
