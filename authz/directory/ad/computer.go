package ad

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"postern/internal/ldapc"
)

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

// mayBeDone says whether a change was sent and no answer came.
func mayBeDone(err error) bool {
	var u *ldapc.Unavailable
	return errors.As(err, &u) && u.Sent
}
