package ppp

import (
	"encoding/binary"
	"strings"
)

// MPPEBits is the value of CCP's MPPE option (RFC 3078 §2.1): what the sender of a
// Configure-Request can decrypt. Zero is no encryption.
type MPPEBits uint32

const (
	MPPEStateless MPPEBits = 0x01000000 // H
	MPPE56        MPPEBits = 0x00000080 // M
	MPPE128       MPPEBits = 0x00000040 // S
	MPPE40        MPPEBits = 0x00000020 // L
	MPPEObsolete  MPPEBits = 0x00000010 // D
	MPPECompress  MPPEBits = 0x00000001 // C: MPPC (RFC 2118), which we do not do

	mppeStrengths = MPPE128 | MPPE56 | MPPE40
)

// Strongest is the strongest single strength among the bits (RFC 3078 §2.2's
// order), or zero.
func (b MPPEBits) Strongest() MPPEBits {
	for _, s := range [...]MPPEBits{MPPE128, MPPE56, MPPE40} {
		if b&s != 0 {
			return s
		}
	}
	return 0
}

// Stateless reports the H bit.
func (b MPPEBits) Stateless() bool { return b&MPPEStateless != 0 }

// String writes the bits as pppd's log does: "+H -M +S -L -D -C".
func (b MPPEBits) String() string {
	var out strings.Builder
	for i, x := range [...]struct {
		bit  MPPEBits
		name byte
	}{
		{MPPEStateless, 'H'}, {MPPE56, 'M'}, {MPPE128, 'S'}, {MPPE40, 'L'}, {MPPEObsolete, 'D'}, {MPPECompress, 'C'},
	} {
		if i > 0 {
			out.WriteByte(' ')
		}
		sign := byte('-')
		if b&x.bit != 0 {
			sign = '+'
		}
		out.WriteByte(sign)
		out.WriteByte(x.name)
	}
	return out.String()
}

// parseMPPE reads the option's value.
func parseMPPE(v []byte) (MPPEBits, bool) {
	if len(v) != 4 {
		return 0, false
	}
	return MPPEBits(binary.BigEndian.Uint32(v)), true
}

// Append writes the option's value.
func (b MPPEBits) Append(dst []byte) []byte { return binary.BigEndian.AppendUint32(dst, uint32(b)) }
