package filter

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/google/nftables"
)

// Bounds, ours: an answer of a service has room for some hundred networks, and a table
// that is made anew with all clients must fit into one transaction.
const (
	MaxRoutes = 128     // of one client
	MaxRouted = 1 << 15 // of all clients
)

// ErrRouted is for a client with more networks than the table takes.
var ErrRouted = errors.New("filter: too many networks behind clients")

// Kinds of sets that clients are in. Each login updates the first two. Each kind is
// there for clients' addresses, and once more for each length that networks behind
// clients have.
//
// Handled in: clientSets, routedSets, entry.appendElements, expected.
const (
	kindIn = iota
	kindOut
	kindHeld
	kindDNS
	numKinds
)

// kinds are the sets for addresses, or for networks of one length.
type kinds [numKinds]string

var clientSets = kinds{setIn, setOut, setQuarantined, setDNS}

// routedSets are the same by length.
var routedSets = func() (all [33]kinds) {
	for bits := range all {
		for kind, name := range [...]string{"routed_in.", "routed_out.", "routed_quarantined.", "routed_dns."} {
			all[bits][kind] = name + strconv.Itoa(bits)
		}
	}
	return all
}()

func (k *kinds) sets() []set {
	return []set{
		{name: k[kindIn], key: nftables.TypeIPAddr, verdict: true, clients: true},
		{name: k[kindOut], key: nftables.TypeIPAddr, verdict: true, clients: true},
		{name: k[kindHeld], key: nftables.TypeIPAddr, clients: true},
		{name: k[kindDNS], key: typeAddressPair, clients: true},
	}
}

// lengths are those that the table has sets for.
type lengths [33]bool

// origins are what rules must look for besides clients' addresses, the longest first.
func (l *lengths) origins() []origin {
	var all []origin
	for bits := len(l) - 1; bits > 0; bits-- {
		if l[bits] {
			all = append(all, origin{
				src: saddr.masked(bits), dst: daddr.masked(bits), sets: &routedSets[bits], label: ", in networks of /" + strconv.Itoa(bits),
			})
		}
	}
	return all
}

// origin is how a rule knows clients: by the address of a packet, or by the network it
// is in.
type origin struct {
	src, dst field
	sets     *kinds
	label    string // in comments
}

var ownAddress = origin{src: saddr, dst: daddr, sets: &clientSets}

func (o *origin) say(comment string, parts ...part) rule { return say(comment+o.label, parts...) }

func (o *origin) held() part { return o.src.in(o.sets[kindHeld]) }

// asks and answered match a client and one of the servers that its login named.
func (o *origin) asks() part     { return pair(o.src, daddr, o.sets[kindDNS]) }
func (o *origin) answered() part { return pair(o.dst, saddr, o.sets[kindDNS]) }

// often is what a client asks too often. All of a network is one client.
func (o *origin) often() part {
	return all(limit(o.src, setDNSRate, dnsRate, dnsBurst, true), count(countDNS), drop)
}

// Chains for networks. They end by going back to where they were jumped to from, for a
// packet of none of them.
const (
	chainRoutedIn      = "routed_in"
	chainRoutedOut     = "routed_out"
	chainRoutedNode    = "routed_node"
	chainRoutedHeldIn  = "routed_quarantine_in"
	chainRoutedHeldOut = "routed_quarantine_out"
	chainRoutedCaptive = "routed_captive"
)

// routedChains say of networks what other chains say of addresses.
func (c *Config) routedChains(l *lengths) []chain {
	in, out, node := chain{name: chainRoutedIn}, chain{name: chainRoutedOut}, chain{name: chainRoutedNode}
	heldIn, heldOut, captive := chain{name: chainRoutedHeldIn}, chain{name: chainRoutedHeldOut}, chain{name: chainRoutedCaptive}
	for _, o := range l.origins() {
		in.rules = append(in.rules, o.say("as the client's filter says", o.src.verdictOf(o.sets[kindIn])))
		out.rules = append(out.rules, o.say("as the client's filter says", o.dst.verdictOf(o.sets[kindOut])))
		node.rules = append(append(node.rules, nodeDNS(&o)...), c.nodeHeld(&o)...)
		heldIn.rules = append(heldIn.rules, quarantineDNS(&o)...)
		heldOut.rules = append(heldOut.rules, quarantineAnswers(&o))
		captive.rules = append(captive.rules, c.redirect(&o))
	}
	all := []chain{in, out, node, heldIn, heldOut}
	if c.CaptivePort != 0 {
		all = append(all, captive)
	}
	return all
}

// checkRoutes wants networks as they are in sets, each once.
func (c *Client) checkRoutes() error {
	if len(c.Routes) > MaxRoutes {
		return fmt.Errorf("%w: %d of %v, at most %d wanted", ErrRouted, len(c.Routes), c.Addr, MaxRoutes)
	}
	for i, p := range c.Routes {
		if !p.IsValid() || !p.Addr().Is4() || p.Bits() == 0 || p != p.Masked() || slices.Contains(c.Routes[:i], p) {
			return fmt.Errorf("filter: network %v of %v: an IPv4 network, once, wanted", p, c.Addr)
		}
	}
	return nil
}

// claim gives an entry those of its client's networks that no client with a later turn
// has, and takes them from others. A network that changes hands does so in the
// transaction that its new client is in.
func (t *Table) claim(x *txn, e *entry) error {
	for _, p := range e.client.Routes {
		owner := t.routed[p]
		switch {
		case owner == nil || owner.client.Addr == e.client.Addr:
		case owner.client.Turn > e.client.Turn:
			continue
		default:
			less := *owner
			less.routes = slices.DeleteFunc(slices.Clone(owner.routes), func(q netip.Prefix) bool { return q == p })
			t.swap(x, owner.client.Addr, &less)
		}
		e.routes = append(e.routes, p)
	}
	more := len(e.routes)
	if old := t.clients[e.client.Addr]; old != nil {
		more -= len(old.routes)
	}
	if len(t.routed)+more > MaxRouted {
		return fmt.Errorf("%w: %d", ErrRouted, len(t.routed)+more)
	}
	return nil
}

// reroute changes the picture of who has which networks.
func (t *Table) reroute(x *txn, from, to *entry) {
	var gone, come []netip.Prefix
	if from != nil {
		gone = from.routes
	}
	if to != nil {
		come = to.routes
	}
	note := func(p netip.Prefix, e *entry) {
		was := t.routed[p]
		x.undo = append(x.undo, func() { t.route(p, was) })
		t.route(p, e)
	}
	for _, p := range gone {
		if !slices.Contains(come, p) {
			note(p, nil)
		}
	}
	for _, p := range come {
		note(p, to)
	}
}

// route is one change in that picture; nil: nobody has the network.
func (t *Table) route(p netip.Prefix, e *entry) {
	was := t.routed[p] != nil
	if e == nil {
		delete(t.routed, p)
	} else {
		t.routed[p] = e
	}
	switch {
	case was && e == nil:
		t.networks[p.Bits()]--
	case !was && e != nil:
		t.networks[p.Bits()]++
	}
}

// widen makes sets for the lengths that networks have now, prune takes away those that
// they have not any more. Rules come and go with their sets in one step, and so do
// elements, on every kernel: of interval sets not all kernels do that (intervals).
func (t *Table) widen(x *txn) {
	next := t.lengths
	for bits, n := range t.networks {
		if n == 0 || t.lengths[bits] {
			continue
		}
		next[bits] = true
		for _, s := range routedSets[bits].sets() {
			x.addSet(s)
		}
	}
	t.relength(x, next)
}

func (t *Table) prune(x *txn) {
	next, was := t.lengths, t.lengths
	for bits, n := range t.networks {
		next[bits] = next[bits] && n > 0
	}
	t.relength(x, next)
	for bits := range was {
		if was[bits] && !next[bits] {
			for _, name := range routedSets[bits] {
				x.delSet(name)
			}
		}
	}
}

// relength makes the rules for networks anew.
func (t *Table) relength(x *txn, next lengths) {
	was := t.lengths
	if next == was {
		return
	}
	t.lengths = next
	x.undo = append(x.undo, func() { t.lengths = was })
	for _, c := range t.cfg.routedChains(&next) {
		x.flushChain(c.name)
		x.addRules(c)
	}
}
