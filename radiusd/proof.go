package radiusd

import (
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/vendors/microsoft"

	"postern/internal/radius"
)

// proof is how the client of a NAS proves who it is: what the packet carries, not
// what is accepted. It labels a metric.
//
// Handled in: proofNames, Server.request.
type proof uint8

const (
	proofNone       proof = iota // nothing, or something misshapen
	proofPAP                     // User-Password
	proofCHAP                    // CHAP-Password: needs the password in clear, and gives no keys
	proofMSCHAPv1                // MS-CHAP-Response: as good as its LM hash
	proofMSCHAPv2                // MS-CHAP2-Response
	proofCPW                     // a change of password (RFC 2548 §2.3.4; of version 1, §2.1.6 and §2.1.7, refused)
	proofEAP                     // EAP-Message
	proofSeveral                 // more than one: which of them counted would be a guess
	proofMSCHAPOpen              // MS-CHAP that others on the way could read
)

var proofNames = [...]string{
	proofNone:       "none",
	proofPAP:        "pap",
	proofCHAP:       "chap_md5",
	proofMSCHAPv1:   "mschapv1",
	proofMSCHAPv2:   "mschapv2",
	proofCPW:        "mschap_cpw",
	proofEAP:        "eap",
	proofSeveral:    "several",
	proofMSCHAPOpen: "mschap_over_udp",
}

// String returns the proof as metrics spell it.
func (p proof) String() string {
	if int(p) < len(proofNames) {
		return proofNames[p]
	}
	return proofNames[proofNone]
}

// proofOf looks at what there is, misshapen or not.
func proofOf(p *radius.Packet) proof {
	found := proofNone
	add := func(one proof, there bool) {
		switch {
		case !there:
		case found == proofNone:
			found = one
		default:
			found = proofSeveral
		}
	}
	has := func(t radius.Type) bool {
		_, ok := p.Lookup(t)
		return ok
	}
	add(proofPAP, has(rfc2865.UserPassword_Type))
	add(proofCHAP, has(rfc2865.CHAPPassword_Type))
	add(proofEAP, has(rfc2869.EAPMessage_Type))
	add(proofMSCHAPv1, len(microsoft.MSCHAPResponse_Get(p)) > 0)
	add(proofMSCHAPv2, len(microsoft.MSCHAP2Response_Get(p)) > 0)
	add(proofCPW, len(microsoft.MSCHAPCPW1_Get(p)) > 0 || len(microsoft.MSCHAPCPW2_Get(p)) > 0 || len(microsoft.MSCHAP2CPW_Get(p)) > 0)
	return found
}
