package radius

import (
	"context"
	"net/netip"
)

// Transport is how a packet travels.
//
// Handled in: transportNames, ParseTransport, newService.
type Transport uint8

const (
	TransportUnknown Transport = iota
	InProcess                  // a call within one process: lab, tests
	UDP                        // RFC 2865
	RadSec                     // RFC 6614
)

var transportNames = [...]string{TransportUnknown: "unknown", InProcess: "inproc", UDP: "udp", RadSec: "radsec"}

// ParseTransport reads a transport as configurations spell it.
func ParseTransport(s string) (Transport, bool) {
	for t := InProcess; int(t) < len(transportNames); t++ {
		if transportNames[t] == s {
			return t, true
		}
	}
	return TransportUnknown, false
}

func (t Transport) String() string {
	if int(t) < len(transportNames) {
		return transportNames[t]
	}
	return transportNames[TransportUnknown]
}

// Peer says where a request came from.
type Peer struct {
	Addr      netip.AddrPort // of the client; zero in process
	Transport Transport
	Name      string // RadSec: the certificate's name; in process: the caller's
	Secret    Secret // what the packet is signed with on this transport
}

// Handler answers one encoded request with one encoded reply, or with nil where it
// keeps silent. It is called from many goroutines and keeps nothing of req.
type Handler interface {
	ServeRADIUS(ctx context.Context, req []byte, from Peer) []byte
}

// HandlerFunc is a function as a Handler.
type HandlerFunc func(ctx context.Context, req []byte, from Peer) []byte

func (f HandlerFunc) ServeRADIUS(ctx context.Context, req []byte, from Peer) []byte {
	return f(ctx, req, from)
}
