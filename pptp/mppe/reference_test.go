package mppe

import (
	"bytes"
	stdrc4 "crypto/rc4"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"strings"
)

// reference is MPPE written straight from RFC 3078 §7 on the standard
// library's RC4: the judge of the tests and the yardstick of the benchmarks.
type reference struct {
	start, session []byte
	fix            []byte // octets every session key begins with
	stateless      bool
	linux          bool // FLUSHED changes the key, as Linux has it
	flush          bool
	count          int
	cipher         *stdrc4.Cipher
}

var referenceBits = map[Strength]struct {
	octets int
	fix    []byte
}{
	Bits40:  {8, []byte{0xd1, 0x26, 0x9e}},
	Bits56:  {8, []byte{0xd1}},
	Bits128: {16, nil},
}

func newReference(start [16]byte, p Params) *reference {
	b := referenceBits[p.Strength]
	r := &reference{start: start[:b.octets], fix: b.fix, stateless: p.Stateless}
	r.session = r.hash(r.start)
	copy(r.session, r.fix)
	r.cipher, _ = stdrc4.NewCipher(r.session)
	return r
}

func (r *reference) hash(session []byte) []byte {
	h := sha1.New()
	h.Write(r.start)
	h.Write(bytes.Repeat([]byte{0x00}, 40))
	h.Write(session)
	h.Write(bytes.Repeat([]byte{0xf2}, 40))
	return h.Sum(nil)[:len(r.start)]
}

func (r *reference) change() {
	interim := r.hash(r.session)
	c, _ := stdrc4.NewCipher(interim)
	c.XORKeyStream(r.session, interim)
	copy(r.session, r.fix)
	r.cipher, _ = stdrc4.NewCipher(r.session)
}

func (r *reference) seal(frame []byte) []byte {
	head := 0x1000 | r.count
	switch {
	case r.stateless, r.count&0xff == 0xff, r.flush && r.linux:
		r.change()
		head |= 0x8000
	case r.flush:
		r.cipher, _ = stdrc4.NewCipher(r.session)
		head |= 0x8000
	}
	r.flush = false
	r.count = (r.count + 1) % 4096
	out := binary.BigEndian.AppendUint16(nil, uint16(head))
	out = append(out, frame...)
	r.cipher.XORKeyStream(out[2:], frame)
	return out
}

// open takes packets in order and without loss, but for what FLUSHED mends:
// it follows ppp_mppe.c of Linux where linux is set, else RFC 3078 §8.2.
func (r *reference) open(packet []byte) []byte {
	head := int(binary.BigEndian.Uint16(packet))
	flushed := head&0x8000 != 0
	for {
		if r.stateless || r.count&0xff == 0xff {
			r.change()
		}
		at := r.count
		r.count = (r.count + 1) % 4096
		if at == head&0xfff {
			break
		}
	}
	if flushed && !r.stateless && head&0xff != 0xff {
		if r.linux {
			r.change()
		}
		r.cipher, _ = stdrc4.NewCipher(r.session)
	}
	out := make([]byte, len(packet)-2)
	r.cipher.XORKeyStream(out, packet[2:])
	return out
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// rfcStart is SendStartKey128 of RFC 3079 §3.5.3.
var rfcStart = [16]byte(unhex("8B 7C DC 14 9B 99 3A 1B A1 18 CB 15 3F 56 DC CB"))

var allParams = []Params{
	{Bits40, true}, {Bits56, true}, {Bits128, true},
	{Bits40, false}, {Bits56, false}, {Bits128, false},
}

func (p Params) String() string {
	if p.Stateless {
		return p.Strength.String() + " stateless"
	}
	return p.Strength.String() + " stateful"
}

// ipFrame is a PPP frame of size octets: protocol IP, uncompressed, with as
// much of an IPv4 header as matters and n all over the rest.
func ipFrame(n uint64, size int) []byte {
	f := make([]byte, max(size, 2+20))
	binary.BigEndian.PutUint16(f, 0x0021)
	for i := 2; i < len(f); i++ {
		f[i] = byte(n >> (8 * (i % 8)))
	}
	f[2] = 0x45
	binary.BigEndian.PutUint16(f[4:], uint16(len(f)-2))
	return f
}
