package filter

import (
	"bytes"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// chain is a chain and what is in it.
type chain struct {
	name  string
	hook  *hook // nil: reached from others only
	rules []rule
}

// hook is where packets enter a chain. Where a chain says nothing they go on: a
// host's other traffic is none of our business.
type hook struct {
	kind     nftables.ChainType
	at       nftables.ChainHook
	priority int32
}

// Chains that are always there.
const (
	chainInput         = "input"
	chainNode          = "node"
	chainFromClients   = "from_clients"
	chainToClients     = "to_clients"
	chainMSS           = "mss"
	chainCaptive       = "captive"
	chainNAT           = "nat"
	chainRefuse        = "refuse"
	chainOpenIn        = "open_in"
	chainOpenOut       = "open_out"
	chainQuarantineIn  = "quarantine_in"
	chainQuarantineOut = "quarantine_out"
)

// Sets that are always there; those of the configuration are called set.NAME. See
// intervals for what follows the names of some.
const (
	setAllowed     = "allowed"
	setGRE         = "gre_sources"
	setIn          = "client_in"
	setOut         = "client_out"
	setQuarantined = "quarantined"
	setDNS         = "client_dns"
	setDNSRate     = "dns_rate"
	setRefuseRate  = "refuse_rate"
	setPortal      = "portal"
	setServices    = "services"
	prefixSet      = "set."
)

// Counters that are always there; filters have accepted.NAME and denied.NAME.
const (
	countSource    = "source_refused"
	countGRE       = "gre_limited"
	countNoLease   = "no_lease"
	countClients   = "client_to_client"
	countNode      = "to_node"
	countDNS       = "dns_limited"
	prefixAccepted = "accepted."
	prefixDenied   = "denied."
	acceptedOpen   = prefixAccepted + None
	acceptedHeld   = prefixAccepted + Quarantine
	deniedHeld     = prefixDenied + Quarantine
	filterIn       = "in."
	filterOut      = "out."
	suffixAnswers  = ".re"
	suffixChange   = ".g"
)

// Ours. A client asks a few names for each page it opens; refusals are to tell it
// what is wrong, not to answer a scan; 65535 sessions are the most a node has.
const (
	dnsRate     = 20 // a second, of one client
	dnsBurst    = 60
	refuseRate  = 10
	refuseBurst = 20
	maxClients  = 1 << 16
	maxSources  = 1 << 15
	forget      = 30 * time.Second // a silent source
	httpPort    = 80
	dnsPort     = 53
)

// Priorities as nft names them, fixed by Linux.
const (
	priorityMangle = -150
	priorityDstNAT = -100
	priorityFilter = 0
	prioritySrcNAT = 100
)

// set is a named set or map.
type set struct {
	name     string
	key      nftables.SetDatatype
	interval bool
	verdict  bool // a map to verdicts
	limited  bool // filled by packets, each source with its own rate
	clients  bool // filled by logins
	size     uint32
	elements []nftables.SetElement // what the configuration puts into it
}

var (
	typeAddressPair    = nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeIPAddr)
	typeAddressService = nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService)
)

// sets are those that are always there, but for that of allowed sources, which is an
// interval set.
func (c *Config) sets() []set {
	return append(clientSets.sets(), []set{
		{name: setGRE, key: nftables.TypeIPAddr, limited: true, size: maxSources},
		{name: setDNSRate, key: nftables.TypeIPAddr, limited: true, size: maxClients},
		{name: setRefuseRate, key: nftables.TypeIPAddr, limited: true, size: maxClients},
		{name: setPortal, key: typeAddressService, elements: services(c.Portal)},
		{name: setServices, key: typeAddressService, elements: services(c.AllowToNode)},
	}...)
}

// chains are those that are always there, and the two that only some configurations
// need: a chain of kind nat costs each new flow of the host a little. allowed is what
// the set of allowed sources is called at present, l what networks are looked for.
func (c *Config) chains(allowed string, l *lengths) []chain {
	all := []chain{
		{chainInput, &hook{nftables.ChainTypeFilter, unix.NF_INET_LOCAL_IN, priorityFilter}, c.input(allowed)},
		{chainNode, nil, c.node()},
		{chainFromClients, &hook{nftables.ChainTypeFilter, unix.NF_INET_FORWARD, priorityFilter}, c.fromClients()},
		// Behind from_clients: between two clients both filters have a say.
		{chainToClients, &hook{nftables.ChainTypeFilter, unix.NF_INET_FORWARD, priorityFilter + 1}, []rule{
			say("other traffic of this host", oifNot(c.Tun), accept),
			say("as the client's filter says", daddr.verdictOf(setOut)),
			say("networks behind clients", jump(chainRoutedOut)),
			say("not an address of a session", count(countNoLease), drop),
		}},
		{chainMSS, &hook{nftables.ChainTypeFilter, unix.NF_INET_FORWARD, priorityMangle}, []rule{
			say("segments that fit, from clients", iif(c.Tun), syn, clampMSS(c.MSS)),
			say("segments that fit, to clients", oif(c.Tun), syn, clampMSS(c.MSS)),
		}},
		{chainRefuse, nil, []rule{
			say("quarantine", count(deniedHeld)),
			say("told so, not too often", limit(saddr, setRefuseRate, refuseRate, refuseBurst, false), prohibit),
			say("too often", drop),
		}},
		{chainOpenIn, nil, []rule{say("no filter", count(acceptedOpen), accept)}},
		{chainOpenOut, nil, []rule{say("no filter", count(acceptedOpen), accept)}},
		{chainQuarantineIn, nil, c.quarantineIn()},
		{chainQuarantineOut, nil, c.quarantineOut()},
	}
	if c.CaptivePort != 0 {
		all = append(all, chain{chainCaptive, &hook{nftables.ChainTypeNAT, unix.NF_INET_PRE_ROUTING, priorityDstNAT}, []rule{
			c.redirect(&ownAddress),
			say("networks behind clients", iif(c.Tun), jump(chainRoutedCaptive)),
		}})
	}
	if c.Masquerade {
		source := masquerade
		if c.Source.IsValid() {
			source = snat(c.Source)
		}
		all = append(all, chain{chainNAT, &hook{nftables.ChainTypeNAT, unix.NF_INET_POST_ROUTING, prioritySrcNAT}, []rule{
			say("from clients to the world", iif(c.Tun), oifNot(c.Tun), source),
		}})
	}
	return append(all, c.routedChains(l)...)
}

// redirect leads a browser to where it is told of the portal.
func (c *Config) redirect(o *origin) rule {
	return o.say("plain HTTP of quarantined clients", iif(c.Tun), o.held(), proto(TCP), dport.isPort(httpPort),
		notPair(daddr, dport, setPortal), dnat(c.captive()))
}

func (c *Config) captive() netip.AddrPort { return netip.AddrPortFrom(c.Inside, c.CaptivePort) }

// services are elements of a set of address and port, each part in words of its own.
func services(all []netip.AddrPort) []nftables.SetElement {
	var elements []nftables.SetElement
	for _, p := range all {
		key := append(p.Addr().AsSlice(), byte(p.Port()>>8), byte(p.Port()), 0, 0)
		if !slices.ContainsFunc(elements, func(e nftables.SetElement) bool { return bytes.Equal(e.Key, key) }) {
			elements = append(elements, nftables.SetElement{Key: key})
		}
	}
	return elements
}

func (c *Config) input(allowed string) []rule {
	listen := func(*rule) {}
	if c.Listen.IsValid() {
		listen = daddr.isAddr(c.Listen)
	}
	rules := []rule{say("out of the tunnels", iif(c.Tun), goTo(chainNode))}
	if len(c.Allowed) > 0 {
		rules = append(rules,
			say("PPTP from elsewhere", proto(TCP), listen, dport.isPort(pptpPort), saddr.notIn(allowed), count(countSource), drop),
			say("GRE from elsewhere", proto(GRE), listen, saddr.notIn(allowed), count(countSource), drop))
	}
	if c.GREPerSource > 0 {
		rules = append(rules, say("more GRE than one source may send", proto(GRE), listen,
			limit(saddr, setGRE, c.GREPerSource, c.GREPerSource, true), count(countGRE), drop))
	}
	return rules
}

// pptpPort is fixed by RFC 2637 §3.1.
const pptpPort = 1723

// node is what clients may send to this host. The source is compared with the session
// by the node itself, before a packet gets here.
func (c *Config) node() []rule {
	rules := []rule{
		say("answers to what this host sent", answer, accept),
		say("ICMP errors", related, accept),
		say("ping", daddr.isAddr(c.Inside), proto(ICMP), icmpType.isType(icmpEchoRequest), accept),
	}
	rules = append(rules, nodeDNS(&ownAddress)...)
	rules = append(rules, say("the portal on this host", proto(TCP), pair(daddr, dport, setPortal), accept))
	rules = append(rules, c.nodeHeld(&ownAddress)...)
	rules = append(rules,
		say("networks behind clients", jump(chainRoutedNode)),
		say("services for clients", proto(TCP), pair(daddr, dport, setServices), accept))
	if c.CaptivePort != 0 {
		// A browser that kept its connection would wait for an answer.
		rules = append(rules, say("captive HTTP after quarantine", c.captiveHTTP(), count(countNode), reset))
	}
	return append(rules, say("nothing else", count(countNode), drop))
}

func (c *Config) captiveHTTP() part {
	return all(proto(TCP), daddr.isAddr(c.Inside), dport.isPort(c.CaptivePort))
}

// nodeDNS is what clients may ask this host.
func nodeDNS(o *origin) []rule {
	return []rule{
		o.say("DNS too often, in quarantine", o.held(), o.asks(), tcpOrUDP, dport.isPort(dnsPort), o.often()),
		o.say("DNS, where its login named this host", o.asks(), tcpOrUDP, dport.isPort(dnsPort), accept),
	}
}

// nodeHeld is all that clients in quarantine may send to this host besides.
func (c *Config) nodeHeld(o *origin) []rule {
	rules := []rule{o.say("quarantine", o.held(), goTo(chainRefuse))}
	if c.CaptivePort == 0 {
		return rules
	}
	return append([]rule{o.say("captive HTTP", o.held(), c.captiveHTTP(), accept)}, rules...)
}

func (c *Config) fromClients() []rule {
	rules := []rule{say("other traffic of this host", iifNot(c.Tun), accept)}
	if !c.ClientToClient {
		rules = append(rules, say("from client to client", oif(c.Tun), count(countClients), drop))
	}
	return append(rules,
		say("as the client's filter says", saddr.verdictOf(setIn)),
		say("networks behind clients", jump(chainRoutedIn)),
		say("not an address of a session", count(countNoLease), drop))
}

// quarantineIn and quarantineOut do not ask what flows there are: one that was
// permitted before must not outlive the permission.
func (c *Config) quarantineIn() []rule {
	rules := []rule{say("no other clients", oif(c.Tun), goTo(chainRefuse))}
	rules = append(rules, quarantineDNS(&ownAddress)...)
	return append(rules,
		say("networks behind clients", jump(chainRoutedHeldIn)),
		say("the portal", proto(TCP), pair(daddr, dport, setPortal), count(acceptedHeld), accept),
		say("nothing else", goTo(chainRefuse)))
}

func quarantineDNS(o *origin) []rule {
	return []rule{
		o.say("DNS too often", o.asks(), tcpOrUDP, dport.isPort(dnsPort), o.often()),
		o.say("DNS, to the servers of its login", o.asks(), tcpOrUDP, dport.isPort(dnsPort), count(acceptedHeld), accept),
	}
}

func (c *Config) quarantineOut() []rule {
	return []rule{
		quarantineAnswers(&ownAddress),
		say("networks behind clients", jump(chainRoutedHeldOut)),
		say("the portal", answer, proto(TCP), pair(saddr, sport, setPortal), count(acceptedHeld), accept),
		say("ICMP errors", related, count(acceptedHeld), accept),
		say("nothing else", count(deniedHeld), drop),
	}
}

func quarantineAnswers(o *origin) rule {
	return o.say("DNS", answer, o.answered(), tcpOrUDP, sport.isPort(dnsPort), count(acceptedHeld), accept)
}

// filterChains are a filter's four chains. What a client sends in flows that it began
// is held against the rules of direction in (in.ID), what others send it in flows that
// they began against those of direction out (out.ID). Answers are held against the
// rules of the flow they answer, with the sides changed (in.ID.re, out.ID.re): the
// kernel's memory of flows says which packet is an answer, never that it may pass. So
// a filter that has changed holds at once, also for flows that are there. named finds
// out what a set is called at present.
func filterChains(id, counter string, rules []Rule, named func(set string) string) []chain {
	accepted, denied := prefixAccepted+counter, prefixDenied+counter
	side := func(name string, d Direction, peer, port field, answers bool) chain {
		c := chain{name: name}
		if !answers {
			c.rules = append(c.rules,
				say("answers", answer, goTo(name+suffixAnswers)),
				say("ICMP errors", related, count(accepted), accept))
		}
		for _, g := range merge(rules, d) {
			verdict := all(count(denied), drop)
			if g.action == Permit {
				verdict = all(count(accepted), accept)
			}
			match := func(r *rule) {
				if g.protocol != AnyProtocol {
					proto(g.protocol)(r)
				}
				if len(g.ports) > 0 {
					port.within(g.ports)(r)
				}
			}
			if len(g.peers) > 0 {
				c.rules = append(c.rules, say(g.comment(), peer.within(g.peers), match, verdict))
			}
			for _, s := range g.sets {
				c.rules = append(c.rules, say(g.comment(), peer.in(named(s)), match, verdict))
			}
		}
		c.rules = append(c.rules, say("nothing else", count(denied), drop))
		return c
	}
	return []chain{
		side(filterIn+id+suffixAnswers, Out, daddr, sport, true),
		side(filterIn+id, In, daddr, dport, false),
		side(filterOut+id+suffixAnswers, In, saddr, sport, true),
		side(filterOut+id, Out, saddr, dport, false),
	}
}

// doors are the chains by which clients enter a filter whose rules may change. They
// hold one rule, so that the change is that of a rule.
func doors(id, body string) []chain {
	return []chain{
		{name: filterIn + id, rules: []rule{say("as configured", goTo(filterIn+body))}},
		{name: filterOut + id, rules: []rule{say("as configured", goTo(filterOut+body))}},
	}
}
