package ppp

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

var (
	addrServer = netip.MustParseAddr("10.7.0.1")
	addrClient = netip.MustParseAddr("10.7.0.2")
	addrDNS    = netip.MustParseAddr("10.0.0.53")
	addrWINS   = netip.MustParseAddr("10.0.0.42")
)

func serverIPCP() *IPCP {
	return NewIPCP(IPCPConfig{Local: addrServer, Peer: addrClient, DNS: []netip.Addr{addrDNS}, NBNS: []netip.Addr{addrWINS}})
}

func addrOpt(typ uint8, a string) []byte {
	b := netip.MustParseAddr(a).As4()
	return opt(typ, b[:]...)
}

// Windows 10: all zero and sent before CCP is open. It is kept, answered when the
// session lets IPCP go; what we lack is rejected, the rest Nak'd, the third request taken.
func TestWindows10IPCP(t *testing.T) {
	i := serverIPCP()
	i.Open(at(0))
	expect(t, i.Input(at(1), goldenWith(t, ProtoIPCP, "id 7")))
	s := i.LowerUp(at(300)) // CCP has opened
	expect(t, s, "Configure-Request id 1 <addr 10.7.0.1>",
		"Configure-Reject id 7 <dns2 0.0.0.0> <wins2 0.0.0.0>")
	ackOwn(t, i, at(301), s)
	zero := func(typ uint8) []byte { return addrOpt(typ, "0.0.0.0") }
	expect(t, i.Input(at(302), request(8, zero(3), zero(129), zero(130))),
		"Configure-Nak id 8 <addr 10.7.0.2> <dns1 10.0.0.53> <wins1 10.0.0.42>")
	expect(t, i.Input(at(303), request(10, addrOpt(3, "10.7.0.2"), addrOpt(129, "10.0.0.53"), addrOpt(130, "10.0.0.42"))),
		"Configure-Ack id 10 <addr 10.7.0.2> <dns1 10.0.0.53> <wins1 10.0.0.42>", "(up)")
	if r := i.Results(); r.Local != addrServer || r.Peer != addrClient {
		t.Errorf("%+v", r)
	}
}

// Only the last request is kept, nothing else, and not for ever.
func TestEarlyRequests(t *testing.T) {
	i := serverIPCP()
	i.Open(at(0))
	i.Input(at(1), request(1, addrOpt(3, "1.1.1.1")))
	i.Input(at(1), request(2, addrOpt(3, "0.0.0.0")))
	i.Input(at(1), ctl(CodeTerminateRequest, 3))
	i.Input(at(1), []byte{1, 1, 0})
	i.Input(at(1), request(4, make([]byte, 200)))
	expect(t, i.LowerUp(at(2)), "Configure-Request id 1 <addr 10.7.0.1>", "Configure-Nak id 2 <addr 10.7.0.2>")
	i = serverIPCP()
	i.Open(at(0))
	i.Input(at(1), request(1, addrOpt(3, "1.1.1.1")))
	i.LowerDown(at(2))
	expect(t, i.LowerUp(at(3)), "Configure-Request id 1 <addr 10.7.0.1>")
}

// Kernel pppd with MPPE required answers IPCP with Terminate-Ack until its CCP is
// up: never fatal, and asked again soon.
func TestPppdTerminateAckUntilCCP(t *testing.T) {
	i := serverIPCP()
	s := start(i, at(0))
	now := 0
	for now < 5000 { // its CCP takes five seconds
		q, ok := ownRequest(s)
		if !ok {
			t.Fatalf("at %d: %s", now, reading(s))
		}
		expect(t, i.Input(at(now+1), ctl(CodeTerminateAck, q.id)))
		expectState(t, i, ReqSent)
		d := int(i.Deadline().Sub(at(now)).Milliseconds())
		if now < 2500 && d > 301 {
			t.Errorf("at %d: next request after %d ms", now, d)
		}
		now += d
		s = i.Timeout(at(now))
	}
	ackOwn(t, i, at(now+1), s)
	expect(t, i.Input(at(now+2), request(1, addrOpt(3, "10.7.0.2"))), "Configure-Ack id 1 <addr 10.7.0.2>", "(up)")
}

// And one that says so for ever ends, with a reason, in bounded time.
func TestTerminateAckForever(t *testing.T) {
	i := serverIPCP()
	s := start(i, at(0))
	sent := 0
	for range 200 {
		if q, ok := ownRequest(s); ok {
			sent++
			i.Input(i.Deadline().Add(-1), ctl(CodeTerminateAck, q.id))
		}
		if i.Deadline().IsZero() {
			break
		}
		s = i.Timeout(i.Deadline())
	}
	if i.State() != Stopped || i.Ended() != NoAnswer || sent > maxRequests {
		t.Errorf("%s %s after %d requests", i.State(), i.Ended(), sent)
	}
}

// pppd offers VJ compression; the old addresses option, mobile IP and what nobody
// knows are rejected too.
func TestIPCPRejects(t *testing.T) {
	i := serverIPCP()
	start(i, at(0))
	expect(t, i.Input(at(1), goldenWith(t, ProtoIPCP, "compression")), "Configure-Reject id 1 <compression 0x002d0f01>")
	expect(t, i.Input(at(1), goldenWith(t, ProtoIPCP, "addresses")), "Configure-Reject id 1 <addresses 0x0a00000102030405>")
	expect(t, i.Input(at(1), goldenWith(t, ProtoIPCP, "mobile")), "Configure-Reject id 1 <mobile 0x0a000001> <addr 10.0.0.2>")
	expect(t, i.Input(at(1), request(1, opt(200, 1))), "Configure-Reject id 1 <option 200 0x01>")
}

// Address rules of the server: zero, wrong, missing and malformed are Nak'd with the
// leased one; who insists is sent away after max-failure.
func TestAddressAssignment(t *testing.T) {
	for name, opts := range map[string][][]byte{
		"zero":      {addrOpt(3, "0.0.0.0")},
		"wrong":     {addrOpt(3, "10.7.0.3")},
		"ours":      {addrOpt(3, "10.7.0.1")},
		"broadcast": {addrOpt(3, "255.255.255.255")},
		"missing":   nil,
		"malformed": {opt(3, 10, 0, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			i := serverIPCP()
			start(i, at(0))
			for n := range defaultMaxFailure {
				expect(t, i.Input(at(n), request(uint8(n), opts...)), fmt.Sprintf("Configure-Nak id %d <addr 10.7.0.2>", n))
			}
			s := i.Input(at(9), request(9, opts...))
			expect(t, s, `Terminate-Request id 2 "peer refused address"`, "(refused: peer refused address)")
			steps, _ := runOut(t, i)
			expect(t, steps[len(steps)-1], "(finished: peer refused address)")
		})
	}
}

// A peer that has its Naks and insists on a wrong name server loses the option only.
func TestStubbornDNS(t *testing.T) {
	i := serverIPCP()
	start(i, at(0))
	ask := func(id int) Step {
		return i.Input(at(1), request(uint8(id), addrOpt(3, "10.7.0.2"), addrOpt(129, "8.8.8.8")))
	}
	for n := range defaultMaxFailure {
		expect(t, ask(n), fmt.Sprintf("Configure-Nak id %d <dns1 10.0.0.53>", n))
	}
	expect(t, ask(9), "Configure-Reject id 9 <dns1 8.8.8.8>")
}

// The server's own address is not the peer's to choose, and a peer that rejects the
// option gets a request without it.
func TestServersOwnAddress(t *testing.T) {
	i := serverIPCP()
	start(i, at(0))
	expect(t, i.Input(at(1), ctl(CodeConfigureNak, 1, addrOpt(3, "6.6.6.6"), addrOpt(129, "6.6.6.6"))), "Configure-Request id 2 <addr 10.7.0.1>")
	expect(t, i.Input(at(2), ctl(CodeConfigureReject, 2, addrOpt(3, "10.7.0.1"))), "Configure-Request id 3")
}

// The client asks for an address and name servers and takes what it is given.
func TestClientIPCP(t *testing.T) {
	i := NewIPCP(IPCPConfig{Client: true, WantDNS: true, WantNBNS: true})
	expect(t, start(i, at(0)), "Configure-Request id 1 <addr 0.0.0.0> <dns1 0.0.0.0> <wins1 0.0.0.0> <dns2 0.0.0.0> <wins2 0.0.0.0>")
	s := i.Input(at(1), ctl(CodeConfigureReject, 1, addrOpt(131, "0.0.0.0"), addrOpt(132, "0.0.0.0")))
	expect(t, s, "Configure-Request id 2 <addr 0.0.0.0> <dns1 0.0.0.0> <wins1 0.0.0.0>")
	s = i.Input(at(2), ctl(CodeConfigureNak, 2, addrOpt(3, "10.7.0.2"), addrOpt(129, "10.0.0.53"), addrOpt(130, "10.0.0.42"), addrOpt(132, "9.9.9.9")))
	expect(t, s, "Configure-Request id 3 <addr 10.7.0.2> <dns1 10.0.0.53> <wins1 10.0.0.42>")
	ackOwn(t, i, at(3), s)
	expect(t, i.Input(at(4), request(1, addrOpt(3, "0.0.0.0"))), "Configure-Reject id 1 <addr 0.0.0.0>")
	expect(t, i.Input(at(4), request(1, addrOpt(3, "10.7.0.1"), addrOpt(129, "0.0.0.0"))), "Configure-Reject id 1 <dns1 0.0.0.0>")
	expect(t, i.Input(at(5), request(2, addrOpt(3, "10.7.0.1"))), "Configure-Ack id 2 <addr 10.7.0.1>", "(up)")
	r := i.Results()
	if r.Local != addrClient || r.Peer != addrServer || !slices.Equal(r.DNS, []netip.Addr{addrDNS}) || !slices.Equal(r.NBNS, []netip.Addr{addrWINS}) {
		t.Errorf("%+v", r)
	}
}

// A client without an address has nothing: a server that acknowledges 0.0.0.0 or
// rejects the option is left.
func TestClientWithoutAddress(t *testing.T) {
	i := NewIPCP(IPCPConfig{Client: true})
	if s := ackOwn(t, i, at(1), start(i, at(0))); reasonOf(s, Refused) != AddressRefused {
		t.Errorf("%s", reading(s))
	}
	i = NewIPCP(IPCPConfig{Client: true})
	start(i, at(0))
	if s := i.Input(at(1), ctl(CodeConfigureReject, 1, addrOpt(3, "0.0.0.0"))); reasonOf(s, Refused) != AddressRefused {
		t.Errorf("%s", reading(s))
	}
}

func TestIPCPProtocolRejected(t *testing.T) {
	i := serverIPCP()
	start(i, at(0))
	expect(t, i.Rejected(at(1)), "(finished: peer rejected the protocol)")
}
