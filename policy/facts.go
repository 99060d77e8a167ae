package policy

import "net/netip"

// Facts are everything a decision may depend on. The zero value of each field is
// the fact that nothing is known, which rules match as `none`.
type Facts struct {
	User       string     // canonical name
	Realm      string     // domain or realm the name was typed with: a claim
	Groups     []string   // of the directory, nested ones included
	Source     netip.Addr // the client's own address
	NAS        string     // NAS-Identifier
	NASAddress netip.Addr
	Tunnel     string // "PPTP"; "" for none
}

// missing is how rules write a fact that is not known.
const missing = "none"
