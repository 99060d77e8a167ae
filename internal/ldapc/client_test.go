package ldapc

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/internal/failover"
)

func simple(password string) Bind {
	return Bind{Method: Simple, Name: "cn=postern", Password: func() ([]byte, error) { return []byte(password), nil }}
}

// A server that says nothing costs its time-out, and leaves nothing behind (the
// bubble's end waits for every goroutine).
func TestFrozen(t *testing.T) {
	for name, ask := range map[string]func(ctx context.Context, c *Client) error{
		"search": func(ctx context.Context, c *Client) error { _, err := c.Search(ctx, anything); return err },
		"paged": func(ctx context.Context, c *Client) error {
			_, err := c.Search(ctx, &Search{Filter: present, PageSize: 10})
			return err
		},
		"root DSE": func(ctx context.Context, c *Client) error { _, err := c.RootDSE(ctx); return err },
		"bind":     func(ctx context.Context, c *Client) error { return c.Bind(ctx, "cn=alice", []byte("x")) },
		"modify":   func(ctx context.Context, c *Client) error { return c.Modify(ctx, ldap.NewModifyRequest("cn=x", nil)) },
		"check":    func(ctx context.Context, c *Client) error { _, err := c.Check(ctx, "a"); return err },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{frozen: true}
				c := testClient(t, Config{Timeout: 2 * time.Second}, f)
				for _, limit := range []time.Duration{time.Second, time.Minute} {
					ctx, cancel := context.WithTimeout(t.Context(), limit)
					defer cancel()
					start := time.Now()
					err := ask(ctx, c)
					if want := min(limit, 2*time.Second); time.Since(start) != want {
						t.Errorf("%v: took %v", limit, time.Since(start))
					}
					var u *Unavailable
					if !errors.As(err, &u) || !errors.Is(err, context.DeadlineExceeded) || IsAnswer(err) {
						t.Errorf("%v", err)
					}
					if want := name == "bind" || name == "modify"; u.Sent != want || failover.IsAway(err) == want {
						t.Errorf("sent %v: %v", u.Sent, err)
					}
				}
				// And it is not needed for long: the next question is answered.
				f.set(func() { f.frozen = false })
				if err := search(t, c); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testClient(t, Config{}, &fake{frozen: true})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		_, err := c.Search(ctx, anything)
		if !errors.Is(err, context.Canceled) || time.Since(start) != time.Second {
			t.Error(err, time.Since(start))
		}
	})
}

func TestCloseEndsQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testClient(t, Config{Conns: 2}, &fake{frozen: true})
		time.AfterFunc(time.Second, c.Close)
		start := time.Now()
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				var u *Unavailable
				if _, err := c.Search(t.Context(), anything); !errors.As(err, &u) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if time.Since(start) != time.Second {
			t.Error(time.Since(start))
		}
		if err := search(t, c); err == nil {
			t.Error("a closed client asks")
		}
	})
}

func TestPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: func(r *request) bool {
			time.Sleep(100 * time.Millisecond)
			r.done(0, "")
			return true
		}}
		c := testClient(t, Config{Conns: 3, Idle: 30 * time.Second}, f)
		start := time.Now()
		var wg sync.WaitGroup
		for range 12 {
			wg.Go(func() {
				if err := search(t, c); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if f.dialled() != 3 || time.Since(start) != 400*time.Millisecond {
			t.Errorf("%d connections, %v", f.dialled(), time.Since(start))
		}

		// One stays in use, the others are closed after the idle time.
		for range 7 {
			time.Sleep(8 * time.Second)
			if err := search(t, c); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		if f.opened() != 1 || f.dialled() != 3 {
			t.Errorf("%d open of %d", f.opened(), f.dialled())
		}
		if n := f.count(ldap.ApplicationUnbindRequest); n != 2 {
			t.Errorf("%d unbound", n)
		}
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if f.opened() != 0 {
			t.Errorf("%d open", f.opened())
		}
	})
}

// All connections in use is a server's silence, too.
func TestPoolIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{frozen: true}
		c := testClient(t, Config{Conns: 1, Timeout: 5 * time.Second}, f)
		var wg sync.WaitGroup
		wg.Go(func() { search(t, c) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Search(ctx, anything); err == nil || !strings.Contains(err.Error(), "all 1 connections are in use") {
			t.Error(err)
		}
		wg.Wait()
	})
}

// A restart of the server is nobody's error.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		c := testClient(t, Config{}, f)
		for _, rest := range []time.Duration{0, time.Second, checkAfter + time.Second} {
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					if err := search(t, c); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			f.hangUp()
			time.Sleep(rest)
		}
	})
}

// So is a connection that a firewall forgot: packets vanish.
func TestForgottenConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		c := testClient(t, Config{Timeout: 3 * time.Second}, f)
		if err := search(t, c); err != nil {
			t.Fatal(err)
		}
		time.Sleep(checkAfter)
		var old net.Conn
		f.set(func() {
			old = f.conns[0]
			f.answer = func(r *request) bool {
				if r.conn != old {
					r.done(0, "")
				}
				return true
			}
		})
		start := time.Now()
		if err := search(t, c); err != nil || time.Since(start) != checkTime {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// A question that fails on a new connection is not asked again there.
func TestNoEndlessRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: func(*request) bool { return false }}
		c := testClient(t, Config{}, f)
		if err := search(t, c); err == nil || f.dialled() != 1 {
			t.Errorf("%v, %d connections", err, f.dialled())
		}
		f.set(func() { f.answer = nil })
		search(t, c)
		f.set(func() { f.answer = func(*request) bool { return false } })
		if err := search(t, c); err == nil || f.dialled() != 3 {
			t.Errorf("%v, %d connections", err, f.dialled())
		}
	})
}

func TestNextServer(t *testing.T) {
	say := func(code int) func(*request) bool {
		return func(r *request) bool { r.done(code, ""); return true }
	}
	for name, c := range map[string]struct {
		a    *fake
		next bool
	}{
		"down":      {&fake{down: true}, true},
		"frozen":    {&fake{frozen: true}, true},
		"hangs up":  {&fake{answer: func(*request) bool { return false }}, true},
		"busy":      {&fake{answer: say(ldap.LDAPResultBusy)}, true},
		"stopping":  {&fake{answer: say(ldap.LDAPResultUnavailable)}, true},
		"no object": {&fake{answer: say(ldap.LDAPResultNoSuchObject)}, false},
		"denied":    {&fake{answer: say(ldap.LDAPResultInsufficientAccessRights)}, false},
		"referral":  {&fake{answer: say(ldap.LDAPResultReferral)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &fake{}
				cl := testClient(t, Config{Timeout: time.Second}, c.a, b)
				err := search(t, cl)
				if c.next != (err == nil) || c.next != (b.dialled() == 1) || !c.next && !IsAnswer(err) {
					t.Errorf("%v, %d connections to the second", err, b.dialled())
				}
			})
		})
	}
}

// A password that is wrong in our configuration must not lock our account.
func TestRefusedPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: func(r *request) bool {
			code := 0
			if r.op.Tag == ldap.ApplicationBindRequest && r.op.Children[2].Data.String() != "Right" {
				code = ldap.LDAPResultInvalidCredentials
			}
			r.done(code, "80090308: LdapErr: DSID-0C090449, comment: AcceptSecurityContext error, data 775, v4563")
			return true
		}}
		password := "Wrong"
		bind := simple("")
		bind.Password = func() ([]byte, error) { return []byte(password), nil }
		c := testClient(t, Config{Bind: bind}, f)
		var errs []error
		for range 20 {
			err := search(t, c)
			var refused *BindRefused
			if !errors.As(err, &refused) || !failover.IsAway(err) || IsAnswer(err) {
				t.Fatal(err)
			}
			if code, ok := refused.SubCode(); code != "775" || !ok {
				t.Error(code, ok)
			}
			if _, ok := SubCode(err); ok {
				t.Error("our own bind is taken for an answer")
			}
			errs = append(errs, err)
		}
		if len(f.bound()) != 1 {
			t.Errorf("bound %d times", len(f.bound()))
		}
		time.Sleep(refusedPause)
		errs = append(errs, search(t, c))
		if len(f.bound()) != 2 {
			t.Errorf("bound %d times", len(f.bound()))
		}
		password = "Right"
		if err := search(t, c); err != nil {
			t.Errorf("a new password is not tried: %v", err)
		}
		for _, err := range errs {
			if s := err.Error(); strings.Contains(s, "Wrong") || strings.Contains(s, "Right") {
				t.Errorf("a password in %q", s)
			}
		}
	})
}

func TestNoPassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		for _, password := range []func() ([]byte, error){
			func() ([]byte, error) { return nil, errors.New("the seal's key is missing") },
			func() ([]byte, error) { return nil, nil },
		} {
			bind := simple("")
			bind.Password = password
			c := testClient(t, Config{Bind: bind}, f)
			if err := search(t, c); err == nil {
				t.Error("asked without a password")
			}
			c.Close()
		}
		if len(f.bound()) != 0 {
			t.Errorf("bound: %q", f.bound())
		}
	})
}

// A name in the table says what went wrong with the configuration.
func TestConfig(t *testing.T) {
	good := Config{Servers: []string{"ldap1.corp.example", "ldap2:6360", "10.0.0.1", "[2001:db8::1]:636", "2001:db8::1"}, TLS: LDAPS, Bind: simple("x")}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(c *Config){
		"how to speak TLS is not said":             func(c *Config) { c.TLS = 0 },
		"no server":                                func(c *Config) { c.Servers = nil },
		`server "ldaps://x"`:                       func(c *Config) { c.Servers = []string{"ldaps://x"} },
		`"0" is not a port`:                        func(c *Config) { c.Servers = []string{"x:0"} },
		`"ldap" is not a port`:                     func(c *Config) { c.Servers = []string{"x:ldap"} },
		"the method is not said":                   func(c *Config) { c.Bind = Bind{} },
		"a simple bind needs a name":               func(c *Config) { c.Bind.Password = nil },
		"GSSAPI needs a principal and a krb5.conf": func(c *Config) { c.Bind = Bind{Method: GSSAPI, Name: "x"} },
		"GSSAPI needs a keytab or a password":      func(c *Config) { c.Bind = Bind{Method: GSSAPI, Name: "x", Krb5Conf: "y"} },
		"GSSAPI is for use over TLS":               func(c *Config) { c.TLS = Plain; c.Bind = Bind{Method: GSSAPI, Name: "x", Krb5Conf: "y", Keytab: "z"} },
		"servers that the network names need TLS":  func(c *Config) { c.TLS = Plain; c.Discover = failover.SRV("lab.example", "_ldap._tcp") },
	} {
		c := good
		change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestEnums(t *testing.T) {
	if LDAPS.String() != "ldaps" || TLS(9).String() != "unknown" || Simple.String() != "simple" || Method(9).String() != "unknown" ||
		NoName.String() != "no name" || Problem(99).String() != "unknown" {
		t.Error("names")
	}
}
