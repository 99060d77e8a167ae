package netlogon

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/failover"
)

// fakeDC makes channels and answers on them.
type fakeDC struct {
	t       *testing.T
	takes   time.Duration // a logon
	setUp   time.Duration
	refuse  error // of set-ups
	answer  func(n int, r *Request) (*Logon, error)
	frozen  atomic.Bool
	asked   atomic.Int32 // requests that arrived
	opened  atomic.Int32
	open    atomic.Int32 // channels at present
	most    atomic.Int32
	mu      sync.Mutex
	current []*fakeChannel
}

func (d *fakeDC) opener(ctx context.Context) (channel, error) {
	if err := d.sleep(ctx, d.setUp); err != nil {
		return nil, err
	}
	if d.refuse != nil {
		return nil, d.refuse
	}
	d.opened.Add(1)
	d.most.Store(max(d.most.Load(), d.open.Add(1)))
	c := &fakeChannel{dc: d}
	d.mu.Lock()
	d.current = append(d.current, c)
	d.mu.Unlock()
	return c, nil
}

func (d *fakeDC) sleep(ctx context.Context, t time.Duration) error {
	if d.frozen.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	select {
	case <-time.After(t):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// kill makes the idle channels dead, as a restart does.
func (d *fakeDC) kill(how func(*fakeChannel)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.current {
		how(c)
	}
}

type fakeChannel struct {
	dc     *fakeDC
	busy   atomic.Bool
	closed atomic.Bool
	dead   bool  // and known to be
	fails  error // what a logon ends with
	used   int
}

func (c *fakeChannel) logon(ctx context.Context, r *Request) (*Logon, error) {
	if c.busy.Swap(true) {
		c.dc.t.Error("two calls on one channel")
	}
	defer c.busy.Store(false)
	if c.closed.Load() {
		c.dc.t.Error("call on a closed channel")
	}
	c.used++
	if errors.Is(c.fails, errUnsent) {
		return nil, c.fails
	}
	n := c.dc.asked.Add(1)
	if err := c.dc.sleep(ctx, c.dc.takes); err != nil {
		return nil, err
	}
	if c.fails != nil {
		return nil, c.fails
	}
	if c.dc.answer != nil {
		return c.dc.answer(int(n), r)
	}
	return yes(), nil
}

func yes() *Logon {
	return &Logon{HashHash: [16]byte{1}, User: "alice", Domain: "LAB", SID: "S-1-5-21-1-2-3-1104"}
}

func (c *fakeChannel) trusts(ctx context.Context) ([]Trust, error) {
	if err := c.dc.sleep(ctx, c.dc.takes); err != nil {
		return nil, err
	}
	return []Trust{{NetBIOS: "LAB", Own: true}}, c.fails
}

func (c *fakeChannel) facts() facts {
	return facts{addr: "dc1:49152", flags: offered, took: c.dc.setUp}
}
func (c *fakeChannel) alive() bool { return !c.dead }

func (c *fakeChannel) close() {
	if c.closed.Swap(true) {
		c.dc.t.Error("closed twice")
	}
	c.dc.open.Add(-1)
}

// pool runs f in a bubble, with a pool of that many channels.
func pool(t *testing.T, channels int, dc *fakeDC, f func(t *testing.T, p *Pool)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		dc.t = t
		cfg := Config{
			Server: "dc1", Domain: "LAB", Machine: "RGW$", Channels: channels, Timeout: 3 * time.Second,
			Password: func() ([]byte, error) { return []byte("x"), nil },
		}
		if err := cfg.check(); err != nil {
			t.Fatal(err)
		}
		p := newPool(cfg, dc.opener)
		f(t, p)
		p.Close()
		if n := dc.open.Load(); n != 0 {
			t.Errorf("%d channels are left open", n)
		}
	})
}

func alice() *Request { return &Request{Domain: "LAB", User: "alice"} }

// away asserts no answer, and returns it.
func away(t *testing.T, err error) *Unavailable {
	t.Helper()
	var u *Unavailable
	if !errors.As(err, &u) {
		t.Errorf("%v is not Unavailable", err)
		return &Unavailable{}
	}
	if u.Server != "dc1" || u.Away() == u.Final || failover.IsAway(err) != u.Away() {
		t.Errorf("%+v", u)
	}
	return u
}

func TestLazyStart(t *testing.T) {
	dc := &fakeDC{}
	pool(t, 4, dc, func(t *testing.T, p *Pool) {
		time.Sleep(time.Minute)
		if dc.opened.Load() != 0 {
			t.Error("a channel nobody asked for")
		}
		for range 5 {
			l, err := p.Logon(t.Context(), alice())
			if err != nil || l.HashHash == [16]byte{} {
				t.Fatal(l, err)
			}
		}
		if s := p.Stats(); dc.opened.Load() != 1 || s.Opened != 1 || s.Idle != 1 || s.Busy != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestChannelsAreExclusive(t *testing.T) {
	dc := &fakeDC{takes: 10 * time.Millisecond}
	pool(t, 3, dc, func(t *testing.T, p *Pool) {
		began := time.Now()
		var wg sync.WaitGroup
		for range 90 {
			wg.Go(func() {
				if _, err := p.Logon(t.Context(), alice()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(began); dc.most.Load() != 3 || took != 300*time.Millisecond || dc.asked.Load() != 90 {
			t.Errorf("%d channels, %v, %d requests", dc.most.Load(), took, dc.asked.Load())
		}
	})
}

func TestFrozenDC(t *testing.T) {
	dc := &fakeDC{takes: time.Millisecond}
	pool(t, 2, dc, func(t *testing.T, p *Pool) {
		if _, err := p.Logon(t.Context(), alice()); err != nil {
			t.Fatal(err)
		}
		dc.frozen.Store(true)
		dc.asked.Store(0)
		began := time.Now()
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				_, err := p.Logon(t.Context(), alice())
				if u := away(t, err); u.Alarm || u.Final || !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		// One had the channel, the other wanted to set one up.
		if took := time.Since(began); took != 3*time.Second || dc.asked.Load() != 1 {
			t.Errorf("%v, %d requests", took, dc.asked.Load())
		}
		if dc.open.Load() != 0 {
			t.Error("a channel whose answer did not come is kept")
		}
		dc.frozen.Store(false)
		if _, err := p.Logon(t.Context(), alice()); err != nil {
			t.Error(err)
		}
	})
}

func TestDeadIdleChannel(t *testing.T) {
	dc := &fakeDC{}
	pool(t, 2, dc, func(t *testing.T, p *Pool) {
		logon := func() error { _, err := p.Logon(t.Context(), alice()); return err }
		if err := logon(); err != nil {
			t.Fatal(err)
		}
		// Seen before anything is sent.
		dc.kill(func(c *fakeChannel) { c.dead = true })
		if err := logon(); err != nil {
			t.Error(err)
		}
		if s := p.Stats(); dc.opened.Load() != 2 || dc.asked.Load() != 2 || s.Dropped != 1 || s.Retried != 0 {
			t.Errorf("%d channels, %d requests, %+v", dc.opened.Load(), dc.asked.Load(), s)
		}
		// Seen while sending.
		dc.kill(func(c *fakeChannel) { c.fails = errUnsent })
		if err := logon(); err != nil {
			t.Error(err)
		}
		if s := p.Stats(); dc.opened.Load() != 3 || dc.asked.Load() != 3 || s.Dropped != 2 || s.Retried != 1 {
			t.Errorf("%d channels, %d requests, %+v", dc.opened.Load(), dc.asked.Load(), s)
		}
		// The DC may have counted this one: it is not sent again.
		dc.kill(func(c *fakeChannel) { c.fails = io.EOF })
		if err := logon(); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		if s := p.Stats(); dc.opened.Load() != 3 || dc.asked.Load() != 4 || s.Dropped != 3 || s.Retried != 1 {
			t.Errorf("%d channels, %d requests, %+v", dc.opened.Load(), dc.asked.Load(), s)
		}
	})
}

// A channel that was set up for this very request and is dead is an outage.
func TestNoSecondRetry(t *testing.T) {
	dc := &fakeDC{}
	pool(t, 1, dc, func(t *testing.T, p *Pool) {
		p.open = func(ctx context.Context) (channel, error) {
			c, err := dc.opener(ctx)
			if err == nil {
				c.(*fakeChannel).fails = errUnsent
			}
			return c, err
		}
		_, err := p.Logon(t.Context(), alice())
		if u := away(t, err); u.Alarm || dc.opened.Load() != 1 || !errors.Is(err, errUnsent) {
			t.Errorf("%v after %d channels", err, dc.opened.Load())
		}
		c, _ := dc.opener(t.Context())
		c.(*fakeChannel).fails = errUnsent
		p.put(c)
		_, err = p.Logon(t.Context(), alice())
		if away(t, err); dc.opened.Load() != 3 || p.Stats().Retried != 1 {
			t.Errorf("%v after %d channels", err, dc.opened.Load())
		}
	})
}

// A DC that does not know a channel did not look at the request: once more, on
// another.
func TestChannelIsRefused(t *testing.T) {
	for _, c := range []struct {
		fails error
		alarm bool
	}{
		{faultSecurity, false},
		{misconfigured{faultAccessDenied}, true},
		{StatusAccessDenied, true},
	} {
		dc := &fakeDC{}
		pool(t, 1, dc, func(t *testing.T, p *Pool) {
			bad := 1
			p.open = func(ctx context.Context) (channel, error) {
				ch, err := dc.opener(ctx)
				if err == nil && bad > 0 {
					ch.(*fakeChannel).fails = c.fails
					bad--
				}
				return ch, err
			}
			if _, err := p.Logon(t.Context(), alice()); err != nil || dc.opened.Load() != 2 || p.Stats().Retried != 1 {
				t.Errorf("%v: %v, %d channels", c.fails, err, dc.opened.Load())
			}
			dc.kill(func(c *fakeChannel) { c.dead = true })
			bad = 2
			_, err := p.Logon(t.Context(), alice())
			if u := away(t, err); u.Alarm != c.alarm || u.Final || dc.opened.Load() != 4 || !errors.Is(err, c.fails) {
				t.Errorf("twice %v: %+v, %d channels", c.fails, u, dc.opened.Load())
			}
		})
	}
}

// A DC keeps one session for a computer.
func TestSetUpsOneAfterTheOther(t *testing.T) {
	dc := &fakeDC{setUp: 10 * time.Millisecond, takes: time.Second}
	var now atomic.Int32
	pool(t, 4, dc, func(t *testing.T, p *Pool) {
		p.open = func(ctx context.Context) (channel, error) {
			if now.Add(1) != 1 {
				t.Error("two at once")
			}
			defer now.Add(-1)
			return dc.opener(ctx)
		}
		began := time.Now()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if _, err := p.Logon(t.Context(), alice()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(began); took != 4*dc.setUp+dc.takes {
			t.Errorf("took %v", took)
		}
		// One that hangs does not hold the others up for longer than one's time-out.
		dc.kill(func(c *fakeChannel) { c.dead = true })
		dc.frozen.Store(true)
		began = time.Now()
		for range 4 {
			wg.Go(func() { _, err := p.Logon(t.Context(), alice()); away(t, err) })
		}
		wg.Wait()
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// Firewalls forget silent connections without telling.
func TestOldIdleChannel(t *testing.T) {
	dc := &fakeDC{}
	pool(t, 2, dc, func(t *testing.T, p *Pool) {
		logon := func() {
			t.Helper()
			if _, err := p.Logon(t.Context(), alice()); err != nil {
				t.Fatal(err)
			}
		}
		logon()
		time.Sleep(idleTime - 1)
		logon()
		if dc.opened.Load() != 1 {
			t.Error("a young channel was thrown away")
		}
		time.Sleep(idleTime)
		logon()
		if dc.opened.Load() != 2 || dc.open.Load() != 1 {
			t.Errorf("%d channels, %d open", dc.opened.Load(), dc.open.Load())
		}
	})
}

func TestCloseWhileCallsWait(t *testing.T) {
	dc := &fakeDC{takes: time.Second}
	pool(t, 2, dc, func(t *testing.T, p *Pool) {
		var done, closed atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				switch _, err := p.Logon(t.Context(), alice()); {
				case err == nil:
					done.Add(1)
				case errors.Is(err, ErrClosed):
					away(t, err)
					closed.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		time.Sleep(100 * time.Millisecond)
		began := time.Now()
		p.Close()
		if took := time.Since(began); took != 900*time.Millisecond {
			t.Errorf("Close took %v", took)
		}
		if n := dc.open.Load(); n != 0 {
			t.Errorf("%d channels are open after Close", n)
		}
		wg.Wait()
		if done.Load() != 2 || closed.Load() != 6 {
			t.Errorf("%d done, %d refused", done.Load(), closed.Load())
		}
		if _, err := p.Logon(t.Context(), alice()); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}

func TestWaitingIsBounded(t *testing.T) {
	dc := &fakeDC{takes: 10 * time.Second}
	pool(t, 1, dc, func(t *testing.T, p *Pool) {
		var busy atomic.Int32
		var wg sync.WaitGroup
		long := func() { // longer than the pool's own patience
			_, err := p.Logon(t.Context(), alice())
			if errors.Is(err, ErrBusy) {
				away(t, err)
				busy.Add(1)
			}
		}
		wg.Go(long)
		time.Sleep(time.Second)
		began := time.Now()
		for range maxWaiting + 5 {
			wg.Go(long)
		}
		synctest.Wait()
		if s := p.Stats(); busy.Load() != 5 || s.Waiting != maxWaiting || s.Busy != 1 || time.Since(began) != 0 {
			t.Errorf("%d refused, %+v", busy.Load(), s)
		}
		wg.Wait()
		if busy.Load() != maxWaiting+5-1 || time.Since(began) != 5*time.Second {
			t.Errorf("%d refused after %v", busy.Load(), time.Since(began))
		}
		if s := p.Stats(); s.Waiting != 0 || s.Busy != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestCallerGivesUp(t *testing.T) {
	dc := &fakeDC{takes: 2 * time.Second}
	pool(t, 1, dc, func(t *testing.T, p *Pool) {
		var wg sync.WaitGroup
		wg.Go(func() { // in a call
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := p.Logon(ctx, alice())
			if away(t, err); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := p.Logon(ctx, alice()) // waiting
		if away(t, err); time.Since(began) != 500*time.Millisecond {
			t.Error(err)
		}
		wg.Wait()
		if dc.open.Load() != 0 {
			t.Error("the channel whose call was given up is kept")
		}
	})
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		name   string
		req    *Request
		logon  *Logon
		err    error
		reject Status // 0: see below
		alarm  bool
		final  bool
		keeps  bool // the channel
	}{
		{"wrong password", alice(), nil, StatusWrongPassword, StatusWrongPassword, false, false, true},
		{"locked out", alice(), nil, StatusAccountLockedOut, StatusAccountLockedOut, false, false, true},
		{"computer account", alice(), nil, StatusWorkstationTrustAccount, StatusWorkstationTrustAccount, false, false, true},
		{"NTLM blocked", alice(), nil, StatusNTLMBlocked, 0, true, false, false},
		{"machine account is gone", alice(), nil, StatusNoTrustSAMAccount, 0, true, false, false},
		{"DC is short of memory", alice(), nil, StatusInsufficientResources, 0, false, false, false},
		{"own domain without servers", alice(), nil, StatusNoLogonServers, 0, false, false, true},
		{"own DNS domain", &Request{Domain: "lab.example", User: "x"}, nil, StatusNoLogonServers, 0, false, false, true},
		{"no domain", &Request{User: "x"}, nil, StatusNoLogonServers, 0, false, false, true},
		{"another domain", &Request{Domain: "OTHER", User: "x"}, nil, StatusNoLogonServers, 0, false, true, true},
		{"another domain in the name", &Request{User: "x@other.example"}, nil, StatusNoLogonServers, 0, false, true, true},
		{"a broken trust", &Request{Domain: "OTHER", User: "x"}, nil, StatusTrustedRelationFailure, 0, false, true, true},
		{"never heard of", alice(), nil, Status(0xC0001234), 0, false, true, true},
		{"faults", alice(), nil, misconfigured{faultAccessDenied}, 0, true, false, false},
		{"unexpected end", alice(), nil, io.ErrUnexpectedEOF, 0, false, false, false},
		{"guest", alice(), &Logon{Flags: FlagGuest, SID: "S-1", HashHash: [16]byte{1}}, nil, StatusNoSuchUser, false, false, true},
		{"by an LM hash", alice(), &Logon{Flags: FlagLM, SID: "S-1", HashHash: [16]byte{1}}, nil, StatusLogonFailure, false, false, true},
		{"from a cache", alice(), &Logon{Flags: FlagCached, SID: "S-1", HashHash: [16]byte{1}}, nil, StatusLogonFailure, false, false, true},
		{"without a key", alice(), &Logon{SID: "S-1"}, nil, StatusLogonFailure, false, false, true},
		{"without a SID", alice(), &Logon{HashHash: [16]byte{1}}, nil, StatusLogonFailure, false, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dc := &fakeDC{answer: func(int, *Request) (*Logon, error) { return c.logon, c.err }}
			pool(t, 1, dc, func(t *testing.T, p *Pool) {
				l, err := p.Logon(t.Context(), c.req)
				if l != nil || err == nil {
					t.Fatal(l, err)
				}
				if c.logon != nil && c.logon.HashHash != [16]byte{} {
					t.Error("the hash is still there")
				}
				if kept := p.Stats().Idle == 1; kept != c.keeps {
					t.Errorf("channel kept: %v", kept)
				}
				var r *Rejected
				if errors.As(err, &r) {
					if r.Status != c.reject || failover.IsAway(err) {
						t.Errorf("%v", err)
					}
					return
				}
				u := away(t, err)
				if c.reject != 0 || u.Alarm != c.alarm || u.Final != c.final {
					t.Errorf("%+v", u)
				}
				var s, want Status
				if errors.As(c.err, &want) && (!errors.As(err, &s) || s != want) {
					t.Errorf("status %v, want %v", s, want)
				}
			})
		})
	}
}

// It would be an anonymous logon, which a DC grants.
func TestNobody(t *testing.T) {
	dc := &fakeDC{}
	pool(t, 1, dc, func(t *testing.T, p *Pool) {
		_, err := p.Logon(t.Context(), &Request{Domain: "LAB"})
		var r *Rejected
		if !errors.As(err, &r) || r.Status != StatusNoSuchUser || dc.asked.Load() != 0 {
			t.Errorf("%v, asked %d times", err, dc.asked.Load())
		}
	})
}

func TestSetUpFails(t *testing.T) {
	dc := &fakeDC{}
	pool(t, 1, dc, func(t *testing.T, p *Pool) {
		for err, alarm := range map[error]bool{
			StatusAccessDenied: true, StatusNoTrustSAMAccount: true, misconfigured{errNoAES}: true,
			io.EOF: false, errNotRegistered: false, StatusNetlogonNotStarted: false,
		} {
			dc.refuse = err
			_, got := p.Logon(t.Context(), alice())
			if u := away(t, got); u.Alarm != alarm || u.Final || !errors.Is(got, err) {
				t.Errorf("%v: %+v", err, u)
			}
		}
		if s := p.Stats(); s.Failed != 6 || s.Busy != 0 || dc.asked.Load() != 0 {
			t.Errorf("%+v", s)
		}
		dc.refuse = nil
		if _, err := p.Logon(t.Context(), alice()); err != nil {
			t.Error(err)
		}
	})
}

func TestCheck(t *testing.T) {
	dc := &fakeDC{takes: time.Millisecond, setUp: 20 * time.Millisecond}
	pool(t, 1, dc, func(t *testing.T, p *Pool) {
		got, err := p.Check(t.Context())
		if err != nil || !got.AES || !got.Sealed || got.SetUp != dc.setUp || got.Call != dc.takes || len(got.Trusts) != 1 || got.Addr == "" {
			t.Errorf("%+v, %v", got, err)
		}
		dc.refuse = StatusAccessDenied
		if _, err := p.Check(t.Context()); !away(t, err).Alarm {
			t.Error(err)
		}
		dc.refuse = nil
		for fails, sealed := range map[error]bool{io.EOF: false, win32(5): true} { // a no came sealed, too
			p.open = func(ctx context.Context) (channel, error) {
				c, err := dc.opener(ctx)
				if err == nil {
					c.(*fakeChannel).fails = fails
				}
				return c, err
			}
			got, err := p.Check(t.Context())
			if got.Sealed != sealed || !got.AES || (err == nil) != sealed {
				t.Errorf("%v: %+v, %v", fails, got, err)
			}
		}
		dc.frozen.Store(true)
		began := time.Now()
		if _, err := p.Check(t.Context()); err == nil || time.Since(began) != 3*time.Second {
			t.Error(err)
		}
	})
}

func BenchmarkPool(b *testing.B) {
	dc := &fakeDC{}
	cfg := Config{Server: "dc1", Machine: "RGW$", Password: func() ([]byte, error) { return []byte("x"), nil }}
	if err := cfg.check(); err != nil {
		b.Fatal(err)
	}
	dc.answer = func(int, *Request) (*Logon, error) { return yes(), nil }
	p := newPool(cfg, func(ctx context.Context) (channel, error) { return instant{&fakeChannel{dc: dc}}, nil })
	defer p.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Logon(b.Context(), alice()); err != nil {
			b.Fatal(err)
		}
	}
}

// instant answers without a clock.
type instant struct{ *fakeChannel }

func (instant) logon(context.Context, *Request) (*Logon, error) { return yes(), nil }
