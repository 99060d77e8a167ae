package radius

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"layeh.com/radius/rfc2865"
)

// msQuarantineSessionTimeout is fixed by [MS-RNAP] §2.2.1.
const msQuarantineSessionTimeout = 37

// AddQuarantine holds a session back: Filter-Id "quarantine", how long it may wait for
// its second factor, and the page on which that is given. Only our nodes know what to
// do with it; to another NAS it would be an Access-Accept as any.
func AddQuarantine(p *Packet, d time.Duration, url string) error {
	seconds := (d + time.Second - 1) / time.Second // never rounded down to none
	if d <= 0 || seconds > math.MaxUint32 {
		return fmt.Errorf("add quarantine for %v: %w", d, ErrValue)
	}
	if url != "" && !validURL(url) {
		return fmt.Errorf("add quarantine with a URL of %d octets: %w", len(url), ErrValue)
	}
	if err := rfc2865.FilterID_AddString(p, FilterQuarantine); err != nil {
		return err
	}
	if err := addVendor(p, vendorMicrosoft, msQuarantineSessionTimeout, binary.BigEndian.AppendUint32(nil, uint32(seconds))); err != nil {
		return err
	}
	if url == "" {
		return nil
	}
	return addVendor(p, vendorWISPr, wisprRedirectionURL, []byte(url))
}

// GetQuarantine reads it. ok takes the filter's name and a time that is not zero; where
// one of them is missing, or the time is misshapen, what is left is a Filter-Id that
// nobody may define, and so no session. url is empty where there is none that a client
// may be shown.
func GetQuarantine(p *Packet) (d time.Duration, url string, ok bool) {
	v, found := lookupVendor(p, vendorMicrosoft, msQuarantineSessionTimeout)
	if !found || len(v) != 4 || !hasFilter(p, FilterQuarantine) {
		return 0, "", false
	}
	seconds := binary.BigEndian.Uint32(v)
	if seconds == 0 {
		return 0, "", false
	}
	if u, found := lookupVendor(p, vendorWISPr, wisprRedirectionURL); found && validURL(string(u)) {
		url = string(u)
	}
	return time.Duration(seconds) * time.Second, url, true
}

// validURL holds for what may stand in an HTTP header's Location as it is: printable
// ASCII without spaces, so that no reply of ours can be split by it.
func validURL(s string) bool {
	for _, c := range []byte(s) {
		if c == ' ' {
			return false
		}
	}
	return printable(s) && len(s) <= maxVendorValue
}
