package filter

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

func quarantineConfig() Config {
	cfg := config()
	cfg.Portal = []netip.AddrPort{service("10.20.0.2:443"), service("203.0.113.80:80")}
	cfg.CaptivePort = 8080
	return cfg
}

// Quarantine by packets: names from its servers, the portal, and nothing else; and what
// else is refused with an ICMP error, TCP too.
func TestQuarantine(t *testing.T) {
	w := newWorld(t)
	table := open(t, quarantineConfig())
	dns, portal := addr("10.20.0.53"), addr("10.20.0.2")
	l := login(t, table, Client{Addr: alice, Quarantine: true, DNS: []netip.Addr{dns, website}})
	login(t, table, Client{Addr: bob, Quarantine: true, DNS: []netip.Addr{server}})

	w.flows(udp(alice, 1, dns, 53), w.tun, w.lan)
	w.flows(tcp(alice, 1, dns, 53, tcpSYN), w.tun, w.lan)
	w.flows(udp(alice, 1, website, 53), w.tun, w.wan)
	w.flows(udp(bob, 1, server, 53), w.tun, w.lan)
	w.flows(tcp(alice, 2, portal, 443, tcpSYN), w.tun, w.lan)
	w.flows(tcp(alice, 2, website, 80, tcpSYN), w.tun, w.wan) // a portal by plain HTTP is not led away

	for _, p := range []packet{
		udp(alice, 3, server, 53), // bob's
		udp(alice, 3, dns, 54),
		udp(alice, 3, portal, 443), // QUIC would need a rule of its own
		tcp(alice, 3, portal, 80+1, tcpSYN),
		tcp(alice, 3, website, 443, tcpSYN),
		tcp(alice, 3, server, 22, tcpSYN),
		echo(alice, portal),
		udp(alice, 3, bob, 53),
		{proto: 50, src: alice, dst: server, payload: []byte("security")},
	} {
		if p.dst == bob {
			w.drops(table, p, w.tun, countClients) // no word even of that
			continue
		}
		w.prohibited(p, w.tun)
	}
	for _, p := range []packet{
		udp(dns, 53, alice, 9), // an answer to nothing
		udp(dns, 54, alice, 1),
		tcp(portal, 443, alice, 9, tcpSYN),
		echo(server, alice),
	} {
		w.drops(table, p, w.lan, deniedHeld)
	}
	// An error about a flow of its own is let in: it may be the path's MTU.
	w.passes(packet{proto: ICMP, src: server, dst: alice, sport: icmpUnreachable, dport: 4, payload: tcp(alice, 2, portal, 443, tcpSYN).bytes()}, w.lan, w.tun)

	// Out of it.
	if err := table.Change(l, Client{Addr: alice}); err != nil {
		t.Fatal(err)
	}
	w.flows(tcp(alice, 4, server, 22, tcpSYN), w.tun, w.lan)
	w.flows(tcp(alice, 4, website, 8080, tcpSYN), w.tun, w.wan)

	// And in again: what was begun outside of it ends, both ways.
	if err := table.Change(l, Client{Addr: alice, Quarantine: true, DNS: []netip.Addr{dns}}); err != nil {
		t.Fatal(err)
	}
	w.prohibited(tcp(alice, 4, server, 22, tcpACK), w.tun)
	w.drops(table, tcp(server, 22, alice, 4, tcpACK), w.lan, deniedHeld)
	w.flows(udp(alice, 5, dns, 53), w.tun, w.lan)
	w.prohibited(udp(alice, 5, website, 53), w.tun) // not its server any more

	if err := table.Remove(l); err != nil {
		t.Fatal(err)
	}
	w.drops(table, udp(alice, 5, dns, 53), w.tun, countNoLease)
}

// The plain HTTP of quarantined clients comes to the captive port, whatever it was for;
// that of others does not.
func TestCaptiveHTTP(t *testing.T) {
	w := newWorld(t)
	table := open(t, quarantineConfig())
	listener, err := net.Listen("tcp4", "10.9.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	l := login(t, table, Client{Addr: alice, Quarantine: true})
	login(t, table, Client{Addr: bob})

	redirected := func(src netip.Addr, sport uint16, dst netip.Addr) (ack packet) {
		t.Helper()
		p := tcp(src, sport, dst, 80, tcpSYN)
		w.tun.send(t, p.bytes())
		// The kernel's answer says that it is the website.
		q := w.tun.receive(t, p.String(), p.answer().like)
		ack = tcp(src, sport, dst, 80, tcpACK)
		ack.seq, ack.ack = 1001, q.seq+1
		w.tun.send(t, ack.bytes())
		if err := listener.(*net.TCPListener).SetDeadline(time.Now().Add(patient)); err != nil {
			t.Fatal(err)
		}
		conn, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if got := conn.RemoteAddr().String(); got != netip.AddrPortFrom(src, sport).String() {
			t.Errorf("from %s", got) // by which the listener knows the session
		}
		return ack
	}
	kept := redirected(alice, 1001, addr("203.0.113.7"))
	redirected(alice, 1002, server)
	redirected(alice, 1003, inside)
	was := value(t, table, countNode)
	w.flows(tcp(bob, 1001, server, 80, tcpSYN), w.tun, w.lan)
	w.drops(table, tcp(bob, 1002, inside, 80, tcpSYN), w.tun, countNode)
	if got := value(t, table, countNode); got != was+1 {
		t.Errorf("%d packets to the node, want %d", got, was+1)
	}

	if err := table.Change(l, Client{Addr: alice}); err != nil {
		t.Fatal(err)
	}
	w.flows(tcp(alice, 1004, addr("203.0.113.7"), 80, tcpSYN), w.tun, w.wan)
	// A connection that the browser kept is told that it is over.
	w.tun.send(t, kept.bytes())
	w.tun.receive(t, "reset", func(q packet) bool {
		return q.proto == TCP && q.flags&tcpRST != 0 && q.src == addr("203.0.113.7") && q.dport == 1001
	})

	// No captive port: refused as all else is.
	cfg := quarantineConfig()
	cfg.CaptivePort = 0
	if err := table.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	login(t, table, Client{Addr: alice, Quarantine: true})
	w.prohibited(tcp(alice, 1005, server, 80, tcpSYN), w.tun)
	w.prohibited(tcp(alice, 1006, inside, 8080, tcpSYN), w.tun)
}

// Each client has its own rate of questions and of refusals.
func TestQuarantineRates(t *testing.T) {
	w := newWorld(t)
	table := open(t, quarantineConfig())
	dns := addr("10.20.0.53")
	login(t, table, Client{Addr: alice, Quarantine: true, DNS: []netip.Addr{dns, lanSelf}})
	login(t, table, Client{Addr: bob, Quarantine: true, DNS: []netip.Addr{dns}})

	const sent = 500
	began := time.Now()
	for i := range sent {
		w.tun.send(t, udp(alice, uint16(1000+i), dns, 53).bytes())
	}
	w.passes(udp(bob, 1, dns, 53), w.tun, w.lan) // others are not held up; and it came last
	most := uint64(dnsBurst + dnsRate*(time.Since(began).Seconds()+1))
	limited := value(t, table, countDNS)
	if passed := sent - limited; passed < dnsBurst || passed > most {
		t.Errorf("%d of %d questions passed, %d to %d wanted", passed, sent, dnsBurst, most)
	}
	w.drops(table, udp(alice, 1, lanSelf, 53), w.tun, countDNS) // it is one account for all servers

	began = time.Now()
	for i := range sent {
		w.tun.send(t, udp(alice, uint16(1000+i), server, 99).bytes())
	}
	w.prohibited(udp(bob, 2, server, 99), w.tun) // skips over what alice was told
	for i := range sent {
		w.tun.send(t, udp(alice, uint16(1000+i), server, 99).bytes())
	}
	// The last thing to come out is an answer to something that is always answered.
	w.tun.send(t, echo(bob, inside).bytes())
	told := uint64(0)
	w.tun.receive(t, "ping", func(q packet) bool {
		if q.proto == ICMP && q.sport == icmpUnreachable && q.dst == alice {
			told++
		}
		return q.like(echo(bob, inside).answer())
	})
	if most := uint64(refuseBurst + refuseRate*(time.Since(began).Seconds()+1)); told > most {
		t.Errorf("told %d times, at most %d wanted", told, most)
	}
	if n := value(t, table, deniedHeld); n != 2*sent+1 {
		t.Errorf("%d refusals counted, want %d", n, 2*sent+1)
	}
}
