package filter

import (
	"net/netip"
	"testing"
)

// Each kind of rule, by packets: what it names passes, there and back, and what it
// does not name is dropped and counted.
func TestFilterByPackets(t *testing.T) {
	w := newWorld(t)
	cfg := config()
	cfg.Sets = map[string][]netip.Prefix{
		"servers": {prefix("10.20.1.0/24"), prefix("10.20.2.0/24"), prefix("10.20.9.9/32"), prefix("2001:db8::/32")},
	}
	cfg.Filters = map[string][]Rule{"sales": rules(t,
		"deny in ip from assigned to 10.20.66.0/24",
		"permit in tcp from assigned to 10.20.0.5 80,443,8000-8100",
		"permit in tcp from assigned to 10.20.4.0/22 80,443,8000-8100", // one rule with the one before
		"permit in udp from assigned to @servers 53",
		"permit in 50 from assigned to 10.20.7.9",
		"permit in icmp from assigned to 10.20.0.0/16",
		"deny in udp from assigned to 203.0.113.80 1000-2000",
		"permit in udp from assigned to 203.0.113.0/24 1-65535",
		"permit out tcp from 10.20.0.5 to assigned 3389",
		"permit out udp from @servers to assigned 137-138",
	)}
	table := open(t, cfg)
	login(t, table, Client{Addr: alice, Filter: "sales"})
	in := func(p packet) (packet, *port, *port) { return p, w.tun, w.lan }
	out := func(p packet) (packet, *port, *port) { return p, w.lan, w.tun }

	// permitted, by address, range, list of ports, set and protocol
	w.flows(in(tcp(alice, 1001, server, 80, tcpSYN)))
	w.flows(in(tcp(alice, 1002, server, 8000, tcpSYN)))
	w.flows(in(tcp(alice, 1003, addr("10.20.7.255"), 8100, tcpSYN)))
	w.flows(in(udp(alice, 1004, addr("10.20.2.77"), 53)))
	w.flows(in(udp(alice, 1005, addr("10.20.9.9"), 53)))
	w.flows(in(echo(alice, printer)))
	w.flows(in(packet{proto: 50, src: alice, dst: printer, payload: []byte("security")}))
	w.flows(udp(alice, 1006, website, 999), w.tun, w.wan)
	w.flows(udp(alice, 1006, website, 2001), w.tun, w.wan)
	w.flows(udp(alice, 1006, addr("203.0.113.81"), 1500), w.tun, w.wan)
	w.flows(out(tcp(server, 2001, alice, 3389, tcpSYN)))
	w.flows(out(udp(addr("10.20.1.3"), 137, alice, 138)))

	// denied, one thing changed of each
	for _, p := range []packet{
		tcp(alice, 1011, server, 81, tcpSYN),
		tcp(alice, 1012, server, 7999, tcpSYN),
		tcp(alice, 1013, addr("10.20.8.0"), 8100, tcpSYN),
		tcp(alice, 1014, addr("10.20.66.1"), 80, tcpSYN),
		udp(alice, 1015, server, 80),
		udp(alice, 1016, addr("10.20.3.0"), 53),
		udp(alice, 1017, addr("10.20.2.77"), 54),
		tcp(alice, 1018, addr("10.20.2.77"), 53, tcpSYN),
		echo(alice, addr("10.20.66.1")),
		echo(alice, website),
		{proto: 51, src: alice, dst: printer, payload: []byte("security")},
		{proto: 50, src: alice, dst: server, payload: []byte("security")},
		udp(alice, 1019, website, 1000),
		udp(alice, 1019, website, 2000),
		tcp(alice, 1020, server, 3389, tcpSYN), // an out rule is no in rule
	} {
		w.drops(table, p, w.tun, "denied.sales")
	}
	for _, p := range []packet{
		tcp(server, 2011, alice, 3388, tcpSYN),
		tcp(printer, 2012, alice, 3389, tcpSYN),
		udp(server, 2013, alice, 3389),
		udp(addr("10.20.3.1"), 137, alice, 138),
		udp(addr("10.20.1.3"), 137, alice, 139),
		tcp(server, 80, alice, 1001, tcpSYN), // an in rule is no out rule
		echo(printer, alice),
	} {
		w.drops(table, p, w.lan, "denied.sales")
	}
	// An answer to nothing is no answer.
	w.drops(table, udp(addr("10.20.2.77"), 53, alice, 4444), w.lan, "denied.sales")
	w.drops(table, tcp(server, 80, alice, 4444, tcpSYN|tcpACK), w.lan, "denied.sales")

	// An ICMP error about a flow passes, the first packet of which is in it.
	about := udp(alice, 1004, addr("10.20.2.77"), 53)
	trouble := packet{proto: ICMP, src: server, dst: alice, sport: icmpUnreachable, dport: 3, payload: about.bytes()}
	w.passes(trouble, w.lan, w.tun)
	about.sport = 4444 // of no flow
	trouble.payload = about.bytes()
	w.drops(table, trouble, w.lan, "denied.sales")

	if v := value(t, table, "accepted.sales"); v != 25 {
		t.Errorf("%d packets accepted, want 12 flows there and back, and an error", v)
	}
	if v := value(t, table, countNoLease); v != 0 {
		t.Errorf("%d packets without a lease", v)
	}
}

// First match wins, also where merging would be possible but for the rule between.
func TestFilterOrder(t *testing.T) {
	w := newWorld(t)
	table := open(t, config())
	login(t, table, Client{Addr: alice, Filter: "x", Rules: rules(t,
		"permit in udp from assigned to 10.20.0.5 1",
		"deny in udp from assigned to 10.20.0.0/24 1",
		"permit in udp from assigned to 10.20.0.0/16 1",
	)})
	w.flows(udp(alice, 1, server, 1), w.tun, w.lan)
	w.drops(table, udp(alice, 1, addr("10.20.0.6"), 1), w.tun, "denied.x")
	w.flows(udp(alice, 1, printer, 1), w.tun, w.lan)
}

// Without a filter everything passes, both ways; without a lease nothing does.
func TestOpenAndUnknown(t *testing.T) {
	w := newWorld(t)
	table := open(t, config())
	w.drops(table, udp(alice, 1, server, 1), w.tun, countNoLease)
	w.drops(table, udp(server, 1, alice, 1), w.lan, countNoLease)

	for _, name := range []string{"", None} {
		l := login(t, table, Client{Addr: alice, Filter: name})
		w.flows(udp(alice, 2, server, 2), w.tun, w.lan)
		w.flows(tcp(printer, 3, alice, 3, tcpSYN), w.lan, w.tun)
		w.flows(udp(alice, 4, website, 4), w.tun, w.wan)

		// The second line against forged sources: an address of nobody's, of the
		// inside, of the Internet.
		for _, forged := range []netip.Addr{bob, server, website} {
			w.drops(table, udp(forged, 5, printer, 5), w.tun, countNoLease)
		}
		if err := table.Remove(l); err != nil {
			t.Fatal(err)
		}
		// Also in flows that were there.
		w.drops(table, udp(alice, 2, server, 2), w.tun, countNoLease)
		w.drops(table, udp(server, 2, alice, 2), w.lan, countNoLease)
	}
	if v := value(t, table, acceptedOpen); v != 12 {
		t.Errorf("%d packets accepted, want 6 flows there and back", v)
	}
}

// The host forwards for others, too: none of it is ours, whatever else holds.
func TestOtherForwarding(t *testing.T) {
	w := newWorld(t)
	cfg := config()
	cfg.Allowed, cfg.Masquerade, cfg.MSS, cfg.CaptivePort = []netip.Prefix{prefix("198.51.100.0/24")}, true, 600, 8080
	table := open(t, cfg)
	before := values(t, table)
	w.flows(udp(server, 1, website, 1), w.lan, w.wan)
	w.flows(tcp(website, 2, server, 80, tcpSYN), w.wan, w.lan)
	w.flows(tcp(website, 2, server, 1723, tcpSYN), w.wan, w.lan)
	w.flows(packet{proto: GRE, src: website, dst: server, payload: []byte{0x30, 1, 0x88, 0x0b, 0, 0, 0, 1}}, w.wan, w.lan)
	big := tcp(website, 3, server, 80, tcpSYN)
	big.mss = 1400
	if q := w.passes(big, w.wan, w.lan); q.mss != 1400 {
		t.Errorf("segment size %d of a stranger's connection", q.mss)
	}
	for name, v := range values(t, table) {
		if v != before[name] {
			t.Errorf("counter %s went from %v to %v", name, before[name], v)
		}
	}
}

func TestClientToClient(t *testing.T) {
	w := newWorld(t)
	cfg := config()
	cfg.Filters = map[string][]Rule{
		"desk":  rules(t, "permit in ip from assigned to any"),
		"share": rules(t, "permit out tcp from 10.9.0.10 to assigned 445"),
	}
	table := open(t, cfg)
	login(t, table, Client{Addr: alice, Filter: "desk"})
	login(t, table, Client{Addr: bob, Filter: "share"})
	carol := addr("10.9.0.12")
	login(t, table, Client{Addr: carol})

	// Off: no way, not even to who would take all.
	w.drops(table, tcp(alice, 1, bob, 445, tcpSYN), w.tun, countClients)
	w.drops(table, udp(alice, 1, carol, 1), w.tun, countClients)
	w.drops(table, udp(carol, 1, alice, 1), w.tun, countClients)

	cfg.ClientToClient = true
	if err := table.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	// On: where both filters agree, and the answers to that.
	w.flows(tcp(alice, 2, bob, 445, tcpSYN), w.tun, w.tun)
	w.drops(table, tcp(alice, 2, bob, 446, tcpSYN), w.tun, "denied.share") // the receiver's no
	w.drops(table, tcp(bob, 3, carol, 1, tcpSYN), w.tun, "denied.share")   // the sender's no
	w.drops(table, udp(carol, 3, alice, 1), w.tun, "denied.desk")
	w.flows(udp(alice, 4, carol, 1), w.tun, w.tun)
	w.drops(table, udp(alice, 4, addr("10.9.0.99"), 1), w.tun, countNoLease)

	login(t, table, Client{Addr: carol, Quarantine: true})
	w.drops(table, udp(alice, 4, carol, 1), w.tun, deniedHeld)
	w.prohibited(udp(carol, 5, alice, 4), w.tun)

	cfg.ClientToClient = false
	if err := table.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	// Off again: also for what was begun while it was on.
	w.drops(table, tcp(alice, 2, bob, 445, tcpACK), w.tun, countClients)
}

// A filter that has changed holds at once, in flows that are there, too.
func TestChangeHoldsForFlows(t *testing.T) {
	w := newWorld(t)
	cfg := config()
	cfg.Filters = map[string][]Rule{"sales": rules(t, "permit in udp from assigned to 10.20.0.5 53", "permit out udp from 10.20.7.9 to assigned 9")}
	table := open(t, cfg)
	l := login(t, table, Client{Addr: alice})
	asked, called := udp(alice, 1, server, 99), udp(printer, 1, alice, 99)
	dns, print := udp(alice, 1, server, 53), udp(printer, 1, alice, 9)
	for _, p := range []packet{asked, dns} {
		w.flows(p, w.tun, w.lan)
	}
	for _, p := range []packet{called, print} {
		w.flows(p, w.lan, w.tun)
	}
	if err := table.Change(l, Client{Addr: alice, Filter: "sales"}); err != nil {
		t.Fatal(err)
	}
	w.flows(dns, w.tun, w.lan)
	w.flows(print, w.lan, w.tun)
	for p, from := range map[*packet]*port{&asked: w.tun, &called: w.lan} {
		w.drops(table, *p, from, "denied.sales")
	}
	// Both halves: the answers of a flow that others began would keep it alive.
	w.drops(table, called.answer(), w.tun, "denied.sales")
	w.drops(table, asked.answer(), w.lan, "denied.sales")

	// And so does a filter whose rules are others now.
	cfg.Filters = map[string][]Rule{"sales": rules(t, "permit in udp from assigned to 10.20.0.5 99")}
	if err := table.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	w.drops(table, dns, w.tun, "denied.sales")
	w.drops(table, dns.answer(), w.lan, "denied.sales")
	w.drops(table, print.answer(), w.tun, "denied.sales")
	w.flows(asked, w.tun, w.lan)
}
