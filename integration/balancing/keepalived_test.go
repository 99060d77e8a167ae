//go:build integration

package balancing

import (
	"path/filepath"
	"testing"
	"time"

	"postern/integration/netlab"
)

const (
	activePassive = shipped + "/keepalived/active-passive.conf"
	activeActive  = shipped + "/keepalived/active-active.conf"

	// moved is how long an address may take from one node to the other, by README.md.
	moved  = 3 * time.Second
	first  = "192.0.2.10"
	second = "192.0.2.20"
)

// keepalived runs with a file as it is shipped.
func (n *node) keepalived(t *testing.T, file string) *process {
	t.Helper()
	dir := t.TempDir()
	return start(t, n.net, "keepalived", "--dont-fork", "--log-console", "--vrrp", "--config-id", n.name, "--use-file", file,
		"--pid", filepath.Join(dir, "pid"), "--vrrp_pid", filepath.Join(dir, "vrrp.pid"))
}

// pair is two nodes and the router that their clients come through.
func pair(t *testing.T) (router *netlab.Namespace, one, two *node) {
	t.Helper()
	router = newRouter(t, "192.0.2.1/24")
	return router, newNode(t, router, "node1", "192.0.2.11/24", "127.0.0.1"), newNode(t, router, "node2", "192.0.2.12/24", "127.0.0.1")
}

// keepalived itself finds no fault with the files, for either node.
func TestKeepalivedFiles(t *testing.T) {
	ns := newRouter(t, "192.0.2.1/24")
	host := netlab.New(t)
	ns.Join(t, segment, host, "eth0", "192.0.2.11/24")
	for _, file := range []string{activePassive, activeActive} {
		for _, id := range []string{"node1", "node2"} {
			if out, err := host.Output("keepalived", "--config-test", "--config-id", id, "--use-file", file); err != nil || out != "" {
				t.Errorf("%s at %s: %v\n%s", file, id, err, out)
			}
		}
	}
}

// One address: it is on one node at a time, whose gateway's death, or whose own, moves it.
// What comes back does not take it.
func TestActivePassive(t *testing.T) {
	router, one, two := pair(t)
	one.serve(t)
	two.serve(t)
	one.keepalived(t, activePassive)
	two.keepalived(t, activePassive)
	// The address on its node, the other without, and clients served.
	settled := func(by, other *node) func() bool {
		return func() bool {
			return by.has(t, first) && !other.has(t, first) && dials(router, first+":1723") == nil
		}
	}
	took := eventually(t, "somebody has the address", 10*time.Second, settled(one, two))
	t.Logf("begun after %v", took)

	one.gateway.kill()
	took = eventually(t, "the gateway died", moved, settled(two, one))
	t.Logf("a dead gateway: moved after %v", took)

	one.serve(t)
	time.Sleep(moved + time.Second)
	if !settled(two, one)() {
		t.Error("the node that came back took the address")
	}

	two.net.Run(t, "ip", "link", "set", "eth0", "down") // and all that it said is not heard
	took = eventually(t, "the node was lost", moved, func() bool { return one.has(t, first) && dials(router, first+":1723") == nil })
	t.Logf("a dead node: moved after %v", took)
}

// Two addresses: each node has its own, and the one that is left has both. The address of
// one that is well again goes home later.
func TestActiveActive(t *testing.T) {
	router, one, two := pair(t)
	one.serve(t)
	two.serve(t)
	one.keepalived(t, activeActive)
	alive := two.keepalived(t, activeActive)
	// The first to have been started may have both for the minute of preempt_delay.
	both := func(n, other *node) func() bool {
		return func() bool {
			for _, a := range []string{first, second} {
				if !n.has(t, a) || other.has(t, a) || dials(router, a+":1723") != nil {
					return false
				}
			}
			return true
		}
	}
	own := func() bool {
		return one.has(t, first) && two.has(t, second) && !one.has(t, second) && !two.has(t, first) &&
			dials(router, first+":1723") == nil && dials(router, second+":1723") == nil
	}
	eventually(t, "each has its own", 10*time.Second, own)
	alive.kill() // keepalived and all its children at once: nobody says goodbye
	two.net.Run(t, "ip", "addr", "del", second+"/24", "dev", "eth0")
	took := eventually(t, "node2 was lost", moved, both(one, two))
	t.Logf("a dead keepalived: moved after %v", took)
	two.keepalived(t, activeActive)
	time.Sleep(2 * time.Second)
	one.gateway.kill()
	took = eventually(t, "node1's gateway died", moved, both(two, one))
	t.Logf("both addresses of a dead gateway: moved after %v", took)
}
