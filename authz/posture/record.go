// Package posture keeps what is known of devices, and finds the one that a login comes
// from (DESIGN §9). A native PPTP client cannot prove what it runs on: what is known
// comes from elsewhere and is joined.
//
//	agent    signed reports of the device itself          attested
//	imports  of an MDM or an inventory: Intune, Fleet…    inventory
//	AD       computer objects                             directory
//	LCP      the name a client gives itself               claimed
package posture

import (
	"net/netip"
	"time"

	"postern/policy"
)

// Record is what one source says of one device. A device has one of each source.
type Record struct {
	Device     string            `json:"device"`         // ID, such as LT-0231; folded where it is compared
	Name       string            `json:"name,omitempty"` // host name, without domain
	Source     string            `json:"source"`         // "agent", "ad", or the name of an import
	Confidence policy.Confidence `json:"confidence"`
	Owners     []string          `json:"owners,omitempty"` // canonical names of users
	At         time.Time         `json:"at"`               // when it was so, by the source's own word; never in the future
	Got        time.Time         `json:"got"`              // when it reached us
	From       netip.Addr        `json:"from,omitzero"`    // where an agent's report came from
	Facts      Facts             `json:"facts"`
}

// Facts are what a source may say. What it does not know is left zero.
type Facts struct {
	OS        string     `json:"os,omitempty"`         // windows, macos, linux, ios, android
	OSVersion string     `json:"os_version,omitempty"` // dotted numbers
	Managed   policy.Tri `json:"managed,omitempty"`
	Compliant policy.Tri `json:"compliant,omitempty"`
	Encrypted policy.Tri `json:"disk_encrypted,omitempty"`
	Firewall  policy.Tri `json:"firewall,omitempty"`
	Antivirus policy.Tri `json:"antivirus,omitempty"`
	Lock      policy.Tri `json:"screen_lock,omitempty"`
	Enabled   policy.Tri `json:"enabled,omitempty"`
	Patched   time.Time  `json:"patched,omitzero"`
	Booted    time.Time  `json:"booted,omitzero"`
	LastLogon time.Time  `json:"last_logon,omitzero"`
	Groups    []string   `json:"groups,omitempty"`
}
