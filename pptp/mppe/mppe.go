// Package mppe encrypts PPP packets as Microsoft Point-To-Point Encryption
// does: RFC 3078 §3 (the packet), §7 (keys and their change), §8 (loss), and
// the session keys of RFC 3079 §3. A Sealer is one direction of a link, an
// Opener the other; both start from a key of mschap.StartKeys.
//
//	 0                   1                   2
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-
//	|A|B|C|D|   Coherency Count     |  RC4(protocol, data) …
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-
//
// A: FLUSHED, the tables were initialised for this packet. B and C mean
// nothing in MPPE, are sent as zero and not looked at. D: encrypted.
//
// Left out: MPPC compression (RFC 2118), the PPP header 0x00FD in front, which
// is the caller's, and the choice of what to encrypt: RFC 3078 §3 encrypts
// protocols 0x0021 to 0x00FA and nothing else.
//
// MPPE has no integrity check. All an Opener can tell of a forged packet is
// that it opens to no PPP protocol with a fitting packet, so nothing it remembers
// changes until one does.
package mppe

import "errors"

// HeaderLen is what Seal adds in front of a frame.
const HeaderLen = 2

// Fixed by RFC 3078 §3 and §7.2.
const (
	flagFlushed   = 0x80 // A
	flagEncrypted = 0x10 // D
	countSpace    = 4096
	countMask     = countSpace - 1
	flagPacket    = 0xff // stateful: the low octet of a count at which the key changes
)

// Strength is the length of the session key. The zero value is none, and
// neither a Sealer nor an Opener can be made with it.
//
// Handled in: String, keyLen and reduce.
type Strength uint8

const (
	Unknown Strength = iota
	Bits40
	Bits56
	Bits128
)

func (s Strength) String() string {
	switch s {
	case Bits40:
		return "40-bit"
	case Bits56:
		return "56-bit"
	case Bits128:
		return "128-bit"
	case Unknown:
	}
	return "unknown"
}

// Params are what CCP has agreed for one direction.
type Params struct {
	Strength  Strength
	Stateless bool // the H bit: the key changes for every packet
}

// What Open refuses a packet with. After none of them has anything changed:
// the next good packet opens.
var (
	ErrShort        = errors.New("mppe: shorter than any encrypted IP packet")
	ErrNotEncrypted = errors.New("mppe: bit D is clear")
	ErrNotFlushed   = errors.New("mppe: bit A is clear in stateless mode") // RFC 3078 §3: MUST be set
	ErrReplay       = errors.New("mppe: this packet was opened before")
	ErrTooOld       = errors.New("mppe: late, and its key is gone")
	ErrGap          = errors.New("mppe: neither late nor as far ahead as packets get lost")
	ErrNonsense     = errors.New("mppe: opens to no IP packet")

	// ErrNeedReset: stateful mode has lost a packet; nothing opens until the
	// peer has been sent a CCP Reset-Request and answers with FLUSHED. It is
	// returned for every packet until then; pacing the requests is up to CCP.
	ErrNeedReset = errors.New("mppe: out of step, a CCP Reset-Request is due")
)
