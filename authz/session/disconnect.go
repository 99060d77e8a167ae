package session

import "fmt"

// Disconnect is why a PPP link ended in more words than Acct-Terminate-Cause has: the
// Disconnect Code of RFC 3145 §3, which our own nodes report. The zero value says nothing.
type Disconnect uint16

var disconnectNames = [...]string{
	"no-information",
	"administrative", // 1
	"renegotiation-disabled",
	"normal",
	"compulsory-encryption-refused",
	"lcp-failed", // 5
	"no-common-link-options",
	"looped",
	"lcp-timeout",
	"mp-no-common-discriminator",
	"mp-discriminator-refused", // 10
	"mp-no-compatible-bundle",
	"call-back-refused",
	"authentication-timeout",
	"authentication-lost",
	"authentication-refused", // 15
	"authentication-failed",
	"network-timeout",
	"network-disagreement",
	"network-address-refused",
	"local-error", // 20
}

func (d Disconnect) String() string {
	if int(d) < len(disconnectNames) {
		return disconnectNames[d]
	}
	return fmt.Sprintf("disconnect-%d", uint16(d))
}
