package session_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"postern/authz/lockout"
	"postern/authz/mfa"
	"postern/authz/pool"
	"postern/authz/session"
	"postern/internal/seal"
	"postern/internal/store"
	"postern/internal/store/storetest"
)

// service is what decides logins, as far as the store is concerned.
type service struct {
	store  store.Store
	shield *lockout.Shield
	codes  *mfa.Verifier
	reg    *session.Registry
	pools  *pool.Pools
}

func newService(t testing.TB, s store.Store) *service {
	t.Helper()
	ring, err := seal.ParseRing([]byte("a AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"))
	if err != nil {
		t.Fatal(err)
	}
	pools, err := pool.New([]pool.Spec{{Name: "staff", Include: []string{"10.0.0.0/16"}}})
	if err != nil {
		t.Fatal(err)
	}
	return &service{s, lockout.New(lockout.Config{}), mfa.New(s, ring, mfa.Config{}), session.New(s, session.Config{}), pools}
}

// login is a whole accepted login: one Do that loads, one that commits.
func (v *service) login(t testing.TB, ctx context.Context, user, acct, code string, source netip.Addr) string {
	t.Helper()
	shield, token, live := v.shield.Ask(user, source), v.codes.Ask(user), v.reg.Ask(user)
	if err := v.store.Do(ctx, store.Join(shield.Seqs(), token.Seqs(), live.Seqs())...); err != nil {
		t.Fatal(err)
	}
	now := shield.Now()
	verdict := v.shield.Check(now, shield.Counters())
	if !verdict.Allowed || !v.shield.CheckCode(now, shield.Counters()).Allowed {
		return "locked"
	}
	r, err := v.codes.Check(now, token, code)
	if err != nil {
		t.Fatal(err)
	}
	rec := session.Record{
		ID: session.ID("n1", acct), Node: "n1", Acct: acct, User: user, Source: source,
		Pool: "staff", Client: "LAPTOP-7", Tunnel: "PPTP", Decision: "0123456789abcdef", Rule: "staff", Factor: "inline",
	}
	if r.Outcome != mfa.OK {
		if err := v.store.Do(ctx, v.shield.Failed(lockout.WrongCode, user, source, rec.ID)...); err != nil {
			t.Fatal(err)
		}
		return r.Outcome.String()
	}
	claim, err := v.pools.Claim("staff", rec.ID, user, v.reg.LeaseTime())
	if err != nil {
		t.Fatal(err)
	}
	burn := v.codes.Burn(user, r, rec.ID)
	opening := v.reg.Open(now, rec, 3)
	err = v.store.Do(ctx, store.Join(
		v.shield.Guard(user, source, verdict, true), burn.Seqs(), opening.UserSeqs(),
		v.shield.Clear(time.Now(), user, source, verdict, true), opening.NodeSeqs(), claim.Seqs(),
	)...)
	if err != nil {
		t.Fatal(err)
	}
	refused := ""
	switch {
	case burn.Lost():
		refused = "replayed"
	case opening.TooMany():
		refused = "too many"
	}
	if refused != "" {
		if err := v.reg.Abandon(ctx, rec); err != nil {
			t.Fatal(err)
		}
		return refused
	}
	addr, err := claim.Finish(ctx, v.store)
	if err != nil {
		t.Fatal(err)
	}
	return addr.String()
}

func TestLogin(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		ctx := t.Context()
		v := newService(t, b)
		home := netip.MustParseAddr("192.0.2.1")
		at := clock(t, b)
		e, err := v.codes.Enroll(ctx, at, "alice", "")
		if err != nil {
			t.Fatal(err)
		}
		code := func(periods int) string {
			c, err := totp.GenerateCode(e.Secret, at.Add(time.Duration(periods)*30*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		for i, row := range []struct{ acct, code, want string }{
			{"a1", code(-1), "10.0.0.1"}, {"a2", code(-1), "replayed"}, {"a3", "0000000", "wrong"},
			{"a4", code(0), "10.0.0.2"}, {"a5", code(1), "10.0.0.3"},
		} {
			if got := v.login(t, ctx, "alice", row.acct, row.code, home); got != row.want {
				t.Errorf("%d: %s, want %s", i, got, row.want)
			}
		}
		if n, err := v.reg.Count(ctx, "alice"); n != 3 || err != nil {
			t.Errorf("%d sessions, %v", n, err)
		}
		out, err := v.reg.Start(ctx, session.Report{Node: "n1", Acct: "a1", Addr: netip.MustParseAddr("10.0.0.1")})
		if err != nil || out.AddressLost {
			t.Errorf("%+v, %v", out, err)
		}
		// A NAS that gave its client another address than it was told to.
		out, err = v.reg.Start(ctx, session.Report{Node: "n1", Acct: "a4", Addr: netip.MustParseAddr("10.0.0.9")})
		if err != nil || !out.AddressLost {
			t.Errorf("%+v, %v", out, err)
		}
	})
}

func clock(t testing.TB, s store.Store) time.Time {
	t.Helper()
	c := &store.Time{}
	if err := s.Do(t.Context(), store.Seq{c}); err != nil {
		t.Fatal(err)
	}
	return c.Now
}
