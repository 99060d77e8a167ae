package netlogon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/integration/samba"
	"postern/internal/failover"
	"postern/internal/mschap"
)

// These tests ask a Samba domain controller.

func configOf(dc *samba.DC) Config {
	return Config{
		Server: dc.Addr.String(), Domain: dc.NetBIOS, Machine: dc.MachineAccount,
		Password: func() ([]byte, error) { return []byte(dc.MachinePassword), nil },
	}
}

func poolOf(t testing.TB, dc *samba.DC, edit ...func(*Config)) *Pool {
	t.Helper()
	cfg := configOf(dc)
	for _, f := range edit {
		f(&cfg)
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// response is what a peer that knows the password answers to a fresh challenge.
func response(domain, user, password string) *Request {
	r := &Request{Domain: domain, User: user}
	if _, err := rand.Read(r.ChallengeHash[:]); err != nil {
		panic(err)
	}
	hash := mschap.NTHash(password)
	r.Response = mschap.NTResponse(r.ChallengeHash, &hash)
	return r
}

func passwordOf(user string) string {
	if user == "jürgen" {
		return "Pässwörd-€-😀"
	}
	return strings.ToUpper(user[:1]) + user[1:] + "-Pass1"
}

func status(err error) Status {
	var r *Rejected
	if errors.As(err, &r) {
		return r.Status
	}
	return StatusOK
}

func TestAccounts(t *testing.T) {
	t.Log(samba.Version(t))
	dc := samba.Start(t, samba.Options{})
	p := poolOf(t, dc)
	for _, c := range []struct {
		domain, user, password string
		want                   Status
		name                   string // as the DC spells it
	}{
		{"LAB", "alice", passwordOf("alice"), StatusOK, "alice"},
		{"lab", "ALICE", passwordOf("alice"), StatusOK, "alice"},
		{"lab.example", "alice", passwordOf("alice"), StatusOK, "alice"},
		{"", "alice", passwordOf("alice"), StatusOK, "alice"},
		{"", "alice@lab.example", passwordOf("alice"), StatusOK, "alice"},
		{"LAB", "jürgen", passwordOf("jürgen"), StatusOK, "jürgen"},
		{"LAB", "JÜRGEN", passwordOf("jürgen"), StatusOK, "jürgen"},
		{"LAB", `LAB\alice`, passwordOf("alice"), StatusNoSuchUser, ""},
		{"LAB", "alice", "wrong", StatusWrongPassword, ""},
		{"LAB", "nobody", "Nobody-Pass1", StatusNoSuchUser, ""},
		{"LAB", "dave", passwordOf("dave"), StatusAccountDisabled, ""},
		{"LAB", "dave", "wrong", StatusWrongPassword, ""},
		{"LAB", "erin", passwordOf("erin"), StatusAccountExpired, ""},
		{"LAB", "erin", "wrong", StatusWrongPassword, ""},
		{"LAB", "locked", passwordOf("locked"), StatusAccountLockedOut, ""},
		{"LAB", "locked", "wrong", StatusAccountLockedOut, ""},
		{"LAB", "grace", passwordOf("grace"), StatusPasswordMustChange, ""},
		{"LAB", "grace", "wrong", StatusWrongPassword, ""},
		{"LAB", "judy", passwordOf("judy"), StatusPasswordExpired, ""},
		{"LAB", "heidi", passwordOf("heidi"), StatusOK, "heidi"}, // bound to another workstation; we name none
		{"LAB", "ivan", passwordOf("ivan"), StatusInvalidLogonHours, ""},
		{"LAB", "kate", passwordOf("kate"), StatusAccountRestriction, ""},
		{"LAB", "leo", passwordOf("leo"), StatusWrongPassword, ""}, // smart card: Samba draws a password
		{"LAB", "mike", passwordOf("mike"), StatusOK, "mike"},
		{"LAB", "nora", passwordOf("nora"), StatusOK, "nora"}, // dial-in denied: not NETLOGON's affair
		{"LAB", dc.MachineAccount, dc.MachinePassword, StatusWorkstationTrustAccount, ""},
		{"LAB", "krbtgt", "wrong", StatusWrongPassword, ""},
	} {
		l, err := p.Logon(t.Context(), response(c.domain, c.user, c.password))
		if status(err) != c.want || (err == nil) != (c.want == StatusOK) {
			t.Errorf(`%s\%s %q: %v, want %s`, c.domain, c.user, c.password, err, c.want)
			continue
		}
		if err != nil {
			continue
		}
		hash := mschap.NTHash(c.password)
		if l.HashHash != mschap.HashHash(&hash) {
			t.Errorf("%s: not the hash of the NT hash", c.user)
		}
		if l.User != c.name || l.Domain != dc.NetBIOS || l.DNS != dc.Domain || !strings.HasPrefix(l.SID, "S-1-5-21-") {
			t.Errorf("%s: %v %q", c.user, l, l.DNS)
		}
		domain := l.SID[:strings.LastIndex(l.SID, "-")]
		if !slices.Contains(l.Groups, domain+"-513") || slices.Contains(l.Groups, l.SID) {
			t.Errorf("%s: groups %q", c.user, l.Groups)
		}
		if never := l.MustChange.IsZero(); never != (c.name == "mike") || !never && time.Until(l.MustChange) < 24*time.Hour {
			t.Errorf("%s: must change %v", c.user, l.MustChange)
		}
	}
	if s := p.Stats(); s.Opened != 1 || s.Dropped != 0 {
		t.Errorf("a no costs the channel: %+v", s)
	}
	// alice's groups, nested ones too.
	l, err := p.Logon(t.Context(), response("LAB", "alice", passwordOf("alice")))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"vpn-leaf", "vpn-mid", "vpn-users"} {
		if s := sidOf(t, dc, name); !slices.Contains(l.Groups, s) {
			t.Errorf("%s (%s) is not in %q", name, s, l.Groups)
		}
	}
	if s := sidOf(t, dc, "alice"); l.SID != s {
		t.Errorf("alice is %s, want %s", l.SID, s)
	}
	// Another domain: no word about the user, and none about the DC.
	_, err = p.Logon(t.Context(), response("NOWHERE", "alice", passwordOf("alice")))
	var u *Unavailable
	var s Status
	if !errors.As(err, &u) || !u.Final || u.Alarm || !errors.As(err, &s) || s != StatusNoLogonServers {
		t.Errorf("unknown domain: %v", err)
	}
	// Nobody but the DC counts.
	for range 5 {
		if _, err := p.Logon(t.Context(), response("LAB", "frank", "wrong")); status(err) != StatusWrongPassword {
			t.Errorf("frank: %v", err)
		}
	}
	if _, err := p.Logon(t.Context(), response("LAB", "frank", passwordOf("frank"))); status(err) != StatusAccountLockedOut {
		t.Errorf("frank, locked by now: %v", err)
	}
	t.Run("check", func(t *testing.T) {
		got, err := p.Check(t.Context())
		if err != nil || !got.AES || !got.Sealed || got.SetUp <= 0 || got.Call <= 0 || !strings.HasPrefix(got.Addr, dc.Addr.String()+":") {
			t.Errorf("%+v, %v", got, err)
		}
		want := Trust{NetBIOS: dc.NetBIOS, DNS: dc.Domain, SID: l.SID[:strings.LastIndex(l.SID, "-")], Own: true}
		if !slices.Contains(got.Trusts, want) {
			t.Errorf("%+v has no %+v", got.Trusts, want)
		}
	})
	t.Run("port and names", func(t *testing.T) { testReach(t, dc) })
	t.Run("quiet", func(t *testing.T) { testQuiet(t, dc) })
	t.Run("misconfigured", func(t *testing.T) { testMisconfigured(t, dc) })
	t.Run("several services", func(t *testing.T) { testSeveralServices(t, dc) })
	t.Run("many groups", func(t *testing.T) { testManyGroups(t, dc) })
}

func sidOf(t *testing.T, dc *samba.DC, account string) string {
	t.Helper()
	r, err := dc.LDAP(t).Search(ldap.NewSearchRequest(dc.BaseDN, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false,
		"(sAMAccountName="+account+")", []string{"objectSid"}, nil))
	if err != nil || len(r.Entries) != 1 {
		t.Fatalf("%s: %v", account, err)
	}
	b := r.Entries[0].GetRawAttributeValue("objectSid")
	s := fmt.Sprintf("S-%d-%d", b[0], b[7])
	for i := 8; i+4 <= len(b); i += 4 {
		s += fmt.Sprintf("-%d", uint32(b[i])|uint32(b[i+1])<<8|uint32(b[i+2])<<16|uint32(b[i+3])<<24)
	}
	return s
}

// testReach asks by IPv6 and by name, through a relay to the one port that is needed
// when it is known.
func testReach(t *testing.T, dc *samba.DC) {
	found, err := poolOf(t, dc).Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range []string{"::1", "localhost", "127.0.0.1"} {
		ln, err := net.Listen("tcp", net.JoinHostPort(server, "0"))
		if err != nil {
			if server == "::1" {
				t.Logf("no IPv6 on this machine: %v", err)
				continue
			}
			t.Fatal(err)
		}
		go relay(ln, found.Addr)
		p := poolOf(t, dc, func(c *Config) {
			c.Server = server
			c.Port = uint16(ln.Addr().(*net.TCPAddr).Port)
		})
		if _, err := p.Logon(t.Context(), response("LAB", "bob", passwordOf("bob"))); err != nil {
			t.Errorf("%s: %v", server, err)
		}
		ln.Close()
	}
}

func relay(ln net.Listener, to string) {
	for {
		in, err := ln.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", to)
		if err != nil {
			in.Close()
			continue
		}
		go func() { _, _ = io.Copy(out, in); out.Close() }()
		go func() { _, _ = io.Copy(in, out); in.Close() }()
	}
}

// testQuiet sees to it that nothing is written to where a service's log goes.
func testQuiet(t *testing.T, dc *samba.DC) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = w, w
	cfg := configOf(dc)
	good := poolOf(t, dc)
	_, _ = good.Logon(t.Context(), response("LAB", "bob", passwordOf("bob")))
	_, _ = good.Logon(t.Context(), response("LAB", "nobody", "x"))
	_, _ = good.Check(t.Context())
	good.Close()
	dead, cancel := context.WithCancel(t.Context())
	cancel()
	_, _ = poolOf(t, dc).Logon(dead, response("LAB", "bob", passwordOf("bob")))
	_ = ChangePassword(t.Context(), cfg, "nobody", new([516]byte), new([16]byte))
	cfg.Password = func() ([]byte, error) { return []byte("wrong"), nil }
	_ = ChangePassword(t.Context(), cfg, "nobody", new([516]byte), new([16]byte))
	os.Stdout, os.Stderr = stdout, stderr
	w.Close()
	if b, _ := io.ReadAll(r); len(b) > 0 {
		t.Errorf("written: %s", b)
	}
}

func testMisconfigured(t *testing.T, dc *samba.DC) {
	for name, c := range map[string]struct {
		edit func(*Config)
		want error
	}{
		"wrong machine password": {func(c *Config) { c.Password = func() ([]byte, error) { return []byte("wrong"), nil } }, StatusAccessDenied},
		"no machine account":     {func(c *Config) { c.Machine = "NOBODY$" }, StatusNoTrustSAMAccount},
		"secret cannot be read":  {func(c *Config) { c.Password = func() ([]byte, error) { return nil, os.ErrNotExist } }, os.ErrNotExist},
	} {
		p := poolOf(t, dc, c.edit)
		var u *Unavailable
		if _, err := p.Logon(t.Context(), response("LAB", "bob", passwordOf("bob"))); !errors.As(err, &u) || !u.Alarm || !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := p.Check(t.Context()); !errors.As(err, &u) || !u.Alarm || !errors.Is(err, c.want) {
			t.Errorf("%s: check: %v", name, err)
		}
		cfg := configOf(dc)
		c.edit(&cfg)
		if err := ChangePassword(t.Context(), cfg, "bob", new([516]byte), new([16]byte)); !errors.As(err, &u) || !u.Alarm ||
			errors.Is(c.want, StatusAccessDenied) && !errors.Is(err, StatusAccessDenied) {
			t.Errorf("%s: change: %v", name, err)
		}
		if name != "secret cannot be read" {
			continue
		}
		if s := p.Stats(); s.Failed != 1 || s.Opened != 0 {
			t.Errorf("%s: %+v", name, s)
		}
	}
	for name, edit := range map[string]func(*Config){
		"not a DC":   func(c *Config) { c.Server = "127.0.0.1" },
		"wrong port": func(c *Config) { c.Port = 389 }, // LDAP
		"no host":    func(c *Config) { c.Server = "dc9.invalid" },
	} {
		p := poolOf(t, dc, edit, func(c *Config) { c.Timeout = time.Second })
		var u *Unavailable
		if _, err := p.Logon(t.Context(), response("LAB", "bob", passwordOf("bob"))); !errors.As(err, &u) || u.Alarm || !u.Away() {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := dc.BadPwdCount(t, "bob"); n != 0 {
		t.Errorf("bob has %d bad passwords", n)
	}
}

// testSeveralServices has processes share a machine account, and disturb each other
// while they set up channels.
func testSeveralServices(t *testing.T, dc *samba.DC) {
	var retried atomic.Uint64
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range 15 {
				p := poolOf(t, dc, func(c *Config) { c.Channels = 1 })
				if _, err := p.Logon(t.Context(), response("LAB", "bob", passwordOf("bob"))); err != nil {
					t.Error(err)
				}
				retried.Add(p.Stats().Retried)
				p.Close()
			}
		})
	}
	wg.Wait()
	if n := retried.Load(); n != 0 {
		t.Errorf("%d logons were sent twice: set-up is to find out", n)
	}
	if n := dc.BadPwdCount(t, "bob"); n != 0 {
		t.Errorf("bob has %d bad passwords", n)
	}
}

// testManyGroups makes the reply longer than a fragment.
func testManyGroups(t *testing.T, dc *samba.DC) {
	const groups = 600 // of 8 octets each
	l := dc.LDAP(t)
	r, err := l.Search(ldap.NewSearchRequest(dc.BaseDN, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false,
		"(sAMAccountName=oscar)", []string{"dn"}, nil))
	if err != nil || len(r.Entries) != 1 {
		t.Fatal(err)
	}
	oscar := r.Entries[0].DN
	for i := range groups {
		name := fmt.Sprintf("many-%03d", i)
		add := ldap.NewAddRequest("CN="+name+",CN=Users,"+dc.BaseDN, nil)
		add.Attribute("objectClass", []string{"group"})
		add.Attribute("sAMAccountName", []string{name})
		add.Attribute("member", []string{oscar})
		if err := l.Add(add); err != nil {
			t.Fatal(err)
		}
	}
	p := poolOf(t, dc)
	for range 3 { // the channel's sequence numbers survive it
		got, err := p.Logon(t.Context(), response("LAB", "oscar", passwordOf("oscar")))
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Groups) < groups {
			t.Errorf("%d groups", len(got.Groups))
		}
	}
}

// The trap: such a DC calls every response a wrong password, and counts it.
func TestDCWithoutMSCHAP(t *testing.T) {
	dc := samba.Start(t, samba.Options{NTLMAuth: "default"})
	p := poolOf(t, dc)
	if _, err := p.Check(t.Context()); err != nil {
		t.Errorf("a check tries nobody's password: %v", err)
	}
	if _, err := p.Logon(t.Context(), response("LAB", "alice", passwordOf("alice"))); status(err) != StatusWrongPassword {
		t.Error(err)
	}
	if n := dc.BadPwdCount(t, "alice"); n != 1 {
		t.Errorf("%d bad passwords", n)
	}
}

func TestDCWithoutNTLM(t *testing.T) {
	dc := samba.Start(t, samba.Options{NTLMAuth: "disabled"})
	p := poolOf(t, dc)
	var u *Unavailable
	_, err := p.Logon(t.Context(), response("LAB", "alice", passwordOf("alice")))
	if !errors.As(err, &u) || !u.Alarm || !errors.Is(err, StatusNTLMBlocked) {
		t.Error(err)
	}
	if n := dc.BadPwdCount(t, "alice"); n != 0 {
		t.Errorf("%d bad passwords", n)
	}
	err = ChangePassword(t.Context(), configOf(dc), "alice", new([516]byte), new([16]byte))
	if !errors.As(err, &u) || !u.Alarm {
		t.Errorf("change: %v", err)
	}
}

// change changes a password as a peer would.
func change(t *testing.T, cfg Config, user, from, to string) error {
	t.Helper()
	old, next := mschap.NTHash(from), mschap.NTHash(to)
	block, err := mschap.EncryptPassword(to, &old, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cypher := mschap.EncryptHash(&old, &next)
	return ChangePassword(t.Context(), cfg, user, &block, &cypher)
}

func TestChangePassword(t *testing.T) {
	dc := samba.Start(t, samba.Options{})
	p, cfg := poolOf(t, dc), configOf(dc)
	try := func(user, password string) Status {
		t.Helper()
		_, err := p.Logon(t.Context(), response("LAB", user, password))
		if err != nil && status(err) == StatusOK {
			t.Fatal(err)
		}
		return status(err)
	}
	for user, before := range map[string]Status{
		"grace": StatusPasswordMustChange, "judy": StatusPasswordExpired, "alice": StatusOK, "jürgen": StatusOK,
	} {
		next := "Neues-Pässwörd-€-7"
		if s := try(user, passwordOf(user)); s != before {
			t.Errorf("%s before: %s, want %s", user, s, before)
		}
		if err := change(t, cfg, user, passwordOf(user), next); err != nil {
			t.Errorf("%s: %v", user, err)
			continue
		}
		if s := try(user, next); s != StatusOK {
			t.Errorf("%s with the new password: %s", user, s)
		}
		if s := try(user, passwordOf(user)); s != StatusWrongPassword {
			t.Errorf("%s with the old password: %s", user, s)
		}
	}
	for _, c := range []struct {
		name, user, from, to string
		want                 Status
	}{
		{"wrong old password", "bob", "wrong", "Neues-Passwort-1", StatusWrongPassword},
		{"too short", "bob", passwordOf("bob"), "Ab1", StatusPasswordRestriction},
		{"unknown user", "nobody", "x", "Neues-Passwort-1", StatusWrongPassword},
	} {
		if err := change(t, cfg, c.user, c.from, c.to); status(err) != c.want {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
	if s := try("bob", passwordOf("bob")); s != StatusOK {
		t.Errorf("bob's password is not what it was: %s", s)
	}
	cfg.Timeout = 500 * time.Millisecond
	dc.Freeze()
	began := time.Now()
	err := change(t, cfg, "bob", passwordOf("bob"), "Neues-Passwort-1")
	var u *Unavailable
	if !errors.As(err, &u) || u.Alarm || time.Since(began) > 5*time.Second {
		t.Errorf("frozen: %v after %v", err, time.Since(began))
	}
	dc.Resume()
}

// tally is what became of the logons of several goroutines.
type tally struct {
	right, none atomic.Int64
	longest     atomic.Int64
}

// storm logs on as alice from 8 goroutines until stop is closed.
func storm(t *testing.T, stop <-chan struct{}, logon func(context.Context, *Request) error) (*tally, func()) {
	var n tally
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				began := time.Now()
				err := logon(t.Context(), response("LAB", "alice", passwordOf("alice")))
				took := int64(time.Since(began))
				for old := n.longest.Load(); took > old && !n.longest.CompareAndSwap(old, took); old = n.longest.Load() {
				}
				switch {
				case err == nil:
					n.right.Add(1)
				case failover.IsAway(err):
					n.none.Add(1)
					time.Sleep(5 * time.Millisecond) // a refused connection fails at once
				default:
					t.Error(err)
				}
			}
		})
	}
	return &n, wg.Wait
}

// until waits for something that is to happen soon.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

// A DC goes away in the middle of calls, in every way, and comes back.
func TestDCGoesAway(t *testing.T) {
	dc := samba.Start(t, samba.Options{})
	const limit = 500 * time.Millisecond
	p := poolOf(t, dc, func(c *Config) { c.Channels, c.Timeout = 4, limit })
	stop := make(chan struct{})
	n, wait := storm(t, stop, func(ctx context.Context, r *Request) error {
		l, err := p.Logon(ctx, r)
		l.Wipe()
		return err
	})
	more := func(what string, count *atomic.Int64, by int64) {
		t.Helper()
		from := count.Load()
		until(t, what, func() bool { return count.Load() >= from+by })
	}
	more("logons", &n.right, 20)
	dc.Kill()
	more("killed", &n.none, 8)
	dc.Restart(t)
	more("restarted", &n.right, 20)
	dc.Freeze()
	more("frozen", &n.none, 16)
	dc.Resume()
	more("resumed", &n.right, 20)
	dc.Freeze()
	more("frozen again", &n.none, 8)
	dc.Kill()
	dc.Restart(t)
	more("restarted", &n.right, 20)
	close(stop)
	wait()
	// Waiting for a channel, setting one up, a call.
	if longest := time.Duration(n.longest.Load()); longest > 3*limit+time.Second {
		t.Errorf("a logon took %v", longest)
	}
	if bad := dc.BadPwdCount(t, "alice"); bad != 0 {
		t.Errorf("alice has %d bad passwords", bad)
	}
	t.Logf("%d right, %d without an answer, the longest took %v, %+v",
		n.right.Load(), n.none.Load(), time.Duration(n.longest.Load()), p.Stats())
	p.Close()
	until(t, "go-msrpc's goroutines end", dcerpcGone)
}

// stacks are those of all goroutines.
func stacks() string {
	b := make([]byte, 1<<20)
	return string(b[:runtime.Stack(b, true)])
}

// Idle channels that a restart killed cost no logon.
func TestRestartWhileIdle(t *testing.T) {
	dc := samba.Start(t, samba.Options{})
	p := poolOf(t, dc)
	if _, err := p.Logon(t.Context(), response("LAB", "alice", passwordOf("alice"))); err != nil {
		t.Fatal(err)
	}
	dc.Kill()
	dc.Restart(t)
	if _, err := p.Logon(t.Context(), response("LAB", "alice", passwordOf("alice"))); err != nil {
		t.Error(err)
	}
	if s := p.Stats(); s.Opened != 2 || s.Dropped != 1 {
		t.Errorf("%+v", s)
	}
}

// Two DCs of one domain under failover: 200 logons while one is killed, restarted
// and frozen. All of them succeed.
func TestTwoDCs(t *testing.T) {
	dcs := []*samba.DC{samba.Start(t, samba.Options{}), samba.Start(t, samba.Options{})}
	pools := map[string]*Pool{}
	var servers []string
	for _, dc := range dcs {
		p := poolOf(t, dc, func(c *Config) { c.Timeout = 500 * time.Millisecond })
		pools[p.Server()] = p
		servers = append(servers, p.Server())
	}
	g := failover.New(failover.Config{
		Name: "lab", Servers: servers, Attempt: 500 * time.Millisecond, Failures: 3, Pause: 500 * time.Millisecond, MaxPause: time.Second,
	})
	defer g.Close()
	logon := func(ctx context.Context, r *Request) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return g.Do(ctx, func(ctx context.Context, server string) error {
			l, err := pools[server].Logon(ctx, r)
			l.Wipe()
			return err
		})
	}
	const each = 50
	for i, step := range []struct {
		what string
		do   func()
	}{
		{"the first is killed", func() { dcs[0].Kill() }},
		{"the first is back, the second is frozen", func() { dcs[0].Restart(t); dcs[1].Freeze() }},
		{"the second is back, the first is frozen", func() { dcs[1].Resume(); dcs[0].Freeze() }},
		{"both are back", func() { dcs[0].Resume() }},
	} {
		var wg sync.WaitGroup
		var done atomic.Int64
		for w := range 5 {
			wg.Go(func() {
				for range each / 5 {
					began := time.Now()
					if err := logon(t.Context(), response("LAB", "alice", passwordOf("alice"))); err != nil {
						t.Errorf("%s: %v", step.what, err)
					}
					if took := time.Since(began); took > 3*time.Second {
						t.Errorf("%s: a logon took %v", step.what, took)
					}
					done.Add(1)
				}
			})
			if w == 0 {
				until(t, "a logon", func() bool { return done.Load() > 0 })
				step.do() // in the middle of the others
			}
		}
		wg.Wait()
		if done.Load() != each {
			t.Errorf("step %d: %d logons", i, done.Load())
		}
	}
	// Both live again by themselves.
	until(t, "the first is asked again", func() bool {
		if err := logon(t.Context(), response("LAB", "alice", passwordOf("alice"))); err != nil {
			t.Error(err)
		}
		return g.Status()[0].State == failover.Up
	})
	for _, dc := range dcs {
		if n := dc.BadPwdCount(t, "alice"); n != 0 {
			t.Errorf("alice has %d bad passwords at %s", n, dc.Addr)
		}
	}
	// Both down: no answer, in time.
	dcs[0].Kill()
	dcs[1].Freeze()
	began := time.Now()
	if err := logon(t.Context(), response("LAB", "alice", passwordOf("alice"))); !failover.IsAway(err) || time.Since(began) > 3*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	dcs[1].Resume()
	until(t, "recovery", func() bool { return logon(t.Context(), response("LAB", "alice", passwordOf("alice"))) == nil })
}

func BenchmarkLogon(b *testing.B) {
	dc := samba.Start(b, samba.Options{})
	for _, channels := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("channels=%d", channels), func(b *testing.B) {
			p := poolOf(b, dc, func(c *Config) { c.Channels = channels })
			r := response("LAB", "alice", passwordOf("alice"))
			work := func() {
				if _, err := p.Logon(b.Context(), r); err != nil {
					b.Error(err)
				}
			}
			work()
			before := cpu(b)
			b.ResetTimer()
			b.SetParallelism(4)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					work()
				}
			})
			b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "own-µs/op")
			b.ReportMetric(float64(p.Stats().SetUp.Microseconds())/1000, "ms/set-up")
		})
	}
}

// cpu is the time that this process has worked; the DC is another.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
