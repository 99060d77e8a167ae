package ad

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-ldap/ldap/v3"

	"postern/internal/ldapc"
)

// Rotated says what Rotate did.
type Rotated struct {
	Server   string // the domain controller that did it
	DN       string // of the machine account
	Finished bool   // a rotation that was interrupted before; there was no need for another password
}

// Rotate gives the machine account a new password. At each moment the file has the
// one that the domain controllers have: the new one is written beside the old one
// before it is sent, takes its place once a domain controller proved to have it,
// and the old one stays for those that do not know yet.
func Rotate(ctx context.Context, cfg Config, file *SecretFile) (*Rotated, error) {
	s, err := file.Load()
	if err != nil {
		return nil, err
	}
	defer s.Clear()
	if s.Pending != nil {
		// An earlier one was interrupted. Did it come through?
		server, err := cfg.prove(ctx, "", s.Pending)
		switch {
		case err == nil:
			return &Rotated{Server: server, Finished: true}, cfg.settle(file, s)
		case !errors.Is(err, ErrNoProof):
			return nil, err
		}
		// Another domain controller may know better. Then the old password fails below.
		s.Old = s.Pending
	}
	fresh := newMachinePassword()
	defer clear(fresh)
	s.Pending = fresh
	if err := file.Save(s); err != nil {
		return nil, err
	}
	done := new(Rotated)
	if err := cfg.setPassword(ctx, s, done); err != nil {
		// The file keeps both; the next rotation finds out.
		return nil, err
	}
	if _, err := cfg.prove(ctx, done.Server, fresh); err != nil {
		return nil, err
	}
	return done, cfg.settle(file, s)
}

// settle makes the pending password the one.
func (c *Config) settle(file *SecretFile, s *Secret) error {
	return file.Save(&Secret{Password: s.Pending, Old: s.Password, Changed: c.now()})
}

// setPassword has the machine change its own password over LDAP, which takes the
// old one as well ([MS-ADTS] §3.1.1.3.1.5: delete and add).
func (c *Config) setPassword(ctx context.Context, s *Secret, done *Rotated) error {
	old := s.Password
	l, host, err := c.connect(ctx, c.machineBind(func() ([]byte, error) { return slices.Clone(old), nil }))
	if err != nil {
		return fmt.Errorf("bind as the machine account: %w", err)
	}
	defer l.Close()
	done.Server = host
	found, err := l.Search(ctx, &ldapc.Search{
		Base: baseDN(c.Domain), Scope: ldap.ScopeWholeSubtree, Filter: "(sAMAccountName=" + ldap.EscapeFilter(c.Machine+"$") + ")",
		Attributes: []string{"pwdLastSet"}, Limit: 1,
	})
	if err != nil {
		return fmt.Errorf("find the machine account: %w", err)
	}
	if len(found) == 0 {
		return fmt.Errorf("find the machine account: there is no %s$", c.Machine)
	}
	done.DN = found[0].DN
	m := ldap.NewModifyRequest(done.DN, nil)
	m.Delete("unicodePwd", []string{unicodePwd(old)})
	m.Add("unicodePwd", []string{unicodePwd(s.Pending)})
	if err := l.Modify(ctx, m); err != nil {
		return fmt.Errorf("change the password of %s: %w", done.DN, err)
	}
	return nil
}
