package radius

import (
	"encoding/binary"
	"fmt"
	"math"
)

// The Wi-Fi Alliance's WISPr 1.0, annex D.
const vendorWISPr uint32 = 14122

const (
	wisprRedirectionURL   = 4
	wisprBandwidthMaxUp   = 7
	wisprBandwidthMaxDown = 8
)

// AddBandwidth adds WISPr-Bandwidth-Max-Up, which is from the peer, and -Down, in bits
// a second. Zero is no limit, and adds nothing.
func AddBandwidth(p *Packet, up, down uint64) error {
	if err := checkBandwidth(up, down); err != nil {
		return err
	}
	if up != 0 {
		addBandwidth(p, wisprBandwidthMaxUp, up)
	}
	if down != 0 {
		addBandwidth(p, wisprBandwidthMaxDown, down)
	}
	return nil
}

// AddBandwidthChange is AddBandwidth for a CoA-Request, in which what is absent stays
// as it is: it adds both, and a zero takes a limit away.
func AddBandwidthChange(p *Packet, up, down uint64) error {
	if err := checkBandwidth(up, down); err != nil {
		return err
	}
	addBandwidth(p, wisprBandwidthMaxUp, up)
	addBandwidth(p, wisprBandwidthMaxDown, down)
	return nil
}

func checkBandwidth(up, down uint64) error {
	if max(up, down) > math.MaxUint32 {
		return fmt.Errorf("add a bandwidth of %d and %d bit/s: %w", up, down, ErrValue)
	}
	return nil
}

func addBandwidth(p *Packet, typ byte, limit uint64) {
	_ = addVendor(p, vendorWISPr, typ, binary.BigEndian.AppendUint32(nil, uint32(limit))) // four octets fit
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
