package radiusd

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"postern/internal/radius"
)

// Config is what a Server serves with. What is zero gets the value named beside it.
type Config struct {
	// Auth and Acct are where to listen for RADIUS over UDP, host:port; empty: not.
	Auth, Acct string
	RadSec     RadSec
	Clients    []Client

	// Deadline is how long an answer may take before the server falls silent; 5 s.
	Deadline time.Duration
	// Workers bounds the logins in work at once, 256, and Queue those that wait for
	// a worker, 4096. Accounting has a quarter of each of its own, so that nodes that
	// empty their spools do not keep anybody from logging in.
	Workers, Queue int
	// Readers is the goroutines for each UDP socket; 2.
	Readers int
}

// RadSec is the TLS listener of RFC 6614.
type RadSec struct {
	Listen string      // host:port; empty: none
	TLS    *tls.Config // see radius.ServerTLS

	// Conns bounds the connections, 1024; HalfOpen those in their handshake, 128, and
	// HalfOpenPerSource those of one address, 16.
	Conns, HalfOpen, HalfOpenPerSource int
	Handshake                          time.Duration // 10 s
	// Idle ends a connection without a request; 5 min. Our nodes ask Status-Server
	// each 30 s.
	Idle time.Duration
}

// Client is a NAS, or several, that may ask.
type Client struct {
	Name string
	// By UDP it is known by its address and has a Secret; the longest prefix counts.
	Networks []netip.Prefix
	Secret   radius.Secret
	// By RadSec it is known by a name in its certificate.
	Certificates []string

	Require Require
	// AllowUnsignedProxyState lets an unsigned Access-Request carry Proxy-State, where
	// Require lets it be unsigned at all. It is what an attacker fills in to forge a
	// reply (CVE-2024-3596), and only proxies send it.
	AllowUnsignedProxyState bool
	// Node says that it is a node of ours, which enforces quarantine, the rules of
	// filters and bandwidth. Others are sent none of these.
	Node bool
	// AllowPAP accepts passwords in User-Password, and CodeInPassword a one-time code
	// behind them.
	AllowPAP, CodeInPassword bool
	// AllowMSCHAPOverUDP accepts MS-CHAPv2 over UDP from another host than this one,
	// though whoever reads it on the way recovers the password's hash at the price of
	// one DES key.
	AllowMSCHAPOverUDP bool
	// CoA is where the client is asked by UDP to end and change sessions, host:port;
	// empty: not by UDP. It takes the Secret.
	CoA string
	// Strengths is what MS-MPPE-Encryption-Types offers; zero: 128 bits only.
	Strengths radius.EncryptionTypes
}

// Require says whether Access-Requests must be signed. The zero value is the strict
// one. Status-Server must be in any case (RFC 5997 §3); accounting proves the secret
// by its Authenticator (RFC 2866 §3), which has no such hole.
//
// Handled in: requireNames, client.mustSign.
type Require uint8

const (
	RequireYes  Require = iota
	RequireAuto         // from the first signed one on, which must be seen again after a restart
	RequireNo           // for a NAS that cannot be taught
)

var requireNames = [...]string{RequireYes: "yes", RequireAuto: "auto", RequireNo: "no"}

// String returns the value as configurations spell it.
func (r Require) String() string {
	if int(r) < len(requireNames) {
		return requireNames[r]
	}
	return requireNames[RequireYes]
}

// withDefaults fills in what is zero.
func (c Config) withDefaults() Config {
	c.Deadline = cmp.Or(c.Deadline, 5*time.Second)
	c.Workers = cmp.Or(c.Workers, 256)
	c.Queue = cmp.Or(c.Queue, 4096)
	c.Readers = cmp.Or(c.Readers, 2)
	c.RadSec.Conns = cmp.Or(c.RadSec.Conns, 1024)
	c.RadSec.HalfOpen = cmp.Or(c.RadSec.HalfOpen, 128)
	c.RadSec.HalfOpenPerSource = cmp.Or(c.RadSec.HalfOpenPerSource, 16)
	c.RadSec.Handshake = cmp.Or(c.RadSec.Handshake, 10*time.Second)
	c.RadSec.Idle = cmp.Or(c.RadSec.Idle, 5*time.Minute)
	return c
}

// check returns everything that is wrong, but for clients: see newClients.
func (c *Config) check() error {
	var errs []error
	for _, n := range []struct {
		what  string
		value int64
	}{
		{"deadline", int64(c.Deadline)}, {"workers", int64(c.Workers)}, {"queue", int64(c.Queue)}, {"readers", int64(c.Readers)},
		{"radsec connections", int64(c.RadSec.Conns)}, {"radsec half-open connections", int64(c.RadSec.HalfOpen)},
		{"radsec half-open connections per source", int64(c.RadSec.HalfOpenPerSource)},
		{"radsec handshake", int64(c.RadSec.Handshake)}, {"radsec idle time", int64(c.RadSec.Idle)},
	} {
		if n.value < 0 {
			errs = append(errs, fmt.Errorf("radiusd: %s is negative", n.what))
		}
	}
	if c.RadSec.Listen != "" {
		errs = append(errs, strictTLS(c.RadSec.TLS))
	}
	return errors.Join(errs...)
}

// strictTLS refuses what would make RadSec less than RFC 6614 §2.3 wants.
func strictTLS(t *tls.Config) error {
	switch {
	case t == nil:
		return errors.New("radiusd: radsec needs a TLS configuration")
	case len(t.Certificates) == 0 && t.GetCertificate == nil:
		return errors.New("radiusd: radsec needs a certificate")
	case t.ClientAuth != tls.RequireAndVerifyClientCert || t.ClientCAs == nil:
		return errors.New("radiusd: radsec does not go without checking the client's certificate against a CA of its own")
	case t.MinVersion < tls.VersionTLS13:
		return errors.New("radiusd: radsec needs TLS 1.3")
	}
	return nil
}
