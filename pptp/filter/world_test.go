package filter

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The tests' world is a network namespace with three TUN devices. The kernel between
// them is the node; the test plays everybody else, packet by packet:
//
//	clients, 10.9.0.0/24 ── tun0 ─┐
//	hosts, 10.20.0.0/16 ─── lan0 ─┼─ 10.9.0.1, 10.20.255.254, 192.0.2.1
//	Internet, the rest ──── wan0 ─┘
type world struct {
	t             testing.TB
	tun, lan, wan *port
}

var (
	alice   = addr("10.9.0.10")
	bob     = addr("10.9.0.11")
	inside  = addr("10.9.0.1")
	server  = addr("10.20.0.5")
	printer = addr("10.20.7.9")
	lanSelf = addr("10.20.255.254")
	wanSelf = addr("192.0.2.1")
	dialer  = addr("198.51.100.20") // where a client dials from
	website = addr("203.0.113.80")
)

// port is one of the devices, seen from outside.
type port struct {
	name string
	file *os.File
	in   chan []byte
}

// patient is for what must happen.
const patient = 20 * time.Second

// newWorld gives the test a network namespace of its own, until it ends.
func newWorld(t testing.TB) *world {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("skipped: nftables needs root")
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
	for name, value := range map[string]string{
		"ip_forward": "1", "conf/all/rp_filter": "0", "conf/default/rp_filter": "0",
		"icmp_ratelimit": "0", // the table's own limit is what is looked at
	} {
		if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	up(t, "lo")
	w := &world{t: t}
	w.tun = newPort(t, "tun0", "10.9.0.1/32", "10.9.0.0/24")
	w.lan = newPort(t, "lan0", "10.20.255.254/32", "10.20.0.0/16")
	w.wan = newPort(t, "wan0", "192.0.2.1/32", "0.0.0.0/0")
	return w
}

func up(t testing.TB, name string) netlink.Link {
	t.Helper()
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		t.Fatal(err)
	}
	return link
}

func newPort(t testing.TB, name, address, route string) *port {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		t.Fatal(err)
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		t.Fatal(err)
	}
	p := &port{name: name, file: os.NewFile(uintptr(fd), name), in: make(chan []byte, 4096)}
	done := make(chan struct{})
	go func() { // ends when the file is closed
		defer close(done)
		for {
			b := make([]byte, 65536)
			n, err := p.file.Read(b)
			if err != nil {
				return
			}
			if b[0]>>4 == 4 { // the kernel also looks for IPv6 routers
				p.in <- b[:n]
			}
		}
	}()
	t.Cleanup(func() {
		p.file.Close()
		for {
			select {
			case <-p.in:
			case <-done:
				return
			}
		}
	})
	link := up(t, name)
	a, err := netlink.ParseAddr(address)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetMTU(link, 1400); err != nil {
		t.Fatal(err)
	}
	if err := netlink.AddrAdd(link, a); err != nil {
		t.Fatal(err)
	}
	_, dst, err := net.ParseCIDR(route)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: dst, Scope: netlink.SCOPE_LINK}); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *port) send(t testing.TB, b []byte) {
	t.Helper()
	if _, err := p.file.Write(b); err != nil {
		t.Fatal(err)
	}
}

// receive waits for a packet that fits.
func (p *port) receive(t testing.TB, what string, fits func(packet) bool) packet {
	t.Helper()
	end := time.After(patient)
	for {
		select {
		case b := <-p.in:
			if q, ok := parsePacket(b); ok && fits(q) {
				return q
			}
		case <-end:
			t.Fatalf("%s: nothing of the kind came out of %s", what, p.name)
		}
	}
}

// packet is what the tests look at in one.
type packet struct {
	proto        Protocol
	src, dst     netip.Addr
	sport, dport uint16 // of TCP and UDP; type and code of ICMP
	flags        byte   // of TCP
	seq, ack     uint32 // of TCP; 0: one that fits
	mss          uint16 // in a SYN
	payload      []byte
}

func (p packet) String() string {
	return fmt.Sprintf("%v %v:%d > %v:%d flags %#x", p.proto, p.src, p.sport, p.dst, p.dport, p.flags)
}

func udp(src netip.Addr, sport uint16, dst netip.Addr, dport uint16) packet {
	return packet{proto: UDP, src: src, dst: dst, sport: sport, dport: dport}
}

func tcp(src netip.Addr, sport uint16, dst netip.Addr, dport uint16, flags byte) packet {
	return packet{proto: TCP, src: src, dst: dst, sport: sport, dport: dport, flags: flags}
}

func echo(src, dst netip.Addr) packet {
	return packet{proto: ICMP, src: src, dst: dst, sport: icmpEchoRequest}
}

// answer is what the other side says.
func (p packet) answer() packet {
	p.src, p.dst = p.dst, p.src
	switch p.proto {
	case ICMP:
		p.sport = 0 // echo reply
	case TCP:
		p.sport, p.dport, p.flags = p.dport, p.sport, tcpSYN|tcpACK
	default:
		p.sport, p.dport = p.dport, p.sport
	}
	return p
}

const (
	tcpACK          = 0x10
	icmpUnreachable = 3
)

// like holds for the packet itself, at the other end of the node.
func (p packet) like(q packet) bool {
	return p.proto == q.proto && p.src == q.src && p.dst == q.dst && p.sport == q.sport && p.dport == q.dport && p.flags == q.flags
}

func (p packet) bytes() []byte {
	var body []byte
	switch p.proto { //nolint:exhaustive // of other protocols there is nothing but payload
	case UDP:
		body = binary.BigEndian.AppendUint16(nil, p.sport)
		body = binary.BigEndian.AppendUint16(body, p.dport)
		body = binary.BigEndian.AppendUint16(body, uint16(8+len(p.payload)))
		body = append(body, 0, 0) // no checksum
	case TCP:
		body = make([]byte, 20, 24)
		binary.BigEndian.PutUint16(body, p.sport)
		binary.BigEndian.PutUint16(body[2:], p.dport)
		binary.BigEndian.PutUint32(body[4:], cmp.Or(p.seq, 1000))
		if p.flags&tcpACK != 0 {
			binary.BigEndian.PutUint32(body[8:], cmp.Or(p.ack, 1001))
		}
		body[13] = p.flags
		binary.BigEndian.PutUint16(body[14:], 64000)
		if p.mss != 0 {
			body = append(body, 2, 4, byte(p.mss>>8), byte(p.mss))
		}
		body[12] = byte(len(body) / 4 << 4)
	case ICMP:
		body = []byte{byte(p.sport), byte(p.dport), 0, 0, 0x12, 0x34, 0, 1}
	}
	body = append(body, p.payload...)
	switch p.proto { //nolint:exhaustive // the others have none
	case ICMP:
		binary.BigEndian.PutUint16(body[2:], sum(0, body))
	case TCP:
		pseudo := append(p.src.AsSlice(), p.dst.AsSlice()...)
		pseudo = append(pseudo, 0, byte(TCP), byte(len(body)>>8), byte(len(body)))
		binary.BigEndian.PutUint16(body[16:], sum(^sum(0, pseudo), body))
	}
	b := make([]byte, 20, 20+len(body))
	b[0] = 0x45
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(body)))
	b[8], b[9] = 64, byte(p.proto)
	copy(b[12:], p.src.AsSlice())
	copy(b[16:], p.dst.AsSlice())
	binary.BigEndian.PutUint16(b[10:], sum(0, b))
	return append(b, body...)
}

// sum is RFC 1071's.
func sum(start uint16, b []byte) uint16 {
	s := uint32(start)
	for i := 0; i+1 < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 != 0 {
		s += uint32(b[len(b)-1]) << 8
	}
	s = s&0xffff + s>>16
	return ^uint16(s&0xffff + s>>16)
}

func parsePacket(b []byte) (p packet, ok bool) {
	if len(b) < 24 {
		return p, false
	}
	p.proto, p.src, p.dst = Protocol(b[9]), netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	body := b[int(b[0]&15)*4:]
	switch p.proto {
	case TCP:
		p.flags, p.seq = body[13], binary.BigEndian.Uint32(body[4:])
		if n := int(body[12] >> 4 * 4); n >= 24 && body[20] == 2 {
			p.mss = binary.BigEndian.Uint16(body[22:])
		}
		fallthrough
	case UDP:
		p.sport, p.dport = binary.BigEndian.Uint16(body), binary.BigEndian.Uint16(body[2:])
	case ICMP:
		p.sport, p.dport = uint16(body[0]), uint16(body[1])
		p.payload = body[8:]
	default:
		p.payload = body
	}
	return p, true
}

// passes sends a packet and wants it at the other end.
func (w *world) passes(p packet, from, to *port) packet {
	w.t.Helper()
	from.send(w.t, p.bytes())
	return to.receive(w.t, p.String(), p.like)
}

// flows is passes, there and back: the answer must get through, too.
func (w *world) flows(p packet, from, to *port) {
	w.t.Helper()
	w.passes(p, from, to)
	w.passes(p.answer(), to, from)
}

// drops sends a packet and wants a counter to count it.
func (w *world) drops(table *Table, p packet, from *port, counter string) {
	w.t.Helper()
	was := value(w.t, table, counter)
	from.send(w.t, p.bytes())
	for end := time.Now().Add(patient); value(w.t, table, counter) == was; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("%v was not counted as %s; counters: %v", p, counter, values(w.t, table))
		}
	}
}

// prohibited sends a packet and wants the ICMP error for it (RFC 1812 §5.2.7.1).
func (w *world) prohibited(p packet, from *port) {
	w.t.Helper()
	from.send(w.t, p.bytes())
	from.receive(w.t, p.String(), func(q packet) bool {
		if q.proto != ICMP || q.sport != icmpUnreachable || q.dport != icmpAdminProhibited || q.dst != p.src {
			return false
		}
		about, ok := parsePacket(append(q.payload, make([]byte, 20)...))
		return ok && about.src == p.src && about.dst == p.dst && about.proto == p.proto
	})
}

func values(t testing.TB, table *Table) map[string]tally {
	t.Helper()
	all := map[string]tally{}
	if err := table.reader.counters(func(name string, v tally) { all[name] = v }); err != nil {
		t.Fatal(err)
	}
	return all
}

func value(t testing.TB, table *Table, counter string) uint64 {
	t.Helper()
	return values(t, table)[counter].packets
}

func config() Config { return Config{Tun: "tun0", Inside: inside} }

func open(t testing.TB, cfg Config) *Table {
	t.Helper()
	table, err := Open(cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := table.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	return table
}

// known is how many clients the table knows.
func known(table *Table) int { return int(table.metric.clients.Load()) }

func login(t testing.TB, table *Table, c Client) Lease {
	t.Helper()
	l, err := table.Set(c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// nft runs the tool, which only tests do.
func nft(t testing.TB, args ...string) string {
	t.Helper()
	return run(t, "nft", args...)
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
