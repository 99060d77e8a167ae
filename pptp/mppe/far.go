package mppe

// farStep is how many key changes lie between two keys kept.
const farStep = 32

// farKeys remembers every 32nd key ahead of the link. Keys form a chain, each
// takes about a microsecond, and the count of a forged packet makes us walk it
// for thousands; with these the whole of it is walked once, and every further
// forgery costs at most 32 changes, whether or not good packets come between.
// Good packets use the keys up. At most 256 of them, 4 KB, and none on a link
// that has not lost more than 32 packets in a row.
type farKeys struct {
	base uint64 // changes up to keys[0], a multiple of farStep
	keys [][16]byte
}

// keyAt returns the session key after that many changes in all; packet n has
// the key after n+1. It must not lie before the current key, that after
// o.next.
func (o *Opener) keyAt(changes uint64) [16]byte {
	at, key := o.next, o.key
	if changes-at > farStep {
		if o.far == nil {
			o.far = &farKeys{}
		}
		at, key = o.far.nearest(&o.chain, changes, at, key)
	}
	for ; at < changes; at++ {
		o.chain.next(&key)
	}
	return key
}

// nearest returns a kept key less than farStep changes before the one wanted;
// at and key are where the link is, and keys it lacks are made from there on.
func (f *farKeys) nearest(c *chain, changes, at uint64, key [16]byte) (uint64, [16]byte) {
	if f.passed(at) {
		f.base, f.keys = at/farStep*farStep+farStep, f.keys[:0]
	} else if at >= f.base {
		used := (at-f.base)/farStep + 1
		f.keys = f.keys[:copy(f.keys, f.keys[used:])]
		f.base += used * farStep
	}
	want := changes / farStep * farStep
	if i := (want - f.base) / farStep; i < uint64(len(f.keys)) {
		return want, f.keys[i]
	}
	if n := len(f.keys); n > 0 {
		at, key = f.base+uint64(n-1)*farStep, f.keys[n-1]
	}
	for at < want {
		c.next(&key)
		if at++; at%farStep == 0 {
			f.keys = append(f.keys, key)
		}
	}
	return want, key
}

// passed reports whether the link is past all keys.
func (f *farKeys) passed(at uint64) bool {
	return at >= f.base+uint64(len(f.keys))*farStep
}
