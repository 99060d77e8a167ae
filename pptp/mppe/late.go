package mppe

// lateSlots is how many keys of missing packets are kept: with them a packet
// that others have overtaken still opens. RFC 3078 does not ask for it and no
// other peer does it; without it TCP inside the tunnel takes every reordering
// for a loss.
const lateSlots = 32

// lateKeys holds keys by packet number modulo its size, so the last lateSlots
// numbers never displace each other. It is 768 octets and is made when the
// first packet goes missing.
type lateKeys [lateSlots]lateKey

type lateKey struct {
	after uint64 // packet number + 1; 0: free
	key   [16]byte
}

func (l *lateKeys) put(number uint64, key *[16]byte) {
	l[number%lateSlots] = lateKey{number + 1, *key}
}

// get returns nil when the packet was opened, or its key displaced.
func (l *lateKeys) get(number uint64) *[16]byte {
	if slot := &l[number%lateSlots]; slot.after == number+1 {
		return &slot.key
	}
	return nil
}

func (l *lateKeys) drop(number uint64) { l[number%lateSlots] = lateKey{} }

// expire drops what lies too far behind to be asked for, and reports whether
// nothing is left.
func (l *lateKeys) expire(next uint64) bool {
	empty := true
	for i := range l {
		if l[i].after+lateWindow <= next {
			l[i] = lateKey{}
		}
		empty = empty && l[i].after == 0
	}
	return empty
}
