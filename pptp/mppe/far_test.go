package mppe

import (
	"math/rand/v2"
	"testing"
)

// keyAt gives the chain's keys, wherever the link is and whatever was asked
// before; and once all keys have been found, each is near a kept one.
func TestKeyAt(t *testing.T) {
	const total = 30000
	c, key := newChain(&rfcStart, Bits128)
	keys := make([][16]byte, total)
	for i := range keys {
		keys[i] = key
		c.next(&key)
	}
	rng := rand.New(rand.NewPCG(14, 15))
	o := NewOpener(&rfcStart, Params{Bits128, true})
	for o.next < total-9000 {
		for range 1 + rng.IntN(5) {
			at := o.next + uint64(rng.IntN(8193))
			if got := o.keyAt(at); got != keys[at] {
				t.Fatalf("at %d, key %d is %X", o.next, at, got)
			}
		}
		if f := o.far; f != nil {
			if len(f.keys) > 256 {
				t.Fatalf("%d keys kept", len(f.keys))
			}
			for i, k := range f.keys {
				if at := f.base + uint64(i)*farStep; k != keys[at] {
					t.Fatalf("at %d, kept key %d is wrong", o.next, at)
				}
			}
		}
		step := uint64(1 + rng.IntN(70))
		o.next, o.key = o.next+step, keys[o.next+step]
		if rng.IntN(20) == 0 {
			o.tidy()
		}
	}

	o = NewOpener(&rfcStart, Params{Bits128, true})
	o.keyAt(8192)
	for changes := uint64(farStep + 1); changes <= 8192; changes += 7 {
		if at, _ := o.far.nearest(&o.chain, changes, o.next, o.key); changes-at >= farStep {
			t.Fatalf("key %d is sought from %d", changes, at)
		}
	}
}
