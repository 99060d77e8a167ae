package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"postern/pptp/gre"
	"postern/pptp/ppp"
)

// Port is RFC 2637 §2's TCP port.
const Port = 1723

// Chosen by us.
const (
	// DefaultMTU is Windows' MRU: 1400 octets and every header fit into 1500.
	DefaultMTU = 1400
	minMTU     = 128
	maxMTU     = 1500

	// DefaultTimeout bounds a dial. It covers a service that sends a push to a
	// telephone and waits for a thumb.
	DefaultTimeout = 60 * time.Second

	// DefaultEchoInterval and echoFailures find a dead server within two minutes.
	DefaultEchoInterval = 30 * time.Second
	echoFailures        = 4
)

// Config says where to dial and who we are. The zero values of what is not marked
// work; those of MPPE demand encryption with 128 bits.
type Config struct {
	Server netip.AddrPort // must be set; port 0 is Port
	Local  netip.Addr     // outer source address, for Dial: a Host has its own. Zero: the kernel chooses

	User     string    // must be set; as typed, with DOMAIN\ or +code
	Password string    //
	NTHash   *[16]byte // instead of Password, when not nil

	// NewPassword is what the password is changed to where the server says that it has
	// expired (RFC 2759 §7); the dial then goes on. "": such a login is refused.
	NewPassword string

	MPPE     MPPE
	Quirk    Quirk
	Computer string // what QuirkWindows10 says its computer's name is

	MTU          int           // the largest inner packet
	Timeout      time.Duration // of a dial; negative: ctx alone
	EchoInterval time.Duration // between LCP Echo-Requests; negative: none

	// DialTCP opens the control connection, ListenGRE the socket for tunnels (for
	// Dial: a Host has its own). Nil: the real ones.
	DialTCP   func(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.Conn, error)
	ListenGRE func(local netip.Addr) (gre.Conn, error)

	// Deliver takes inner packets as they arrive, one at a time, each valid during its
	// call. It runs in the Host's reader: it may Send, but must not block, Ping or
	// Close. Where it is nil, the session answers pings itself.
	Deliver func(ip []byte)

	// Reached is told how far the dial has come, and when. It is called with the
	// session locked: it must return at once and call nothing of ours.
	Reached func(m Milestone, at time.Time)

	Log *slog.Logger // nil: none
}

// MPPE is the encryption to insist on. The zero value demands 128 bits, stateless.
type MPPE struct {
	Use       Encryption
	Strengths ppp.MPPEBits // of which the server may choose; 0: 128
	Stateful  Stateful
}

// Encryption says whether a session may live without.
//
// Handled in: encryptionNames, Session.network, Session.settled.
type Encryption uint8

const (
	Required Encryption = iota // no session without it in both directions
	Optional                   // asked for; a server that refuses gets a clear session
	Off                        // refused, as pppd's noccp does: for tests of servers
)

var encryptionNames = [...]string{Required: "required", Optional: "optional", Off: "off"}

// String returns the word that flags use.
func (e Encryption) String() string { return name(encryptionNames[:], int(e)) }

// Stateful says what to think of MPPE's stateful mode (RFC 3078 §3, bit H clear).
type Stateful uint8

const (
	StatefulNo     Stateful = iota // stateless or nothing
	StatefulAccept                 // if the server insists on it after a Nak
	StatefulAsk                    // we ask for it, and take it when the server does
)

var statefulNames = [...]string{StatefulNo: "no", StatefulAccept: "accept", StatefulAsk: "ask"}

// String returns the word that flags use.
func (s Stateful) String() string { return name(statefulNames[:], int(s)) }

// name is a member's name, or that it is none.
func name(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return "unknown"
}

var discard = slog.New(slog.DiscardHandler)

// normal checks the configuration and fills in what was left out.
func (c Config) normal() (*Config, error) {
	var errs []error
	if a := c.Server.Addr().Unmap(); !a.Is4() || a.IsUnspecified() {
		errs = append(errs, fmt.Errorf("server %v: IPv4 address of a host wanted", c.Server))
	} else if c.Server.Port() == 0 {
		c.Server = netip.AddrPortFrom(a, Port)
	} else {
		c.Server = netip.AddrPortFrom(a, c.Server.Port())
	}
	if c.User == "" {
		errs = append(errs, errors.New("no user name"))
	}
	if c.MTU == 0 {
		c.MTU = DefaultMTU
	}
	if c.MTU < minMTU || c.MTU > maxMTU {
		errs = append(errs, fmt.Errorf("MTU %d: %d to %d wanted", c.MTU, minMTU, maxMTU))
	}
	if c.MPPE.Use > Off || c.MPPE.Stateful > StatefulAsk || int(c.Quirk) >= len(quirks) {
		errs = append(errs, errors.New("a switch has a value that is not defined"))
	} else if c.MPPE.Use == Required && c.Quirk.habits().ccp == ppp.QuirkNoBits {
		errs = append(errs, fmt.Errorf("quirk %s never encrypts, and encryption is required", c.Quirk))
	}
	if c.MPPE.Strengths == 0 {
		c.MPPE.Strengths = ppp.MPPE128
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.EchoInterval == 0 {
		c.EchoInterval = DefaultEchoInterval
	}
	if c.DialTCP == nil {
		c.DialTCP = dialTCP
	}
	if c.Log == nil {
		c.Log = discard
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("pptp client: %w", err)
	}
	return &c, nil
}

// dialTCP is the real network.
func dialTCP(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	if local.IsValid() && !local.IsUnspecified() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))
	}
	return d.DialContext(ctx, "tcp4", remote.String())
}
