//go:build integration

package balancing

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"postern/integration/netlab"
)

// shared is the address on all nodes.
const shared = "192.0.2.10"

// clients is how many addresses dial.
const clients = 100

func client(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, byte(10 + i)}) }

// perKind is how often each client dials, and for how many calls it sends GRE.
const perKind = 3

// seen is where each client's packets arrived.
type seen struct {
	mu    sync.Mutex
	count map[netip.Addr]map[string]int // by client, and by kind and node
}

// note counts one arrival. GRE has no port.
func (s *seen) note(kind string, from net.Addr, node string) {
	host, _, err := net.SplitHostPort(from.String())
	if err != nil {
		host = from.String()
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count[addr] == nil {
		s.count[addr] = make(map[string]int)
	}
	s.count[addr][kind]++
	s.count[addr][node]++
}

// forget begins anew.
func (s *seen) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count = make(map[netip.Addr]map[string]int)
}

// arrived says whether all that dialAll sends has.
func (s *seen) arrived() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range clients {
		if c := s.count[client(i)]; c["tcp"] < perKind || c["gre"] < perKind {
			return false
		}
	}
	return true
}

// ways is which node each client reached, and how many reached more than one, by TCP and
// GRE together.
func (s *seen) ways() (way map[netip.Addr]string, torn int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	way = make(map[netip.Addr]string)
	for addr, count := range s.count {
		nodes := 0
		for node := range count {
			if node != "tcp" && node != "gre" {
				nodes, way[addr] = nodes+1, node
			}
		}
		if nodes > 1 {
			torn++
		}
	}
	return way, torn
}

// listen notes on a node what comes to the shared address.
func (s *seen) listen(t *testing.T, n *node) {
	t.Helper()
	n.net.Do(func() {
		l, err := net.Listen("tcp", shared+":1723")
		if err != nil {
			t.Fatal(err)
		}
		raw, err := net.ListenIP("ip4:47", &net.IPAddr{IP: net.ParseIP(shared)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = l.Close(), raw.Close() })
		go func() { // ends with the listener
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				s.note("tcp", c.RemoteAddr(), n.name)
				_ = c.Close()
			}
		}()
		go func() { // ends with the socket
			buf := make([]byte, 1500)
			for {
				_, from, err := raw.ReadFrom(buf)
				if err != nil {
					return
				}
				s.note("gre", from, n.name)
			}
		}()
	})
}

// greFrame is one of PPTP (RFC 2637 §4.1) without a payload: an acknowledgment for a call.
func greFrame(call uint16) []byte {
	b := []byte{0x20, 0x81, 0x88, 0x0b, 0, 0, 0, 0, 0, 0, 0, 1}
	binary.BigEndian.PutUint16(b[6:], call)
	return b
}

// dialAll has each client open connections, as it does when it redials, and send GRE for
// as many calls.
func dialAll(t *testing.T, host *netlab.Namespace) {
	t.Helper()
	host.Do(func() {
		for i := range clients {
			local := client(i).AsSlice()
			for call := range uint16(perKind) {
				d := net.Dialer{LocalAddr: &net.TCPAddr{IP: local}, Timeout: time.Second}
				c, err := d.Dial("tcp", shared+":1723")
				if err != nil {
					t.Errorf("%v: %v", client(i), err)
					return
				}
				_ = c.Close()
				raw, err := net.DialIP("ip4:47", &net.IPAddr{IP: local}, &net.IPAddr{IP: net.ParseIP(shared)})
				if err != nil {
					t.Errorf("%v: %v", client(i), err)
					return
				}
				if _, err := raw.Write(greFrame(1000*call + uint16(i))); err != nil {
					t.Errorf("%v: %v", client(i), err)
				}
				_ = raw.Close()
			}
		}
	})
}

// many is a machine with all clients' addresses, behind the router.
func many(t *testing.T, router *netlab.Namespace) *netlab.Namespace {
	t.Helper()
	host := netlab.New(t)
	router.Run(t, "ip", "link", "add", "down0", "type", "veth", "peer", "name", "up0")
	router.Run(t, "ip", "addr", "add", "198.51.100.1/24", "dev", "down0")
	router.Run(t, "ip", "link", "set", "down0", "up")
	router.Give(t, "up0", host)
	for i := range clients {
		host.Run(t, "ip", "addr", "add", client(i).String()+"/24", "dev", "up0")
	}
	host.Run(t, "ip", "link", "set", "up0", "up")
	host.Run(t, "ip", "route", "add", "default", "via", "198.51.100.1")
	return host
}

// TestECMP: a hundred clients' TCP and GRE reach one node each, over three; when a node
// goes its clients are at the others', and nobody else moved.
func TestECMP(t *testing.T) {
	router := newRouter(t, "10.0.0.1/24")
	host := many(t, router)

	s := new(seen)
	s.forget()
	var nodes []*node
	args := []string{shared}
	for i := range 3 {
		addr := fmt.Sprintf("10.0.0.%d", 11+i)
		n := newNode(t, router, "node"+strconv.Itoa(i+1), addr+"/24", addr)
		n.net.Run(t, "ip", "route", "add", "default", "via", "10.0.0.1")
		n.net.Run(t, "sh", shipped+"/ecmp/node.sh", shared)
		write(t, n.config, "node: "+n.name+`
pptp: {listen: 127.0.0.1:1723, inside: 10.99.0.1} # what comes to the shared address is for the test to see
radius: {servers: [{name: none, transport: udp, address: 127.0.0.1:1812, acct_address: 127.0.0.1:1813, secret_file: secret}]}
filter: {enabled: false}
spool: {dir: spool}
metrics: {listen: `+addr+`:9101}
`)
		n.serve(t)
		s.listen(t, n)
		nodes, args = append(nodes, n), append(args, addr)
	}
	start(t, router, "sh", append([]string{shipped + "/ecmp/router.sh"}, args...)...)
	eventually(t, "routes", 10*time.Second, func() bool { return dials(host, shared+":1723") == nil })
	s.forget()

	all := func(about string) map[netip.Addr]string {
		t.Helper()
		dialAll(t, host)
		eventually(t, about+": everything arrived", 5*time.Second, s.arrived)
		way, torn := s.ways()
		if torn > 0 {
			t.Errorf("%s: %d of %d clients reached more than one node", about, torn, clients)
		}
		t.Logf("%s: %v", about, share(way))
		s.forget()
		return way
	}
	before := all("three nodes")
	for _, n := range nodes {
		if k := share(before)[n.name]; k < clients/10 {
			t.Errorf("%s has %d clients of %d", n.name, k, clients)
		}
	}

	nodes[1].gateway.kill()
	group := func() string { return router.Run(t, "ip", "nexthop", "show", "id", "1723") }
	with := group()
	took := eventually(t, "node2 is taken out", 4*time.Second, func() bool { return group() != with })
	t.Logf("node2 was taken out after %v", took)
	after := all("without node2")
	for addr, n := range after {
		switch {
		case n == "node2":
			t.Errorf("%v still reaches node2", addr)
		case before[addr] != "node2" && before[addr] != n:
			t.Errorf("%v was moved from %s to %s, and both live", addr, before[addr], n)
		}
	}

	nodes[1].serve(t)
	eventually(t, "node2 is back", 4*time.Second, func() bool { return group() == with })
	back := all("node2 is back")
	for addr, n := range back {
		if n != after[addr] && n != "node2" {
			t.Errorf("%v was moved from %s to %s", addr, after[addr], n)
		}
	}

	// What the hash is for: with ports in it a client is torn between nodes.
	router.Run(t, "sysctl", "-qw", "net.ipv4.fib_multipath_hash_policy=1")
	dialAll(t, host)
	eventually(t, "ports in the hash: everything arrived", 5*time.Second, s.arrived)
	if _, torn := s.ways(); torn < clients/4 {
		t.Errorf("with ports in the hash %d clients reached more than one node: this test tells nothing", torn)
	} else {
		t.Logf("with ports in the hash %d of %d clients reached more than one node", torn, clients)
	}
}

func share(way map[netip.Addr]string) map[string]int {
	n := make(map[string]int)
	for node := range maps.Values(way) {
		n[node]++
	}
	return n
}

// The kernel's ordinary multipath route, as any router has it: the same, but for what
// moves when a node goes.
func TestPlainMultipath(t *testing.T) {
	router := newRouter(t, "10.0.0.1/24")
	host := many(t, router)
	s := new(seen)
	s.forget()
	route := []string{"route", "add", shared + "/32"}
	for i := range 2 {
		addr := fmt.Sprintf("10.0.0.%d", 11+i)
		n := newNode(t, router, "node"+strconv.Itoa(i+1), addr+"/24", addr)
		n.net.Run(t, "ip", "route", "add", "default", "via", "10.0.0.1")
		n.net.Run(t, "sh", shipped+"/ecmp/node.sh", shared)
		s.listen(t, n)
		route = append(route, "nexthop", "via", addr)
	}
	router.Run(t, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.fib_multipath_hash_policy=0")
	router.Run(t, "ip", route...)
	dialAll(t, host)
	eventually(t, "everything arrived", 5*time.Second, s.arrived)
	way, torn := s.ways()
	if got := slices.Sorted(maps.Values(share(way))); torn > 0 || len(got) != 2 || got[0] < clients/4 {
		t.Errorf("%d clients were torn, shares %v", torn, got)
	}
}
