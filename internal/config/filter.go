package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/goccy/go-yaml/token"
)

// Filter is a node's packet filter: one nftables table of its own (package pptp/filter),
// which stands for as long as the node runs.
type Filter struct {
	// Enabled: without it nothing is filtered, and logins that need a filter or
	// quarantine are refused.
	Enabled bool `yaml:"enabled" default:"true"`
	// Table names the table; absent: postern_ and the TUN device's name.
	Table Name `yaml:"table"`
	// NAT is what clients' addresses become on their way out of the node.
	NAT NAT `yaml:"nat" default:"off"`
	// ClientToClient lets clients reach one another, as far as their filters do.
	ClientToClient bool `yaml:"client_to_client" default:"false"`
	// Portal is what clients in quarantine reach besides DNS. Absent: no quarantine.
	Portal []netip.AddrPort `yaml:"portal"`
	// CaptivePort is where the node answers their plain HTTP, on its inside address.
	CaptivePort int `yaml:"captive_port" default:"8199" min:"1" max:"65535"`
	// ToNode are services of the node's own host that clients may use. Besides these and
	// the portal they may ping it, and ask it names if it is their DNS server.
	ToNode []netip.AddrPort `yaml:"to_node"`
	// GRERate is how many GRE packets a second one source may send; 0: any number. The
	// default is a gigabit's.
	GRERate int `yaml:"gre_rate" default:"100000" min:"0" max:"10000000"`
	// Filters are those that a service names without sending their rules.
	Filters map[Name][]FilterRule `yaml:"filters"`
	// Sets are networks that rules name with @.
	Sets map[Name][]netip.Prefix `yaml:"sets"`
}

// Names that say something else in a Filter-Id.
var reservedFilters = []Name{"quarantine", "none"}

func (f *Filter) check(at place) {
	for key, list := range map[string][]netip.AddrPort{"portal": f.Portal, "to_node": f.ToNode} {
		for i, p := range list {
			if key := fmt.Sprintf("%s[%d]", key, i); p.IsValid() && !p.Addr().Is4() {
				at.bad(key, "an IPv4 address and port", "there is no IPv6 inside the tunnels")
			}
		}
	}
	if f.Table != "" && strings.ContainsAny(string(f.Table[:1]), "0123456789.-") {
		at.bad("table", "a name that begins with a letter", "%q is no table's name", string(f.Table))
	}
	for _, name := range reservedFilters {
		if _, ok := f.Filters[name]; ok {
			at.bad("filters."+string(name), "another name", "%q is not for filters", string(name))
		}
	}
	for name, rules := range f.Filters {
		if key := "filters." + string(name); len(rules) == 0 && !at.broken(key) {
			at.bad(key, "at least one rule", "a filter without rules lets nothing pass")
		}
	}
	for name, networks := range f.Sets {
		if strings.Contains(string(name), ".") {
			at.bad("sets."+string(name), "a name without dots", "%q is no set's name", string(name))
		}
		for i, n := range networks {
			if key := fmt.Sprintf("sets.%s[%d]", name, i); n.IsValid() && !n.Addr().Is4() {
				at.bad(key, "an IPv4 network", "there is no IPv6 inside the tunnels")
			}
		}
	}
}

// FilterRule is the text of a rule (package pptp/filter's ParseRule) and where it
// stands: what is wrong with it only the filter knows.
type FilterRule struct {
	Text string
	at   *Error
}

func (*FilterRule) expected() string {
	return `a rule such as "permit in tcp from assigned to 10.20.0.0/16 443"`
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *FilterRule) UnmarshalText(text []byte) error {
	if len(text) == 0 || !printable(string(text)) {
		return errors.New("not a rule")
	}
	r.Text = string(text)
	return nil
}

// placed remembers where the rule stands.
func (r *FilterRule) placed(s *source, pos *token.Position) { r.at = s.errorAt(pos, r.expected(), "") }

// Wrong is the mistake of a rule, with its place in the file.
func (r FilterRule) Wrong(why error) *Error {
	if r.at == nil {
		return &Error{Message: why.Error(), Expected: (&r).expected()}
	}
	e := *r.at
	e.Message = why.Error()
	return &e
}

// NAT is how a node translates its clients' addresses.
type NAT struct {
	Masquerade bool       // to the address of whatever interface a packet leaves by
	Source     netip.Addr // to this one; neither: not at all
}

func (*NAT) expected() string { return "off, masquerade, or an IPv4 address of the node's" }

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *NAT) UnmarshalText(text []byte) error {
	switch string(text) {
	case "off":
		*n = NAT{}
		return nil
	case "masquerade":
		*n = NAT{Masquerade: true}
		return nil
	}
	a, err := netip.ParseAddr(string(text))
	if err != nil || !a.Is4() || !a.IsGlobalUnicast() {
		return errors.New("not an address")
	}
	*n = NAT{Source: a}
	return nil
}
