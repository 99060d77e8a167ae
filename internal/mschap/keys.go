package mschap

import "crypto/sha1"

// The magic strings of RFC 3079 §3.4.
const (
	magic1 = "This is the MPPE Master Key"
	magic2 = "On the client side, this is the send key; on the server side, it is the receive key."
	magic3 = "On the client side, this is the receive key; on the server side, it is the send key."
)

// MasterKey is GetMasterKey, RFC 3079 §3.4.
func MasterKey(hashHash *[16]byte, ntResponse *[24]byte) (master [16]byte) {
	buf := make([]byte, 0, 128)
	buf = append(buf, hashHash[:]...)
	buf = append(buf, ntResponse[:]...)
	buf = append(buf, magic1...)
	sum := sha1.Sum(buf)
	copy(master[:], sum[:])
	return master
}

// StartKeys is GetAsymmetricStartKey, RFC 3079 §3.4, both directions at once,
// as seen by the server or by the client. These are also what MS-MPPE-Send-Key
// and MS-MPPE-Recv-Key carry (RFC 2548 §2.4). Shorter keys are their first
// octets.
func StartKeys(master *[16]byte, server bool) (send, recv [16]byte) {
	if server {
		return startKey(master, magic3), startKey(master, magic2)
	}
	return startKey(master, magic2), startKey(master, magic3)
}

func startKey(master *[16]byte, magic string) (key [16]byte) {
	buf := make([]byte, 0, 192)
	buf = append(buf, master[:]...)
	buf = append(buf, make([]byte, 40)...) // SHSpad1
	buf = append(buf, magic...)
	for range 40 { // SHSpad2
		buf = append(buf, 0xf2)
	}
	sum := sha1.Sum(buf)
	copy(key[:], sum[:])
	return key
}
