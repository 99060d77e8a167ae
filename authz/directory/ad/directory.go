package ad

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/authz/directory"
	"postern/authz/directory/cache"
	"postern/authz/directory/netlogon"
	"postern/internal/failover"
	"postern/internal/ldapc"
)

// Config is what New needs. Domain, NetBIOS, Machine and Secret must be there.
type Config struct {
	Domain  string   // of the DNS: corp.example
	NetBIOS string   // CORP
	Servers []string // domain controllers; none: those that the DNS names

	Machine string                  // our own account, without the dollar sign
	Secret  func() (*Secret, error) // its password, read when a connection is made

	TLS  ldapc.TLS
	CA   *x509.CertPool // nil: the system's
	Bind *ldapc.Bind    // nil: as the machine

	Connections int           // of LDAP to one domain controller; 0: a default
	Channels    int           // of NETLOGON to one domain controller; 0: a default
	Timeout     time.Duration // of one domain controller's answer; 0: a default
	Cache       time.Duration // how long what was found is believed; 0: not at all

	TOTP         string // attribute of seeds for one-time codes; "": none
	Static       directory.Static
	HonourDialin bool
	Workstation  string // "": userWorkstations is not looked at
	Probe        *Probe // nil: none

	Log *slog.Logger     // nil: none
	Now func() time.Time // nil: time.Now
}

// Probe is an account without rights, for finding out whether MS-CHAPv2 is accepted.
type Probe struct {
	User     string
	Password func() ([]byte, error)
}

// defaultTimeout is ours.
const defaultTimeout = 2 * time.Second // of an answer that takes 10 ms

// Directory is a domain. It is safe for concurrent use.
type Directory struct {
	cfg    Config
	base   string
	rules  rules
	cache  *cache.Cache[*directory.Account]
	names  names
	alarms *alarms
	once   spoken

	// Two lists of the same servers: LDAP may answer where NETLOGON does not.
	ldap, netlogon *failover.Group

	mu  sync.Mutex
	dcs map[string]*dc
}

// dc is a domain controller.
type dc struct {
	host     string
	ldap     asker
	netlogon logoner
	secret   *choice // of NETLOGON
	bind     *choice // of LDAP, as the machine

	policies atomic.Pointer[policies] // as they were read last

	mu    sync.Mutex // of trust
	trust trust
}

// asker is LDAP with one domain controller: *ldapc.Client.
type asker interface {
	Search(ctx context.Context, s *ldapc.Search) ([]*ldap.Entry, error)
	Bind(ctx context.Context, dn string, password []byte) error
	RootDSE(ctx context.Context) (*ldap.Entry, error)
	Close()
}

// logoner is NETLOGON with one domain controller: *netlogon.Pool.
type logoner interface {
	Logon(ctx context.Context, r *netlogon.Request) (*netlogon.Logon, error)
	Check(ctx context.Context) (netlogon.Checked, error)
	Close()
}

// New makes a Directory. It asks nobody yet.
func New(cfg Config) (*Directory, error) {
	if cfg.Domain == "" || cfg.NetBIOS == "" || cfg.Machine == "" || cfg.Secret == nil {
		return nil, errors.New("new Active Directory: the domain's names or the machine account are missing")
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	d := &Directory{
		cfg: cfg, base: baseDN(cfg.Domain), rules: rules{dialin: cfg.HonourDialin, workstation: cfg.Workstation},
		cache:  cache.New[*directory.Account](cache.Config{TTL: cfg.Cache, Now: cfg.Now}),
		alarms: &alarms{log: cfg.Log}, dcs: make(map[string]*dc),
	}
	d.ldap, d.netlogon = failover.New(cfg.failover("LDAP")), failover.New(cfg.failover("NETLOGON"))
	return d, nil
}

// baseDN is the name of a domain in its directory (RFC 2247).
func baseDN(domain string) string {
	return "DC=" + strings.ReplaceAll(strings.Trim(domain, "."), ".", ",DC=")
}

// srvService are all domain controllers of a domain ([MS-ADTS] §6.3.2.3).
const srvService = "_ldap._tcp.dc._msdcs"

// Close ends the connections.
func (d *Directory) Close() {
	d.ldap.Close()
	d.netlogon.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.dcs {
		c.ldap.Close()
		c.netlogon.Close()
	}
}

var _ interface {
	directory.Directory
	directory.Changer
	directory.Follower
	directory.Locker
} = (*Directory)(nil)

// Forget drops what is cached of accounts: they have changed, or their passwords.
func (d *Directory) Forget(names ...string) {
	d.cache.ForgetIf(func(_ string, a *directory.Account) bool { return slices.Contains(names, a.Name) })
}
