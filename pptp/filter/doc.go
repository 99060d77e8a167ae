// Package filter is what the kernel enforces for a node: who may dial in, what a
// session's filter lets through, quarantine, address translation, segment sizes. It is
// one nftables table, made through netlink. Filter rules are those of IPFilterRule (RFC
// 6733 §4.3.1) of which ParseRule reads a part; refusals are ICMP's code 13 (RFC 1812
// §5.2.7.1).
//
// The table is of family ip, not inet: PPTP is IPv4 outside (RFC 2637 §4) and, without
// IPV6CP, inside. In family inet each IPv6 packet of the host would pass through chains
// that have nothing to say about it.
//
// # The table
//
// As `nft list ruleset` shows it, shortened: alice has the filter "sales" of the
// configuration, bob is in quarantine. Policies are accept, and a packet that neither
// comes from nor goes to the tunnels' interface leaves each chain by its first rule, but
// for PPTP and GRE that are for the node itself.
//
//	table ip postern_tun0 {
//	  map client_in  { 10.9.0.10 : goto in.sales,  10.9.0.11 : goto quarantine_in }   # two updates
//	  map client_out { 10.9.0.10 : goto out.sales, 10.9.0.11 : goto quarantine_out }  # for a login
//	  set quarantined { 10.9.0.11 }                     # these for quarantined ones only
//	  set client_dns { 10.9.0.11 . 10.20.0.53 }
//	  map routed_in.24 { 10.50.7.0 : goto in.sales }    # alice's network, 10.50.7.0/24; as
//	  map routed_out.24 { 10.50.7.0 : goto out.sales }  # these, routed_quarantined.24, routed_dns.24
//	  set portal { 10.20.0.2 . 443 }
//	  set set.servers { 10.20.0.0/23 }                  # @servers of the configuration
//
//	  chain input {                                     # hook input
//	    iifname "tun0" goto node                        # echo, DNS, captive port; else nothing
//	    tcp dport 1723 ip saddr != @allowed counter name "source_refused" drop
//	    meta l4proto gre ip saddr != @allowed counter name "source_refused" drop
//	    meta l4proto gre update @gre_sources { ip saddr limit rate over 1000/second … } … drop
//	  }
//	  chain from_clients {                              # hook forward
//	    iifname != "tun0" accept
//	    oifname "tun0" counter name "client_to_client" drop
//	    ip saddr vmap @client_in
//	    jump routed_in
//	    counter name "no_lease" drop
//	  }
//	  chain to_clients {                                # hook forward, behind the other
//	    oifname != "tun0" accept
//	    ip daddr vmap @client_out
//	    jump routed_out
//	    counter name "no_lease" drop
//	  }
//	  chain routed_in { ip saddr & 255.255.255.0 vmap @routed_in.24 }
//	  chain in.sales { goto in.sales.g1 }               # the door, see below
//	  chain in.sales.g1 {                               # what alice sends in flows she began
//	    ct direction reply ct state established goto in.sales.g1.re
//	    ct state related counter name "accepted.sales" accept
//	    ip daddr { 10.20.0.5, 10.20.7.0/24 } tcp dport { 80, 443 } counter name "accepted.sales" accept
//	    ip daddr @set.servers udp dport 53 counter name "accepted.sales" accept
//	    counter name "denied.sales" drop
//	  }
//	  chain in.sales.g1.re { … }                        # her answers to what rules "out" let in
//	  chain out.sales.g1 { … }                          # what others send her: rules "out"
//	  chain out.sales.g1.re { … }                       # their answers: rules "in", turned round
//	  chain quarantine_in {
//	    oifname "tun0" goto refuse
//	    ip saddr . ip daddr @client_dns th dport 53 update @dns_rate { … } … drop
//	    ip saddr . ip daddr @client_dns th dport 53 counter name "accepted.quarantine" accept
//	    ip daddr . tcp dport @portal counter name "accepted.quarantine" accept
//	    goto refuse                                     # ICMP admin-prohibited, at a rate
//	  }
//	  chain captive {                                   # hook prerouting
//	    iifname "tun0" ip saddr @quarantined tcp dport 80 … dnat to 10.9.0.1:8080
//	  }
//	  chain nat {                                       # hook postrouting
//	    iifname "tun0" oifname != "tun0" masquerade
//	  }
//	  chain mss { … tcp option maxseg size set 1360 }   # hook forward
//	}
//
// # What the kernel makes us do
//
// A rule is found again by its comment; there is nothing else in a listing that stays
// as it was sent. Verify compares comments, elements, hooks and policies.
//
// A transaction that adds an element to a verdict map makes the kernel walk all its
// elements, to see that no chain leads back to itself: 2 to 3 ms at 20,000 sessions.
// Therefore those who wait are served together (commit.go), and no map is reached from
// a chain that a map leads to, which would make it the square.
//
// An interval set cannot be changed in one step with the rules that speak of it
// (interval.go). Therefore a filter of the configuration is entered through a door, a
// chain of one rule. New rules and sets are made behind it in one transaction, and the
// next one turns the door's rule to them. For the same reason networks behind clients are
// in no interval map but in one of single elements for each length that they have, which
// is there while a network of that length is (routed.go).
//
// An answer is known by connection tracking, but judged by the rules (filterChains). A
// packet of a flow that was permitted yesterday has no rights today.
//
// Linux 5.10 is old enough. Open names the modules that it misses.
package filter
