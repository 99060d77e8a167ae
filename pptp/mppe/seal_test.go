package mppe

import (
	"bytes"
	"testing"
	"unsafe"
)

// Ten thousand packets, more than two rounds of counts, are those of the
// reference; so sizes, wrap and flag packets are right.
func TestSealLikeReference(t *testing.T) {
	for _, p := range allParams {
		t.Run(p.String(), func(t *testing.T) {
			s, ref := NewSealer(&rfcStart, p), newReference(rfcStart, p)
			for n := range uint64(10000) {
				frame := ipFrame(n, 22+int(n*37%180))
				if got, want := s.Seal(nil, frame), ref.seal(frame); !bytes.Equal(got, want) {
					t.Fatalf("packet %d: %X, reference %X", n, got, want)
				}
			}
		})
	}
}

func TestSealAppends(t *testing.T) {
	for _, p := range allParams {
		frame := ipFrame(7, 100)
		want := NewSealer(&rfcStart, p).Seal(nil, frame)

		got := NewSealer(&rfcStart, p).Seal([]byte("kept"), frame)
		if !bytes.Equal(got[:4], []byte("kept")) || !bytes.Equal(got[4:], want) {
			t.Errorf("%v: appended %X", p, got)
		}

		buf := make([]byte, 16+len(frame))
		copy(buf[16:], frame)
		got = NewSealer(&rfcStart, p).Seal(buf[:16-HeaderLen], buf[16:])
		if &got[0] != &buf[0] || !bytes.Equal(got[16-HeaderLen:], want) {
			t.Errorf("%v: in place %X", p, got)
		}
	}
}

// A Reset makes both kinds of peer understand the next packet, whatever was
// lost before it, also when it was sent for several requests, or was itself
// lost and asked for again.
func TestSealReset(t *testing.T) {
	for _, linux := range []bool{false, true} {
		for _, lost := range []int{1, 2, 100, 255, 256, 257, 700} {
			for sent := range 260 {
				p := Params{Bits128, false}
				s, peer := NewSealer(&rfcStart, p), newReference(rfcStart, p)
				peer.linux = linux
				for n := range uint64(sent) {
					if got := peer.open(s.Seal(nil, ipFrame(n, 30))); !bytes.Equal(got, ipFrame(n, 30)) {
						t.Fatalf("packet %d does not open", n)
					}
				}
				for range lost {
					s.Seal(nil, ipFrame(1, 30))
				}
				s.Reset()
				s.Reset()
				s.Seal(nil, ipFrame(2, 30)) // lost as well
				s.Reset()
				for n := range uint64(3) {
					packet := s.Seal(nil, ipFrame(n, 30))
					if flushed := packet[0]&flagFlushed != 0; flushed != (n == 0) {
						t.Fatalf("packet %d after Reset: header %X", n, packet[:2])
					}
					if got := peer.open(packet); !bytes.Equal(got, ipFrame(n, 30)) {
						t.Fatalf("linux %v, %d sent, %d lost: packet %d after Reset opens to %X", linux, sent, lost, n, got)
					}
				}
			}
		}
	}
}

func TestSealStatelessReset(t *testing.T) {
	p := Params{Bits128, true}
	s, ref := NewSealer(&rfcStart, p), newReference(rfcStart, p)
	s.Reset()
	if got, want := s.Seal(nil, ipFrame(1, 50)), ref.seal(ipFrame(1, 50)); !bytes.Equal(got, want) {
		t.Errorf("Reset changed a stateless packet: %X, want %X", got, want)
	}
}

// Every idle session carries one of each.
func TestSizes(t *testing.T) {
	if n := unsafe.Sizeof(Sealer{}); n > 48 {
		t.Errorf("a Sealer has %d octets", n)
	}
	if n := unsafe.Sizeof(Opener{}); n > 80 {
		t.Errorf("an Opener has %d octets", n)
	}
	if n := unsafe.Sizeof(rc4{}); n > 258 {
		t.Errorf("an RC4 table has %d octets", n)
	}
	if n := unsafe.Sizeof(lateKeys{}); n > 768 {
		t.Errorf("the keys of missing packets have %d octets", n)
	}
	p := Params{Bits128, true}
	if NewSealer(&rfcStart, p).stream != nil || NewOpener(&rfcStart, p).stream != nil {
		t.Error("an RC4 table is kept in stateless mode")
	}
}

func TestAllocs(t *testing.T) {
	for _, p := range allParams {
		s, o := NewSealer(&rfcStart, p), NewOpener(&rfcStart, p)
		frame := ipFrame(1, 1400)
		packet, plain := make([]byte, 0, 1500), make([]byte, 0, 1500)
		if n := testing.AllocsPerRun(3000, func() {
			packet = s.Seal(packet[:0], frame)
			var err error
			if plain, err = o.Open(plain[:0], packet); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%v: Seal and Open allocate %v times", p, n)
		}
		forged := append([]byte{0x90, 0}, make([]byte, 100)...)
		if n := testing.AllocsPerRun(300, func() { _, _ = o.Open(plain[:0], forged) }); n != 0 {
			t.Errorf("%v: refusing allocates %v times", p, n)
		}
	}

	// One packet in three lost: once the memory for keys is there, no more.
	p := Params{Bits128, true}
	s, o := NewSealer(&rfcStart, p), NewOpener(&rfcStart, p)
	frame, packet, plain := ipFrame(1, 100), make([]byte, 0, 200), make([]byte, 0, 200)
	if n := testing.AllocsPerRun(3000, func() {
		s.Seal(packet[:0], frame)
		for range 2 {
			packet = s.Seal(packet[:0], frame)
			if _, err := o.Open(plain, packet); err != nil {
				t.Fatal(err)
			}
		}
	}); n != 0 {
		t.Errorf("a lossy link allocates %v times a packet", n)
	}
}

func BenchmarkSeal(b *testing.B) {
	for _, p := range []Params{{Bits128, true}, {Bits128, false}} {
		for _, size := range []int{64, 512, 1400} {
			frame := ipFrame(1, size)
			name := p.String() + "/" + itoa(size) + "/"
			b.Run(name+"crypto-rc4", func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				ref := newReference(rfcStart, p)
				for b.Loop() {
					ref.seal(frame)
				}
			})
			b.Run(name+"own", func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				s, dst := NewSealer(&rfcStart, p), make([]byte, 0, 1500)
				for b.Loop() {
					s.Seal(dst, frame)
				}
			})
		}
	}
}
