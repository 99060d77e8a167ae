package store

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// clusterSlots is the number of slots of every Redis Cluster.
const clusterSlots = 16384

// clusterNode is a line of CLUSTER NODES.
type clusterNode struct {
	id, addr, of string
	flags        []string
	linked       bool
	slots        int
	moving       int
}

func (n *clusterNode) is(flag string) bool {
	for _, f := range n.flags {
		if f == flag {
			return true
		}
	}
	return false
}

// parseClusterNodes reads CLUSTER NODES:
// id addr@bus[,host] flags primary ping pong epoch link slot…
func parseClusterNodes(text string) []clusterNode {
	var out []clusterNode
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 8 {
			continue
		}
		addr, rest, _ := strings.Cut(f[1], "@")
		if _, host, found := strings.Cut(rest, ","); found && host != "" && !strings.Contains(host, "=") {
			_, port, _ := net.SplitHostPort(addr)
			addr = net.JoinHostPort(host, port)
		}
		n := clusterNode{id: f[0], addr: addr, of: f[3], flags: strings.Split(f[2], ","), linked: f[7] == "connected"}
		for _, r := range f[8:] {
			if strings.HasPrefix(r, "[") {
				n.moving++
				continue
			}
			first, last, found := strings.Cut(r, "-")
			if !found {
				last = first
			}
			a, err1 := strconv.Atoi(first)
			b, err2 := strconv.Atoi(last)
			if err1 == nil && err2 == nil && 0 <= a && a <= b && b < clusterSlots {
				n.slots += b - a + 1
			}
		}
		out = append(out, n)
	}
	return out
}

// cluster looks at what the nodes of a cluster say of it, and at each of them.
func (in *inspector) cluster(ctx context.Context) {
	nodes := in.nodes(ctx)
	if nodes == nil {
		return
	}
	served, primaries, moving := 0, 0, 0
	hosts := map[string]int{}
	replicas := map[string]int{}
	hostOf := map[string]string{}
	for _, n := range nodes {
		hostOf[n.id], _, _ = net.SplitHostPort(n.addr)
	}
	for _, n := range nodes {
		failed := n.is("fail") || n.is("fail?") || n.is("noaddr")
		switch {
		case n.is("slave"):
			if failed {
				in.find(Warning, CheckCluster, n.addr, "this replica is away")
			} else {
				replicas[n.of]++
				if host := hostOf[n.id]; host == hostOf[n.of] {
					in.find(Warning, CheckCluster, n.addr, "this replica and its primary are on one machine, %s", host).advise("a replica on another machine")
				}
			}
		case n.slots > 0:
			primaries++
			moving += n.moving
			hosts[hostOf[n.id]]++
			if failed {
				in.find(Danger, CheckCluster, n.addr, "this primary is away, and with it %d slots", n.slots)
			} else {
				served += n.slots
			}
		}
	}
	switch {
	case served < clusterSlots:
		in.find(Danger, CheckCluster, "", "%d of %d slots are served: what lies in the others is out of reach", served, clusterSlots).advise("CLUSTER NODES shows whose they were; bring it or a replica of it back")
	default:
		in.find(Good, CheckCluster, "", "all %d slots are served by %d primaries", clusterSlots, primaries)
	}
	if moving > 0 {
		in.find(Note, CheckCluster, "", "%d slots are being moved", moving)
	}
	if primaries < 3 {
		in.find(Warning, CheckCluster, "", "%d primaries: without a majority of the rest nobody takes over for one that is lost", primaries).advise("three primaries at least")
	}
	for host, n := range hosts {
		if primaries >= 3 && n > primaries/2 {
			in.find(Warning, CheckCluster, "", "%d of %d primaries are on one machine, %s: without it nobody takes over", n, primaries, host).advise("no half of the primaries on one machine")
		}
	}
	for _, n := range nodes {
		if n.is("fail") || n.is("noaddr") || n.is("handshake") {
			continue
		}
		f := in.server(ctx, n.addr)
		if f == nil {
			continue
		}
		c := in.client(n.addr, false)
		state := parseInfo(c.ClusterInfo(ctx).Val())
		c.Close()
		if v := state["cluster_state"]; v != "ok" {
			in.find(Danger, CheckCluster, n.addr, "it says that the cluster is in state %q", v)
		}
		if n.slots > 0 {
			in.replicas(f)
		}
	}
}

// nodes asks the configured addresses in turn.
func (in *inspector) nodes(ctx context.Context) []clusterNode {
	var nodes []clusterNode
	for _, addr := range in.conf.Addrs {
		c := in.client(addr, false)
		text, err := c.ClusterNodes(ctx).Result()
		c.Close()
		if err != nil {
			in.errs = append(in.errs, fmt.Errorf("%s: %w", addr, err))
			in.find(Warning, CheckReach, addr, "%v", err)
			continue
		}
		if nodes == nil {
			nodes = parseClusterNodes(text)
			for i := range nodes { // a node that knows no address of its own
				if host, port, _ := net.SplitHostPort(nodes[i].addr); host == "" && nodes[i].is("myself") {
					own, _, _ := net.SplitHostPort(addr)
					nodes[i].addr = net.JoinHostPort(own, port)
				}
			}
		}
	}
	return nodes
}
