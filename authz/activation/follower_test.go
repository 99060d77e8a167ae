package activation

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"postern/internal/store"
	"postern/internal/store/redistest"
	"postern/internal/store/storetest"
	"postern/policy"
)

// service is one that follows.
type service struct {
	*Follower
	board *Board
	reg   *prometheus.Registry

	mu        sync.Mutex
	gate      Gate
	now       string   // in force
	had       []string // in force, one after the other
	candidate string
	events    []Event
	refuse    error // of Force
	fallback  func() (*policy.Policy, string, error)
}

func newService(t *testing.T, st store.Store, name string) *service {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	s := &service{reg: prometheus.NewRegistry()}
	s.fallback = func() (*policy.Policy, string, error) { return make1(t, "# fallback\n").Policy, "policy.yaml", nil }
	var err error
	s.board, err = NewBoard(name, func(e *Event) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.events = append(s.events, *e)
	}, log, s.reg)
	if err != nil {
		t.Fatal(err)
	}
	s.Follower = NewFollower(FollowerConfig{
		Store: st, Name: name, Board: s.board, Log: log,
		Gate: func() Gate {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.gate
		},
		Force: func(p *policy.Policy) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.refuse != nil {
				return s.refuse
			}
			s.now = p.Version()
			s.had = append(s.had, s.now)
			return nil
		},
		Shadow: func(p *policy.Policy) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.candidate = ""; p != nil {
				s.candidate = p.Version()
			}
		},
		Fallback: func() (*policy.Policy, string, error) { return s.fallback() },
	})
	return s
}

// run runs it until the end of the test.
func (s *service) run(t *testing.T) *service {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	if err := s.First(ctx); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // waited for below
		defer close(done)
		s.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return s
}

func (s *service) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *service) inForce() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// said are its events as "action error".
func (s *service) said() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, e := range s.events {
		all = append(all, strings.TrimSpace(e.Action.String()+" "+strings.Split(e.Error, "\n")[0]))
	}
	return all
}

// gauge reads a metric by the value of its label.
func (s *service) gauge(t *testing.T, name, label string) float64 {
	t.Helper()
	families, err := s.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetValue() == label }) {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// within waits for what must become true soon, and says how long it took.
func within(t *testing.T, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > limit {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
	return time.Since(began)
}

// generous is for what takes a second at most on a machine that is not busy.
const generous = 10 * time.Second

func all(services []*service, version string) func() bool {
	return func() bool {
		return !slices.ContainsFunc(services, func(s *service) bool { return s.inForce() != version })
	}
}

func TestServicesFollow(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		d, ctx := NewDesk(b), t.Context()
		services := []*service{newService(t, b, "one").run(t), newService(t, b, "two").run(t)}
		fallback := make1(t, "# fallback\n").Version()
		if !all(services, fallback)() {
			t.Fatal("the fallback is not in force")
		}
		first, second := number(t, 1), number(t, 2)
		first.activate(t, d)
		t.Logf("activated in %v", within(t, generous, "first", all(services, first.Version())))
		s := second.activate(t, d)
		t.Logf("activated in %v", within(t, generous, "second", all(services, second.Version())))
		s, err := d.Rollback(ctx, s, "", alice)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("rolled back in %v", within(t, generous, "rollback", all(services, first.Version())))
		if s, err = d.Propose(ctx, s, second.Bundle, second.Policy, alice); err != nil {
			t.Fatal(err)
		}
		for _, one := range services {
			within(t, generous, "candidate", func() bool { one.mu.Lock(); defer one.mu.Unlock(); return one.candidate == second.Version() })
		}
		if s, err = d.Withdraw(ctx, s, alice); err != nil {
			t.Fatal(err)
		}
		for _, one := range services {
			within(t, generous, "no candidate", func() bool { one.mu.Lock(); defer one.mu.Unlock(); return one.candidate == "" })
			want := []string{"in force", "activate", "activate", "rollback", "shadow", "withdraw"}
			within(t, generous, "what it says", func() bool { return slices.Equal(one.said(), want) })
			if want := []string{fallback, first.Version(), second.Version(), first.Version()}; !slices.Equal(one.had, want) {
				t.Errorf("%q", one.had)
			}
			if e := one.events[3]; e.Who != alice.Who || e.Before != second.Version() || e.After != first.Version() || e.Service != one.cfg.Name {
				t.Errorf("%+v", e)
			}
			if one.gauge(t, "postern_policy_info", first.Version()) != 1 || one.gauge(t, "postern_policy_info", second.Version()) != 0 {
				t.Error("the metric says something else")
			}
		}
		// Each says in the store what it has.
		within(t, generous, "services say so", func() bool {
			list, err := d.Services(ctx)
			return err == nil && len(list) == 2 && list[0].Name == "one" && list[1].Name == "two" &&
				list[0].Version == first.Version() && list[1].Serial == s.Serial && list[1].Error == ""
		})
		// One that comes later begins with what is activated.
		late := newService(t, b, "late").run(t)
		if late.inForce() != first.Version() || !slices.Equal(late.said(), []string{"in force"}) {
			t.Errorf("%q %q", late.inForce(), late.said())
		}
	})
}

// A message that was lost costs half a second.
func TestServicesLookForThemselves(t *testing.T) {
	b := storetest.Embedded(t)
	s := newService(t, deaf{b}, "one").run(t)
	m := number(t, 1)
	m.activate(t, NewDesk(b))
	t.Logf("switched in %v", within(t, generous, "poll", func() bool { return s.inForce() == m.Version() }))
}

// deaf hears nothing.
type deaf struct{ store.Store }

func (deaf) Watch(context.Context, string) (<-chan string, error) {
	return nil, errors.New("not today")
}

// What a service cannot put in force leaves what is, there alone, with an alarm; and is
// over when something good is activated.
func TestServiceRefuses(t *testing.T) {
	key, public := sshKey(t, "ed25519")
	signers := signersOf(t, "alice "+public)
	b := storetest.Embedded(t)
	d := NewDesk(b)
	fine, strict := newService(t, b, "fine"), newService(t, b, "strict")
	strict.gate.Signers = signers
	signed := number(t, 1)
	signed.Signature = sshSign(t, key, namespace, signed.Manifest())
	signed.activate(t, d)
	fine.run(t)
	strict.run(t)
	if !all([]*service{fine, strict}, signed.Version())() {
		t.Fatal("not in force")
	}
	unsigned := number(t, 2)
	state := unsigned.activate(t, d)
	within(t, generous, "fine switches", func() bool { return fine.inForce() == unsigned.Version() })
	within(t, generous, "strict refuses", func() bool { return strict.gauge(t, "postern_policy_alarm", "policy refused") == 1 })
	if strict.inForce() != signed.Version() || strict.gauge(t, "postern_policy_refused_total", "signature") != 1 {
		t.Errorf("in force %s", strict.inForce())
	}
	within(t, generous, "it says so in the store", func() bool {
		list, err := d.Services(t.Context())
		return err == nil && len(list) == 2 && list[1].Version == signed.Version() && list[1].Serial == state.Serial && strings.Contains(list[1].Error, "not signed")
	})
	events, err := d.History(t.Context(), 10)
	if e := events[len(events)-1]; err != nil || e.Action != Refused || e.Service != "strict" || e.After != unsigned.Version() || !strings.Contains(e.Error, "not signed") {
		t.Errorf("%+v, %v", e, err)
	}
	// It is not tried again by itself, and not told again.
	time.Sleep(3 * pollEvery)
	if got := strict.said(); !slices.Equal(got, []string{"in force", "refused signature of policy: it is not signed"}) {
		t.Errorf("%q", got)
	}
	if _, err := d.Rollback(t.Context(), state, "", alice); err != nil {
		t.Fatal(err)
	}
	within(t, generous, "fine goes back", func() bool { return fine.inForce() == signed.Version() })
	within(t, generous, "the alarm is over", func() bool { return strict.gauge(t, "postern_policy_alarm", "policy refused") == 0 })
	if len(strict.had) != 1 {
		t.Errorf("%q", strict.had)
	}
}

// What depends on the host is looked at again when it has changed.
func TestRefusedThenAccepted(t *testing.T) {
	b := storetest.Embedded(t)
	s := newService(t, b, "one")
	s.refuse = errors.New("too many pools")
	s.fallback = func() (*policy.Policy, string, error) { return nil, "", errors.New("never asked") }
	m := number(t, 1)
	m.activate(t, NewDesk(b))
	s.run(t)
	if s.inForce() != "" || s.gauge(t, "postern_policy_alarm", "no policy in force") != 1 || s.gauge(t, "postern_policy_refused_total", "here") != 1 {
		t.Errorf("in force %q", s.inForce())
	}
	s.set(func() { s.refuse = nil })
	s.Again()
	within(t, generous, "again", func() bool { return s.inForce() == m.Version() })
	within(t, generous, "alarms", func() bool {
		return s.gauge(t, "postern_policy_alarm", "no policy in force")+s.gauge(t, "postern_policy_alarm", "policy refused") == 0
	})
}

// Somebody who writes to the store puts nothing in force that is not what was activated.
func TestForgedBundle(t *testing.T) {
	b := storetest.Embedded(t)
	d := NewDesk(b)
	one, two := number(t, 1), number(t, 2)
	one.activate(t, d)
	s := newService(t, b, "one").run(t)
	two.activate(t, d)
	within(t, generous, "two", func() bool { return s.inForce() == two.Version() })
	for name, value := range map[string]string{"another": two.encode(), "nonsense": "{", "gone": ""} {
		seq := store.Seq{&store.Put{Key: store.PolicyVersion(one.Version()), Value: value}}
		if value == "" {
			seq = store.Seq{&store.Delete{Key: store.PolicyVersion(one.Version())}}
		}
		if err := b.Do(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
		before := s.gauge(t, "postern_policy_refused_total", "source")
		state, err := d.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Rollback(t.Context(), state, one.Version(), alice); err != nil {
			t.Fatal(err)
		}
		within(t, generous, name, func() bool { return s.gauge(t, "postern_policy_refused_total", "source") == before+1 })
		if s.inForce() != two.Version() {
			t.Errorf("%s: %s is in force", name, s.inForce())
		}
		two.activate(t, d)
		within(t, generous, name, func() bool { return s.gauge(t, "postern_policy_alarm", "policy refused") == 0 })
	}
}

// A store that is away, or has forgotten, takes nothing out of force; a service that starts
// meanwhile has no policy until it knows which.
func TestStoreLostAndBack(t *testing.T) {
	redis := redistest.Start(t)
	st := func() store.Store {
		c := redis.Config()
		c.Timeout = 200 * time.Millisecond
		s, err := store.OpenRedis(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	d := NewDesk(st())
	m := number(t, 1)
	m.activate(t, d)
	old := newService(t, st(), "old").run(t)
	redis.Kill()
	within(t, generous, "alarm", func() bool { return old.gauge(t, "postern_policy_alarm", "policy store away") == 1 })
	young := newService(t, st(), "young")
	young.fallback = func() (*policy.Policy, string, error) { t.Error("the fallback was asked for"); return nil, "", nil }
	young.run(t)
	if young.inForce() != "" || young.gauge(t, "postern_policy_alarm", "no policy in force") != 1 {
		t.Errorf("%q is in force", young.inForce())
	}
	if old.inForce() != m.Version() {
		t.Errorf("%q is in force", old.inForce())
	}
	redis.Restart()
	both := []*service{old, young}
	t.Logf("back after %v", within(t, 20*time.Second, "back", all(both, m.Version())))
	within(t, generous, "no alarm", func() bool { return old.gauge(t, "postern_policy_alarm", "policy store away") == 0 })
	next := number(t, 2)
	next.activate(t, d)
	within(t, generous, "next", all(both, next.Version()))
	// It forgets all.
	c := redis.Client()
	defer c.Close()
	if err := c.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * pollEvery)
	if !all(both, next.Version())() {
		t.Error("something else is in force")
	}
	m.activate(t, d)
	within(t, generous, "after it was lost", all(both, m.Version()))
}

func TestFallbackThatFails(t *testing.T) {
	b := storetest.Embedded(t)
	s := newService(t, b, "one")
	s.fallback = func() (*policy.Policy, string, error) { return nil, "policy.yaml", errors.New("no such file") }
	if err := s.First(t.Context()); err == nil || s.inForce() != "" {
		t.Errorf("%v", err)
	}
}
