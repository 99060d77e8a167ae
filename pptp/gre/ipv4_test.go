package gre

import (
	"errors"
	"fmt"
	"testing"
)

func TestParseIPv4(t *testing.T) {
	for _, p := range readGolden(t, "ipv4.txt") {
		t.Run(p.name, func(t *testing.T) {
			want := parseErrors[p.fails]
			if p.fails == "protocol" {
				want = ErrNotGRE
			} else if want == nil && p.fails != "" {
				t.Fatalf("no error is called %q", p.fails)
			}
			src, dst, payload, err := ParseIPv4(p.octets)
			if !errors.Is(err, want) {
				t.Fatalf("error %v, want %v", err, want)
			}
			if err != nil {
				if src.IsValid() || dst.IsValid() || payload != nil {
					t.Errorf("and yet %v %v %x", src, dst, payload)
				}
				return
			}
			if got := fmt.Sprintf("%v %v %s", src, dst, octets(payload)); got != p.reads {
				t.Errorf("reads\n%s, want\n%s", got, p.reads)
			}
			if cap(payload) != len(payload) {
				t.Error("the payload has room to append")
			}
		})
	}
}

// FuzzParseIPv4: what is accepted, put behind a new header, reads the same; and the
// socket's way, which has the first 20 octets apart, comes to the same conclusion.
func FuzzParseIPv4(f *testing.F) {
	for _, p := range readGolden(f, "ipv4.txt") {
		f.Add(p.octets)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		src, dst, payload, err := ParseIPv4(b)
		if err == nil {
			again := append(datagram(src.As4(), dst.As4(), nil, 0), payload...)
			again[2], again[3] = byte(len(again)>>8), byte(len(again))
			s, d, p, err := ParseIPv4(again)
			if err != nil || s != src || d != dst || string(p) != string(payload) {
				t.Fatalf("%v %v %x, again %v %v %x, %v", src, dst, payload, s, d, p, err)
			}
		}
		if len(b) < ipv4Header || int(b[2])<<8|int(b[3]) != len(b) {
			return // the kernel gives whole datagrams only
		}
		rest := append([]byte(nil), b[ipv4Header:]...)
		n, ok := strip((*[ipv4Header]byte)(b), rest, len(b), 0)
		if ok != (err == nil) || ok && string(rest[:n]) != string(payload) {
			t.Fatalf("the socket reads %v %x, want %x, %v", ok, rest, payload, err)
		}
	})
}

// datagram is an IPv4 header for GRE; fragment is offset in octets, odd for more.
func datagram(src, dst [4]byte, options []byte, fragment int) []byte {
	b := make([]byte, ipv4Header)
	b[0] = 4<<4 | byte((ipv4Header+len(options))/4)
	b[6], b[7] = byte(fragment>>11), byte(fragment>>3)
	if fragment&1 != 0 {
		b[6] |= 0x20
	}
	b[8], b[9] = 64, protocol
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	return append(b, options...)
}
