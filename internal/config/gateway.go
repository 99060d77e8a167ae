package config

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"
)

// Gateway is the configuration of a node, postern-gateway. A node knows its own
// addresses, its TLS identity and where services are; everything else it learns
// with each login.
type Gateway struct {
	// Node is the node's name: NAS-Identifier, CHAP name, PPTP host name.
	Node    Name        `yaml:"node" required:"true"`
	PPTP    PPTP        `yaml:"pptp"`
	Radius  RadiusPeers `yaml:"radius"`
	TLS     Identity    `yaml:"tls"` // towards RadSec servers that name none of their own
	CoA     CoA         `yaml:"coa"`
	Filter  Filter      `yaml:"filter"`
	Spool   Spool       `yaml:"spool"`
	Metrics Metrics     `yaml:"metrics"`
	Log     Log         `yaml:"log"`
}

// PPTP is the tunnel side of a node.
type PPTP struct {
	// Listen is the address of TCP 1723; GRE is received on the same address.
	Listen netip.AddrPort `yaml:"listen" default:"0.0.0.0:1723"`
	// Inside is the node's own address inside the tunnels.
	Inside netip.Addr `yaml:"inside" required:"true"`
	// Tun names the TUN device.
	Tun string `yaml:"tun" default:"postern0"`
	// MTU is the largest inner packet: 1500 less 20 IPv4, 16 GRE, 2 PPP, 4 MPPE is
	// 1458; 1400 leaves room for a path through another tunnel.
	MTU int `yaml:"mtu" default:"1400" min:"576" max:"1500"`
	// Auth lists what clients are asked for, best first.
	Auth []Auth `yaml:"auth" default:"mschapv2"`
	// Draining takes no new control connections; sessions that are up go on.
	Draining bool `yaml:"draining" default:"false"`
	// AllowedSources are the networks clients may come from. With a packet filter, who
	// is taken out of them is cut off at once.
	AllowedSources []netip.Prefix `yaml:"allowed_sources" default:"0.0.0.0/0"`
	// Routes are sent into the TUN device besides the leased addresses.
	Routes []netip.Prefix `yaml:"routes"`
	// Shards is the number of packet loops; 0 is one for each core.
	Shards int `yaml:"shards" min:"0" max:"64"`

	MPPE   MPPE   `yaml:"mppe"`
	Limits Limits `yaml:"limits"`
	Timers Timers `yaml:"timers"`
}

// MPPE is what encryption is agreed to.
type MPPE struct {
	// Require refuses clients that do not encrypt.
	Require bool `yaml:"require" default:"true"`
	// Strengths in bits that are acceptable, of 128, 56 and 40.
	Strengths []int `yaml:"strengths" default:"128"`
	// Stateful mode, where one lost packet costs a round trip.
	Stateful Stateful `yaml:"stateful" default:"never"`
}

// Limits bound what outsiders can make a node spend.
type Limits struct {
	// HalfOpen is the number of control connections without a login, all together.
	HalfOpen int `yaml:"half_open" default:"256" min:"1" max:"65535"`
	// PerSource is the number of control connections of one address; a site behind
	// one NAT address needs one for each client.
	PerSource int `yaml:"per_source" default:"64" min:"1" max:"65535"`
	// PerSourceRate is the number of new control connections of one address in a minute.
	PerSourceRate int `yaml:"per_source_rate" default:"60" min:"1" max:"60000"`
	// MaxCalls is the number of sessions of the node.
	MaxCalls int `yaml:"max_calls" default:"4096" min:"1" max:"65535"`
	// Starting is the number of calls that have no address yet. Who calls beyond them is
	// told that the node is busy, so that logins that have begun also end.
	Starting int `yaml:"starting" default:"512" min:"1" max:"65535"`
	// CallsPerConnection is the number of calls on one control connection.
	CallsPerConnection int `yaml:"calls_per_connection" default:"16" min:"1" max:"65535"`
}

// Timers are the node's patience.
type Timers struct {
	// Start is how long a new control connection may take to Start-Control-Connection.
	Start time.Duration `yaml:"start" default:"10s" min:"1s" max:"5m"`
	// Idle closes a control connection that has no call.
	Idle time.Duration `yaml:"idle" default:"30s" min:"1s" max:"1h"`
	// Echo is the keep-alive interval of RFC 2637 §3.1.4, EchoTimeout its patience.
	Echo        time.Duration `yaml:"echo" default:"60s" min:"1s" max:"1h"`
	EchoTimeout time.Duration `yaml:"echo_timeout" default:"60s" min:"1s" max:"1h"`
	// Login is how long a call may take from Outgoing-Call to an address.
	Login time.Duration `yaml:"login" default:"60s" min:"5s" max:"10m"`
	// LCPEcho is the interval of LCP Echo-Requests on a quiet link; LCPEchoFailures
	// unanswered ones in a row end the session.
	LCPEcho         time.Duration `yaml:"lcp_echo" default:"30s" min:"1s" max:"1h"`
	LCPEchoFailures int           `yaml:"lcp_echo_failures" default:"4" min:"1" max:"100"`
	// Drain is how long shutdown waits for clients and accounting.
	Drain time.Duration `yaml:"drain" default:"5s" min:"0s" max:"5m"`
}

// RadiusPeers are the services a node asks, and how long it waits for them.
type RadiusPeers struct {
	Servers []RadiusServer `yaml:"servers" required:"true"`
	// Timeout is the wait for one answer, Retries how often a request is sent again
	// before the next server is asked.
	Timeout time.Duration `yaml:"timeout" default:"3s" min:"100ms" max:"60s"`
	Retries int           `yaml:"retries" default:"2" min:"0" max:"10"`
	// DeadTime is how long a silent server is passed over.
	DeadTime time.Duration `yaml:"dead_time" default:"30s" min:"1s" max:"1h"`
}

// RadiusServer is one service.
type RadiusServer struct {
	Name      Name      `yaml:"name" required:"true"`
	Transport Transport `yaml:"transport" default:"radsec"`
	// Address is for authentication, and with RadSec for accounting too.
	Address Remote `yaml:"address" required:"true"`
	// AcctAddress is for accounting by UDP.
	AcctAddress Remote `yaml:"acct_address"`
	// Secret is shared with a UDP server; RadSec's is fixed (RFC 6614 §2.3).
	Secret
	// CA, Cert and Key replace the node's tls for this server.
	Identity
	// Priority: servers of the lowest number are asked while one of them answers.
	Priority int `yaml:"priority" default:"0" min:"0" max:"100"`
	// Weight shares the requests among servers of one priority.
	Weight int `yaml:"weight" default:"1" min:"1" max:"100"`
	// AllowMSCHAPOverUDP permits logins over UDP to another host, where whoever
	// records them can crack them.
	AllowMSCHAPOverUDP bool `yaml:"allow_mschap_over_udp" default:"false"`
}

// Identity is a TLS identity and whom it trusts.
type Identity struct {
	CA   File `yaml:"ca_file"`
	Cert File `yaml:"cert_file"`
	Key  File `yaml:"key_file"`
}

// Set says whether an identity is configured.
func (i Identity) Set() bool { return i.CA != "" && i.Cert != "" && i.Key != "" }

func (i Identity) any() bool { return i.CA != "" || i.Cert != "" || i.Key != "" }

func (i *Identity) check(at place) {
	if i.any() && !i.Set() {
		for _, f := range []struct {
			key  string
			file File
		}{{"ca_file", i.CA}, {"cert_file", i.Cert}, {"key_file", i.Key}} {
			if f.file == "" && !at.broken(f.key) {
				at.bad(f.key, "ca_file, cert_file and key_file together", "%s is missing", f.key)
			}
		}
	}
}

// CoA is where a node is asked to end and change sessions by RADIUS over UDP (RFC
// 5176). Services by RadSec may always ask, on the connections the node has opened to
// them, and need none of this.
type CoA struct {
	// Listen is an address of the node's, better not one that clients dial; absent: no
	// listener.
	Listen  netip.AddrPort `yaml:"listen"`
	Clients []CoAClient    `yaml:"clients"`
}

// CoAClient may ask from a network. The longest prefix counts.
type CoAClient struct {
	Network netip.Prefix `yaml:"network" required:"true"`
	Secret
}

// Spool is where a node keeps accounting until it is answered.
type Spool struct {
	Dir File `yaml:"dir" default:"/var/lib/postern/spool"`
	// MaxRecords bounds it; beyond that, interim records go first.
	MaxRecords int `yaml:"max_records" default:"100000" min:"100" max:"10000000"`
}

// Metrics is where Prometheus finds us.
type Metrics struct {
	Listen Listen `yaml:"listen"` // absent: no metrics listener
}

// Log is what is logged to standard error.
type Log struct {
	Level  Level     `yaml:"level" default:"info"`
	Format LogFormat `yaml:"format" default:"json"`
}

// LoadGateway reads a node's configuration. The error holds every mistake.
func LoadGateway(name string) (*Gateway, error) {
	src, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return ParseGateway(name, src)
}

// ParseGateway is LoadGateway for text; name is for messages and for relative
// file names.
func ParseGateway(name string, src []byte) (*Gateway, error) {
	g := new(Gateway)
	if err := decode(name, src, g); err != nil {
		return nil, err
	}
	return g, nil
}

func (g *Gateway) check(at place) {
	if g.Filter.CaptivePort == int(g.PPTP.Listen.Port()) && !at.broken("filter.captive_port", "pptp.listen") {
		at.bad("filter.captive_port", "another port", "%d is that of pptp.listen", g.Filter.CaptivePort)
	}
	names := make(map[Name]bool)
	for i, s := range g.Radius.Servers {
		key := fmt.Sprintf("radius.servers[%d]", i)
		if s.Name != "" && names[s.Name] {
			at.bad(key+".name", "a name of its own for each server", "a second server %q", string(s.Name))
		}
		names[s.Name] = true
		if s.Transport == TransportRadSec && !s.Identity.any() && !g.TLS.any() && !at.broken("tls", key+".transport") {
			at.bad(key, "ca_file, cert_file and key_file here or under tls", "a RadSec server needs a TLS identity")
		}
		if acct := key + ".acct_address"; s.Transport == TransportUDP && s.AcctAddress == "" && !at.broken(acct, key+".transport") {
			at.bad(acct, (*Remote)(nil).expected(), "accounting by UDP needs an address of its own")
		}
	}
}

func (p *PPTP) check(at place) {
	if p.Listen.IsValid() && !p.Listen.Addr().Unmap().Is4() {
		at.bad("listen", "an IPv4 address and port", "PPTP needs IPv4 (RFC 2637 §1.3.1)")
	}
	if p.Inside.IsValid() && (!p.Inside.Is4() || p.Inside.IsUnspecified() || p.Inside.IsLoopback() || p.Inside.IsMulticast()) {
		at.bad("inside", "an IPv4 unicast address", "%v cannot be the node's address inside the tunnels", p.Inside)
	}
	if len(p.Tun) > 15 || !printable(p.Tun) { // IFNAMSIZ less the NUL
		at.bad("tun", "an interface name of at most 15 characters", "%q is no interface name", p.Tun)
	}
	if len(p.Auth) == 0 && !at.broken("auth") {
		at.bad("auth", (*Auth)(nil).expected(), "no method: nobody could log in")
	}
	if len(p.AllowedSources) == 0 && !at.broken("allowed_sources") {
		at.bad("allowed_sources", "at least one network", "no network: nobody could connect")
	}
}

func (c *CoA) check(at place) {
	switch {
	case at.broken("listen"):
	case c.Listen.IsValid() && c.Listen.Addr().IsUnspecified():
		at.bad("listen", "an address of the node's and a port, such as 192.0.2.10:3799", "answers must come from the address that was asked")
	case c.Listen.IsValid() && len(c.Clients) == 0 && !at.broken("clients"):
		at.bad("listen", "clients beside it", "no client: nobody could ask")
	case !c.Listen.IsValid() && len(c.Clients) > 0:
		at.bad("clients", "listen: ADDRESS:3799", "clients without a listener")
	}
	byNetwork := make(map[netip.Prefix]bool)
	for i, one := range c.Clients {
		if one.Network.IsValid() && byNetwork[one.Network] {
			at.bad(fmt.Sprintf("clients[%d].network", i), "", "%v a second time", one.Network)
		}
		byNetwork[one.Network] = true
	}
}

func (c *CoAClient) check(at place) { checkSecret(at, c.Secret, true) }

// checkStrengths is for structs with MPPE strengths.
func checkStrengths(at place, strengths []int) {
	for i, bits := range strengths {
		if key := fmt.Sprintf("strengths[%d]", i); bits != 128 && bits != 56 && bits != 40 && !at.broken(key) {
			at.bad(key, "one of: 128, 56, 40", "%d bits do not exist", bits)
		} else if slices.Contains(strengths[:i], bits) {
			at.bad(key, "", "%d bits a second time", bits)
		}
	}
}

func (m *MPPE) check(at place) {
	checkStrengths(at, m.Strengths)
	if len(m.Strengths) == 0 && m.Require && !at.broken("strengths") {
		at.bad("strengths", "at least one of: 128, 56, 40", "encryption is required but no strength allowed")
	}
}

func (s *RadiusServer) check(at place) {
	s.Identity.check(at)
	if at.broken("transport") {
		return
	}
	switch s.Transport {
	case TransportUDP:
		checkSecret(at, s.Secret, true)
		if s.Identity.any() {
			at.bad("transport", "transport: radsec, or no ca_file, cert_file, key_file", "UDP has no TLS identity")
		}
	case TransportRadSec:
		if s.Secret.Set() {
			at.bad("transport", "no secret; the certificate proves who asks", "RadSec's secret is fixed (RFC 6614 §2.3)")
		}
		if s.AcctAddress != "" {
			at.bad("acct_address", "no acct_address", "RadSec carries accounting on the same connection")
		}
	case TransportUnknown:
	}
}
