package filter

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// grePacket is one of the tunnels' (RFC 2637 §4.1).
func grePacket(src, dst netip.Addr) packet {
	return packet{proto: GRE, src: src, dst: dst, payload: []byte{0x30, 1, 0x88, 0x0b, 0, 0, 0, 1, 0, 0, 0, 0}}
}

// rst is what the kernel says where nobody listens: the packet has passed.
func (w *world) rst(p packet, via *port) {
	w.t.Helper()
	via.send(w.t, p.bytes())
	via.receive(w.t, p.String(), func(q packet) bool {
		return q.proto == TCP && q.flags&tcpRST != 0 && q.src == p.dst && q.dst == p.src && q.sport == p.dport && q.dport == p.sport
	})
}

// pong is the answer to a ping.
func (w *world) pong(p packet, via *port) {
	w.t.Helper()
	via.send(w.t, p.bytes())
	via.receive(w.t, p.String(), p.answer().like)
}

func TestSourcesOfTunnels(t *testing.T) {
	w := newWorld(t)
	raw, err := net.ListenPacket("ip4:47", "0.0.0.0")
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	gre := func(src, dst netip.Addr) {
		t.Helper()
		w.wan.send(t, grePacket(src, dst).bytes())
		if err := raw.SetReadDeadline(time.Now().Add(patient)); err != nil {
			t.Fatal(err)
		}
		if _, from, err := raw.ReadFrom(make([]byte, 100)); err != nil || from.String() != src.String() {
			t.Errorf("GRE of %v: from %v, %v", src, from, err)
		}
	}
	pptp := func(src, dst netip.Addr) packet { return tcp(src, 40000, dst, pptpPort, tcpSYN) }

	cfg := config()
	cfg.Listen = wanSelf
	cfg.Allowed = []netip.Prefix{prefix("198.51.100.0/24"), prefix("203.0.113.80/32"), prefix("198.51.100.128/25"), prefix("2001:db8::/32")}
	table := open(t, cfg)
	for _, src := range []netip.Addr{dialer, addr("198.51.100.0"), addr("198.51.100.255"), website} {
		w.rst(pptp(src, wanSelf), w.wan)
		gre(src, wanSelf)
	}
	for _, src := range []netip.Addr{addr("198.51.99.255"), addr("198.51.101.0"), addr("203.0.113.81"), addr("0.0.0.1"), addr("223.255.255.255")} {
		w.drops(table, pptp(src, wanSelf), w.wan, countSource)
		w.drops(table, grePacket(src, wanSelf), w.wan, countSource)
	}
	// Another address of the host, another port: not ours.
	w.rst(pptp(addr("203.0.113.81"), lanSelf), w.wan)
	w.rst(tcp(addr("203.0.113.81"), 40000, wanSelf, 22, tcpSYN), w.wan)
	gre(addr("203.0.113.81"), lanSelf)

	// Everywhere the host is: also there.
	cfg.Listen = netip.Addr{}
	if err := table.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	w.drops(table, pptp(addr("203.0.113.81"), lanSelf), w.wan, countSource)

	// A source that is taken away is cut off at once, one that comes is let in.
	cfg.Allowed = []netip.Prefix{prefix("203.0.113.81/32")}
	if err := table.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	w.drops(table, grePacket(dialer, wanSelf), w.wan, countSource)
	gre(addr("203.0.113.81"), wanSelf)

	// All addresses, in both spellings.
	for _, all := range [][]netip.Prefix{{anyone}, nil} {
		cfg.Allowed = all
		if err := table.Apply(cfg); err != nil {
			t.Fatal(err)
		}
		gre(dialer, wanSelf)
		gre(addr("1.0.0.1"), wanSelf)
		w.rst(pptp(addr("223.255.255.255"), wanSelf), w.wan)
	}
}

// One source's flood is cut; another one's packets pass meanwhile.
func TestGRERate(t *testing.T) {
	w := newWorld(t)
	raw, err := net.ListenPacket("ip4:47", "0.0.0.0")
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	cfg := config()
	cfg.GREPerSource = 10 // the socket keeps what passes until it is read
	table := open(t, cfg)
	const sent = 2000
	began := time.Now()
	for range sent {
		w.wan.send(t, grePacket(dialer, wanSelf).bytes())
	}
	w.wan.send(t, grePacket(website, wanSelf).bytes())
	passed := 0
	for b := make([]byte, 100); ; passed++ {
		if err := raw.SetReadDeadline(time.Now().Add(patient)); err != nil {
			t.Fatal(err)
		}
		_, from, err := raw.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		if from.String() == website.String() {
			break
		}
	}
	took := time.Since(began)
	limited := int(value(t, table, countGRE))
	if passed+limited != sent {
		t.Errorf("%d passed and %d counted of %d", passed, limited, sent)
	}
	// The burst, and the rate for as long as it took.
	if most := 10 + int(took.Seconds()*10) + 2; passed < 10 || passed > most {
		t.Errorf("%d of %d packets passed in %v, 10 to %d wanted", passed, sent, took, most)
	}
	// What is kept of sources has bounds in number and time.
	if list := nft(t, "list", "set", "ip", "postern_tun0", setGRE); !strings.Contains(list, "expires") || !strings.Contains(list, "size 32768") || !strings.Contains(list, "timeout 30s") {
		t.Error(list)
	}
	// Another rate holds at once, none too.
	for _, rate := range []int{1000, 0} {
		cfg.GREPerSource = rate
		if err := table.Apply(cfg); err != nil {
			t.Fatal(err)
		}
		was := value(t, table, countGRE)
		for range 500 {
			w.wan.send(t, grePacket(dialer, wanSelf).bytes())
			if err := raw.SetReadDeadline(time.Now().Add(patient)); err != nil {
				t.Fatal(err)
			}
			if _, _, err := raw.ReadFrom(make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
		}
		if n := value(t, table, countGRE) - was; n != 0 {
			t.Errorf("%d packets limited at %d a second", n, rate)
		}
	}
}

// What clients may send to the node itself.
func TestNodeItself(t *testing.T) {
	w := newWorld(t)
	cfg := config()
	cfg.CaptivePort = 8080
	cfg.Portal = []netip.AddrPort{service("10.20.255.254:443")} // on this host
	cfg.AllowToNode = []netip.AddrPort{service("10.20.255.254:2222")}
	table := open(t, cfg)
	l := login(t, table, Client{Addr: alice, DNS: []netip.Addr{lanSelf, server}})
	held := login(t, table, Client{Addr: bob, Quarantine: true, DNS: []netip.Addr{lanSelf, server}})

	for _, who := range []netip.Addr{alice, bob} {
		w.pong(echo(who, inside), w.tun)
		w.rst(tcp(who, 1, lanSelf, 443, tcpSYN), w.tun)
		w.rst(tcp(who, 1, lanSelf, 53, tcpSYN), w.tun)
	}
	w.rst(tcp(alice, 2, lanSelf, 2222, tcpSYN), w.tun)
	w.rst(tcp(bob, 2, inside, 8080, tcpSYN), w.tun)
	for _, p := range []packet{
		echo(alice, lanSelf), echo(alice, wanSelf), // the other addresses, though they are the same host's
		tcp(alice, 3, inside, 22, tcpSYN),
		tcp(alice, 3, inside, 443, tcpSYN),
		tcp(alice, 3, inside, 53, tcpSYN),
		udp(alice, 3, inside, 53),
		udp(alice, 3, lanSelf, 54),
		udp(alice, 3, lanSelf, 443),
		tcp(alice, 3, inside, 2222, tcpSYN),
		tcp(alice, 3, wanSelf, pptpPort, tcpSYN), // no tunnel in the tunnel
		grePacket(alice, wanSelf),
	} {
		w.drops(table, p, w.tun, countNode)
	}
	// No quarantine, no captive port; but a browser is not left waiting.
	was := value(t, table, countNode)
	w.rst(tcp(alice, 3, inside, 8080, tcpSYN), w.tun)
	if value(t, table, countNode) != was+1 {
		t.Error("not counted")
	}
	w.prohibited(tcp(bob, 3, inside, 22, tcpSYN), w.tun)
	w.prohibited(tcp(bob, 3, lanSelf, 2222, tcpSYN), w.tun)
	w.prohibited(udp(bob, 3, inside, 53), w.tun)

	// Answers to what the host asks of a client pass.
	conn, err := net.ListenPacket("udp4", "10.9.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	own := conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	w.drops(table, udp(alice, 7, inside, own), w.tun, countNode)
	if _, err := conn.WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(alice, 7))); err != nil {
		t.Fatal(err)
	}
	w.tun.receive(t, "the host's question", udp(inside, own, alice, 7).like)
	w.tun.send(t, udp(alice, 7, inside, own).bytes())
	if err := conn.SetReadDeadline(time.Now().Add(patient)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := conn.ReadFrom(make([]byte, 100)); err != nil {
		t.Errorf("the answer: %v", err)
	}

	// What a login does not say any more ends.
	if err := table.Change(l, Client{Addr: alice, DNS: []netip.Addr{server}}); err != nil {
		t.Fatal(err)
	}
	w.drops(table, tcp(alice, 4, lanSelf, 53, tcpSYN), w.tun, countNode)
	if err := table.Change(held, Client{Addr: bob}); err != nil {
		t.Fatal(err)
	}
	w.drops(table, tcp(bob, 4, lanSelf, 53, tcpSYN), w.tun, countNode)
}
