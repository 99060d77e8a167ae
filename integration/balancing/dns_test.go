//go:build integration

package balancing

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// The zone is served by a real server, which finds no fault with it; clients get both
// addresses, not always in one order, and one that tries them in turn gets past a node
// that is lost.
func TestDNS(t *testing.T) {
	router, one, two := pair(t)
	one.net.Run(t, "ip", "addr", "add", first+"/24", "dev", "eth0")
	two.net.Run(t, "ip", "addr", "add", second+"/24", "dev", "eth0")
	one.serve(t)
	two.serve(t)
	dir, err := filepath.Abs(shipped + "/dns")
	if err != nil {
		t.Fatal(err)
	}
	router.Run(t, "nsd-checkzone", "vpn.example.org", dir+"/vpn.example.org.zone")
	router.Run(t, "nsd-checkconf", dir+"/nsd.conf")
	mine := filepath.Join(t.TempDir(), "nsd.conf") // the shipped one, and where this test's server keeps what is its own
	write(t, mine, "include: \""+dir+"/nsd.conf\"\nserver:\n  zonesdir: \""+dir+"\"\n  username: \"\"\n  pidfile: \"\"\n  xfrdfile: \"\"\n  zonelistfile: \""+
		filepath.Join(t.TempDir(), "zones")+"\"\n  database: \"\"\nremote-control:\n  control-enable: no\n")
	start(t, router, "nsd", "-d", "-c", mine)

	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (c net.Conn, err error) {
		router.Do(func() { c, err = new(net.Dialer).DialContext(ctx, network, "127.0.0.1:53") })
		return c, err
	}}
	const name = "pptp.vpn.example.org"
	lookup := func() []netip.Addr {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		addrs, _ := resolver.LookupNetIP(ctx, "ip4", name+".")
		return addrs
	}
	eventually(t, "the name server answers", 10*time.Second, func() bool { return len(lookup()) == 2 })
	heads := make(map[netip.Addr]int)
	for range 40 {
		addrs := lookup()
		heads[addrs[0]]++
		slices.SortFunc(addrs, netip.Addr.Compare)
		if !slices.Equal(addrs, []netip.Addr{netip.MustParseAddr(first), netip.MustParseAddr(second)}) {
			t.Fatalf("%v", addrs)
		}
	}
	t.Logf("first of the answer: %v", heads)

	one.gateway.kill()
	for range 4 {
		reached := ""
		for _, a := range lookup() {
			if dials(router, netip.AddrPortFrom(a, 1723).String()) == nil {
				reached = a.String()
				break
			}
		}
		if reached != second {
			t.Errorf("reached %q, want the node that is left", reached)
		}
	}
}
