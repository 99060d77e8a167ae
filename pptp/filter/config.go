package filter

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Names that no configuration may give a filter.
const (
	Quarantine = "quarantine" // the built-in filter of held back clients
	None       = "none"       // no filter at all
)

// Bounds, ours. Chains are walked and elements sent in one transaction; these keep
// it to some megabytes.
const (
	maxFilterName = 253 // of a RADIUS attribute
	maxRules      = 1000
	maxFilters    = 4096 // with different contents at the same time
	maxPrefixes   = 1 << 18
	maxTable      = 64
	maxInterface  = 15 // fixed by Linux, IFNAMSIZ
	maxRate       = 10_000_000
	maxDNS        = 8
)

// Config is what a node enforces. All addresses are IPv4, for PPTP's are; prefixes of
// Allowed and of Sets that are not are passed over.
type Config struct {
	Tun    string     // the tunnels' interface
	Inside netip.Addr // the node's own address inside the tunnels
	Listen netip.Addr // the node's address for TCP 1723 and GRE; unspecified: all

	// Allowed are the networks that clients dial from; none: any. Taking one away cuts
	// its clients off at once.
	Allowed []netip.Prefix
	// GREPerSource bounds the GRE packets from one address in a second; 0: no bound. A
	// site behind one address has all its clients' packets on that account.
	GREPerSource int

	// Masquerade gives packets from the tunnels a new source where they leave by another
	// interface: that interface's address, or Source.
	Masquerade bool
	Source     netip.Addr
	// MSS bounds the segment size of TCP connections through the node; 0: what the
	// route's MTU allows.
	MSS int
	// ClientToClient lets clients reach one another, where their filters do.
	ClientToClient bool

	// Portal is where quarantined clients may go. If the portal is on this host, other
	// clients reach it too.
	Portal []netip.AddrPort
	// CaptivePort is the TCP port on Inside to which the plain HTTP of quarantined
	// clients is led; 0: nowhere, and it is refused as the rest is.
	CaptivePort uint16
	// AllowToNode are TCP services of this host that clients may use. They may ping
	// Inside, and ask it names if their login says so; all else that they send to this
	// host is dropped.
	AllowToNode []netip.AddrPort

	// Filters by name, for logins that name one and bring no rules; their rules may speak
	// of Sets.
	Filters map[string][]Rule
	Sets    map[string][]netip.Prefix

	// Table names the table in the kernel; empty: "postern_" and Tun.
	Table string
}

// Client is a session's address and what holds for it.
type Client struct {
	Addr netip.Addr
	// Filter is a name of the configuration, or any name if there are Rules. Empty, or
	// None: everything passes, both ways.
	Filter string
	Rules  []Rule
	// Quarantine holds the client back, whatever Filter says.
	Quarantine bool
	// DNS are the servers that its login named: all that a quarantined client may ask.
	DNS []netip.Addr
	// Routes are networks behind the client. Whoever has an address in one of them may do
	// what the client may, and nothing else. Of several networks with an address the longest
	// counts, and before all of them the client that has it as its own; but what one of them
	// in quarantine may not send to this host the others may not either.
	Routes []netip.Prefix
	// Turn says which of several clients with the same network has it: the one with the
	// highest. The others do not get it back.
	Turn uint64
}

// complete is the configuration with its defaults; the error holds every mistake.
func (c Config) complete() (Config, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("filter: "+format, args...)) }
	if c.Tun == "" || len(c.Tun) > maxInterface || !plain(c.Tun) {
		bad("interface %q: 1 to %d letters, digits, _, - and . wanted", c.Tun, maxInterface)
	}
	if c.Table == "" {
		c.Table = "postern_" + c.Tun
	}
	if len(c.Table) > maxTable || !plain(c.Table) {
		bad("table %q: 1 to %d letters, digits, _, - and . wanted", c.Table, maxTable)
	}
	if !host(c.Inside) {
		bad("inside address %v: IPv4 address of a host wanted", c.Inside)
	}
	if c.Listen == netip.IPv4Unspecified() {
		c.Listen = netip.Addr{}
	}
	if c.Listen.IsValid() && !host(c.Listen) {
		bad("listening address %v: IPv4 address of a host wanted", c.Listen)
	}
	if c.GREPerSource < 0 || c.GREPerSource > maxRate {
		bad("%d GRE packets in a second: 0 to %d wanted", c.GREPerSource, maxRate)
	}
	if c.Source.IsValid() && (!c.Masquerade || !host(c.Source)) {
		bad("source %v: IPv4 address of a host, and masquerading, wanted", c.Source)
	}
	if c.MSS != 0 && (c.MSS < minMSS || c.MSS > maxMSS) {
		bad("segment size %d: 0, or %d to %d, wanted", c.MSS, minMSS, maxMSS)
	}
	for _, p := range slices.Concat(c.Portal, c.AllowToNode) {
		if !host(p.Addr()) || p.Port() == 0 {
			bad("service %v: IPv4 address and port wanted", p)
		}
	}
	for name, prefixes := range c.Sets {
		if !validSetName(name) {
			bad("set %q: 1 to %d letters, digits, _ and - wanted", name, maxSetName)
		}
		if len(prefixes) > maxPrefixes {
			bad("set %q: %d prefixes, at most %d wanted", name, len(prefixes), maxPrefixes)
		}
	}
	if len(c.Filters) > maxFilters {
		bad("%d filters, at most %d wanted", len(c.Filters), maxFilters)
	}
	for name, rules := range c.Filters {
		if err := checkFilter(name, rules); err != nil {
			errs = append(errs, err)
		}
		for _, r := range rules {
			if _, ok := c.Sets[r.Set]; r.Set != "" && !ok {
				bad("filter %q: rule %q: there is no set %q", name, r, r.Set)
			}
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) }) // maps have no order
	return c, errors.Join(errs...)
}

// Fixed by RFC 791 §3.2 and RFC 879 §1: the least that every host takes, the most
// that fits into a packet.
const (
	minMSS = 536
	maxMSS = 65535 - 40
)

func checkFilter(name string, rules []Rule) error {
	switch {
	case name == Quarantine || name == None:
		return fmt.Errorf("filter: the name %q is taken", name)
	case name == "" || len(name) > maxFilterName:
		return fmt.Errorf("filter: name %q: 1 to %d octets wanted", name, maxFilterName)
	case len(rules) > maxRules:
		return fmt.Errorf("filter %q: %d rules, at most %d wanted", name, len(rules), maxRules)
	}
	for i := range rules {
		if err := rules[i].check(); err != nil {
			return fmt.Errorf("filter %q: %w", name, err)
		}
	}
	return nil
}

// host holds for an address that one host can have.
func host(a netip.Addr) bool {
	return a.Is4() && !a.IsUnspecified() && !a.IsMulticast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// plain holds for names that nft prints and reads back as they are.
func plain(s string) bool {
	for i, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_':
		case i > 0 && (c >= '0' && c <= '9' || c == '-' || c == '.'):
		default:
			return false
		}
	}
	return s != ""
}

// ErrUnknownFilter is for a login that names a filter which neither it nor the
// configuration defines.
var ErrUnknownFilter = errors.New("filter: no such filter")

func (c *Client) check() error {
	if !host(c.Addr) {
		return fmt.Errorf("filter: client address %v: IPv4 address of a host wanted", c.Addr)
	}
	if len(c.DNS) > maxDNS {
		return fmt.Errorf("filter: %d DNS servers of %v, at most %d wanted", len(c.DNS), c.Addr, maxDNS)
	}
	for _, d := range c.DNS {
		if !host(d) {
			return fmt.Errorf("filter: DNS server %v of %v: IPv4 address of a host wanted", d, c.Addr)
		}
	}
	if err := c.checkRoutes(); err != nil {
		return err
	}
	switch {
	case c.Quarantine:
		return nil
	case len(c.Rules) == 0 && c.Filter == Quarantine:
		return fmt.Errorf("%w: %q is for Quarantine", ErrUnknownFilter, c.Filter)
	case len(c.Rules) == 0:
		return nil
	}
	for _, r := range c.Rules {
		if r.Set != "" {
			return fmt.Errorf("filter %q of %v: rule %q: sets are for the node's own filters", c.Filter, c.Addr, r)
		}
	}
	return checkFilter(c.Filter, c.Rules)
}
