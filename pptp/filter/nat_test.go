package filter

import (
	"net/netip"
	"testing"
)

// Routed: nothing changes. Masqueraded: what leaves by another interface is from the
// host, or from the address that is configured, and answers find their way.
func TestNAT(t *testing.T) {
	w := newWorld(t)
	cfg := config()
	cfg.ClientToClient = true
	table := open(t, cfg)
	login(t, table, Client{Addr: alice})
	login(t, table, Client{Addr: bob})
	w.flows(udp(alice, 1, website, 1), w.tun, w.wan)
	w.flows(udp(website, 1, alice, 2), w.wan, w.tun)

	translated := func(p packet, to *port, source netip.Addr) {
		t.Helper()
		w.tun.send(t, p.bytes())
		q := to.receive(t, p.String(), func(q packet) bool { return q.dst == p.dst && q.dport == p.dport })
		if q.src != source {
			t.Errorf("%v left as %v", p, q)
		}
		to.send(t, q.answer().bytes())
		w.tun.receive(t, "answer to "+p.String(), p.answer().like)
	}
	cfg.Masquerade = true
	if err := table.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	translated(udp(alice, 10, website, 10), w.wan, wanSelf)
	translated(tcp(alice, 11, server, 80, tcpSYN), w.lan, lanSelf)
	translated(echo(alice, website), w.wan, wanSelf)
	w.flows(udp(alice, 12, bob, 12), w.tun, w.tun)      // within the tunnels
	w.flows(udp(server, 13, website, 13), w.lan, w.wan) // not from the tunnels
	w.flows(udp(website, 14, alice, 14), w.wan, w.tun)  // the others began
	w.flows(udp(alice, 1, website, 1), w.tun, w.wan)    // begun before

	cfg.Source = addr("192.0.2.77")
	if err := table.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	translated(udp(alice, 20, website, 20), w.wan, cfg.Source)
	translated(tcp(bob, 21, server, 80, tcpSYN), w.lan, cfg.Source)

	// Filters see the client's own address, before and behind the translation.
	login(t, table, Client{Addr: alice, Filter: "x", Rules: rules(t, "permit in udp from assigned to 203.0.113.80 30")})
	translated(udp(alice, 30, website, 30), w.wan, cfg.Source)
	w.drops(table, udp(alice, 31, website, 31), w.tun, "denied.x")

	cfg.Masquerade, cfg.Source = false, netip.Addr{}
	if err := table.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	w.flows(udp(bob, 40, website, 40), w.tun, w.wan)
}

// The MSS in a SYN, both ways, by number and by route; never raised, and nothing but
// SYNs is touched.
func TestMSSClamp(t *testing.T) {
	w := newWorld(t)
	cfg := config()
	table := open(t, cfg)
	login(t, table, Client{Addr: alice})
	sport := uint16(1000)
	offered := func(mss, want uint16) {
		t.Helper()
		sport++
		p := tcp(alice, sport, server, 80, tcpSYN)
		p.mss = mss
		if q := w.passes(p, w.tun, w.lan); q.mss != want {
			t.Errorf("from the client: %d became %d, want %d", mss, q.mss, want)
		}
		a := p.answer()
		if q := w.passes(a, w.lan, w.tun); q.mss != want {
			t.Errorf("to the client: %d became %d, want %d", mss, q.mss, want)
		}
		p = tcp(server, sport, alice, 80, tcpSYN)
		p.mss = mss
		if q := w.passes(p, w.lan, w.tun); q.mss != want {
			t.Errorf("to the client, begun there: %d became %d, want %d", mss, q.mss, want)
		}
	}
	offered(1460, 1360) // the devices' MTU of 1400
	offered(1360, 1360)
	offered(536, 536)
	cfg.MSS = 1200
	if err := table.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	offered(1460, 1200)
	offered(1100, 1100)
	offered(0, 0) // no option: none is put in
}
