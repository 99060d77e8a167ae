package pptp_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/simnet"
	"postern/pptp/client"
)

const newPassword = "Новый пароль €"

// An expired password is changed in the login dialogue, and the session that follows
// is encrypted by the new one.
func TestChangePassword(t *testing.T) {
	for _, q := range []client.Quirk{client.QuirkNone, client.QuirkWindows10, client.QuirkMacOS, client.QuirkKernelPPPD} {
		t.Run(q.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil)
				cfg := w.clientConfig(clientAddr(0))
				cfg.User, cfg.NewPassword, cfg.Quirk = `CORP\alice+123456`, newPassword, q
				w.service.expired[cfg.User] = true
				s, err := client.Dial(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				if send, recv := s.MPPE(); send != "128-bit stateless" || recv != send || !s.PasswordChanged() {
					t.Errorf("MPPE %s, %s, changed %v", send, recv, s.PasswordChanged())
				}
				time.Sleep(10 * time.Second)
				if _, err := s.Ping(t.Context(), farHost, 1000); err != nil {
					t.Error(err)
				}
				_ = s.Close()
				if w.service.changes != 1 || w.service.logins != 2 {
					t.Errorf("%d changes in %d requests", w.service.changes, w.service.logins)
				}

				if _, err := client.Dial(t.Context(), cfg); !refused(err, 691) {
					t.Errorf("the old password: %v", err)
				}
				cfg.Password = newPassword
				if s, err = client.Dial(t.Context(), cfg); err != nil {
					t.Fatalf("the new password: %v", err)
				}
				if s.PasswordChanged() {
					t.Error("a password that was good was changed")
				}
				_ = s.Close()
			})
		})
	}
}

func refused(err error, code int) bool {
	var r *client.RefusedError
	return errors.As(err, &r) && r.Verdict.Code == code
}

// What does not come to a change is a refusal, and leaves nothing behind.
func TestChangePasswordRefused(t *testing.T) {
	for _, tt := range []struct {
		about, fresh string
		code         int
	}{
		{"no new password", "", 648},
		{"a weak one", "short", 709},
	} {
		t.Run(tt.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil)
				cfg := w.clientConfig(clientAddr(0))
				cfg.NewPassword = tt.fresh
				w.service.expired[cfg.User] = true
				if _, err := client.Dial(t.Context(), cfg); !refused(err, tt.code) {
					t.Errorf("%v", err)
				}
				time.Sleep(10 * time.Second)
				if w.node.Sessions() != 0 || len(w.service.stops)+len(w.service.fresh) != 0 {
					t.Errorf("%d sessions, %d stops, %d changes", w.node.Sessions(), len(w.service.stops), len(w.service.fresh))
				}
			})
		})
	}
}

// 300 changes over a bad network: each ends in a session that carries packets or in a
// word why not, and no password is changed without the service's knowledge.
func TestChangePasswordOverBadNetwork(t *testing.T) {
	const logins = 300
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.net.SetFaults(netip.Addr{}, netip.Addr{}, simnet.Faults{
			Delay: 20 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.2, Duplicate: 0.1, Reorder: 0.2,
		})
		w.service.delay.Store(int64(50 * time.Millisecond))
		var up, refused, dead atomic.Int64
		var wg sync.WaitGroup
		for i := range logins {
			cfg := w.clientConfig(clientAddr(i))
			cfg.User, cfg.NewPassword = fmt.Sprint("user", i), newPassword
			w.service.mu.Lock() // the first are dialling
			w.service.expired[cfg.User] = true
			w.service.mu.Unlock()
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				s, err := client.Dial(t.Context(), cfg)
				if err != nil {
					refused.Add(1)
					return
				}
				up.Add(1)
				for start := time.Now(); ; time.Sleep(200 * time.Millisecond) {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					_, err := s.Ping(ctx, farHost, 200)
					cancel()
					if err == nil {
						break
					}
					if time.Since(start) > time.Minute {
						dead.Add(1)
						break
					}
				}
				_ = s.Close()
			})
		}
		wg.Wait()
		time.Sleep(5 * time.Minute)
		t.Logf("%d sessions, %d ended before", up.Load(), refused.Load())
		if up.Load() < logins*9/10 || dead.Load() != 0 || w.node.Sessions() != 0 {
			t.Errorf("of %d: %d up, %d refused, %d dead tunnels, %d left", logins, up.Load(), refused.Load(), dead.Load(), w.node.Sessions())
		}
		w.service.mu.Lock()
		defer w.service.mu.Unlock()
		if int64(w.service.changes) > logins || int64(w.service.changes) < up.Load() || len(w.service.fresh) != w.service.changes {
			t.Errorf("%d changes asked for, %d made, %d sessions", w.service.changes, len(w.service.fresh), up.Load())
		}
	})
}
