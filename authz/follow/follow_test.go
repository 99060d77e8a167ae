package follow

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/authz"
	"postern/authz/directory"
	"postern/authz/lockout"
	"postern/authz/session"
	"postern/internal/store"
)

const interval = time.Minute

// realmOf is a directory that can be followed. Its mark is a count of changes.
type realmOf struct {
	suffix string

	mu       sync.Mutex
	away     bool
	accounts map[string]directory.Account
	changes  []string // who was changed, in order
	asked    []string // "since: names"
	told     func()   // called when it has told of a change
}

func (r *realmOf) set(a directory.Account) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.accounts[a.Name] = a
	r.changes = append(r.changes, a.Name)
}

func (r *realmOf) state(name string, s directory.State) {
	r.set(directory.Account{Name: name, State: s})
}

func (r *realmOf) fail(away bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = away
}

// questions are what was asked since the last call.
func (r *realmOf) questions() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.asked
	r.asked = nil
	return q
}

func (r *realmOf) Changed(_ context.Context, names []string, since directory.Mark) ([]directory.Account, directory.Mark, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, fmt.Sprintf("%s: %s", since, strings.Join(names, " ")))
	if r.away {
		return nil, "", directory.Unavailable{Doing: "test", Err: errors.New("away")}
	}
	from := 0
	if since != "" {
		if _, err := fmt.Sscanf(string(since), "mark %d", &from); err != nil {
			return nil, "", err
		}
	}
	var out []directory.Account
	for _, n := range names {
		if since != "" && !slices.Contains(r.changes[from:], n) {
			continue
		}
		a, ok := r.accounts[n]
		if !ok {
			a = directory.Account{Name: n, State: directory.Gone}
		}
		out = append(out, a)
	}
	if len(out) > 0 && r.told != nil {
		r.told()
	}
	return out, directory.Mark(fmt.Sprintf("mark %d", len(r.changes))), nil
}

func (r *realmOf) followed() directory.Followed {
	return directory.Followed{Follower: r, Realm: r.suffix, Owns: func(name string) bool { return strings.HasSuffix(name, "@"+r.suffix) }}
}

// judge ends sessions of accounts that are not Active, and of everybody in ban.
type judge struct {
	ban  atomic.Value
	look atomic.Value // func(*authz.Case): what else is found
}

func (j *judge) finds(look func(*authz.Case)) { j.look.Store(look) }

func (j *judge) Reevaluate(_ context.Context, cases ...*authz.Case) error {
	for _, c := range cases {
		c.Outcome, c.Next = authz.OutcomeSame, c.Session.Record
		if look, ok := j.look.Load().(func(*authz.Case)); ok {
			look(c)
		}
		end := func(why authz.Reason, detail string) { c.Outcome, c.Reason, c.Detail = authz.OutcomeEnded, why, detail }
		switch {
		case c.Account.State == directory.Gone:
			end(authz.NoSuchUser, "gone")
		case c.Account.State == directory.Disabled:
			end(authz.AccountDisabled, "disabled")
		case j.ban.Load() == c.Session.User:
			end(authz.PolicyDenied, "")
			c.Rule, c.Policy = "ban", "v2"
		}
	}
	return nil
}

func (j *judge) Parting(r authz.Reason) string { return "bye: " + r.String() }

// site is the sessions of an installation, their NAS, and the audit log.
type site struct {
	t        *testing.T
	store    *flaky
	sessions *session.Registry
	realms   []*realmOf
	judge    *judge

	mu     sync.Mutex
	answer func(id string) authz.NASAnswer // nil: it is done
	asked  []string                        // of the NAS
	slow   time.Duration                   // what it takes
	late   time.Duration                   // from the Stop to the NAS's answer
	busy   int
	most   int
	audit  []authz.Ended
	stops  []func()
	texts  map[string]string

	far      bool // the services made from here on reach no NAS
	changed  []authz.Changed
	reviewed []authz.Reviewed
	told     []authz.Change // to the NAS
}

// flaky is a store that can be away.
type flaky struct {
	store.Store
	away  atomic.Bool
	trips atomic.Int64
}

func (s *flaky) Do(ctx context.Context, seqs ...store.Seq) error {
	s.trips.Add(1)
	if s.away.Load() {
		return fmt.Errorf("%w: test", store.ErrUnavailable)
	}
	return s.Store.Do(ctx, seqs...)
}

func newSite(t *testing.T) *site {
	t.Helper()
	st, err := store.OpenEmbedded(store.EmbeddedConfig{Path: filepath.Join(t.TempDir(), "store.db")})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, store: &flaky{Store: st}, judge: new(judge), texts: make(map[string]string)}
	// Sessions do not fall silent by themselves here.
	s.sessions = session.New(s.store, session.Config{Pending: 24 * time.Hour, Interim: 24 * time.Hour})
	for _, suffix := range []string{"corp", "lab"} {
		s.realms = append(s.realms, &realmOf{suffix: suffix, accounts: make(map[string]directory.Account)})
	}
	return s
}

// end stops all services, and closes the store: before the bubble ends.
func (s *site) end() {
	for _, stop := range s.stops {
		stop()
	}
	if err := s.store.Close(); err != nil {
		s.t.Error(err)
	}
}

// service runs a follower, and returns how to stop it.
func (s *site) service(every time.Duration, reg prometheus.Registerer) (*Follower, func()) {
	s.t.Helper()
	c := Config{Sessions: s.sessions, Store: s.store, Judge: s.judge, NAS: s, Audit: s, Interval: every, Metrics: reg}
	if s.far {
		c.NAS = far{}
	}
	for _, r := range s.realms {
		c.Realms = append(c.Realms, r.followed())
	}
	f, err := New(c)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // stop waits
		defer close(done)
		f.Run(ctx)
	}()
	stop := sync.OnceFunc(func() { cancel(); <-done })
	s.stops = append(s.stops, stop)
	return f, stop
}

// open makes a session that is up, of an account that is Active unless the test has
// said otherwise.
func (s *site) open(acct, user string) {
	s.t.Helper()
	for _, r := range s.realms {
		r.mu.Lock()
		if _, known := r.accounts[user]; !known && strings.HasSuffix(user, "@"+r.suffix) {
			r.accounts[user] = directory.Account{Name: user, State: directory.Active}
		}
		r.mu.Unlock()
	}
	rec := session.Record{
		ID: session.ID("gw1", acct), Node: "gw1", Acct: acct, Via: "gateway", User: user, Rule: "staff", Decision: "d-" + acct, Source: netip.MustParseAddr("192.0.2.5"),
	}
	s.start(rec)
}

func (s *site) start(rec session.Record) {
	s.t.Helper()
	o := s.sessions.Open(time.Now(), rec, 0)
	if err := s.store.Do(context.Background(), store.Join(o.UserSeqs(), o.NodeSeqs())...); err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.sessions.Start(context.Background(), session.Report{Node: rec.Node, Acct: rec.Acct}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) live() []string {
	s.t.Helper()
	all, err := s.sessions.All(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	var accts []string
	for _, rec := range all {
		accts = append(accts, rec.Acct)
	}
	slices.Sort(accts)
	return accts
}

func (s *site) wantLive(about string, want ...string) {
	s.t.Helper()
	if got := s.live(); !slices.Equal(got, want) {
		s.t.Errorf("%s: live %q, want %q", about, got, want)
	}
}

func (s *site) answers(f func(id string) authz.NASAnswer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

// Disconnect implements NAS: it takes a moment, and where it is done, accounting says
// so.
func (s *site) Disconnect(ctx context.Context, rec session.Record, text string) (authz.NASAnswer, error) {
	s.mu.Lock()
	s.asked = append(s.asked, rec.Acct)
	s.texts[rec.Acct] = text
	s.busy++
	s.most = max(s.most, s.busy)
	answer := authz.NASDone
	if s.answer != nil {
		answer = s.answer(rec.Acct)
	}
	slow, late := s.slow, s.late
	s.mu.Unlock()
	select {
	case <-time.After(max(slow, 10*time.Millisecond)):
	case <-ctx.Done():
	}
	s.mu.Lock()
	s.busy--
	s.mu.Unlock()
	if answer != authz.NASDone {
		return answer, errors.New(answer.String())
	}
	_, err := s.sessions.Stop(ctx, session.Report{Node: rec.Node, Acct: rec.Acct, Cause: 6})
	time.Sleep(late)
	return answer, err
}

func (s *site) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

// Decision and SessionEnded implement authz.Audit.
func (s *site) Decision(*authz.Record) {}

func (s *site) StepUp(*authz.StepUpRecord) {}

func (s *site) Event(*lockout.Event) {}

func (s *site) SessionChanged(c *authz.Changed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed = append(s.changed, *c)
}

func (s *site) SessionTold(*session.Told) {}

func (s *site) SessionReviewed(r *authz.Reviewed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reviewed = append(s.reviewed, *r)
}

func (s *site) SessionEnded(e *authz.Ended) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.audit = append(s.audit, *e)
}

// lines are the audit lines since the last call, sorted.
func (s *site) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, e := range s.audit {
		out = append(out, fmt.Sprintf("%s %s: %s (%s)", e.Session.Acct, e.Reason, e.Detail, e.Answer))
	}
	s.audit = nil
	slices.Sort(out)
	return out
}

func (s *site) wantLines(about string, want ...string) {
	s.t.Helper()
	if got := s.lines(); !slices.Equal(got, want) {
		s.t.Errorf("%s: audit %q, want %q", about, got, want)
	}
}

func onVirtualTime(t *testing.T, f func(t *testing.T, s *site)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		defer s.end()
		f(t, s)
	})
}

// An account that is disabled, or deleted, loses its sessions within the interval, in
// whichever realm, and nobody else's; the audit log has one line for each.
func TestFollowsAccounts(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, s *site) {
		for acct, user := range map[string]string{"a1": "alice@corp", "a2": "alice@corp", "b1": "bob@corp", "c1": "alice@lab", "d1": "dora@nowhere"} {
			s.open(acct, user)
		}
		s.start(session.Record{ID: "nas/x1", Node: "nas", Acct: "x1", User: "nobody@corp"}) // of a login elsewhere
		s.service(interval, nil)
		time.Sleep(10 * interval)
		s.wantLive("nothing has changed", "a1", "a2", "b1", "c1", "d1", "x1")
		s.realms[0].state("alice@corp", directory.Disabled)
		time.Sleep(interval + wishesEvery)
		s.wantLive("disabled", "b1", "c1", "d1", "x1")
		s.wantLines("disabled", "a1 account disabled: disabled (done)", "a2 account disabled: disabled (done)")
		delete(s.realms[1].accounts, "alice@lab")
		s.realms[1].mu.Lock()
		s.realms[1].changes = append(s.realms[1].changes, "alice@lab")
		s.realms[1].mu.Unlock()
		time.Sleep(interval + wishesEvery)
		s.wantLive("deleted", "b1", "d1", "x1")
		s.wantLines("deleted", "c1 no such user: gone (done)")
		if s.texts["a1"] != "bye: account disabled" || s.count() != 3 {
			t.Errorf("the NAS was asked %d times: %q", s.count(), s.texts)
		}
	})
}

// What the directory says is asked about since the last look; who is new is asked
// about whatever the mark, for the login may have seen an old account; everybody is
// now and then.
func TestMarks(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, s *site) {
		corp := s.realms[0]
		s.open("a1", "alice@corp")
		s.service(interval, nil)
		time.Sleep(interval)
		if got := corp.questions(); len(got) == 0 || len(got) > 2 || got[0] != ": alice@corp" {
			t.Errorf("first: %q", got)
		}
		corp.state("carol@corp", directory.Active)
		corp.state("bob@corp", directory.Disabled) // before he logs in, from a cache
		time.Sleep(interval)
		if got := corp.questions(); !slices.Contains(got, "mark 0: alice@corp") {
			t.Errorf("then: %q", got)
		}
		s.open("b1", "bob@corp")
		time.Sleep(interval + wishesEvery)
		if got := corp.questions(); !slices.Contains(got, "mark 2: alice@corp") || !slices.Contains(got, ": bob@corp") {
			t.Errorf("with a new one: %q", got)
		}
		s.wantLive("b1 came from a cache", "a1")
		time.Sleep(wholeEvery)
		if got := corp.questions(); !slices.Contains(got, ": alice@corp") || len(got) < 10 {
			t.Errorf("within %v: %q", wholeEvery, got)
		}
		if got := s.realms[1].questions(); len(got) != 0 {
			t.Errorf("a realm without sessions was asked %q", got)
		}
	})
}

// A realm that is away keeps its sessions, and another's are followed meanwhile; what
// changed comes to light when it is back.
func TestRealmAway(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, s *site) {
		s.open("a1", "alice@corp")
		s.open("c1", "carol@lab")
		s.service(interval, nil)
		time.Sleep(2 * interval)
		s.realms[0].fail(true)
		s.realms[0].state("alice@corp", directory.Disabled)
		s.realms[1].state("carol@lab", directory.Disabled)
		time.Sleep(2 * wholeEvery)
		s.wantLive("away", "a1")
		s.wantLines("away", "c1 account disabled: disabled (done)")
		s.realms[0].fail(false)
		time.Sleep(interval + wishesEvery)
		s.wantLive("back")
		s.wantLines("back", "a1 account disabled: disabled (done)")
	})
}

// While the store is away nothing ends and nothing is forgotten.
func TestStoreAway(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, s *site) {
		s.open("a1", "alice@corp")
		s.service(interval, nil)
		time.Sleep(2 * interval)
		s.store.away.Store(true)
		s.realms[0].state("alice@corp", directory.Disabled)
		time.Sleep(5 * interval)
		if s.count() != 0 {
			t.Error("the NAS was asked")
		}
		s.store.away.Store(false)
		time.Sleep(interval + 2*wishesEvery)
		s.wantLive("back")

		// It goes away when the directory has told already, which then tells no more.
		s.open("b1", "bob@corp")
		time.Sleep(2 * interval)
		corp := s.realms[0]
		corp.mu.Lock()
		corp.told = sync.OnceFunc(func() { s.store.away.Store(true) })
		corp.mu.Unlock()
		corp.state("bob@corp", directory.Disabled)
		time.Sleep(2 * interval)
		s.store.away.Store(false)
		s.wantLive("told, and not written down", "b1")
		time.Sleep(interval + 2*wishesEvery)
		s.wantLive("told again")
	})
}

// Of several services one asks the directories, and another takes over when it ends
// or dies. A wish is carried out once, and has one audit line.
func TestSeveralServices(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, s *site) {
		s.open("a1", "alice@corp")
		var stops []func()
		for range 3 {
			_, stop := s.service(interval, nil)
			stops = append(stops, stop)
		}
		time.Sleep(30 * interval)
		if got := len(s.realms[0].questions()); got < 28 || got > 36 {
			t.Errorf("asked %d times in 30 intervals", got)
		}
		for i, stop := range stops[:2] {
			stop()
			s.open(fmt.Sprint("b", i), "bob@corp")
			time.Sleep(interval)
			s.realms[0].state("bob@corp", directory.Disabled)
			time.Sleep(interval + wishesEvery)
			s.wantLive(fmt.Sprint("after the end of ", i), "a1")
			s.realms[0].state("bob@corp", directory.Active)
			time.Sleep(interval)
		}
		s.lines()

		// One dies with the turn in its hand.
		s.store.away.Store(true)
		stops[2]()
		s.store.away.Store(false)
		s.service(interval, nil)
		s.realms[0].state("alice@corp", directory.Disabled)
		time.Sleep(2*interval + interval/2 + wishesEvery)
		s.wantLive("after a death")
		s.wantLines("after a death", "a1 account disabled: disabled (done)")
	})
}

// Several services see the same wish; the audit log has it once.
func TestOneLine(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, s *site) {
		for i := range 40 {
			s.open(fmt.Sprintf("a%02d", i), "alice@corp")
		}
		for range 3 {
			s.service(interval, nil)
		}
		s.slow = 2 * wishesEvery // so that all of them are at it
		s.realms[0].state("alice@corp", directory.Disabled)
		time.Sleep(interval + 3*wishesEvery + 4*s.slow)
		s.wantLive("disabled")
		if got := s.lines(); len(got) != 40 {
			t.Errorf("%d lines: %q", len(got), got)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.most > 3*carriers {
			t.Errorf("%d NAS were asked at once", s.most)
		}
	})
}

// Everything is looked at when a policy is put in force, by the service that has it,
// whosever turn it is; and again, if a directory is away then.
func TestPolicyChanged(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, s *site) {
		s.open("a1", "alice@corp")
		s.open("b1", "bob@corp")
		s.service(interval, nil)
		other, _ := s.service(interval, nil)
		time.Sleep(3 * interval)
		s.judge.ban.Store("bob@corp")
		time.Sleep(3 * interval)
		s.wantLive("nothing has changed in the directory", "a1", "b1")
		other.PolicyChanged()
		time.Sleep(settle + wishesEvery)
		s.wantLive("policy", "a1")
		s.wantLines("policy", "b1 policy denied:  (done)")

		s.realms[0].fail(true)
		s.judge.ban.Store("alice@corp")
		other.PolicyChanged()
		time.Sleep(3 * interval)
		s.wantLive("away", "a1")
		s.realms[0].fail(false)
		time.Sleep(interval + wishesEvery)
		s.wantLive("back")
	})
}

// A NAS that is not reached is asked until it answers, less and less often.
func TestRetries(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, s *site) {
		s.open("a1", "alice@corp")
		s.service(interval, nil)
		s.answers(func(string) authz.NASAnswer { return authz.NASNoAnswer })
		s.realms[0].state("alice@corp", directory.Disabled)
		time.Sleep(10 * time.Minute)
		if n := s.count(); n < 18 || n > 40 {
			t.Errorf("asked %d times in ten minutes", n)
		}
		s.wantLive("silent", "a1")
		s.wantLines("silent")
		s.answers(func(string) authz.NASAnswer { return authz.NASNoWay })
		time.Sleep(2 * time.Minute)
		s.answers(nil)
		time.Sleep(retryMax + wishesEvery)
		s.wantLive("answered")
		s.wantLines("answered", "a1 account disabled: disabled (done)")
		n := s.count()
		time.Sleep(10 * time.Minute)
		if s.count() != n {
			t.Error("asked again")
		}
	})
}

// A session that ends by itself meanwhile needs no line.
func TestEndsByItself(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, s *site) {
		s.open("a1", "alice@corp")
		s.service(interval, nil)
		s.answers(func(string) authz.NASAnswer { return authz.NASNoWay })
		s.realms[0].state("alice@corp", directory.Disabled)
		time.Sleep(2 * interval)
		if _, err := s.sessions.Stop(context.Background(), session.Report{Node: "gw1", Acct: "a1"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(retryMax + 2*wishesEvery)
		n := s.count()
		time.Sleep(10 * time.Minute)
		ids, err := s.sessions.Wishes(context.Background())
		if s.count() != n || len(ids) != 0 || err != nil {
			t.Errorf("asked %d times since; wishes %q, %v", s.count()-n, ids, err)
		}
		s.wantLines("ended by itself")

		// Its ID comes again, with another user's session: that is not the one meant.
		s.open("a1", "bob@corp")
		time.Sleep(2 * interval)
		s.wantLive("another's", "a1")
	})
}

// A NAS that does not know the session: it is asked twice, for the Stop may be on its
// way, and then the session is closed.
func TestNotFound(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, s *site) {
		s.open("a1", "alice@corp")
		s.open("b1", "bob@corp")
		s.service(interval, nil)
		s.answers(func(string) authz.NASAnswer { return authz.NASNotFound })
		s.realms[0].state("alice@corp", directory.Disabled)
		time.Sleep(interval + confirmAfter + 2*wishesEvery)
		s.wantLive("not found", "b1")
		s.wantLines("not found", "a1 account disabled: disabled (not found)")
		if s.count() != 2 {
			t.Errorf("asked %d times", s.count())
		}
		events, err := s.sessions.History(context.Background(), 10)
		if err != nil || events[len(events)-1].Kind != session.EventStop || events[len(events)-1].Cause != session.LostCarrier {
			t.Errorf("%v, %v", events, err)
		}
	})
}

// A NAS that refuses has answered: the session goes on, and the audit log says so.
func TestRefused(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, s *site) {
		s.open("a1", "alice@corp")
		s.service(interval, nil)
		s.answers(func(string) authz.NASAnswer { return authz.NASRefused })
		s.realms[0].state("alice@corp", directory.Disabled)
		time.Sleep(interval + 2*wishesEvery)
		s.wantLive("refused", "a1")
		s.mu.Lock()
		if len(s.audit) != 1 || s.audit[0].Err == nil {
			t.Errorf("%+v", s.audit)
		}
		s.mu.Unlock()
		s.wantLines("refused", "a1 account disabled: disabled (refused)")
	})
}

// With no interval directories are not asked; wishes of operators are fulfilled within
// a second or so.
func TestOperator(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, s *site) {
		s.open("a1", "alice@corp")
		s.realms[0].state("alice@corp", directory.Disabled)
		f, _ := s.service(0, nil)
		f.PolicyChanged()
		time.Sleep(time.Hour)
		s.wantLive("not followed", "a1")
		rec, _, err := s.sessions.Get(context.Background(), "gw1/a1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.sessions.AskEnd(context.Background(), session.Wish{
			Session: rec.ID, Opened: rec.Opened, Reason: authz.EndedByOperator.String(), Detail: "by root", Text: "tea time", Asked: time.Now(),
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(wishesEvery + 100*time.Millisecond)
		s.wantLive("ended")
		s.wantLines("ended", "a1 ended by an operator: by root (done)")
		if s.texts["a1"] != "tea time" {
			t.Errorf("text %q", s.texts["a1"])
		}
	})
}

// A service that stops in the middle waits for nobody, and leaves the wish to others.
func TestStopInTheMiddle(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, s *site) {
		for i := range 3 * carriers {
			s.open(fmt.Sprint(i), "alice@corp")
		}
		s.answers(func(string) authz.NASAnswer { return authz.NASNoAnswer })
		_, stop := s.service(interval, nil)
		s.realms[0].state("alice@corp", directory.Disabled)
		time.Sleep(interval + wishesEvery/2)
		stop()
		if got := len(s.live()); got != 3*carriers {
			t.Errorf("%d sessions", got)
		}
		s.answers(nil)
		s.service(0, nil)
		time.Sleep(3 * wishesEvery)
		s.wantLive("another service")
		if got := len(s.lines()); got != 3*carriers {
			t.Errorf("%d lines", got)
		}
	})
}

func TestMetrics(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, s *site) {
		s.open("a1", "alice@corp")
		reg := prometheus.NewRegistry()
		s.service(interval, reg)
		s.realms[1].fail(true)
		s.open("c1", "carol@lab")
		time.Sleep(interval)
		s.realms[0].state("alice@corp", directory.Disabled)
		time.Sleep(interval + 2*wishesEvery)
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				name := strings.TrimPrefix(f.GetName(), "postern_follow_")
				for _, l := range m.GetLabel() {
					name += " " + l.GetValue()
				}
				got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
		want := map[string]float64{
			"decided_total account disabled": 1, "ended_total done": 1, "realm_away corp": 0, "realm_away lab": 1, "waiting": 0, "looks_total done": got["looks_total done"],
			"reviews_total directory ended": 1, "reviews_total directory same": 1, "reviews_waiting": 0, "policy_left": 0, "review_late_seconds": 0,
		}
		if !maps.Equal(got, want) || got["looks_total done"] < 2 {
			t.Errorf("%v", got)
		}
	})
	if _, err := New(Config{}); err == nil {
		t.Error("a follower of nothing")
	}
}
