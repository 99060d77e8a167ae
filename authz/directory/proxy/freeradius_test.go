package proxy

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/authz/directory"
	"postern/integration/freeradius"
	"postern/internal/radius"
)

func udp(s *freeradius.Server, priority int) radius.Server {
	return radius.Server{Name: s.Addr, Network: "udp", Addr: s.Addr, Secret: radius.NewSecret(s.Secret), Priority: priority}
}

func radsec(s *freeradius.Server) radius.Server {
	return radius.Server{Name: s.TLSAddr, Network: "radsec", Addr: s.TLSAddr, TLS: s.Client}
}

// names are the forms of alice's name, with and without a code.
var names = []struct {
	typed string
	name  directory.Name
}{
	{"alice", bareName("alice")},
	{"ALICE", bareName("ALICE")},
	{`LAB\alice`, directory.Name{User: "alice", Realm: "LAB", Down: true}},
	{"alice@lab.example", directory.Name{User: "alice", Realm: "lab.example"}},
	{"alice+123456", bareName("alice")},
	{"ALICE+12345678", bareName("ALICE")},
	{`LAB\alice+123456`, directory.Name{User: "alice", Realm: "LAB", Down: true}},
	{"alice+123456@lab.example", directory.Name{User: "alice", Realm: "lab.example"}},
	{"alice@lab.example+123456", directory.Name{User: "alice", Realm: "lab.example"}},
}

// TestFreeRADIUS has names × settings × transports × right and wrong.
func TestFreeRADIUS(t *testing.T) {
	t.Log(freeradius.Version(t))
	plain, knows := freeradius.Start(t, freeradius.Options{TLS: true}), freeradius.Start(t, freeradius.Options{TLS: true, KnowsCodes: true})
	for _, row := range []struct {
		about  string
		form   AsMSCHAPv1
		server radius.Server
		spoilt bool // in the form of MS-CHAPv1
	}{
		{"udp, with_code", AsMSCHAPv1WithCode, udp(plain, 0), false},
		{"udp, always", AsMSCHAPv1Always, udp(plain, 0), false},
		{"udp, never", AsMSCHAPv1Never, udp(knows, 0), false},
		{"radsec, with_code", AsMSCHAPv1WithCode, radsec(plain), true},
		{"radsec, always", AsMSCHAPv1Always, radsec(plain), true},
		{"radsec, never", AsMSCHAPv1Never, radsec(knows), false},
	} {
		d := open(t, func(c *Config) { c.AsMSCHAPv1, c.GroupPrefix = row.form, "group=" }, row.server)
		right := func(typed string, name directory.Name, password string, groups ...string) {
			t.Helper()
			l := dial(typed, name, password)
			proof, err := l.verify(d)
			if row.spoilt && d.(*Directory).asMSCHAPv1(name, &l.response) {
				wantUnavailable(t, err, errSpoiltV1)
				return
			}
			if err != nil {
				t.Errorf("%s, %s: %v", row.about, typed, err)
				return
			}
			l.satisfied(t, &proof)
			if !slices.Equal(proof.Groups, groups) {
				t.Errorf("%s, %s: groups %q, want %q", row.about, typed, proof.Groups, groups)
			}
		}
		for _, n := range names {
			right(n.typed, n.name, freeradius.Password("alice"), "vpn-users", "Staff")
			_, err := dial(n.typed, n.name, "wrong").verify(d)
			wantRejected(t, err, directory.WrongPassword, directory.StateUnknown)
		}
		right("jürgen", bareName("jürgen"), freeradius.Password("jürgen"), "vpn-users")
		right("bob+123456", bareName("bob"), freeradius.Password("bob"), "staff")
		right("carol", bareName("carol"), freeradius.Password("carol"))
		right("hashed", bareName("hashed"), freeradius.Password("hashed"))
		right("hashed+123456", bareName("hashed"), freeradius.Password("hashed"))
		_, err := dial("nobody", bareName("nobody"), "x").verify(d)
		wantRejected(t, err, directory.WrongPassword, directory.StateUnknown)
	}
}

func TestFreeRADIUSStates(t *testing.T) {
	s := freeradius.Start(t, freeradius.Options{})
	d := open(t, nil, udp(s, 0))
	for _, row := range []struct {
		name, password string
		withCode       bool
		reason         directory.Reason
		state          directory.State
		detail         string
	}{
		{"expired", "", false, directory.AccountState, directory.PasswordExpired, `E=648 from upstream: "Password expired"`},
		{"expired", "", true, directory.AccountState, directory.PasswordExpired, "E=648 from upstream"},
		{"expired", "wrong", false, directory.WrongPassword, directory.StateUnknown, `E=691 from upstream: "Authentication rejected"`},
		{"locked", "", false, directory.AccountState, directory.Locked, `E=647 from upstream: "Account locked out"`},
		{"locked", "", true, directory.AccountState, directory.Disabled, "E=647 from upstream"}, // it has no words for MS-CHAPv1
		{"disabled", "", false, directory.WrongPassword, directory.StateUnknown, `E=691 from upstream: "Account disabled"`},
		{"disabled", "wrong", false, directory.WrongPassword, directory.StateUnknown, `E=691 from upstream: "Account disabled"`},
		{"disabled", "", true, directory.WrongPassword, directory.StateUnknown, "E=691 from upstream"},
		{"hours", "", false, directory.AccountState, directory.OutsideHours, `E=646 from upstream: "Logon hours"`},
		{"nodialin", "", true, directory.AccountState, directory.NoDialin, `E=649 from upstream: "No dial-in"`},
		{"challenged", "", false, directory.AccountState, directory.Restricted, "Access-Challenge from upstream: it wants more than a password"},
		{"alice", "wrong", false, directory.WrongPassword, directory.StateUnknown, `E=691 from upstream: "Authentication rejected"`},
		{"alice", "wrong", true, directory.WrongPassword, directory.StateUnknown, "E=691 from upstream"},
		{"emoji", "", false, directory.WrongPassword, directory.StateUnknown, "Access-Reject from upstream"}, // see the package comment
		{"nobody", "x", false, directory.WrongPassword, directory.StateUnknown, `E=691 from upstream: "Authentication rejected"`},
	} {
		password, typed := row.password, row.name
		if password == "" {
			password = freeradius.Password(row.name)
		}
		if row.withCode {
			typed += "+123456"
		}
		_, err := dial(typed, bareName(row.name), password).verify(d)
		if r := wantRejected(t, err, row.reason, row.state); r.Detail != row.detail {
			t.Errorf("%s: detail %q, want %q", typed, r.Detail, row.detail)
		}
	}
}

func TestFreeRADIUSPassword(t *testing.T) {
	s := freeradius.Start(t, freeradius.Options{TLS: true})
	for _, server := range []radius.Server{udp(s, 0), radsec(s)} {
		d := open(t, func(c *Config) { c.Groups = GroupsFilterID }, server)
		verify := func(n directory.Name, password string) (directory.Proof, error) {
			a, err := d.Find(context.Background(), n)
			if err != nil {
				t.Fatal(err)
			}
			return d.VerifyPassword(context.Background(), n, a, []byte(password))
		}
		for _, n := range names {
			proof, err := verify(n.name, freeradius.Password("alice"))
			if err != nil || !slices.Equal(proof.Groups, []string{"vpn-users", "Enterasys:version=1:policy=x"}) {
				t.Errorf("%v: %+v %v", n.name, proof, err)
			}
			_, err = verify(n.name, "wrong")
			wantRejected(t, err, directory.WrongPassword, directory.StateUnknown)
		}
		for _, n := range []string{"jürgen", "emoji"} {
			if _, err := verify(bareName(n), freeradius.Password(n)); err != nil {
				t.Errorf("%s: %v", n, err)
			}
		}
		_, err := verify(bareName("alice"), "")
		wantRejected(t, err, directory.WrongPassword, directory.StateUnknown)
		_, err = verify(bareName("challenged"), freeradius.Password("challenged"))
		wantRejected(t, err, directory.AccountState, directory.Restricted)
	}
}

// Without use_mppe there is nothing to make a tunnel of; without Message-Authenticator
// nothing to believe.
func TestFreeRADIUSUnfit(t *testing.T) {
	noKeys := open(t, nil, udp(freeradius.Start(t, freeradius.Options{NoMPPE: true}), 0))
	_, err := dial("alice", bareName("alice"), freeradius.Password("alice")).verify(noKeys)
	wantUnavailable(t, err, errNoKeys)
	_, err = dial("alice+123456", bareName("alice"), freeradius.Password("alice")).verify(noKeys)
	wantUnavailable(t, err, errNoV1Keys)

	if v := freeradius.Version(t); v != "FreeRADIUS Version 3.2.1" {
		t.Logf("%s signs whatever its configuration says", v)
		return
	}
	metrics := prometheus.NewRegistry()
	mute := openWith(t, radius.ClientConfig{
		Servers: []radius.Server{udp(freeradius.Start(t, freeradius.Options{Unsigned: true}), 0)},
		Timeout: time.Second, Metrics: metrics,
	}, nil)
	_, err = dial("alice", bareName("alice"), freeradius.Password("alice")).verify(mute)
	wantUnavailable(t, err, radius.ErrNoAnswer)
	if n := dropped(t, metrics, "unsigned"); n == 0 {
		t.Error("nothing says why")
	}
}

// dropped is how many replies were not believed for the reason.
func dropped(t *testing.T, r *prometheus.Registry, reason string) (n float64) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "postern_radius_client_dropped_replies_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "reason" && l.GetValue() == reason {
					n += m.GetCounter().GetValue()
				}
			}
		}
	}
	return n
}

// TestFreeRADIUSFailOver freezes, kills and starts servers under logins.
func TestFreeRADIUSFailOver(t *testing.T) {
	first, second := freeradius.Start(t, freeradius.Options{}), freeradius.Start(t, freeradius.Options{})
	const timeout = 300 * time.Millisecond
	d := openWith(t, radius.ClientConfig{
		Servers: []radius.Server{udp(first, 0), udp(second, 1)}, Timeout: timeout, Retries: 1, DeadTime: time.Second,
	}, nil)
	login := func() (time.Duration, error) {
		l := dial("alice+123456", bareName("alice"), freeradius.Password("alice"))
		began := time.Now()
		proof, err := l.verify(d)
		if err == nil {
			l.satisfied(t, &proof)
		}
		return time.Since(began), err
	}
	good := func(about string, atMost time.Duration) {
		t.Helper()
		took, err := login()
		if err != nil {
			t.Errorf("%s: %v", about, err)
		}
		if took > atMost {
			t.Errorf("%s: after %v", about, took)
		}
		t.Logf("%s: after %v", about, took.Round(time.Millisecond))
	}
	const soon = 5 * time.Second // a busy machine; the client's own time-outs sum up to 1 s for each server
	good("both live", soon)
	first.Freeze()
	good("first frozen", soon)
	good("first frozen and known to be", soon)
	second.Freeze()
	_, err := login()
	wantUnavailable(t, err, radius.ErrNoAnswer)
	second.Resume()
	good("second live again", soon)
	second.Kill()
	_, err = login()
	wantUnavailable(t, err, radius.ErrNoAnswer)
	first.Resume()
	good("first live again", soon)
	first.Kill()
	second.Restart(t)
	good("second started anew", soon)
}

// TestFreeRADIUSConcurrent has sixteen peers log in at once, each again and again, in
// every form, right and wrong.
func TestFreeRADIUSConcurrent(t *testing.T) {
	s := freeradius.Start(t, freeradius.Options{TLS: true, KnowsCodes: true})
	for _, row := range []struct {
		about  string
		form   AsMSCHAPv1
		server radius.Server
	}{{"udp", AsMSCHAPv1WithCode, udp(s, 0)}, {"radsec", AsMSCHAPv1Never, radsec(s)}} {
		d := open(t, func(c *Config) { c.AsMSCHAPv1, c.GroupPrefix = row.form, "group=" }, row.server)
		began := time.Now()
		const peers, times = 16, 18
		var all sync.WaitGroup
		for p := range peers {
			all.Go(func() {
				for i := range times {
					n := names[(p+i)%len(names)]
					if (p+i)%4 == 0 {
						_, err := dial(n.typed, n.name, fmt.Sprint("wrong", p, i)).verify(d)
						wantRejected(t, err, directory.WrongPassword, directory.StateUnknown)
						continue
					}
					l := dial(n.typed, n.name, freeradius.Password("alice"))
					proof, err := l.verify(d)
					if err != nil {
						t.Errorf("%s: %v", n.typed, err)
						continue
					}
					l.satisfied(t, &proof)
				}
			})
		}
		all.Wait()
		took := time.Since(began)
		t.Logf("%s: %d logins in %v, %.0f/s, with FreeRADIUS printing all of it", row.about, peers*times, took.Round(time.Millisecond), peers*times/took.Seconds())
	}
}
