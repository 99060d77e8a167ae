// Package netlogon asks an Active Directory domain controller whether an MS-CHAPv2
// response is right, as a member of the domain does: MS-NRPC §3.1.4 (session key
// and negotiation), §3.3 (the secure channel), §3.5.4.5.1 (NetrLogonSamLogonEx), and
// changes passwords by MS-SAMR §3.1.5.10.3 (SamrUnicodeChangePasswordUser2).
//
// A channel is set up in four steps: the endpoint mapper on port 135 tells the port
// (C706 appendix L and O), one plain connection negotiates the session key, a second
// one is bound with the Netlogon security provider, encrypting every call, and a
// harmless call tries it. Only AES is accepted. NetrLogonSamLogonEx with validation
// level 6 (SAM_INFO4) then yields a UserSessionKey that is the hash of the NT hash
// (RFC 2759 §8.4), and the user's groups.
//
// The plain part is this package's own: what answers there is not yet known to be a
// domain controller, so its parsers are total and bounded. The sealed part and SAMR
// are go-msrpc's (sealed.go, samr.go), behind the channel interface.
//
// Left out: SMB named pipes, RC4 and DES session keys, validation levels 2 and 3,
// logons with an authenticator (NetrLogonSamLogon), inter-domain trust channels.
package netlogon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"
)

// Ours.
const (
	DefaultTimeout  = 3 * time.Second // a DC answers in 10 ms; a NAS gives up after about ten seconds
	DefaultChannels = 2
	MaxChannels     = 4                // a DC serves some hundred logons a second on one
	idleTime        = 4 * time.Minute  // firewalls forget a silent connection after five or more
	maxWaiting      = 512              // who wait for a channel: some seconds of a DC's work
	keepAlive       = 30 * time.Second // notices a DC that lost its power, between logons
)

// Config says how to reach one domain controller.
type Config struct {
	Server  string // host name or address, IPv6 without brackets
	Domain  string // the machine account's domain, NetBIOS name
	Machine string // the machine account, "RGW$"
	// Password returns the machine account's password; it is called for each set-up
	// of a channel, so that a rotated one is used, and what it returns is wiped.
	Password func() ([]byte, error)

	Channels int           // at most so many at once, 1 to MaxChannels; zero: DefaultChannels
	Timeout  time.Duration // the longest for each of: waiting for a channel, setting one up, one call
	Port     uint16        // of the DC's NETLOGON service; zero: the endpoint mapper is asked
	Log      *slog.Logger  // nil: none
	// Dial opens a TCP connection; nil: net.Dialer's.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

var (
	errNoServer   = errors.New("no server")
	errNoMachine  = errors.New("no machine account (a name that ends with $)")
	errNoPassword = errors.New("no machine password")
)

// check completes the configuration.
func (c *Config) check() error {
	switch {
	case c.Server == "":
		return errNoServer
	case len(c.Machine) < 2 || c.Machine[len(c.Machine)-1] != '$':
		return errNoMachine
	case c.Password == nil:
		return errNoPassword
	case c.Channels < 0 || c.Channels > MaxChannels:
		return fmt.Errorf("%d channels, at most %d", c.Channels, MaxChannels)
	}
	if c.Channels == 0 {
		c.Channels = DefaultChannels
	}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: keepAlive, Interval: keepAlive / 3, Count: 3,
		}}).DialContext
	}
	return nil
}

// computer is the machine account's name as a computer's.
func (c *Config) computer() string { return c.Machine[:len(c.Machine)-1] }

// Request is a response to be verified. ChallengeHash and Response together are as
// good as the password to whoever has time, so it prints as the name alone.
type Request struct {
	// Domain is passed on as it is. Empty, the DC looks in its own domain and knows a
	// user@domain. Another domain's name makes it ask that one, if it is trusted.
	Domain        string
	User          string // without a domain before it
	ChallengeHash [8]byte
	Response      [24]byte
}

// Format implements fmt.Formatter, for every verb alike.
func (r Request) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "%s\\%s", r.Domain, r.User) }

// LogValue implements slog.LogValuer.
func (r Request) LogValue() slog.Value {
	return slog.GroupValue(slog.String("domain", r.Domain), slog.String("user", r.User))
}

// Flags of a Logon (MS-NRPC §2.2.1.4.11, UserFlags).
const (
	FlagGuest  = 0x0001
	FlagCached = 0x0004
	FlagLM     = 0x0008
)

// Logon is a DC's yes. It prints without the hash.
type Logon struct {
	HashHash [16]byte // of the NT hash (RFC 2759 §8.4); wipe it after use
	User     string   // sAMAccountName as the DC spells it
	Domain   string   // NetBIOS name of the account's domain
	DNS      string   // DNS name of the account's domain; "" where the DC does not say
	SID      string
	// Groups are SIDs: the primary group, global and universal groups with nested
	// ones, and what else the DC adds. Domain-local groups of the member's domain are
	// not among them.
	Groups     []string
	Flags      uint32    // UserFlags
	Control    uint32    // UserAccountControl, in SAM's numbers (MS-SAMR §2.2.1.12)
	MustChange time.Time // when the password expires; zero: never
}

// Wipe forgets the hash.
func (l *Logon) Wipe() {
	if l != nil {
		clear(l.HashHash[:])
	}
}

// Format implements fmt.Formatter, for every verb alike.
func (l Logon) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "%s\\%s (%s)", l.Domain, l.User, l.SID) }

// LogValue implements slog.LogValuer.
func (l Logon) LogValue() slog.Value {
	return slog.GroupValue(slog.String("domain", l.Domain), slog.String("user", l.User), slog.String("sid", l.SID))
}
