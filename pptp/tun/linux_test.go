package tun

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// inside gives the test a network namespace of its own, until it ends.
func inside(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("skipped: a TUN device needs root")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skip("skipped: no /dev/net/tun")
	}
	runtime.LockOSThread() // never unlocked on failure: the thread dies with the test
	before, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(netns.Set(before), ns.Close(), before.Close()); err != nil {
			t.Error(err)
			return
		}
		runtime.UnlockOSThread()
	})
}

func open(t *testing.T) *device {
	t.Helper()
	d, err := Open("post0", 1396, netip.MustParseAddr("10.99.0.1"), []netip.Prefix{netip.MustParsePrefix("10.99.0.0/24")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	return d.(*device)
}

func routes(t *testing.T) []string {
	t.Helper()
	all, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	var s []string
	for _, r := range all {
		s = append(s, r.Dst.String())
	}
	slices.Sort(s)
	return s
}

func TestOpen(t *testing.T) {
	inside(t)
	d := open(t)
	link, err := netlink.LinkByName("post0")
	if err != nil {
		t.Fatal(err)
	}
	if a := link.Attrs(); a.MTU != 1396 || a.Flags&net.FlagUp == 0 {
		t.Errorf("MTU %d, flags %v", a.MTU, a.Flags)
	}
	if d.MTU() != 1396 || d.Name() != "post0" {
		t.Errorf("MTU %d of %s", d.MTU(), d.Name())
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil || len(addrs) != 1 || addrs[0].IPNet.String() != "10.99.0.1/32" {
		t.Errorf("addresses %v, %v", addrs, err)
	}
	more := netip.MustParsePrefix("192.0.2.9/32")
	if err := d.AddRoute(more); err != nil {
		t.Fatal(err)
	}
	if err := d.AddRoute(more); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("the same again: %v", err)
	}
	if got := routes(t); !slices.Equal(got, []string{"10.99.0.0/24", "192.0.2.9/32"}) {
		t.Errorf("routes %v", got)
	}
	if err := d.DelRoute(more); err != nil {
		t.Error(err)
	}
	if err := d.DelRoute(more); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("removed twice: %v", err)
	}
	if _, err := Open("post0", 1400, netip.MustParseAddr("10.98.0.1"), nil); !errors.Is(err, os.ErrExist) {
		t.Errorf("opened twice: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := netlink.LinkByName("post0"); err == nil {
		t.Error("the device is still there")
	}
	if got := routes(t); len(got) != 0 {
		t.Errorf("routes left: %v", got)
	}
	if err := errors.Join(d.AddRoute(more)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("route after Close: %v", err)
	}
	if err := d.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
}

// A route that cannot be set must not leave a device behind.
func TestOpenFailsClean(t *testing.T) {
	inside(t)
	twice := netip.MustParsePrefix("10.99.0.0/24")
	_, err := Open("post1", 1400, netip.MustParseAddr("10.99.0.1"), []netip.Prefix{twice, twice})
	if !errors.Is(err, syscall.EEXIST) || !strings.Contains(err.Error(), "10.99.0.0/24") {
		t.Errorf("error %v", err)
	}
	if _, err := netlink.LinkByName("post1"); err == nil {
		t.Error("a device is left")
	}
}

func TestOpenRefuses(t *testing.T) {
	addr := netip.MustParseAddr("10.0.0.1")
	for _, tt := range []struct {
		name   string
		mtu    int
		addr   netip.Addr
		routes []netip.Prefix
		want   string
	}{
		{"", 1400, addr, nil, "name"},
		{"longer-than-15-octets", 1400, addr, nil, "name"},
		{"t", 67, addr, nil, "MTU"},
		{"t", 65536, addr, nil, "MTU"},
		{"t", 1400, netip.Addr{}, nil, "address"},
		{"t", 1400, netip.MustParseAddr("::1"), nil, "address"},
		{"t", 1400, netip.MustParseAddr("224.0.0.1"), nil, "address"},
		{"t", 1400, addr, []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}, "route"},
		{"t", 1400, addr, []netip.Prefix{netip.MustParsePrefix("2001:db8::/32")}, "route"},
		{"t", 1400, addr, []netip.Prefix{{}}, "route"},
	} {
		d, err := Open(tt.name, tt.mtu, tt.addr, tt.routes)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q %d %v %v: %v", tt.name, tt.mtu, tt.addr, tt.routes, err)
		}
		if d != nil {
			t.Error("a device nevertheless")
		}
	}
}

// TestPackets sends UDP from the host to an address behind the device and answers.
func TestPackets(t *testing.T) {
	inside(t)
	d := open(t)
	conn, err := net.Dial("udp4", "10.99.0.2:4000")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	const headroom, count = 24, 5
	for i := range count {
		if _, err := conn.Write([]byte{'a' + byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	bufs, sizes := make([][]byte, 8), make([]int, 8)
	for i := range bufs {
		bufs[i] = make([]byte, 2000)
	}
	var got []byte
	var batches int
	for len(got) < count {
		n, err := d.ReadBatch(bufs, sizes, headroom)
		if err != nil {
			t.Fatal(err)
		}
		batches++
		for i := range n {
			ip := bufs[i][headroom : headroom+sizes[i]]
			if to, ok := Destination(ip); !ok || to != [4]byte{10, 99, 0, 2} {
				continue // the host's IPv6 looks for routers
			}
			got = append(got, ip[len(ip)-1])
			// Back to where it came from.
			for k := range 4 {
				ip[12+k], ip[16+k] = ip[16+k], ip[12+k]
			}
			ip[20], ip[21], ip[22], ip[23] = ip[22], ip[23], ip[20], ip[21]
			ip[len(ip)-1] -= 'a' - 'A'
			binary.BigEndian.PutUint16(ip[26:], 0) // UDP without a checksum
			bad := make([]byte, headroom+3)
			if n, err := d.WriteBatch([][]byte{bad, bufs[i][:headroom+sizes[i]]}, headroom); n != 1 || err != nil {
				t.Fatalf("wrote %d of a bad packet and a good: %v", n, err)
			}
		}
	}
	if string(got) != "abcde" {
		t.Errorf("read %q", got)
	}
	if batches >= count {
		t.Errorf("%d packets took %d batches", count, batches)
	}
	answer := make([]byte, 10)
	var back []byte
	for range count {
		if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(answer)
		if err != nil {
			t.Fatal(err)
		}
		back = append(back, answer[:n]...)
	}
	if !bytes.Equal(back, []byte("ABCDE")) {
		t.Errorf("answers %q", back)
	}
}

// TestPing has the host answer a client's echo request, as `ping` sends it.
func TestPing(t *testing.T) {
	inside(t)
	d := open(t)
	request := make([]byte, 20+8+56)
	copy(request, []byte{
		0x45, 0, 0, byte(len(request)), 0, 1, 0x40, 0, 64, 1, 0, 0, 10, 99, 0, 2, 10, 99, 0, 1, // RFC 791
		8, 0, 0, 0, 0x12, 0x34, 0, 1, // RFC 792
	})
	for i := range 56 {
		request[28+i] = byte(i)
	}
	binary.BigEndian.PutUint16(request[10:], onesComplement(request[:20]))
	binary.BigEndian.PutUint16(request[22:], onesComplement(request[20:]))
	if n, err := d.WriteBatch([][]byte{request}, 0); n != 1 || err != nil {
		t.Fatalf("wrote %d: %v", n, err)
	}
	stop := time.AfterFunc(5*time.Second, func() { _ = d.Close() })
	defer stop.Stop()
	bufs, sizes := [][]byte{make([]byte, 2000)}, make([]int, 1)
	for {
		if _, err := d.ReadBatch(bufs, sizes, 0); err != nil {
			t.Fatalf("no answer: %v", err)
		}
		answer := bufs[0][:sizes[0]]
		if from, ok := Source(answer); !ok || from != [4]byte{10, 99, 0, 1} || answer[9] != 1 {
			continue // the host's IPv6 looks for routers
		}
		if to, _ := Destination(answer); to != [4]byte{10, 99, 0, 2} || answer[20] != 0 ||
			!bytes.Equal(answer[24:], request[24:]) || onesComplement(answer[20:]) != 0 {
			t.Errorf("answer %x", answer)
		}
		return
	}
}

// onesComplement is RFC 1071's checksum of an even number of octets.
func onesComplement(b []byte) uint16 {
	sum := uint32(0)
	for ; len(b) > 0; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	sum = sum&0xffff + sum>>16
	return ^uint16(sum + sum>>16)
}

func TestCloseUnblocksRead(t *testing.T) {
	inside(t)
	d := open(t)
	result := make(chan error, 1)
	go func() {
		bufs, sizes := [][]byte{make([]byte, 2000)}, make([]int, 1)
		for {
			if _, err := d.ReadBatch(bufs, sizes, 0); err != nil {
				result <- err
				return
			}
		}
	}()
	time.Sleep(20 * time.Millisecond) // real: the kernel has no virtual clock
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-result:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("read ended with %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("read is still blocked")
	}
	if _, err := d.WriteBatch([][]byte{make([]byte, 20)}, 0); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after Close: %v", err)
	}
}

// A child process must not keep the device after Close.
func TestChildDoesNotInherit(t *testing.T) {
	inside(t)
	d := open(t)
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	}()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := netlink.LinkByName("post0"); err == nil {
		t.Error("the child kept the device")
	}
}

func TestBatchesAllocateNothing(t *testing.T) {
	inside(t)
	d := open(t)
	conn, err := net.Dial("udp4", "10.99.0.2:4000")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	bufs, sizes := [][]byte{make([]byte, 2000), make([]byte, 2000)}, make([]int, 2)
	out := make([][]byte, 1)
	payload := []byte("x")
	if n := testing.AllocsPerRun(200, func() {
		if _, err := conn.Write(payload); err != nil {
			t.Fatal(err)
		}
		n, err := d.ReadBatch(bufs, sizes, 0)
		if err != nil {
			t.Fatal(err)
		}
		out[0] = bufs[n-1][:sizes[n-1]]
		if _, err := d.WriteBatch(out, 0); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}
