package ldapc

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-ldap/ldap/v3"
)

func TestBindEmptyPassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{} // it would say yes
		c := testClient(t, Config{}, f)
		for _, p := range []struct{ dn, password string }{{"cn=alice", ""}, {"", "x"}, {"", ""}} {
			if err := c.Bind(t.Context(), p.dn, []byte(p.password)); !IsInvalidCredentials(err) {
				t.Errorf("%q %q: %v", p.dn, p.password, err)
			}
		}
		if f.dialled() != 0 {
			t.Errorf("%d connections were made", f.dialled())
		}
	})
}

func TestBind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: func(r *request) bool {
			code := 0
			if r.op.Tag == ldap.ApplicationBindRequest && r.op.Children[2].Data.String() == "Wrong" {
				code = ldap.LDAPResultInvalidCredentials
			}
			r.done(code, "80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data 52e, v1db1")
			return true
		}}
		c := testClient(t, Config{Bind: simple("Ours")}, f)
		if err := search(t, c); err != nil {
			t.Fatal(err)
		}
		if err := c.Bind(t.Context(), "cn=alice", []byte("Right")); err != nil {
			t.Error(err)
		}
		err := c.Bind(t.Context(), "cn=alice", []byte("Wrong"))
		if code, ok := SubCode(err); !IsInvalidCredentials(err) || code != "52e" || !ok || strings.Contains(err.Error(), "Wrong") {
			t.Error(err, code)
		}
		// The pool's connection is still ours.
		if err := search(t, c); err != nil {
			t.Error(err)
		}
		if want := []string{"cn=postern/Ours", "cn=alice/Right", "cn=alice/Wrong"}; !slices.Equal(f.bound(), want) || f.dialled() != 3 {
			t.Errorf("%q on %d connections", f.bound(), f.dialled())
		}
	})
}

// Nobody knows whether a server that went away has counted the password: it is not
// sent to the next.
func TestBindIsSentOnce(t *testing.T) {
	for name, a := range map[string]*fake{
		"frozen":   {frozen: true},
		"hangs up": {answer: func(*request) bool { return false }},
		"busy": {answer: func(r *request) bool {
			r.done(ldap.LDAPResultBusy, "")
			return true
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &fake{}
				c := testClient(t, Config{Timeout: time.Second}, a, b)
				err := c.Bind(t.Context(), "cn=alice", []byte("Secret"))
				var u *Unavailable
				if !errors.As(err, &u) || !u.Sent || IsAnswer(err) || len(a.bound()) != 1 || len(b.bound()) != 0 {
					t.Errorf("%v; %q %q", err, a.bound(), b.bound())
				}
				if err != nil && strings.Contains(err.Error(), "Secret") {
					t.Errorf("a password in %q", err)
				}
			})
		})
	}
	t.Run("before it is sent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := &fake{}
			c := testClient(t, Config{}, &fake{down: true}, b)
			if err := c.Bind(t.Context(), "cn=alice", []byte("x")); err != nil || len(b.bound()) != 1 {
				t.Errorf("%v; %q", err, b.bound())
			}
		})
	})
}
