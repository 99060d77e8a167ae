package gre

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

var (
	node   = netip.MustParseAddr("127.0.0.1")
	client = netip.MustParseAddr("127.0.0.2")
	third  = netip.MustParseAddr("127.0.0.3")
)

// inside gives the test a network namespace of its own with a loopback device of
// MTU 1500: nobody else's GRE, and fragments.
func inside(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("skipped: a raw socket needs root")
	}
	runtime.LockOSThread()
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
			t.Error(err) // the thread stays locked and dies with the test
			return
		}
		runtime.UnlockOSThread()
	})
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(netlink.LinkSetMTU(lo, 1500), netlink.LinkSetUp(lo)); err != nil {
		t.Fatal(err)
	}
}

func listen(t testing.TB, addr netip.Addr) *Socket {
	t.Helper()
	c, err := Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	return c.(*Socket)
}

func messages(count, size int) []Message {
	ms := make([]Message, count)
	for i := range ms {
		ms[i].Buf = make([]byte, size)
	}
	return ms
}

// collect reads count packets, as "address octets", and fails after some seconds.
func collect(t *testing.T, s *Socket, ms []Message, count int) []string {
	t.Helper()
	stop := time.AfterFunc(5*time.Second, func() { _ = s.Close() })
	defer stop.Stop()
	var got []string
	for len(got) < count {
		n, err := s.ReadBatch(ms)
		if err != nil {
			t.Fatalf("read %v of %d packets: %v", got, count, err)
		}
		for _, m := range ms[:n] {
			got = append(got, fmt.Sprintf("%v %s", m.Addr, m.Buf[:m.N]))
		}
	}
	return got
}

func TestSocket(t *testing.T) {
	inside(t)
	a, b := listen(t, node), listen(t, client)
	other := listen(t, third)
	var out []Message
	var want []string
	for i := range 3*batchSize + 5 {
		text := fmt.Sprintf("packet %d", i)
		out = append(out, Message{Buf: []byte(text + "beyond"), N: len(text), Addr: node})
		want = append(want, "127.0.0.2 "+text)
	}
	if n, err := b.WriteBatch(out); n != len(out) || err != nil {
		t.Fatalf("wrote %d of %d: %v", n, len(out), err)
	}
	if got := collect(t, a, messages(200, 2048), len(want)); !slices.Equal(got, want) {
		t.Errorf("read %q", got)
	}
	if n, err := a.WriteBatch([]Message{{Buf: []byte("back"), N: 4, Addr: client}}); n != 1 || err != nil {
		t.Errorf("wrote %d: %v", n, err)
	}
	if got := collect(t, b, messages(1, 100), 1); got[0] != "127.0.0.1 back" {
		t.Errorf("read %q", got)
	}
	for _, s := range []*Socket{a, b, other} {
		if d := s.Drops(); d != (Drops{}) {
			t.Errorf("drops %+v", d)
		}
	}
	if n, err := a.ReadBatch(nil); n != 0 || err != nil {
		t.Errorf("nothing to read to: %d, %v", n, err)
	}
}

func TestSocketOnAllAddresses(t *testing.T) {
	inside(t)
	a, b := listen(t, netip.IPv4Unspecified()), listen(t, client)
	for _, to := range []netip.Addr{node, third} {
		if n, err := b.WriteBatch([]Message{{Buf: []byte("x"), N: 1, Addr: to}}); n != 1 || err != nil {
			t.Fatalf("wrote %d to %v: %v", n, to, err)
		}
	}
	if got := collect(t, a, messages(1, 100), 2); !slices.Equal(got, []string{"127.0.0.2 x", "127.0.0.2 x"}) {
		t.Errorf("read %q", got)
	}
}

// raw sends a datagram whose header is the test's.
func raw(t *testing.T, to netip.Addr, packets ...[]byte) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.IPPROTO_RAW)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(fd) }()
	for _, p := range packets {
		if err := syscall.Sendto(fd, p, 0, &syscall.SockaddrInet4{Addr: to.As4()}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSocketOptions(t *testing.T) {
	inside(t)
	a := listen(t, node)
	src, dst := client.As4(), node.As4()
	long := bytes.Repeat([]byte{1}, 40)
	raw(t, node,
		append(datagram(src, dst, []byte{1, 1, 1, 0}, 0), "behind options"...),
		append(datagram(src, dst, nil, 0), "without"...),
		append(datagram(src, dst, long, 0), "behind all of them"...),
		datagram(src, dst, long, 0))
	want := []string{"127.0.0.2 behind options", "127.0.0.2 without", "127.0.0.2 behind all of them", "127.0.0.2 "}
	if got := collect(t, a, messages(4, 200), 4); !slices.Equal(got, want) {
		t.Errorf("read %q", got)
	}
}

// Fragments arrive as one, whoever made them, in whatever order.
func TestSocketFragments(t *testing.T) {
	inside(t)
	a, b := listen(t, node), listen(t, client)
	src, dst := client.As4(), node.As4()
	head := append(datagram(src, dst, []byte{1, 1, 1, 0}, 1), "12345678"...)
	tail := append(datagram(src, dst, nil, 8), "9 and the end"...)
	head[4], tail[4] = 9, 9 // identification
	raw(t, node, tail, head)
	if got := collect(t, a, messages(4, 200), 1); got[0] != "127.0.0.2 123456789 and the end" {
		t.Errorf("read %q", got)
	}
	big := bytes.Repeat([]byte("0123456789"), 500)
	if n, err := b.WriteBatch([]Message{{Buf: big, N: len(big), Addr: node}}); n != 1 || err != nil {
		t.Fatalf("wrote %d: %v", n, err)
	}
	if got := collect(t, a, messages(4, 5000), 1); got[0] != "127.0.0.2 "+string(big) {
		t.Errorf("read %d octets", len(got[0]))
	}
}

// It is the kernel that puts fragments together, however many and in any order,
// and nothing comes of a packet that misses one.
func TestSocketManyFragments(t *testing.T) {
	inside(t)
	a := listen(t, node)
	src, dst := client.As4(), node.As4()
	cut := func(id byte, payload []byte) (all [][]byte) {
		const size = 512
		for at := 0; at < len(payload); at += size {
			end, more := at+size, 1
			if end >= len(payload) {
				end, more = len(payload), 0
			}
			b := append(datagram(src, dst, nil, at|more), payload[at:end]...)
			b[4] = id
			all = append(all, b)
		}
		return all
	}
	before := snmp(t, "ReasmOKs")
	long := bytes.Repeat([]byte("60000 octets"), 5000)
	all := cut(1, long)
	slices.Reverse(all)
	all[3], all[70] = all[70], all[3]
	raw(t, node, all...)
	raw(t, node, cut(2, make([]byte, 1400))[1:]...)
	raw(t, node, append(datagram(src, dst, nil, 0), "whole"...))
	if got := collect(t, a, messages(4, 65536), 2); got[0] != "127.0.0.2 "+string(long) || got[1] != "127.0.0.2 whole" {
		t.Errorf("read %d and %d octets", len(got[0]), len(got[1]))
	}
	if n := snmp(t, "ReasmOKs") - before; n != 1 {
		t.Errorf("the kernel put %d packets together", n)
	}
	if d := a.Drops(); d != (Drops{}) {
		t.Errorf("drops %+v", d)
	}
}

// snmp is one of the namespace's counters of IPv4.
func snmp(t *testing.T, name string) int {
	t.Helper()
	text, err := os.ReadFile("/proc/thread-self/net/snmp")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	n, err := strconv.Atoi(strings.Fields(lines[1])[slices.Index(strings.Fields(lines[0]), name)])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Routers may fragment what we send: the bit that forbids it is clear, also in
// what fits.
func TestSocketMayBeFragmented(t *testing.T) {
	inside(t)
	a := listen(t, node)
	sniffer, err := net.ListenIP("ip4:47", &net.IPAddr{IP: client.AsSlice()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sniffer.Close() }()
	long := make([]byte, 3000)
	if n, err := a.WriteBatch([]Message{{Buf: long, N: 100, Addr: client}, {Buf: long, N: 3000, Addr: client}}); n != 2 || err != nil {
		t.Fatalf("wrote %d: %v", n, err)
	}
	for _, size := range []int{100, 3000} {
		b := make([]byte, 4000)
		if err := sniffer.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if n, _, _, _, err := sniffer.ReadMsgIP(b, nil); n != ipv4Header+size || err != nil || b[6]&0x40 != 0 {
			t.Errorf("%d octets, header %x: %v", n, b[:ipv4Header], err)
		}
	}
	if n := snmp(t, "FragCreates"); n != 3 {
		t.Errorf("%d fragments made", n)
	}
}

func TestSocketBuffers(t *testing.T) {
	inside(t)
	conn, err := listen(t, node).ip.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Control(func(fd uintptr) {
		for _, opt := range []int{syscall.SO_RCVBUF, syscall.SO_SNDBUF} {
			// Linux doubles the figure for its own book-keeping.
			if n, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, opt); n != 2*socketBuffer || err != nil {
				t.Errorf("option %d: %d octets, %v", opt, n, err)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
}

// A packet longer than its buffer is left out, and those around it are not; the
// buffers stay the caller's, all different.
func TestSocketTooLong(t *testing.T) {
	inside(t)
	a, b := listen(t, node), listen(t, client)
	for _, size := range []int{10, 101, 100, 1400, 30} {
		if n, err := b.WriteBatch([]Message{{Buf: make([]byte, size), N: size, Addr: node}}); n != 1 || err != nil {
			t.Fatalf("wrote %d: %v", n, err)
		}
	}
	ms := messages(5, 100)
	var sizes []int
	for len(sizes) < 3 {
		n, err := a.ReadBatch(ms)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range ms[:n] {
			sizes = append(sizes, m.N)
		}
	}
	if !slices.Equal(sizes, []int{10, 100, 30}) || a.Drops().Malformed != 2 {
		t.Errorf("read %v, drops %+v", sizes, a.Drops())
	}
	seen := map[*byte]bool{}
	for _, m := range ms {
		seen[&m.Buf[0]] = true
	}
	if len(seen) != len(ms) {
		t.Error("a buffer is there twice")
	}
}

// What the network does not take concerns one packet.
func TestSocketUnsent(t *testing.T) {
	inside(t)
	a, b := listen(t, node), listen(t, client)
	good := Message{Buf: []byte("good"), N: 4, Addr: node}
	far := Message{Buf: []byte("far"), N: 3, Addr: netip.MustParseAddr("198.51.100.1")} // no route
	none := Message{Buf: []byte("none"), N: 4}
	v6 := Message{Buf: []byte("six"), N: 3, Addr: netip.IPv6Loopback()}
	huge := Message{Buf: make([]byte, 70000), N: 70000, Addr: node}
	out := []Message{far, good, none, good, far, far, v6, huge, good, far}
	if n, err := b.WriteBatch(out); n != 3 || err != nil {
		t.Errorf("wrote %d: %v", n, err)
	}
	if got := collect(t, a, messages(10, 100), 3); len(got) != 3 {
		t.Errorf("read %q", got)
	}
	if d := b.Drops(); d != (Drops{Unsent: 7}) {
		t.Errorf("drops %+v", d)
	}
}

// The same of routes that say no, each with an error of its own, time and again.
func TestSocketRoutesThatRefuse(t *testing.T) {
	inside(t)
	a, b := listen(t, node), listen(t, client)
	var out []Message
	for i, kind := range []int{syscall.RTN_UNREACHABLE, syscall.RTN_PROHIBIT, syscall.RTN_BLACKHOLE} {
		to := [4]byte{198, 51, 100, byte(i)}
		if err := netlink.RouteAdd(&netlink.Route{Type: kind, Dst: &net.IPNet{IP: to[:], Mask: net.CIDRMask(32, 32)}}); err != nil {
			t.Fatal(err)
		}
		out = append(out, Message{Buf: []byte("bad"), N: 3, Addr: netip.AddrFrom4(to)}, Message{Buf: []byte("good"), N: 4, Addr: node})
	}
	for range 3 {
		if n, err := b.WriteBatch(out); n != 3 || err != nil {
			t.Errorf("wrote %d: %v", n, err)
		}
		if got := collect(t, a, messages(10, 100), 3); len(got) != 3 {
			t.Errorf("read %q", got)
		}
	}
	if d := b.Drops(); d != (Drops{Unsent: 9}) {
		t.Errorf("drops %+v", d)
	}
}

func TestFatal(t *testing.T) {
	var s Socket
	for err, want := range map[error]bool{
		syscall.ECONNREFUSED: false, syscall.EHOSTUNREACH: false, syscall.ENETUNREACH: false, syscall.ENOPROTOOPT: false,
		syscall.EPROTO: false, syscall.EPERM: false, syscall.ENOBUFS: false, syscall.ENOMEM: false, syscall.EMSGSIZE: false,
		syscall.EBADF: true, syscall.ENOTSOCK: true, net.ErrClosed: true,
	} {
		if got := s.fatal(&net.OpError{Op: "read", Err: os.NewSyscallError("recvmmsg", err)}); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
	s.closed.Store(true)
	if !s.fatal(syscall.EPERM) || !errors.Is(s.cause("read", syscall.EPERM), net.ErrClosed) {
		t.Error("closed, and it goes on")
	}
}

// An ICMP message about one peer must not end the reading for all. Linux gives
// them to a socket of ours only when it asks, so this one does.
func TestSocketICMP(t *testing.T) {
	inside(t)
	a, b := listen(t, node), listen(t, client)
	conn, err := a.ip.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(conn.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_RECVERR, 1)
	}), err); err != nil {
		t.Fatal(err)
	}
	for range 3 { // nobody has GRE open there: protocol unreachable
		if _, err := a.WriteBatch([]Message{{Buf: []byte("at least 8"), N: 10, Addr: third}}); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := b.WriteBatch([]Message{{Buf: []byte("good"), N: 4, Addr: node}}); n != 1 || err != nil {
		t.Fatalf("wrote %d: %v", n, err)
	}
	if got := collect(t, a, messages(10, 100), 1); got[0] != "127.0.0.2 good" {
		t.Errorf("read %q", got)
	}
	if d := a.Drops(); d.Errors+d.Unsent == 0 {
		t.Errorf("no ICMP message came: %+v", d)
	}
}

func TestSocketClose(t *testing.T) {
	inside(t)
	a := listen(t, node)
	var reader sync.WaitGroup
	reader.Go(func() {
		if n, err := a.ReadBatch(messages(4, 100)); n != 0 || !errors.Is(err, net.ErrClosed) {
			t.Errorf("read %d: %v", n, err)
		}
	})
	time.Sleep(20 * time.Millisecond) // real: the kernel has no virtual clock
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	reader.Wait()
	if _, err := a.ReadBatch(messages(4, 100)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read: %v", err)
	}
	if _, err := a.WriteBatch([]Message{{Buf: []byte("x"), N: 1, Addr: client}}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("wrote: %v", err)
	}
	if err := a.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
	if d := a.Drops(); d.Unsent != 0 {
		t.Errorf("drops %+v", d)
	}
}

func TestSocketManyWriters(t *testing.T) {
	inside(t)
	a, b := listen(t, node), listen(t, client)
	const writers, each = 4, 100
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for range each {
				m := Message{Buf: bytes.Repeat([]byte{'a' + byte(w)}, 10), N: 10, Addr: node}
				if n, err := b.WriteBatch([]Message{m, m}); n != 2 || err != nil {
					t.Errorf("wrote %d: %v", n, err)
				}
			}
		})
	}
	got := collect(t, a, messages(30, 100), writers*each*2)
	all.Wait()
	for _, g := range got {
		if body := g[len("127.0.0.2 "):]; len(body) != 10 || body != string(bytes.Repeat([]byte{body[0]}, 10)) {
			t.Fatalf("mixed up: %q", g)
		}
	}
}

func TestListenRefuses(t *testing.T) {
	for _, addr := range []netip.Addr{{}, netip.IPv6Unspecified(), netip.MustParseAddr("::ffff:127.0.0.1")} {
		if c, err := Listen(addr); err == nil || c != nil {
			t.Errorf("%v: %v", addr, err)
		}
	}
	inside(t)
	if _, err := Listen(netip.MustParseAddr("198.51.100.1")); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("an address that is not ours: %v", err)
	}
}

func exchange(t testing.TB, a, b *Socket, out, in []Message) {
	if n, err := b.WriteBatch(out); n != len(out) || err != nil {
		t.Fatalf("wrote %d: %v", n, err)
	}
	for got := 0; got < len(out); {
		n, err := a.ReadBatch(in)
		if err != nil {
			t.Fatal(err)
		}
		got += n
	}
}

func TestSocketAllocatesNothing(t *testing.T) {
	inside(t)
	a, b := listen(t, node), listen(t, client)
	out, in := messages(16, 1400), messages(16, 1500)
	for i := range out {
		out[i].N, out[i].Addr = 1400, node
	}
	// The race detector has sync.Pool forget on purpose, what a system call needs;
	// then it must still be none a packet.
	limit := 0.0
	if raceEnabled() {
		limit = 15
	}
	if n := testing.AllocsPerRun(100, func() { exchange(t, a, b, out, in) }); n > limit {
		t.Errorf("%v allocations for 16 packets sent and received", n)
	}
}

func raceEnabled() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func BenchmarkSocket(b *testing.B) {
	inside(b)
	s, c := listen(b, node), listen(b, client)
	for _, count := range []int{1, 64} {
		b.Run(fmt.Sprintf("batch-%d", count), func(b *testing.B) {
			out, in := messages(count, 1400), messages(count, 1500)
			for i := range out {
				out[i].N, out[i].Addr = 1400, node
			}
			b.ReportAllocs()
			for b.Loop() {
				exchange(b, s, c, out, in)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*count), "ns/packet")
		})
	}
}
