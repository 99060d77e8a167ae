package filter

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// leads routes a network to the clients' device, as a node does for its session.
func (w *world) leads(network string) {
	w.t.Helper()
	link, err := netlink.LinkByName(w.tun.name)
	if err != nil {
		w.t.Fatal(err)
	}
	_, dst, err := net.ParseCIDR(network)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: dst, Scope: netlink.SCOPE_LINK}); err != nil {
		w.t.Fatal(err)
	}
}

func networks(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, prefix(text))
	}
	return all
}

var (
	till    = addr("10.50.7.20") // behind alice
	scanner = addr("10.51.200.3")
)

// sales is a configuration with a filter, a portal and a service on the node.
func sales(t testing.TB) Config {
	cfg := quarantineConfig()
	cfg.AllowToNode = []netip.AddrPort{service("10.9.0.1:2222")}
	cfg.Filters = map[string][]Rule{
		"sales": rules(t, "permit in tcp from assigned to 10.20.0.5 443", "permit out udp from 10.20.7.9 to assigned 161"),
		"plant": rules(t, "permit in udp from assigned to 10.20.0.5 502"),
	}
	return cfg
}

// branch is a client with networks of several lengths behind it.
func branch() Client {
	return Client{
		Addr: alice, Filter: "sales", DNS: []netip.Addr{lanSelf, server},
		Routes: networks("10.50.7.0/24", "10.51.0.0/16", "10.52.0.9/32"), Turn: 1,
	}
}

// Whoever is in a network behind a client may do what the client may: by packets, both
// ways, and nobody else may do it.
func TestNetworksByPackets(t *testing.T) {
	w := newWorld(t)
	for _, n := range []string{"10.48.0.0/12"} {
		w.leads(n)
	}
	table := open(t, sales(t))
	empty := ruleset(t)
	l := login(t, table, branch())
	other := login(t, table, Client{Addr: bob, Filter: "plant", Routes: networks("10.50.8.0/24"), Turn: 2})

	for _, who := range []netip.Addr{alice, till, addr("10.50.7.0"), addr("10.50.7.255"), scanner, addr("10.52.0.9")} {
		w.flows(tcp(who, 1001, server, 443, tcpSYN), w.tun, w.lan)
		w.flows(udp(printer, 2001, who, 161), w.lan, w.tun)
		for _, p := range []packet{tcp(who, 1002, server, 444, tcpSYN), udp(who, 1002, server, 443), udp(who, 1002, server, 502), tcp(who, 1002, printer, 443, tcpSYN)} {
			w.drops(table, p, w.tun, "denied.sales")
		}
		for _, p := range []packet{udp(server, 2002, who, 161), udp(printer, 2002, who, 162), tcp(server, 443, who, 4444, tcpSYN|tcpACK)} {
			w.drops(table, p, w.lan, "denied.sales")
		}
		w.pong(echo(who, inside), w.tun)
		w.rst(tcp(who, 1003, inside, 2222, tcpSYN), w.tun)
		w.drops(table, tcp(who, 1003, inside, 22, tcpSYN), w.tun, countNode)
		w.rst(tcp(who, 1003, lanSelf, 53, tcpSYN), w.tun) // a server that its login named, and this host
	}
	// The neighbour has its own filter.
	w.flows(udp(addr("10.50.8.1"), 1, server, 502), w.tun, w.lan)
	w.drops(table, tcp(addr("10.50.8.1"), 1, server, 443, tcpSYN), w.tun, "denied.plant")
	w.drops(table, tcp(till, 1, addr("10.50.8.1"), 443, tcpSYN), w.tun, countClients)
	// Nobody's.
	for _, who := range []netip.Addr{addr("10.50.6.255"), addr("10.50.9.0"), addr("10.52.0.8"), addr("10.52.0.10"), addr("10.49.255.255")} {
		w.drops(table, tcp(who, 1, server, 443, tcpSYN), w.tun, countNoLease)
		w.drops(table, udp(printer, 1, who, 161), w.lan, countNoLease)
	}

	// Another filter holds at once, also in flows that are there; and so for networks that
	// come and go with the change.
	c := branch()
	c.Filter, c.Routes = "plant", networks("10.50.7.0/24", "10.53.0.0/20")
	if err := table.Change(l, c); err != nil {
		t.Fatal(err)
	}
	for _, who := range []netip.Addr{till, addr("10.53.15.255")} {
		w.flows(udp(who, 1, server, 502), w.tun, w.lan)
		w.drops(table, tcp(who, 1001, server, 443, tcpACK), w.tun, "denied.plant")
	}
	w.drops(table, tcp(scanner, 1, server, 443, tcpSYN), w.tun, countNoLease)
	w.drops(table, udp(printer, 1, scanner, 161), w.lan, countNoLease)

	if list := ruleset(t); strings.Contains(list, "routed_in.16") || !strings.Contains(list, "routed_in.20") {
		t.Errorf("lengths that nobody has, or not all that somebody has:\n%s", list)
	}
	if err := errors.Join(table.Verify(), table.Remove(l), table.Verify()); err != nil || table.metric.repairs.Load() != 0 {
		t.Errorf("%v, %d repairs", err, table.metric.repairs.Load())
	}
	for _, who := range []netip.Addr{alice, till, addr("10.53.0.1")} {
		w.drops(table, udp(who, 2, server, 502), w.tun, countNoLease)
		w.drops(table, udp(printer, 2, who, 161), w.lan, countNoLease)
	}
	w.flows(udp(addr("10.50.8.1"), 3, server, 502), w.tun, w.lan)
	if err := table.Remove(other); err != nil {
		t.Error(err)
	}
	if got := withoutCounters(ruleset(t)); sorted(got) != sorted(withoutCounters(empty)) {
		t.Errorf("left:\n%s\nwant\n%s", got, empty)
	}
	if len(table.routed) != 0 || table.networks != [33]int{} || table.lengths != (lengths{}) {
		t.Errorf("left: %v %v", table.routed, table.networks)
	}
}

// Quarantine holds for the networks behind a client, towards others and towards the
// node, and their browsers are led to the portal as the client's is.
func TestNetworksInQuarantine(t *testing.T) {
	w := newWorld(t)
	w.leads("10.48.0.0/12")
	table := open(t, sales(t))
	listener, err := net.Listen("tcp4", "10.9.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	c := branch()
	c.Quarantine = true
	l := login(t, table, c)
	login(t, table, Client{Addr: bob, Routes: networks("10.50.8.0/24"), Turn: 2})
	portal := addr("10.20.0.2")

	for i, who := range []netip.Addr{alice, till, scanner} {
		port := uint16(1000 + 10*i)
		w.flows(udp(who, port, server, 53), w.tun, w.lan)
		w.flows(tcp(who, port, portal, 443, tcpSYN), w.tun, w.lan)
		for _, p := range []packet{
			tcp(who, port, server, 443, tcpSYN), udp(who, port, printer, 53), echo(who, server),
			tcp(who, port, inside, 2222, tcpSYN), udp(who, port, inside, 53),
		} {
			w.prohibited(p, w.tun)
		}
		w.drops(table, udp(printer, 1, who, 161), w.lan, deniedHeld)
		w.drops(table, udp(printer, 53, who, port), w.lan, deniedHeld) // bob's server, perhaps
		w.pong(echo(who, inside), w.tun)
		w.rst(tcp(who, port, lanSelf, 53, tcpSYN), w.tun)

		p := tcp(who, port+1, addr("203.0.113.7"), 80, tcpSYN)
		w.tun.send(t, p.bytes())
		q := w.tun.receive(t, p.String(), p.answer().like)
		ack := tcp(who, port+1, p.dst, 80, tcpACK)
		ack.seq, ack.ack = 1001, q.seq+1
		w.tun.send(t, ack.bytes())
		if err := listener.(*net.TCPListener).SetDeadline(time.Now().Add(patient)); err != nil {
			t.Fatal(err)
		}
		conn, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if got := conn.RemoteAddr().String(); got != netip.AddrPortFrom(who, port+1).String() {
			t.Errorf("from %s", got)
		}
		conn.Close()
	}
	// Those behind bob are not held back.
	w.flows(tcp(addr("10.50.8.1"), 1, server, 443, tcpSYN), w.tun, w.lan)
	w.rst(tcp(addr("10.50.8.1"), 1, inside, 2222, tcpSYN), w.tun)

	// All of a network is one client for what it asks.
	for i := range 4 * dnsBurst {
		w.tun.send(t, udp(addr("10.51.3.0").Next(), uint16(2000+i), server, 53).bytes())
	}
	w.drops(table, udp(addr("10.51.9.9"), 1, server, 53), w.tun, countDNS)

	c.Quarantine = false
	if err := table.Change(l, c); err != nil {
		t.Fatal(err)
	}
	w.flows(tcp(till, 5, server, 443, tcpSYN), w.tun, w.lan)
	c.Quarantine = true
	if err := table.Change(l, c); err != nil {
		t.Fatal(err)
	}
	w.prohibited(tcp(till, 5, server, 443, tcpACK), w.tun)
	w.drops(table, tcp(server, 443, till, 5, tcpACK), w.lan, deniedHeld)

	// What a reload changes holds for networks, too.
	cfg := sales(t)
	cfg.CaptivePort = 0
	if err := table.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	w.prohibited(tcp(till, 6, server, 80, tcpSYN), w.tun)
	if err := table.Apply(sales(t)); err != nil {
		t.Fatal(err)
	}
	p := tcp(till, 7, server, 80, tcpSYN)
	w.tun.send(t, p.bytes())
	w.tun.receive(t, p.String(), p.answer().like)
	if err := table.Verify(); err != nil || table.metric.repairs.Load() != 0 {
		t.Errorf("%v, %d repairs", err, table.metric.repairs.Load())
	}
}

// A network has one client. The one with the later turn has it, in whatever order they
// come here, and what the other one does later takes nothing away.
func TestNetworkChangesHands(t *testing.T) {
	w := newWorld(t)
	w.leads("10.48.0.0/12")
	table := open(t, sales(t))
	lan, more := prefix("10.50.7.0/24"), prefix("10.51.0.0/16")
	first := Client{Addr: alice, Filter: "sales", Routes: []netip.Prefix{lan, more}, Turn: 5}
	again := Client{Addr: bob, Filter: "plant", Routes: []netip.Prefix{lan}, Turn: 7}
	has := func(filter string, who netip.Addr) {
		t.Helper()
		w.drops(table, echo(who, printer), w.tun, "denied."+filter)
		if err := table.Verify(); err != nil || table.metric.repairs.Load() != 0 {
			t.Fatalf("%v, %d repairs", err, table.metric.repairs.Load())
		}
	}
	a := login(t, table, first)
	has("sales", till)
	b := login(t, table, again)
	has("plant", till)
	has("sales", scanner)
	if err := table.Change(a, first); err != nil { // it asks for what it had
		t.Fatal(err)
	}
	has("plant", till)
	if err := table.Remove(a); err != nil {
		t.Fatal(err)
	}
	has("plant", till)
	w.drops(table, echo(scanner, printer), w.tun, countNoLease)
	a = login(t, table, first) // and came too late
	has("plant", till)
	has("sales", scanner)
	if err := table.Remove(b); err != nil {
		t.Fatal(err)
	}
	w.drops(table, echo(till, printer), w.tun, countNoLease)
	// The same address, another client: it brings less.
	first.Routes, first.Turn = first.Routes[1:], 9
	next := login(t, table, first)
	if err := table.Remove(a); err != nil {
		t.Fatal(err)
	}
	has("sales", scanner)

	// A network within another one, and an address within both.
	inner := Client{Addr: addr("10.51.9.9"), Filter: "plant", Routes: networks("10.51.8.0/22"), Turn: 10}
	l := login(t, table, inner)
	has("sales", scanner)
	has("plant", addr("10.51.11.1"))
	has("sales", addr("10.51.12.1"))
	if err := table.Remove(l); err != nil {
		t.Fatal(err)
	}
	has("sales", addr("10.51.9.9"))
	if err := table.Remove(next); err != nil {
		t.Fatal(err)
	}
}

// A client whose filter changes goes on being served meanwhile: no packet that both
// filters permit is lost between them.
func TestNetworkThroughChanges(t *testing.T) {
	w := newWorld(t)
	w.leads("10.48.0.0/12")
	cfg := sales(t)
	cfg.Filters["more"] = append(rules(t, "permit in udp from assigned to 10.20.9.9"), cfg.Filters["sales"]...)
	table := open(t, cfg)
	c := branch()
	l := login(t, table, c)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	sent := 0
	wg.Go(func() {
		p := tcp(scanner, 1001, server, 443, tcpSYN).bytes()
		for {
			select {
			case <-stop:
				return
			default:
				w.tun.send(t, p)
				sent++
			}
		}
	})
	const changes = 300
	for i := range changes {
		c.Filter = []string{"sales", "more"}[(i+1)%2]
		if err := table.Change(l, c); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
	all := values(t, table)
	t.Logf("%d packets through %d changes", sent, changes)
	if n := all[countNoLease].packets; n != 0 || sent < changes {
		t.Errorf("%d of %d packets were nobody's", n, sent)
	}
	if n := all["denied.sales"].packets + all["denied.more"].packets; n != 0 {
		t.Errorf("%d packets were denied", n)
	}
}

// What no table could hold is refused and leaves nothing.
func TestNetworksRefused(t *testing.T) {
	newWorld(t)
	table := open(t, sales(t))
	l := login(t, table, branch())
	want := ruleset(t)
	var many []netip.Prefix
	for i := range MaxRoutes + 1 {
		many = append(many, netip.PrefixFrom(nth(i), 32))
	}
	for _, bad := range [][]netip.Prefix{
		many, {{}}, {netip.PrefixFrom(till, 24)}, {anyone}, {prefix("2001:db8::/32")}, networks("10.50.7.0/24", "10.50.7.0/24"),
	} {
		c := Client{Addr: bob, Routes: bad}
		if _, err := table.Set(c); err == nil {
			t.Errorf("%v was taken", bad)
		}
		if err := table.Change(l, Client{Addr: alice, Routes: bad}); err == nil {
			t.Errorf("change to %v was taken", bad)
		}
	}
	for i := range MaxRouted - 4 {
		table.routed[netip.PrefixFrom(nth(i), 31)] = nil
	}
	if _, err := table.Set(Client{Addr: bob, Routes: many[:2]}); !errors.Is(err, ErrRouted) {
		t.Errorf("more than all may have: %v", err)
	}
	if got := ruleset(t); got != want {
		t.Errorf("table\n%s\nwant\n%s", got, want)
	}
	for i := range MaxRouted - 4 {
		delete(table.routed, netip.PrefixFrom(nth(i), 31))
	}
	most := login(t, table, Client{Addr: bob, Routes: many[:MaxRoutes], DNS: []netip.Addr{lanSelf}})
	if err := errors.Join(table.Verify(), table.Remove(most), table.Verify()); err != nil || table.metric.repairs.Load() != 0 {
		t.Errorf("%v, %d repairs", err, table.metric.repairs.Load())
	}
}

// The rules for networks as nft lists them; of 1.0.6, a mask before a set has "==".
func TestNetworksListing(t *testing.T) {
	newWorld(t)
	table := open(t, sales(t))
	login(t, table, branch())
	c := branch()
	c.Addr, c.Quarantine, c.Routes = bob, true, networks("10.60.0.0/16")
	login(t, table, c)
	lines := strings.Split(ruleset(t), "\n")
	var got strings.Builder
	chain := ""
	for _, line := range lines {
		if name, ok := strings.CutPrefix(line, "\tchain "); ok {
			chain = name
			continue
		}
		if strings.HasPrefix(line, "\t\t") && (strings.HasPrefix(chain, "routed_") || strings.Contains(line, "jump routed_")) {
			fmt.Fprintln(&got, strings.TrimSuffix(chain, " {")+":"+strings.ReplaceAll(strings.TrimPrefix(line, "\t"), " == @", " @"))
		}
	}
	name := filepath.Join("testdata", "routed.nft")
	want, err := os.ReadFile(name)
	if err != nil || string(want) != got.String() {
		t.Errorf("%s (%v) should be\n%s", name, err, got.String())
	}
}

// typicalBranch is a client as in typicalClient with two networks behind it.
func typicalBranch(n int) Client {
	c := typicalClient(n)
	c.Turn = uint64(n)
	for _, bits := range []int{24, 29} {
		first := uint32(150<<24 + n<<8)
		if bits == 29 {
			first = uint32(160<<24 + n<<3)
		}
		c.Routes = append(c.Routes, netip.PrefixFrom(address(first), bits))
	}
	return c
}

// fillBranches is fill for them.
func fillBranches(t testing.TB, table *Table, clients int) []Lease {
	t.Helper()
	const workers = 64
	leases := make([]Lease, clients)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < clients; i += workers {
				var err error
				if leases[i], err = table.Set(typicalBranch(i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	return leases
}

const manyBranches = 10_000

// At 10,000 sessions with networks a login is a transaction of two elements for its
// address and two for each network, and all can be put in place anew.
func TestManyNetworks(t *testing.T) {
	w := newWorld(t)
	w.leads("150.0.0.0/8")
	table := open(t, typical(t))
	began := time.Now()
	fillBranches(t, table, manyBranches)
	t.Logf("%d logins with two networks, 64 at a time: %v", manyBranches, time.Since(began))
	if n := table.metric.updates.Load(); n != 6*manyBranches {
		t.Errorf("%d updates of sets", n)
	}
	var set, change, remove []time.Duration
	measure := func(all *[]time.Duration, f func() error) {
		t.Helper()
		began := time.Now()
		if err := f(); err != nil {
			t.Fatal(err)
		}
		*all = append(*all, time.Since(began))
	}
	for range 20 {
		var l Lease
		c := typicalBranch(manyBranches)
		measure(&set, func() (err error) { l, err = table.Set(c); return err })
		c.Quarantine = true
		measure(&change, func() error { return table.Change(l, c) })
		measure(&remove, func() error { return table.Remove(l) })
	}
	for what, all := range map[string][]time.Duration{"login": set, "into quarantine": change, "logout": remove} {
		slices.Sort(all)
		t.Logf("one %s with two networks at %d: median %v, slowest %v", what, manyBranches, all[len(all)/2], all[len(all)-1])
	}
	began = time.Now()
	if err := table.Verify(); err != nil || table.metric.repairs.Load() != 0 {
		t.Fatalf("%v, %d repairs", err, table.metric.repairs.Load())
	}
	t.Logf("Verify: %v", time.Since(began))
	began = time.Now()
	nft(t, "flush", "ruleset")
	waitRepairs(t, table, 1)
	t.Logf("after nft flush ruleset all is back in %v", time.Since(began))
	if err := table.Verify(); err != nil || table.metric.repairs.Load() != 1 {
		t.Errorf("%v, %d repairs", err, table.metric.repairs.Load())
	}
	host := address(150<<24 + (manyBranches-1)<<8 + 77)
	w.tun.send(t, tcp(host, 1, addr("10.27.3.4"), 443, tcpSYN).bytes())
	w.wan.receive(t, "a permitted packet", func(q packet) bool { return q.dst == addr("10.27.3.4") && q.dport == 443 })
	w.drops(table, tcp(host, 1, addr("10.27.3.4"), 444, tcpSYN), w.tun, "denied.filter7")
}

// BenchmarkBranch is BenchmarkLogin for a client with two networks.
func BenchmarkBranch(b *testing.B) {
	for _, clients := range []int{0, manyBranches} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			newWorld(b)
			table := open(b, typical(b))
			fillBranches(b, table, clients)
			c := typicalBranch(clients)
			b.ReportAllocs()
			for b.Loop() {
				if err := table.Remove(login(b, table, c)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
