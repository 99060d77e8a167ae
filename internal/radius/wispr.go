package radius

import "layeh.com/radius/vendors/wispr"

// Bandwidth is WISPr-Bandwidth-Max-Up and -Down in bits a second, as the Wi-Fi
// Alliance's WISPr 1.0 annex D has them; up is from the peer. Zero is no limit.
type Bandwidth struct{ Up, Down uint32 }

// AddBandwidth adds the limits there are.
func AddBandwidth(p *Packet, b Bandwidth) error {
	if b.Up != 0 {
		if err := wispr.WISPrBandwidthMaxUp_Add(p, wispr.WISPrBandwidthMaxUp(b.Up)); err != nil {
			return err
		}
	}
	if b.Down != 0 {
		return wispr.WISPrBandwidthMaxDown_Add(p, wispr.WISPrBandwidthMaxDown(b.Down))
	}
	return nil
}

// GetBandwidth reads them; what is absent or misshapen is no limit.
func GetBandwidth(p *Packet) Bandwidth {
	return Bandwidth{
		Up:   uint32(wispr.WISPrBandwidthMaxUp_Get(p)),
		Down: uint32(wispr.WISPrBandwidthMaxDown_Get(p)),
	}
}
