package computers

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/authz/directory/ad"
	"postern/authz/posture"
	"postern/authz/session"
	"postern/internal/store"
	"postern/internal/store/storetest"
	"postern/policy"
)

// domain is a directory with computers.
type domain struct {
	mu    sync.Mutex
	all   map[string]ad.Computer
	err   error
	looks int
}

func (d *domain) Computers(context.Context) ([]ad.Computer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.looks++
	return slices.Collect(maps.Values(d.all)), d.err
}

func (d *domain) set(c ad.Computer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all[c.Name] = c
}

// reviewed is whose sessions were looked at again.
type reviewed struct {
	mu    sync.Mutex
	users []string
	err   error
}

func (r *reviewed) review(_ context.Context, _ string, users ...string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.users = append(r.users, users...)
	}
	return r.err
}

func (r *reviewed) since() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.Sort(r.users)
	all := strings.Join(r.users, " ")
	r.users = nil
	return all
}

func newPoller(t *testing.T, d *domain, st store.Store, r *reviewed) *Poller {
	t.Helper()
	p, err := New(Config{Directory: d, Owner: func(own string) string { return own + "@corp" }, Store: st, Review: r.review, Interval: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func look(t *testing.T, p *Poller) {
	t.Helper()
	if err := p.look(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// What is said of a computer is what stands in the store, as long as it is there; only
// what has changed has sessions looked at again.
func TestLook(t *testing.T) {
	b := storetest.Embedded(t)
	logon := time.Date(2026, 2, 1, 8, 0, 0, 0, time.UTC) // before the store's time, which is a test's own
	laptop := ad.Computer{
		Name: "LT-0231", OS: "Windows 11 Pro", OSVersion: "10.0 (22631)", LastLogon: logon, Groups: []string{"Laptops", "Managed"}, Owner: "alice",
	}
	d, r := &domain{all: map[string]ad.Computer{}}, new(reviewed)
	d.set(laptop)
	d.set(ad.Computer{Name: "PC 7", Owner: "carol"}) // no name of a device
	d.set(ad.Computer{Name: "PC-8", OS: "macOS", OSVersion: "14.2.1", Owner: "bob"})
	p := newPoller(t, d, b, r)
	k := posture.New(b, posture.Config{})
	get := func(device string) *posture.Record {
		t.Helper()
		recs, found, err := k.Get(t.Context(), device)
		if err != nil {
			t.Fatal(err)
		}
		if !found {
			return nil
		}
		return &recs[0]
	}
	look(t, p)
	got := get("lt-0231")
	if got == nil || got.Source != "ad" || got.Confidence != policy.Directory || got.Name != "LT-0231" || !slices.Equal(got.Owners, []string{"alice@corp"}) ||
		got.Facts.OS != "windows" || got.Facts.OSVersion != "10.0.22631" || got.Facts.Enabled != policy.Yes || got.Facts.Managed != policy.Unknown ||
		!got.Facts.LastLogon.Equal(logon) || !slices.Equal(got.Facts.Groups, laptop.Groups) || got.At.IsZero() {
		t.Errorf("%+v", got)
	}
	if other := get("pc-8"); other == nil || other.Facts.OS != "macos" || other.Facts.OSVersion != "14.2.1" {
		t.Errorf("%+v", other)
	}
	if users := r.since(); users != "alice@corp bob@corp" {
		t.Errorf("looked at: %q", users)
	}
	b.Sleep(time.Second)
	look(t, p)
	if again := get("lt-0231"); again == nil || !again.At.After(got.At) {
		t.Errorf("said again: %+v", again)
	}
	if users := r.since(); users != "" {
		t.Errorf("nothing has changed, looked at: %q", users)
	}
	laptop.Disabled = true
	d.set(laptop)
	look(t, p)
	if now := get("lt-0231"); now == nil || now.Facts.Enabled != policy.No {
		t.Errorf("disabled: %+v", now)
	}
	if users := r.since(); users != "alice@corp" {
		t.Errorf("disabled, looked at: %q", users)
	}

	d.err = errors.New("away")
	if err := p.look(t.Context()); err == nil || get("pc-8") == nil {
		t.Errorf("the directory is away: %v, %+v", err, get("pc-8"))
	}
	d.err = nil
	if _, err := k.Put(t.Context(), posture.Record{Device: "pc-8", Source: "intune", Confidence: policy.Inventory, At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	delete(d.all, "PC-8")
	look(t, p)
	if left := get("pc-8"); left == nil || left.Source != "intune" {
		t.Errorf("of one that is deleted: %+v", left)
	}
	if users := r.since(); users != "bob@corp" {
		t.Errorf("deleted, looked at: %q", users)
	}
}

// What was written down while nobody could be asked to look at sessions is made good at the
// next look, though nothing has changed since.
func TestOwed(t *testing.T) {
	b := storetest.Embedded(t)
	d, r := &domain{all: map[string]ad.Computer{"a": {Name: "a"}}}, &reviewed{err: errors.New("away")}
	p, err := New(Config{
		Directory: d, Owner: strings.ToLower, Store: b, Review: r.review, Interval: time.Minute,
		Using: func(_ context.Context, device string) ([]string, error) { return []string{"user of " + device}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.look(t.Context()); !errors.Is(err, r.err) {
		t.Fatal(err)
	}
	if err := p.look(t.Context()); !errors.Is(err, r.err) {
		t.Fatal("it has forgotten what it owes:", err)
	}
	r.err = nil
	look(t, p)
	if len(r.users) != 1 || r.users[0] != session.Everybody {
		t.Errorf("looked at: %q", r.users)
	}
	r.since()
	look(t, p)
	if users := r.since(); users != "" {
		t.Errorf("nothing is owed, looked at: %q", users)
	}
	d.set(ad.Computer{Name: "a", Disabled: true})
	look(t, p)
	if users := r.since(); users != "user of a" {
		t.Errorf("of a computer that is nobody's, looked at: %q", users)
	}
}

func TestVersion(t *testing.T) {
	for said, want := range map[string]string{
		"10.0 (19045)": "10.0.19045", "10.0": "10.0", "6.1 (7601)": "6.1.7601", "14.2.1": "14.2.1", "": "", "10.0 (x)": "10.0", "(5)": "5", "10.0 (": "10.0", "22.04 LTS": "22.04",
	} {
		if got := version(said); got != want {
			t.Errorf("%q: %q, want %q", said, got, want)
		}
	}
}

// Of two services one looks, and the other when the first has ended.
func TestTurns(t *testing.T) {
	b := storetest.Embedded(t)
	d, r := &domain{all: map[string]ad.Computer{}}, new(reviewed)
	first, second := newPoller(t, d, b, r), newPoller(t, d, b, r)
	for _, want := range []struct {
		p    *Poller
		mine bool
	}{{first, true}, {second, false}, {first, true}} {
		if mine, err := want.p.takeTurn(t.Context()); err != nil || mine != want.mine {
			t.Errorf("%v, want %v, %v", mine, want.mine, err)
		}
	}
	first.passTurn()
	b.Sleep(time.Second)
	if mine, err := second.takeTurn(t.Context()); err != nil || !mine {
		t.Errorf("after the other has ended: %v, %v", mine, err)
	}
}

// A whole run: it looks soon after its start, and ends when it should.
func TestRun(t *testing.T) {
	d := &domain{all: map[string]ad.Computer{"a": {Name: "a", Owner: "alice"}}}
	b := storetest.Embedded(t)
	p, err := New(Config{Directory: d, Owner: strings.ToLower, Store: b, Interval: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { // waited for below
		defer close(done)
		p.Run(ctx)
	}()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		d.mu.Lock()
		looks := d.looks
		d.mu.Unlock()
		if looks > 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it does not look")
		}
	}
	cancel()
	<-done
}
