package ldapc

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// Bind tries a person's password, on a connection of its own that nobody is bound on
// yet. A wrong password is IsInvalidCredentials. It is sent once at most: servers
// count.
//
// An empty password never leaves: a server takes it for an anonymous bind and says
// yes (RFC 4513 §5.1.2). Nor does one without a name.
func (c *Client) Bind(ctx context.Context, dn string, password []byte) error {
	if dn == "" || len(password) == 0 {
		return &ldap.Error{
			ResultCode: ldap.LDAPResultInvalidCredentials,
			Err:        errors.New("a bind without a name or a password proves nothing, and was not sent (RFC 4513 §5.1.2)"),
		}
	}
	return c.once(ctx, "bind as "+dn, false, func(l *ldap.Conn) error {
		_, err := l.SimpleBind(&ldap.SimpleBindRequest{Username: dn, Password: string(password)})
		return err
	})
}

// bind tells a server who we are.
func (p *pool) bind(ctx context.Context, c *conn) error {
	b := &p.cfg.Bind
	start := time.Now()
	defer func() { c.check.Bind = time.Since(start) }()
	if b.Method == Anonymous {
		return nil
	}
	var password []byte
	if b.Method == Simple || b.Keytab == "" {
		var err error
		if password, err = b.Password(); err != nil {
			return fmt.Errorf("fetch the password of %s: %w", b.Name, err)
		}
		defer clear(password)
		if len(password) == 0 {
			return fmt.Errorf("the password of %s is empty", b.Name)
		}
	}
	if err := p.refusals.before(start, password); err != nil {
		return err
	}
	var err error
	switch b.Method {
	case Simple:
		err = c.do(ctx, func(l *ldap.Conn) error {
			_, err := l.SimpleBind(&ldap.SimpleBindRequest{Username: b.Name, Password: string(password)})
			return err
		})
		if silent(err) {
			return fmt.Errorf("bind as %s: %w", b.Name, err)
		}
	case GSSAPI:
		var refused bool
		if refused, err = p.bindGSSAPI(ctx, c, string(password)); err != nil && !refused {
			return fmt.Errorf("bind as %s: %w", b.Name, err)
		}
	case Anonymous, MethodUnknown:
		err = errors.New("the method is not said")
	}
	if err != nil {
		refused := &BindRefused{Name: b.Name, Err: err}
		p.refusals.note(time.Now(), password, refused)
		return refused
	}
	return nil
}

// refusals is which password of ours a server refused. Guarded by pool.mu of its
// pool through the two methods.
type refusals struct {
	pool  *pool
	key   [32]byte // random: what is kept tells nothing of the password
	sum   [32]byte
	until time.Time
	err   *BindRefused
}

func (r *refusals) of(password []byte) (sum [32]byte) {
	h := hmac.New(sha256.New, r.key[:])
	h.Write(password)
	h.Sum(sum[:0])
	return sum
}

// before says why a password is not to be tried now, or nil.
func (r *refusals) before(now time.Time, password []byte) error {
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	if r.err == nil || !now.Before(r.until) || r.of(password) != r.sum {
		return nil
	}
	return fmt.Errorf("not tried again until %s: %w", r.until.Format(time.TimeOnly), r.err)
}

func (r *refusals) note(now time.Time, password []byte, err *BindRefused) {
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	r.sum, r.until, r.err = r.of(password), now.Add(refusedPause), err
}
