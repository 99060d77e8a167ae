package mppe

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

func TestPlausible(t *testing.T) {
	for _, row := range []struct {
		what, head string
		size       int
		want       bool
	}{
		{"IPv4", "0021 45000014 0000", 22, true},
		{"IPv4, compressed protocol", "21 45000014 000000", 21, true},
		{"IPv4 with options", "0021 4f00003c 0000", 62, true},
		{"IPv4 and PPP padding behind", "0021 45000014 0000", 64, true},
		{"IPv4 longer than the packet", "0021 45000015 0000", 22, false},
		{"IPv4 shorter than its header", "0021 45000013 0000", 22, false},
		{"IPv4, header length 4", "0021 44000014 0000", 22, false},
		{"IPv4 number, IPv6 header", "0021 60000000 0000", 42, false},
		{"too small for IPv4", "0021 45000014 0000", 21, false},
		{"IPv6", "0057 60000000 0000", 42, true},
		{"IPv6, compressed protocol", "57 60000000 0004 00", 45, true},
		{"IPv6 longer than the packet", "0057 60000000 0001", 42, false},
		{"too small for IPv6", "0057 60000000 0000", 41, false},
		{"LCP is never encrypted", "c021 09010008 0000", 22, false},
		{"MPPE within MPPE", "00fd 45000014 0000", 22, false},
		{"an even number", "0022 45000014 0000", 22, false},
	} {
		if got := plausible((*[peekLen]byte)(unhex(row.head)), row.size); got != row.want {
			t.Errorf("%s: %v", row.what, got)
		}
	}
}

// The share of random packets that pass, which the comment on plausible states.
func TestPlausibleByChance(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	const tries = 5_000_000
	passed := 0
	for range tries {
		var head [peekLen]byte
		binary.LittleEndian.PutUint64(head[:], rng.Uint64())
		if plausible(&head, 1400) {
			passed++
		}
	}
	if passed > tries/50_000 {
		t.Errorf("%d of %d random packets pass", passed, tries)
	}
}
