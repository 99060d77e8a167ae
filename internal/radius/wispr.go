package radius

import (
	"encoding/binary"
	"fmt"
	"math"
)

// The Wi-Fi Alliance's WISPr 1.0, annex D.
const (
	vendorWISPr           uint32 = 14122
	wisprBandwidthMaxUp          = 7
	wisprBandwidthMaxDown        = 8
)

// AddBandwidth adds WISPr-Bandwidth-Max-Up, which is from the peer, and -Down, in bits
// a second. Zero is no limit, and adds nothing.
func AddBandwidth(p *Packet, up, down uint64) error {
	if max(up, down) > math.MaxUint32 {
		return fmt.Errorf("add a bandwidth of %d and %d bit/s: %w", up, down, ErrValue)
	}
	for _, l := range [...]struct {
		typ   byte
		limit uint64
	}{{wisprBandwidthMaxUp, up}, {wisprBandwidthMaxDown, down}} {
		if l.limit == 0 {
			continue
		}
		if err := addVendor(p, vendorWISPr, l.typ, binary.BigEndian.AppendUint32(nil, uint32(l.limit))); err != nil {
			return err
		}
	}
	return nil
}

// GetBandwidth reads them; what is absent or misshapen is no limit.
func GetBandwidth(p *Packet) (up, down uint64) {
	limit := func(typ byte) uint64 {
		v, _ := lookupVendor(p, vendorWISPr, typ)
		if len(v) != 4 {
			return 0
		}
		return uint64(binary.BigEndian.Uint32(v))
	}
	return limit(wisprBandwidthMaxUp), limit(wisprBandwidthMaxDown)
}
