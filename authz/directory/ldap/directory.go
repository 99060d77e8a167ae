package ldap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/authz/directory"
	"postern/authz/directory/cache"
	"postern/internal/ldapc"
)

// Config is what New needs. Client, BaseDN and Schema must be there.
type Config struct {
	Client  Client
	BaseDN  string // where people are
	GroupDN string // where groups are; "": BaseDN
	Schema  Schema
	Filter  string // that accounts must match besides
	Nesting int    // how deep groups in groups are followed; 0: not at all
	TOTP    string // attribute of seeds for one-time codes; "": none
	Static  directory.Static

	// LockTime is OpenLDAP's pwdLockoutDuration: how long a lock lasts. 0: until the
	// directory lifts it, which it does at the next bind only.
	LockTime time.Duration

	Cache time.Duration // how long what was found is believed; 0: not at all
	Log   *slog.Logger  // nil: none
	Now   func() time.Time
}

// Client asks the servers: *ldapc.Client.
type Client interface {
	Search(ctx context.Context, s *ldapc.Search) ([]*ldapc.Entry, error)
	Bind(ctx context.Context, dn string, password []byte) error
	Close()
}

// Ours.
const (
	// maxName is what User-Name (RFC 2865 §5.1) transports.
	maxName = 253
	// maxGroups is how many groups a person may be in: more is a mistake, or an
	// attempt to keep us busy.
	maxGroups = 1000
	// batch is how many comparisons are put in one filter.
	batch    = 50
	pageSize = 500
)

// Directory is an LDAP directory. It is safe for concurrent use.
type Directory struct {
	cfg   Config
	cache *cache.Cache[*directory.Account]

	mu       sync.Mutex
	readable time.Time // until then hashes are known to be readable
}

// New makes a Directory. It asks nobody yet.
func New(cfg Config) (*Directory, error) {
	if cfg.Client == nil || cfg.BaseDN == "" {
		return nil, errors.New("new LDAP directory: the client or the base is missing")
	}
	if err := cfg.Schema.check(); err != nil {
		return nil, fmt.Errorf("new LDAP directory: %w", err)
	}
	for _, f := range []string{cfg.Filter, cfg.Schema.People, cfg.Schema.Groups} {
		if f == "" {
			continue
		}
		if _, err := ldap.CompileFilter(f); err != nil {
			return nil, fmt.Errorf("new LDAP directory: filter %q: %w", f, err)
		}
	}
	if cfg.TOTP != "" && !isAttribute(cfg.TOTP) {
		return nil, fmt.Errorf("new LDAP directory: attribute of seeds: %q is no attribute's name", cfg.TOTP)
	}
	for _, a := range cfg.Static.Attributes() {
		if !isAttribute(a) {
			return nil, fmt.Errorf("new LDAP directory: %q is no attribute's name", a)
		}
	}
	if cfg.Schema.Groups == "" {
		cfg.Schema.Groups = anything
	}
	if cfg.GroupDN == "" {
		cfg.GroupDN = cfg.BaseDN
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Directory{cfg: cfg, cache: cache.New[*directory.Account](cache.Config{
		TTL: cfg.Cache, Now: cfg.Now, Keep: func(err error) bool { _, no := directory.IsRejected(err); return no },
	})}, nil
}

// Close ends the connections.
func (d *Directory) Close() { d.cfg.Client.Close() }

// canonical is a name as counters are kept under it.
func canonical(name string) string { return strings.ToLower(name) }

var _ interface {
	directory.Directory
	directory.Follower
} = (*Directory)(nil)
