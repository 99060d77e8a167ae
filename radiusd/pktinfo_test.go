package radiusd

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReplyFrom(t *testing.T) {
	four := unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: 3, Spec_dst: [4]byte{192, 0, 2, 1}, Addr: [4]byte{192, 0, 2, 255}})
	six := func(a string, link uint32) []byte {
		return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: netip.MustParseAddr(a).As16(), Ifindex: link})
	}
	for _, c := range []struct {
		about    string
		in, want []byte
	}{
		{"nothing", nil, nil},
		{"IPv4: what the kernel would answer from", four, unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: [4]byte{192, 0, 2, 1}})},
		{"IPv6", six("2001:db8::1", 3), six("2001:db8::1", 0)},
		{"IPv4 on a socket for both", six("::ffff:192.0.2.1", 3), six("::ffff:192.0.2.1", 0)},
		{"link-local", six("fe80::1", 3), six("fe80::1", 3)},
		{"multicast", six("ff02::1", 3), nil},
		{"behind another message", append(unix.UnixRights(0), four...), unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: [4]byte{192, 0, 2, 1}})},
		{"cut off", four[:len(four)-5], nil},
		{"half a header", four[:7], nil},
	} {
		if got := replyFrom(c.in); !bytes.Equal(got, c.want) {
			t.Errorf("%s: % x, want % x", c.about, got, c.want)
		}
	}
}

func FuzzReplyFrom(f *testing.F) {
	f.Add(unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: 3, Spec_dst: [4]byte{192, 0, 2, 1}}))
	f.Add(unix.PktInfo6(&unix.Inet6Pktinfo{Addr: [16]byte{0xfe, 0x80, 15: 1}, Ifindex: 3}))
	f.Add(binary.NativeEndian.AppendUint64(nil, 1<<40))
	f.Fuzz(func(t *testing.T, control []byte) {
		if out := replyFrom(control); out != nil && !bytes.Equal(replyFrom(out), out) {
			t.Errorf("% x gives % x, which gives % x", control, out, replyFrom(out))
		}
	})
}
