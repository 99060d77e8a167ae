package pptp

// Drop says why a packet was thrown away. Each has a counter; a peer's nonsense is
// never more than that.
//
// Handled in: dropNames; the metric's label.
type Drop uint8

const (
	DropUnknown       Drop = iota
	DropMalformed          // GRE: no enhanced GRE packet
	DropUnknownCall        // GRE: no session has this call ID
	DropWrongNode          // GRE: nobody calls from this address here, so the call is another node's
	DropWrongPeer          // GRE: not the address the call was made from
	DropDuplicate          // GRE: sequence number seen before, or too old
	DropStrayAck           // GRE: acknowledges what was never sent
	DropBadFrame           // PPP: no protocol, or a machine refused the packet
	DropWrongPhase         // PPP: data before the network phase, or a protocol before its time
	DropProtocol           // PPP: a protocol we do not speak
	DropCiphertext         // MPPE: encrypted before CCP has agreed, or after it went down
	DropUndecryptable      // MPPE: replayed, too old, or not sealed with our key
	DropCleartext          // MPPE: unencrypted data where encryption is demanded
	DropBadIP              // IP: no whole IPv4 packet
	DropSpoofed            // IP: the source is neither the leased address nor of a network behind the client
	DropLimitIn            // IP: from the client, more than its bandwidth
	DropLimitOut           // TUN: to the client, more than its bandwidth
	DropNoSession          // TUN: no session has this destination
	DropTooBig             // TUN: larger than the client takes, answered by ICMP
	DropSend               // GRE: the socket would not take it
	DropTunWrite           // TUN: the device would not take it
	numDrops
)

var dropNames = [numDrops]string{
	DropUnknown: "unknown", DropMalformed: "malformed GRE", DropUnknownCall: "unknown call", DropWrongNode: "wrong node",
	DropWrongPeer: "wrong peer", DropDuplicate: "duplicate", DropStrayAck: "stray acknowledgement",
	DropBadFrame: "bad frame", DropWrongPhase: "wrong phase", DropProtocol: "unknown protocol",
	DropCiphertext: "unexpected ciphertext", DropUndecryptable: "undecryptable",
	DropCleartext: "cleartext", DropBadIP: "bad IP", DropSpoofed: "spoofed source",
	DropLimitIn: "bandwidth limit in", DropLimitOut: "bandwidth limit out",
	DropNoSession: "no session", DropTooBig: "too big", DropSend: "send failed", DropTunWrite: "tun write failed",
}

// String returns the metric's label.
func (d Drop) String() string {
	if d < numDrops {
		return dropNames[d]
	}
	return dropNames[DropUnknown]
}
