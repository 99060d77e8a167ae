package service

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"layeh.com/radius/rfc2866"

	"postern/authz/directory"
	"postern/authz/session"
	"postern/cmd/internal/cmdtest"
	"postern/internal/config"
	"postern/internal/radius"
	"postern/internal/seal"
	"postern/internal/store"
)

// site is a service's configuration with a user plant, who needs no code. No port is
// configured: requests come from within the process.
func site(t *testing.T) *config.Service {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "policy.yaml"), cmdtest.PolicyText)
	ring, err := seal.CreateFile(filepath.Join(dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	users := &directory.Users{Path: filepath.Join(dir, "users"), Ring: ring}
	if err := users.Add(directory.User{Name: "plant", Groups: []string{"Plant-Devices"}}, cmdtest.Password); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.ParseService(filepath.Join(dir, "radiusd.yaml"), []byte(`
radius: {auth_listen: "127.0.0.1:1"}
clients: [{name: local, networks: [127.0.0.0/8], secret_env: POSTERN_TEST_SECRET}]
store: {path: state/store.db}
key_ring_file: keys
users_file: users
policy_file: policy.yaml
audit: {file: audit.json}
session: {interim: 1m}
`))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Radius.Auth, cfg.Clients = "", nil
	return cfg
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T, cfg *config.Service, o Options) (*Service, *radius.Client) {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	o.Local = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	s, err := New(cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	return s, cmdtest.NewClient(t, radius.Server{Name: "here", Network: "inproc", Local: s.Handler()})
}

func TestLifeAndHealth(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("", func(t *testing.T) {
		s, c := start(t, site(t), Options{Registerer: prometheus.NewRegistry()})
		cmdtest.Expect(t, c, "plant", cmdtest.Password, "s1", radius.CodeAccessAccept)
		if err := s.Healthy(t.Context()); err != nil {
			t.Error(err)
		}
		done := make(chan error)
		go func() { done <- s.Wait() }()
		s.Stop()
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := s.Healthy(t.Context()); err == nil {
			t.Error("healthy after its end")
		}
		if err := s.Start(); err == nil {
			t.Error("started again")
		}
	})
	for range 200 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines before, %d after", before, runtime.NumGoroutine())
}

// What New took before it failed, it gives back: the store above all.
func TestNewFails(t *testing.T) {
	for name, breakIt := range map[string]func(*config.Service){
		"audit log":  func(c *config.Service) { c.Audit.File = "/nonexistent/audit.json" },
		"policy":     func(c *config.Service) { c.Policy += ".gone" },
		"key ring":   func(c *config.Service) { c.KeyRing += ".gone" },
		"users file": func(c *config.Service) { c.Users += ".gone" },
		"server":     func(c *config.Service) { c.Radius.RadSec.Listen = ":2083" },
		"pool":       func(*config.Service) {},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := site(t)
			breakIt(cfg)
			o := Options{}
			if name == "pool" {
				o.Local = []netip.Prefix{netip.MustParsePrefix("203.0.113.64/26")}
			}
			if _, err := New(cfg, o); err == nil {
				t.Fatal("no error")
			} else if name == "pool" && !strings.Contains(err.Error(), `pool "staff": 203.0.113.10-203.0.113.99 overlaps 203.0.113.64/26`) {
				t.Error(err)
			}
			st, err := OpenStore(cfg)
			if err != nil {
				t.Fatal(err)
			}
			st.Close()
		})
	}
}

func TestKeyRingIsMadeOnlyWhenAsked(t *testing.T) {
	cfg := site(t)
	cfg.KeyRing += "2"
	if _, err := OpenRing(cfg, false); err == nil || !strings.Contains(err.Error(), "postern keyring create") {
		t.Errorf("no key ring: %v", err)
	}
	first, err := OpenRing(cfg, true)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(string(cfg.KeyRing))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	sealed, err := first.Seal("test", "x", []byte("y"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := OpenRing(cfg, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Open("test", "x", sealed); err != nil {
		t.Errorf("the key ring was made anew: %v", err)
	}
}

func TestLockoutAndWithout(t *testing.T) {
	for _, open := range []bool{false, true} {
		t.Run(fmt.Sprint("disabled ", open), func(t *testing.T) {
			cfg := site(t)
			cfg.Lockout.User = config.Threshold{Failures: 3, Window: time.Minute}
			_, c := start(t, cfg, Options{NoLockout: open})
			for i := range 3 {
				cmdtest.Expect(t, c, "plant", "wrong", fmt.Sprint("f", i), radius.CodeAccessReject)
			}
			want := radius.CodeAccessReject
			if open {
				want = radius.CodeAccessAccept
			}
			cmdtest.Expect(t, c, "plant", cmdtest.Password, "s", want)
			if cfg.Lockout.Disabled {
				t.Error("the caller's configuration was changed")
			}
		})
	}
}

// A NAS that dies without a word: its session ends in the history by itself.
func TestSilentSessionsAreEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := start(t, site(t), Options{})
		accept := cmdtest.Expect(t, c, "plant", cmdtest.Password, "s1", radius.CodeAccessAccept)
		cmdtest.Account(t, c, accept, "plant", "s1", rfc2866.AcctStatusType_Value_Start)
		history := func() (kinds string, last session.Cause) {
			list, err := s.Sessions().History(t.Context(), 10)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range list {
				kinds, last = kinds+string(e.Kind)+" ", e.Cause
			}
			return kinds, last
		}
		time.Sleep(2*time.Minute + 50*time.Second)
		if kinds, _ := history(); kinds != "start " {
			t.Errorf("before three interims are missing: %s", kinds)
		}
		time.Sleep(10*time.Second + sweepEvery)
		if kinds, cause := history(); kinds != "start stop " || cause != session.LostCarrier {
			t.Errorf("after three interims are missing: %s, cause %v", kinds, cause)
		}
		s.Stop()
		c.Close()
		synctest.Wait()
	})
}

// mfa.window 0 accepts the code of this moment alone; mfa.Config calls that -1.
func TestWindowOfCodes(t *testing.T) {
	for window, accepted := range map[int]int{0: 1, 1: 3, 2: 5} {
		cfg := site(t)
		cfg.MFA.Window = window
		ring, err := OpenRing(cfg, false)
		if err != nil {
			t.Fatal(err)
		}
		st, err := OpenStore(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		now, n := time.Now(), 0
		for step := -4; step <= 4; step++ { // a token each: codes are good once
			user := fmt.Sprint("u", step)
			v := NewVerifier(cfg, st, ring)
			e, err := v.Enroll(t.Context(), now, user, "")
			if err != nil {
				t.Fatal(err)
			}
			r, err := v.Verify(t.Context(), now, user, code(t, e.Secret, now.Add(time.Duration(step)*30*time.Second)))
			if err != nil {
				t.Fatal(err)
			}
			if r.Token != "" {
				n++
			}
		}
		if n != accepted {
			t.Errorf("window %d: %d codes accepted, want %d", window, n, accepted)
		}
	}
}

func TestAuditLineThatCannotBeWritten(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full")
	}
	var said strings.Builder
	reg := prometheus.NewRegistry()
	a, err := openAudit("/dev/full", slog.New(slog.NewTextHandler(&said, nil)), reg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Write([]byte("x\n")); err == nil {
		t.Error("no error")
	}
	var m dto.Metric
	if err := a.lost.Write(&m); err != nil {
		t.Fatal(err)
	}
	if n := m.GetCounter().GetValue(); n != 1 || !strings.Contains(said.String(), "audit line lost") {
		t.Errorf("counted %v, said %q", n, &said)
	}
	a.path = "/nonexistent/audit.json"
	if err := a.reopen(); err == nil {
		t.Error("no error")
	}
	if _, err := a.file.Stat(); err != nil {
		t.Errorf("a reopening that failed closed the file: %v", err)
	}
}

func TestGivenStore(t *testing.T) {
	cfg := site(t)
	st, err := OpenStore(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s, c := start(t, cfg, Options{Store: st})
	cmdtest.Expect(t, c, "plant", cmdtest.Password, "s1", radius.CodeAccessAccept)
	if s.Store() != st {
		t.Error("another store")
	}
	s.Stop()
	if err := st.Do(context.Background(), store.Seq{&store.Time{}}); err == nil {
		t.Error("the store was not closed")
	}
}

// Nothing is written off while, or soon after, nobody could have been heard.
func TestHearing(t *testing.T) {
	at := time.Unix(0, 0)
	h := hearing{since: at}
	for i, row := range []struct {
		passes time.Duration
		well   bool
		want   time.Duration
	}{
		{sweepEvery, true, sweepEvery},
		{sweepEvery, true, 2 * sweepEvery},
		{sweepEvery, false, 0}, // the store is away
		{sweepEvery, false, 0},
		{sweepEvery, true, sweepEvery},
		{sweepEvery, true, 2 * sweepEvery},
		{time.Hour, true, 0}, // the process stood still
		{sweepEvery, true, sweepEvery},
	} {
		at = at.Add(row.passes)
		if got := h.at(at, row.well); got != row.want {
			t.Errorf("%d: %v, want %v", i, got, row.want)
		}
	}
}

// A pool that is nearly exhausted is an alarm in log and metrics, before anybody is
// refused.
func TestPoolAlarm(t *testing.T) {
	reg := prometheus.NewRegistry()
	log := new(lines)
	s, err := New(site(t), Options{Registerer: reg, Log: slog.New(slog.NewTextHandler(log, nil)), Local: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	_, pools := s.decider.Policy()
	name := pools.Names()[0]
	for i := range (pools.Size(name)*90 + 99) / 100 {
		who := fmt.Sprint("user", i)
		c, err := pools.Claim(name, who, who, time.Hour)
		if err == nil {
			err = s.store.Do(t.Context(), c.Seqs()...)
		}
		if err == nil {
			_, err = c.Finish(t.Context(), s.store)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	rings := func() bool {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "postern_pool_alarm" {
				m := f.GetMetric()
				return len(m) == 1 && m[0].GetLabel()[0].GetValue() == name && m[0].GetGauge().GetValue() == 1
			}
		}
		return false
	}
	for end := time.Now().Add(20 * time.Second); !rings(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no alarm")
		}
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	if got := log.b.String(); !strings.Contains(got, `msg="pool needs attention" layer=pool pool=`+name) {
		t.Errorf("log: %s", got)
	}
}
