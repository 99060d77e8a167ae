package tun

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

// syn builds an IPv4 TCP segment with right checksums.
func syn(ipOptions, tcpOptions, payload []byte, flags byte) []byte {
	for len(tcpOptions)%4 != 0 {
		tcpOptions = append(tcpOptions, tcpEnd)
	}
	ihl, off := ipv4Header+len(ipOptions), tcpHeader+len(tcpOptions)
	b := make([]byte, ihl+off, ihl+off+len(payload))
	b[0] = 4<<4 | byte(ihl/4)
	binary.BigEndian.PutUint16(b[2:], uint16(ihl+off+len(payload)))
	b[8], b[9] = 64, protocolTCP
	copy(b[12:], []byte{10, 0, 0, 1, 192, 0, 2, 7})
	copy(b[ipv4Header:], ipOptions)
	tcp := b[ihl:]
	copy(tcp, []byte{0x12, 0x34, 0, 80, 1, 2, 3, 4, 0, 0, 0, 0})
	tcp[12], tcp[13] = byte(off/4)<<4, flags
	binary.BigEndian.PutUint16(tcp[14:], 64240)
	copy(tcp[tcpHeader:], tcpOptions)
	b = append(b, payload...)
	binary.BigEndian.PutUint16(b[ihl+16:], tcpChecksum(b))
	return b
}

// tcpChecksum is RFC 9293 §3.1's, word by word, with the field taken as zero.
func tcpChecksum(ip []byte) uint16 {
	tcp := slices.Clone(ip[int(ip[0]&15)*4 : binary.BigEndian.Uint16(ip[2:])])
	tcp[16], tcp[17] = 0, 0
	sum := uint64(protocolTCP + len(tcp))
	for _, half := range [][]byte{ip[12:20], append(tcp, make([]byte, len(tcp)%2)...)} {
		for i := 0; i < len(half); i += 2 {
			sum += uint64(half[i])<<8 | uint64(half[i+1])
		}
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

func checksum(ip []byte) uint16 {
	return binary.BigEndian.Uint16(ip[int(ip[0]&15)*4+16:])
}

func TestClampMSS(t *testing.T) {
	mss := func(v uint16) []byte { return []byte{2, 4, byte(v >> 8), byte(v)} }
	cat := func(b ...[]byte) []byte { return slices.Concat(b...) }
	fragment := syn(nil, mss(1460), nil, 2)
	fragment[7] = 1
	first := syn(nil, mss(1460), nil, 2)
	first[6] = 0x20
	v6 := syn(nil, mss(1460), nil, 2)
	v6[0] = 0x65
	udp := syn(nil, mss(1460), nil, 2)
	udp[9] = 17
	for _, tt := range []struct {
		name   string
		packet []byte
		mtu    int
		want   []uint16 // MSS values after; nil: untouched
	}{
		{"SYN", syn(nil, mss(1460), nil, 2), 1400, []uint16{1360}},
		{"SYN ACK", syn(nil, mss(1460), nil, 0x12), 1400, []uint16{1360}},
		{"SYN with data", syn(nil, mss(1460), []byte("hello"), 2), 1400, []uint16{1360}},
		{"Linux' options", syn(nil, cat(mss(1460), []byte{4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7}), nil, 2), 1396, []uint16{1356}},
		{"behind one NOP, odd", syn(nil, cat([]byte{1}, mss(1460)), nil, 2), 1400, []uint16{1360}},
		{"behind three NOPs, odd", syn(nil, cat([]byte{1, 1, 1}, mss(0xffff)), nil, 2), 576, []uint16{536}},
		{"behind SACK permitted, two octets", syn(nil, cat([]byte{4, 2}, mss(1460)), nil, 2), 1400, []uint16{1360}},
		{"twice", syn(nil, cat(mss(1460), mss(9000)), nil, 2), 1400, []uint16{1360, 1360}},
		{"IP options", syn([]byte{1, 1, 1, 0}, mss(1460), nil, 2), 1400, []uint16{1360}},
		{"first fragment", first, 1400, []uint16{1360}},
		{"small already", syn(nil, mss(1360), nil, 2), 1400, nil},
		{"zero already", syn(nil, mss(0), nil, 2), 1400, nil},
		{"not a SYN", syn(nil, mss(1460), nil, 0x10), 1400, nil},
		{"no options", syn(nil, nil, nil, 2), 1400, nil},
		{"behind the end", syn(nil, cat([]byte{0}, mss(1460)), nil, 2), 1400, nil},
		{"option without a length", syn(nil, []byte{1, 1, 1, 2}, nil, 2), 1400, nil},
		{"option of length 0", syn(nil, cat([]byte{8, 0}, mss(1460)), nil, 2), 1400, nil},
		{"option beyond the header", syn(nil, []byte{1, 1, 2, 4}, []byte{0xff, 0xff}, 2), 1400, nil},
		{"MSS of length 3", syn(nil, []byte{2, 3, 0xff, 0}, nil, 2), 1400, nil},
		{"fragment", fragment, 1400, nil},
		{"IPv6", v6, 1400, nil},
		{"UDP", udp, 1400, nil},
		{"MTU less than headers", syn(nil, mss(1460), nil, 2), 40, nil},
		{"MTU beyond all", syn(nil, mss(1460), nil, 2), 1 << 20, nil},
		{"truncated", syn(nil, mss(1460), nil, 2)[:42], 1400, nil},
		{"empty", nil, 1400, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := slices.Clone(tt.packet)
			if got := ClampMSS(tt.packet, tt.mtu); got != (tt.want != nil) {
				t.Errorf("ClampMSS is %v", got)
			}
			if tt.want == nil {
				if !bytes.Equal(tt.packet, before) {
					t.Errorf("changed to %x", tt.packet)
				}
				return
			}
			if got, want := checksum(tt.packet), tcpChecksum(tt.packet); got != want {
				t.Errorf("checksum %04x, want %04x", got, want)
			}
			for _, want := range tt.want {
				if !bytes.Contains(tt.packet[40:], mss(want)) {
					t.Errorf("no MSS of %d in %x", want, tt.packet[40:])
				}
			}
			if ClampMSS(tt.packet, tt.mtu) {
				t.Error("clamped again")
			}
		})
	}
}

func TestSourceDestination(t *testing.T) {
	p := syn(nil, nil, nil, 2)
	if a, ok := Source(p); !ok || a != [4]byte{10, 0, 0, 1} {
		t.Errorf("source %v %v", a, ok)
	}
	if a, ok := Destination(p); !ok || a != [4]byte{192, 0, 2, 7} {
		t.Errorf("destination %v %v", a, ok)
	}
	if _, ok := Source(p[:20]); !ok {
		t.Error("no source in a header alone")
	}
	if _, ok := Destination(p[:20]); !ok {
		t.Error("no destination in a header alone")
	}
	v6 := make([]byte, 40)
	v6[0] = 0x60
	for _, b := range [][]byte{nil, p[:19], v6} {
		if _, ok := Source(b); ok {
			t.Errorf("source of %x", b)
		}
		if _, ok := Destination(b); ok {
			t.Errorf("destination of %x", b)
		}
	}
}

// FuzzClampMSS: nothing panics, only MSS and checksum change, no MSS is over the
// limit where one was changed, and a checksum that was right stays right.
func FuzzClampMSS(f *testing.F) {
	f.Add(syn(nil, []byte{2, 4, 5, 0xb4}, nil, 2), 1400)
	f.Add(syn([]byte{1, 1, 1, 1}, []byte{1, 2, 4, 5, 0xb4, 2, 4, 0xff, 0xff}, []byte("odd"), 0x12), 600)
	f.Add(syn(nil, []byte{1, 1, 1, 2}, nil, 2), 576)
	f.Add([]byte{0x4f}, 0)
	f.Fuzz(func(t *testing.T, b []byte, mtu int) {
		Source(b)
		Destination(b)
		before := slices.Clone(b)
		if !ClampMSS(b, mtu) {
			if !bytes.Equal(b, before) {
				t.Fatalf("changed from %x to %x and did not say so", before, b)
			}
			return
		}
		// The sum over the segment is what a receiver computes: whatever it was
		// before, right or wrong, it is still. (0 and ffff are one number.)
		delta := func(p []byte) uint16 {
			s := uint32(checksum(p)) + uint32(^tcpChecksum(p))
			return uint16((s&0xffff + s>>16) % 0xffff)
		}
		if got, want := delta(b), delta(before); got != want {
			t.Fatalf("checksum was off by %04x, is by %04x\n%x\n%x", want, got, before, b)
		}
		ihl := int(b[0]&15) * 4
		for i := range b {
			if (i < ihl+tcpHeader || i >= ihl+60) && i != ihl+16 && i != ihl+17 && b[i] != before[i] {
				t.Fatalf("octet %d changed", i)
			}
		}
		if ClampMSS(b, mtu) {
			t.Fatal("clamped again")
		}
	})
}

func TestClampMSSAllocatesNothing(t *testing.T) {
	p := syn(nil, []byte{1, 2, 4, 5, 0xb4}, nil, 2)
	mtu := 1400
	if n := testing.AllocsPerRun(100, func() {
		ClampMSS(p, mtu)
		mtu--
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestClampMSSRandomChecksums(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20000 {
		nops := bytes.Repeat([]byte{tcpNop}, r.IntN(6))
		p := syn(nil, append(nops, 2, 4, byte(r.UintN(256)), byte(r.UintN(256))), []byte{byte(r.UintN(256)), byte(r.UintN(256))}, 2)
		mtu := 41 + r.IntN(65495)
		ClampMSS(p, mtu)
		if got, want := checksum(p), tcpChecksum(p); got != want {
			t.Fatalf("MTU %d: checksum %04x, want %04x in %x", mtu, got, want, p)
		}
	}
}

// Every checksum there can be, for an MSS in one word and for one in two: the sums
// that carry twice are one in 65536.
func TestClampMSSEveryChecksum(t *testing.T) {
	for nops := range 2 {
		for data := range 1 << 16 {
			p := syn(nil, append(bytes.Repeat([]byte{tcpNop}, nops), 2, 4, 0x05, 0x20), []byte{byte(data >> 8), byte(data)}, 2)
			if !ClampMSS(p, 0x4ff+ipv4Header+tcpHeader) {
				t.Fatal("not clamped")
			}
			if got, want := checksum(p), tcpChecksum(p); got != want {
				t.Fatalf("checksum %04x, want %04x in %x", got, want, p)
			}
		}
	}
}

func BenchmarkClampMSS(b *testing.B) {
	data := syn(nil, nil, make([]byte, 1300), 0x10)
	b.Run("data", func(b *testing.B) {
		for b.Loop() {
			ClampMSS(data, 1400)
		}
	})
	p := syn(nil, []byte{2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7}, nil, 2)
	b.Run("SYN", func(b *testing.B) {
		for b.Loop() {
			ClampMSS(p, 1400)
		}
	})
}
