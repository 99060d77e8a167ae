package ad

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/authz/directory/netlogon"
	"postern/internal/failover"
	"postern/internal/ldapc"
)

// JoinConfig is what Join needs, beside the Directory's configuration: its domain,
// servers, machine account and TLS.
type JoinConfig struct {
	Config
	File *SecretFile // where the new password goes

	// Admin may create computers, or write to this one: alice@corp.example and a
	// password. Not needed with Password.
	Admin         string
	AdminPassword []byte
	// Password is that of an account which somebody has made already.
	Password []byte

	Container string // DN of where computers are made; "": CN=Computers
	Host      string // our DNS name; "": the machine's in the domain
	TakeOver  bool   // an account of that name which exists already
}

// Joined says what Join did.
type Joined struct {
	Server   string // the domain controller that did it
	DN       string // of the machine account; "" where it was given
	Created  bool
	TookOver bool
}

// Errors of Join that the operator can do something about.
var (
	ErrExists  = errors.New("the machine account exists already: it can be taken over, unless another computer uses it")
	ErrForeign = errors.New("the account is not a member computer's: choose another name")
	ErrNoProof = errors.New("the domain controller does not take the machine account's password")
)

// Join makes us a member of the domain: it creates the machine account or takes it
// over, and keeps its password in File. The password is in File before a domain
// controller has it, so that whatever happens in between, one of the two in the
// file is right.
func Join(ctx context.Context, cfg JoinConfig) (*Joined, error) {
	if err := checkMachine(cfg.Machine); err != nil {
		return nil, err
	}
	password := cfg.Password
	if len(password) == 0 {
		password = newMachinePassword()
		defer clear(password)
	}
	before, err := cfg.File.Load()
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	pending := &Secret{Password: password}
	if before != nil {
		defer before.Clear()
		pending = &Secret{Password: before.Password, Pending: password, Old: before.Old, Changed: before.Changed}
	}
	if err := cfg.File.Save(pending); err != nil {
		return nil, err
	}
	done, set, err := cfg.join(ctx, password)
	switch {
	case err != nil && set:
		return nil, fmt.Errorf("%w; the account has its new password, and %s keeps it", err, cfg.File.Path)
	case err != nil && before != nil:
		return nil, errors.Join(err, cfg.File.Save(before))
	case err != nil:
		return nil, errors.Join(err, os.Remove(cfg.File.Path))
	}
	return done, cfg.File.Save(&Secret{Password: password, Changed: cfg.now()})
}

// join says also whether the account may have the password now.
func (cfg *JoinConfig) join(ctx context.Context, password []byte) (done *Joined, set bool, err error) {
	done = new(Joined)
	if len(cfg.Password) == 0 {
		if set, err = cfg.make(ctx, password, done); err != nil {
			return nil, set, err
		}
	}
	done.Server, err = cfg.prove(ctx, done.Server, password)
	return done, set, err
}

// make creates the account, or takes it over.
func (cfg *JoinConfig) make(ctx context.Context, password []byte, done *Joined) (set bool, err error) {
	bind := ldapc.Bind{Method: ldapc.Simple, Name: cfg.Admin, Password: func() ([]byte, error) { return slices.Clone(cfg.AdminPassword), nil }}
	l, host, err := cfg.connect(ctx, bind)
	if err != nil {
		return false, fmt.Errorf("ask for the machine account: %w", err)
	}
	defer l.Close()
	done.Server = host
	base := baseDN(cfg.Domain)
	found, err := l.Search(ctx, &ldapc.Search{
		Base: base, Scope: ldap.ScopeWholeSubtree, Filter: "(sAMAccountName=" + ldap.EscapeFilter(cfg.Machine+"$") + ")",
		Attributes: []string{"objectClass", "userAccountControl"}, Limit: 1,
	})
	if err != nil {
		return false, fmt.Errorf("ask for the machine account: %w", err)
	}
	if len(found) == 0 {
		done.Created = true
		return cfg.create(ctx, l, base, password, done)
	}
	done.DN = found[0].DN
	flags := readUAC(found[0].GetEqualFoldAttributeValue("userAccountControl"))
	switch {
	case !flags.has(uacWorkstation):
		return false, fmt.Errorf("%s: %w", done.DN, ErrForeign)
	case !cfg.TakeOver:
		return false, fmt.Errorf("%s: %w", done.DN, ErrExists)
	}
	done.TookOver = true
	m := ldap.NewModifyRequest(done.DN, nil)
	m.Replace("unicodePwd", []string{unicodePwd(password)})
	m.Replace("userAccountControl", []string{uacWorkstation.text()}) // it may be disabled
	m.Replace("dNSHostName", []string{cfg.host()})
	if err := l.Modify(ctx, m); err != nil {
		// Without an answer nobody knows.
		return mayBeDone(err), fmt.Errorf("take over %s: %w", done.DN, err)
	}
	return true, nil
}

// create adds the computer. Its password comes with it, so there is no moment at
// which it has none, or one that is known.
func (cfg *JoinConfig) create(ctx context.Context, l *ldapc.Client, base string, password []byte, done *Joined) (set bool, err error) {
	container := cfg.Container
	if container == "" {
		container = "CN=Computers," + base
	}
	name, host := strings.ToUpper(cfg.Machine), cfg.host()
	done.DN = "CN=" + name + "," + container
	a := ldap.NewAddRequest(done.DN, nil)
	a.Attribute("objectClass", []string{"top", "person", "organizationalPerson", "user", "computer"})
	a.Attribute("sAMAccountName", []string{name + "$"})
	a.Attribute("userAccountControl", []string{uacWorkstation.text()})
	a.Attribute("unicodePwd", []string{unicodePwd(password)})
	a.Attribute("dNSHostName", []string{host})
	a.Attribute("servicePrincipalName", []string{"HOST/" + name, "HOST/" + host, "RestrictedKrbHost/" + name, "RestrictedKrbHost/" + host})
	if err := l.Add(ctx, a); err != nil {
		return mayBeDone(err), fmt.Errorf("create %s: %w", done.DN, err)
	}
	return true, nil
}

// host is our DNS name.
func (cfg *JoinConfig) host() string {
	if cfg.Host != "" {
		return strings.ToLower(cfg.Host)
	}
	return strings.ToLower(cfg.Machine + "." + cfg.Domain)
}

// prove sets up a channel with the password at a domain controller, at any one if
// server is "".
func (c *Config) prove(ctx context.Context, server string, password []byte) (at string, err error) {
	servers := c.failover("NETLOGON")
	if server != "" {
		servers = failover.Config{Servers: []string{server}, Attempt: c.Timeout}
	}
	g := failover.New(servers)
	defer g.Close()
	err = g.Do(ctx, func(ctx context.Context, host string) error {
		at = host
		p, err := netlogon.New(c.netlogon(host, func() ([]byte, error) { return slices.Clone(password), nil }))
		if err != nil {
			return err
		}
		defer p.Close()
		_, err = p.Check(ctx)
		return err
	})
	if machineRefused(err) {
		return at, fmt.Errorf("%w: %w", ErrNoProof, err)
	}
	if err != nil {
		return at, fmt.Errorf("prove the machine account: %w", err)
	}
	return at, nil
}

func (c *Config) now() time.Time {
	if c.Now == nil {
		return time.Now()
	}
	return c.Now()
}

// mayBeDone says whether a change was sent and no answer came.
func mayBeDone(err error) bool {
	var u *ldapc.Unavailable
	return errors.As(err, &u) && u.Sent
}
