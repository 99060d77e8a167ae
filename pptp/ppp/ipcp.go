package ppp

import (
	"net/netip"
	"time"
)

// IPCPConfig is one side's wishes. A server sets Local and Peer; a client sets
// Client and leaves both zero to be told.
type IPCPConfig struct {
	Client bool

	Local netip.Addr // ours; a client may name the one it would like
	Peer  netip.Addr // server: the only address the peer may take

	DNS, NBNS []netip.Addr // server: what we have to give, two of each at most

	WantDNS, WantNBNS bool // client: ask for them

	Timer Timer
}

// IPCPResults is what has been agreed, from Up to Down.
type IPCPResults struct {
	Local, Peer netip.Addr
	DNS, NBNS   []netip.Addr // client: what the server gave
}

// The name server options (RFC 1877), in the order of nameServers' elements.
const (
	ipcpDNS1  = 129
	ipcpNBNS1 = 130
	ipcpDNS2  = 131
	ipcpNBNS2 = 132
)

// IPCP's options (RFC 1332 §3).
const (
	ipcpAddresses   = 1 // withdrawn by RFC 1332 itself: rejected
	ipcpCompression = 2 // Van Jacobson: rejected
	ipcpAddress     = 3
	ipcpMobile      = 4 // RFC 2290: rejected
)

// nameServers holds DNS1, NBNS1, DNS2, NBNS2; the zero address is none.
type nameServers [4][4]byte

// IPCP is the IP Control Protocol's machine, either role.
type IPCP struct {
	fsm
	client, wantDNS, wantNBNS bool
	dropped                   seen

	local, wish [4]byte // ours now, and as configured
	assign      [4]byte // what the peer must take; zero: what it likes (client role)
	peer        [4]byte
	servers     nameServers // server role: to give; client role: given

	early []byte // the peer's request that came before LowerUp
}

// maxEarly bounds that: all our options fit.
const maxEarly = packetHeader + maxAcked

// NewIPCP makes a machine in Initial.
func NewIPCP(cfg IPCPConfig) *IPCP {
	i := &IPCP{
		fsm:    newFSM(ProtoIPCP, cfg.Timer.withDefaults(defaultFirst)),
		client: cfg.Client, wantDNS: cfg.WantDNS, wantNBNS: cfg.WantNBNS,
		wish: ip4(cfg.Local), assign: ip4(cfg.Peer),
	}
	if !cfg.Client {
		for n := range 2 {
			if n < len(cfg.DNS) {
				i.servers[2*n] = ip4(cfg.DNS[n])
			}
			if n < len(cfg.NBNS) {
				i.servers[2*n+1] = ip4(cfg.NBNS[n])
			}
		}
	}
	return i
}

// Open says IP may be negotiated.
func (i *IPCP) Open(now time.Time) (s Step) { i.open(now, i, &s); return s }

// LowerUp says the network phase has begun; where encryption is required the
// session calls it when CCP has opened. A request of the peer's that came sooner is
// answered now.
func (i *IPCP) LowerUp(now time.Time) (s Step) {
	i.lowerUp(now, i, &s)
	if b := i.early; b != nil {
		i.early = nil
		i.input(now, i, b, &s)
	}
	return s
}

// LowerDown says it has ended.
func (i *IPCP) LowerDown(now time.Time) (s Step) {
	i.early = nil
	i.lowerDown(now, i, &s)
	return s
}

// Close ends IP; the peer is told reason.
func (i *IPCP) Close(now time.Time, reason string) (s Step) {
	i.close(now, i, ClosedByUs, reason, &s)
	return s
}

// Input takes an IPCP packet from its code on.
//
// Windows sends its request before CCP is open and repeats it seconds later. In
// Starting the last request is kept, so that the session need not wait for that.
func (i *IPCP) Input(now time.Time, data []byte) (s Step) {
	if i.state == Starting && len(data) <= maxEarly {
		p, err := parsePacket(data)
		if err == nil && p.code == CodeConfigureRequest {
			if err = checkOptions(p.data); err == nil {
				i.early = append(i.early[:0], data...)
			}
		}
		s.Err = err
		return s
	}
	i.input(now, i, data, &s)
	return s
}

// Timeout does what is due at now.
func (i *IPCP) Timeout(now time.Time) (s Step) { i.timeout(now, i, &s); return s }

// Deadline is when Timeout wants to be called; zero means never.
func (i *IPCP) Deadline() time.Time { return i.deadline }

// Rejected says that the peer has answered IPCP with an LCP Protocol-Reject.
func (i *IPCP) Rejected(now time.Time) (s Step) { i.rejected(now, i, &s); return s }

// Results is what has been agreed.
func (i *IPCP) Results() IPCPResults {
	r := IPCPResults{Local: address(i.local), Peer: address(i.peer)}
	if i.client {
		for n := range 2 {
			r.DNS = appendAddress(r.DNS, i.servers[2*n])
			r.NBNS = appendAddress(r.NBNS, i.servers[2*n+1])
		}
	}
	return r
}

// agreed: a server that acknowledges 0.0.0.0 has given its client nothing.
func (i *IPCP) agreed() Reason {
	if i.client && i.local == [4]byte{} {
		return AddressRefused
	}
	return ReasonUnknown
}

func (i *IPCP) code(time.Time, packet, *Step) bool { return false }
func (i *IPCP) codeRejected(Code)                  {}
func (i *IPCP) must() bool                         { return true }
func (i *IPCP) opened(time.Time)                   {}
func (i *IPCP) closed()                            {}
func (i *IPCP) stuck() Reason                      { return NotConverging }

// ip4 is an address as an option carries it; what is not IPv4 is zero.
func ip4(a netip.Addr) [4]byte {
	if a = a.Unmap(); a.Is4() {
		return a.As4()
	}
	return [4]byte{}
}

// address is the inverse; zero is invalid.
func address(b [4]byte) netip.Addr {
	if b == [4]byte{} {
		return netip.Addr{}
	}
	return netip.AddrFrom4(b)
}

func appendAddress(list []netip.Addr, b [4]byte) []netip.Addr {
	if a := address(b); a.IsValid() {
		return append(list, a)
	}
	return list
}
