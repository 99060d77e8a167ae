package ldapc

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"postern/internal/failover"
)

// TLS is how a server is spoken to. The zero value is refused.
//
// Handled in: tlsNames, defaultPort, pool.connect.
type TLS uint8

const (
	TLSUnknown TLS = iota
	LDAPS
	StartTLS
	Plain // with servers on this host only
)

var tlsNames = [...]string{TLSUnknown: "unknown", LDAPS: "ldaps", StartTLS: "starttls", Plain: "plain"}

// String returns the mode in words.
func (m TLS) String() string {
	if int(m) < len(tlsNames) {
		return tlsNames[m]
	}
	return tlsNames[TLSUnknown]
}

func (m TLS) defaultPort() string {
	if m == LDAPS {
		return "636"
	}
	return "389"
}

// Method is how we tell a server who we are. The zero value is refused.
//
// Handled in: methodNames, Bind.check, pool.bind.
type Method uint8

const (
	MethodUnknown Method = iota
	Anonymous
	Simple
	GSSAPI
)

var methodNames = [...]string{MethodUnknown: "unknown", Anonymous: "anonymous", Simple: "simple", GSSAPI: "gssapi"}

// String returns the method in words.
func (m Method) String() string {
	if int(m) < len(methodNames) {
		return methodNames[m]
	}
	return methodNames[MethodUnknown]
}

// Bind is who we are.
type Bind struct {
	Method Method
	// Name is a DN for Simple, or what AD takes for one (alice@corp.example,
	// CORP\alice); a principal for GSSAPI (postern or postern@CORP.EXAMPLE).
	Name string
	// Password is asked for each time that a connection is made. The result is wiped.
	Password func() ([]byte, error)

	// Of GSSAPI.
	Keytab   string // file; "": by password
	Krb5Conf string // file
	SPN      string // "": ldap/HOST
}

// Config is what New needs. Zero durations and counts are the defaults below.
type Config struct {
	Name     string            // of the directory, for logs and errors; "": ldap
	Servers  []string          // host, or host:port
	Discover failover.Discover // finds the servers; nil: Servers are all

	TLS        TLS
	CA         *x509.CertPool // nil: the system's
	ServerName string         // in certificates; "": the server's host
	Bind       Bind

	Conns   int           // to one server, at most
	Timeout time.Duration // of one server's answer, connecting included
	Idle    time.Duration // how long a connection is kept that nobody uses

	Log *slog.Logger // nil: none
	// OnChange is failover.Config's.
	OnChange func(server string, up bool)
}

// Ours.
const (
	DefaultConns   = 4
	DefaultTimeout = 3 * time.Second
	DefaultIdle    = time.Minute // AD closes after 15 minutes, firewalls much sooner

	// checkAfter is how long a connection may rest and be trusted: within it, a
	// server that has restarted is found out by the request itself.
	checkAfter = 10 * time.Second
	// checkTime is how long such a check may take: it eats a login's time.
	checkTime = 500 * time.Millisecond
	// refusedPause is how long a password of ours is not tried again that was refused:
	// every login would, and others may use the account. One that an administrator
	// has unlocked is used again as soon.
	refusedPause = time.Minute
	// maxAnswer bounds the octets of one answer or one page of it.
	maxAnswer = 16 << 20
	// maxEntries bounds the entries of a search that has no limit of its own.
	maxEntries = 10000
)

func (c *Config) complete() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.TLS == TLSUnknown || int(c.TLS) >= len(tlsNames) {
		bad("how to speak TLS is not said")
	}
	if len(c.Servers) == 0 && c.Discover == nil {
		bad("no server")
	}
	if c.TLS == Plain && c.Discover != nil {
		bad("servers that the network names need TLS")
	}
	for _, s := range c.Servers {
		if _, _, err := c.address(s); err != nil {
			bad("server %q: %w", s, err)
		}
	}
	if err := c.Bind.check(c.TLS); err != nil {
		bad("bind: %w", err)
	}
	if c.Name == "" {
		c.Name = "ldap"
	}
	if c.Conns <= 0 {
		c.Conns = DefaultConns
	}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Idle <= 0 {
		c.Idle = DefaultIdle
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return errors.Join(errs...)
}

func (b *Bind) check(mode TLS) error {
	switch b.Method {
	case Anonymous:
		return nil
	case Simple:
		if b.Name == "" || b.Password == nil {
			return errors.New("a simple bind needs a name and a password")
		}
		return nil
	case GSSAPI:
		switch {
		// What follows the bind is neither signed nor sealed by Kerberos.
		case mode == Plain:
			return errors.New("GSSAPI is for use over TLS")
		case b.Name == "" || b.Krb5Conf == "":
			return errors.New("GSSAPI needs a principal and a krb5.conf")
		case b.Keytab == "" && b.Password == nil:
			return errors.New("GSSAPI needs a keytab or a password")
		}
		return nil
	case MethodUnknown:
	}
	return errors.New("the method is not said")
}

// address splits a server's name.
func (c *Config) address(server string) (host, addr string, err error) {
	host, port := strings.Trim(server, "[]"), c.TLS.defaultPort()
	if _, err := netip.ParseAddr(host); err != nil && strings.Contains(server, ":") {
		if host, port, err = net.SplitHostPort(server); err != nil {
			return "", "", err
		}
	}
	if host == "" || strings.ContainsAny(host, "/@ ") {
		return "", "", errors.New("not a host")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", "", fmt.Errorf("%q is not a port", port)
	}
	return host, net.JoinHostPort(host, port), nil
}
