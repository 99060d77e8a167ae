package authz

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"golang.org/x/sys/unix"

	"postern/authz/directory"
	"postern/authz/lockout"
	"postern/authz/mfa"
	"postern/authz/session"
	"postern/internal/mschap"
	"postern/internal/seal"
	"postern/internal/store"
	"postern/internal/store/storetest"
	"postern/policy"
)

const testPolicy = `version: 1
lists: {blocked: [203.0.113.0/24]}
pools:
  staff: [10.20.0.0/24]
  tiny: [10.30.0.1]
rules:
  - {id: broken, when: {client: meets-a-broken-rule, cel: 'groups[99] == "Staff"'}, then: permit}
  - {id: blocked, when: {source: blocked}, then: deny, message: Your network is blocked.}
  - {id: banned, when: {group: Banned}, then: deny}
  - {id: plant, when: {group: Plant}, then: {permit: {factor: none, pool: tiny}}}
  - {id: free, when: {group: NoCode}, then: {permit: {factor: none, pool: staff, sessions: 2, filter: f1}}}
  - id: staff
    when: {group: VPN-Users}
    then:
      permit:
        pool: staff
        dns: [10.20.0.53]
        routes: [172.20.0.0/16]
        session_timeout: 8h
        idle_timeout: 30m
        interim: 2m
  - {id: change, when: {group: Changers}, then: {permit: {pool: staff, password_change: true}}}
  - {id: freechange, when: {group: FreeChangers}, then: {permit: {factor: none, pool: staff, password_change: true}}}
  - {id: nopool, when: {group: Switches}, then: {permit: {factor: none}}}
`

var (
	home    = netip.MustParseAddr("198.51.100.7")
	blocked = netip.MustParseAddr("203.0.113.9")
)

// world is a Decider over an embedded store with a clock that only sleep moves.
type world struct {
	storetest.Backend
	*Decider
	dir      *flaky
	file     *directory.File
	users    *directory.Users
	broken   *brokenStore
	ring     *seal.Ring
	mfa      *mfa.Verifier
	sessions *session.Registry
	audit    *bytes.Buffer
	records  []Record
	inputs   kept
	now      time.Time
	secrets  map[string]string // TOTP
	acct     int
}

// Decision keeps the records and their lines.
func (w *world) Decision(r *Record) {
	w.records = append(w.records, *r)
	NewAudit(w.audit).Decision(r)
}

// The other lines are only written.
func (w *world) StepUp(r *StepUpRecord)    { NewAudit(w.audit).StepUp(r) }
func (w *world) SessionEnded(e *Ended)     { NewAudit(w.audit).SessionEnded(e) }
func (w *world) SessionChanged(c *Changed) { NewAudit(w.audit).SessionChanged(c) }

func (w *world) SessionTold(e *session.Told) { NewAudit(w.audit).SessionTold(e) }

func (w *world) SessionReviewed(r *Reviewed) { NewAudit(w.audit).SessionReviewed(r) }

// flaky is the file directory with answers a file cannot give.
type flaky struct {
	directory.Directory
	findErr, verifyErr error
	proof              *directory.Proof // given to everybody
	state              map[string]directory.State
	rename             map[string]string
	routes             []netip.Prefix // everybody's
	set                time.Time      // the passwords
	asked              atomic.Int32
	change             changes
}

func (f *flaky) Find(ctx context.Context, n directory.Name) (*directory.Account, error) {
	f.asked.Add(1)
	if f.findErr != nil {
		return nil, f.findErr
	}
	a, err := f.Directory.Find(ctx, n)
	if err == nil {
		if s, ok := f.state[a.Name]; ok {
			a.State = s
		}
		a.Routes = f.routes
		if to, ok := f.rename[a.Name]; ok {
			a.Name = to
		}
		if !f.set.IsZero() {
			a.PasswordSet = f.set
		}
	}
	return a, err
}

func (f *flaky) VerifyMSCHAPv2(ctx context.Context, n directory.Name, a *directory.Account, r *directory.MSCHAPv2) (directory.Proof, error) {
	f.asked.Add(1)
	if f.verifyErr != nil {
		return directory.Proof{}, f.verifyErr
	}
	if f.proof != nil {
		return *f.proof, nil
	}
	p, err := f.Directory.VerifyMSCHAPv2(ctx, n, a, r)
	if err == nil && f.change.expired[a.Name] {
		return directory.Proof{}, directory.Rejected{Reason: directory.AccountState, State: directory.PasswordMustChange}
	}
	return p, err
}

// brokenStore is away from the trip after the next `after` on.
type brokenStore struct {
	store.Store
	mu    sync.Mutex
	after int // -1: never
	trips int
	hook  func() // before each trip
}

func (s *brokenStore) Do(ctx context.Context, seqs ...store.Seq) error {
	if s.away() {
		return fmt.Errorf("%w: test", store.ErrUnavailable)
	}
	return s.Store.Do(ctx, seqs...)
}

func (s *brokenStore) away() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trips++
	if s.hook != nil {
		s.hook()
	}
	if s.after > 0 {
		s.after--
		return false
	}
	return s.after == 0
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldOn(t, storetest.Embedded(t))
}

func newWorldOn(t testing.TB, b storetest.Backend) *world {
	t.Helper()
	w := &world{Backend: b, audit: new(bytes.Buffer), secrets: make(map[string]string)}
	ring, err := seal.ParseRing([]byte("k1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"))
	must(t, err)
	w.ring = ring
	users := &directory.Users{Path: filepath.Join(t.TempDir(), "users"), Ring: ring}
	for _, u := range []directory.User{
		{Name: "Alice", Groups: []string{"VPN-Users"}}, {Name: "bob", Groups: []string{"VPN-Users"}},
		{Name: "carol", Groups: []string{"NoCode"}}, {Name: "mallory", Groups: []string{"Banned"}},
		{Name: "plc1", Groups: []string{"Plant"}}, {Name: "plc2", Groups: []string{"Plant"}},
		{Name: "fixed", Groups: []string{"NoCode"}, Addr: netip.MustParseAddr("10.20.0.77")},
		{Name: "outside", Groups: []string{"NoCode"}, Addr: netip.MustParseAddr("10.99.0.1")},
		{Name: "dora", Groups: []string{"Changers"}}, {Name: "emil", Groups: []string{"FreeChangers"}},
		{Name: "stranger"}, {Name: "switch", Groups: []string{"Switches"}}, {Name: "off", Groups: []string{"NoCode"}, Disabled: true},
	} {
		must(t, users.Add(u, password(u.Name)))
	}
	file, err := directory.OpenFile(directory.FileConfig{Users: users.Path, Ring: ring})
	must(t, err)
	w.file, w.users = file, users
	w.dir = &flaky{Directory: file, state: map[string]directory.State{}, rename: map[string]string{}, change: newChanges(users, file)}
	w.broken = &brokenStore{Store: w.Backend.Store, after: -1}
	w.mfa = mfa.New(w.broken, ring, mfa.Config{})
	w.sessions = session.New(w.broken, session.Config{})
	p, err := policy.Load("policy.yaml", []byte(testPolicy))
	must(t, err)
	w.Decider, err = New(Config{
		Directory: w.dir, Store: w.broken, Shield: lockout.New(lockout.Config{}), MFA: w.mfa,
		Sessions: w.sessions, Policy: p, Audit: w, Inputs: &w.inputs,
	})
	t.Cleanup(func() { w.inputs.same(t, p) })
	must(t, err)
	w.now = w.storeTime(t)
	for _, name := range []string{"alice", "carol", "dora"} {
		e, err := w.mfa.Enroll(context.Background(), w.now, name, "phone")
		must(t, err)
		w.secrets[name] = e.Secret
	}
	return w
}

func (w *world) storeTime(t testing.TB) time.Time {
	c := &store.Time{}
	must(t, w.Backend.Do(context.Background(), store.Seq{c}))
	return c.Now
}

func (w *world) sleep(d time.Duration) {
	w.Sleep(d)
	w.now = w.now.Add(d)
}

func password(user string) string { return "pass-of-" + strings.ToLower(user) }

// code is a user's code, steps of 30 s from now.
func (w *world) code(t testing.TB, user string, steps int) string {
	t.Helper()
	c, err := totp.GenerateCode(w.secrets[user], w.now.Add(time.Duration(steps)*30*time.Second))
	must(t, err)
	return c
}

// request is a login by MS-CHAPv2 as a PPTP node sends it.
func (w *world) request(typed, pass string) *Request {
	w.acct++
	r := &Request{
		Now: w.now, NAS: NAS{ID: "gw1", Addr: netip.MustParseAddr("192.0.2.10"), Type: "Virtual", Client: "gateway"}, User: typed, Source: home,
		SessionID: fmt.Sprint("s", w.acct), Tunnel: "PPTP", Method: MethodMSCHAPv2,
	}
	rand.Read(r.MSCHAPv2.Challenge[:])
	rand.Read(r.MSCHAPv2.PeerChallenge[:])
	r.MSCHAPv2.Response = respond(r, pass)
	return r
}

// respond is the peer's side of RFC 2759.
func respond(r *Request, pass string) [24]byte {
	hash := mschap.NTHash(pass)
	return mschap.NTResponse(mschap.ChallengeHash(&r.MSCHAPv2.PeerChallenge, &r.MSCHAPv2.Challenge, mschap.TrimDomain(r.User)), &hash)
}

func (w *world) pap(user, pass string) *Request {
	w.acct++
	return &Request{Now: w.now, NAS: NAS{ID: "sw1"}, User: user, Source: home, Method: MethodPAP, AllowPAP: true, Password: []byte(pass), SessionID: fmt.Sprint("p", w.acct)}
}

func (w *world) decide(r *Request) *Result { return w.Decide(context.Background(), r) }

// login decides and checks the reason.
func (w *world) login(t testing.TB, want Reason, r *Request) *Result {
	t.Helper()
	res := w.decide(r)
	if res.Reason != want {
		t.Errorf("%s: %v, want %v (%v)", r.User, res.Reason, want, w.last().Err)
	}
	return res
}

func (w *world) last() *Record { return &w.records[len(w.records)-1] }

// TestReasons has a row for every reason a login can end with.
func TestReasons(t *testing.T) {
	silent := directory.Unavailable{Doing: "dial", Err: errors.New("test")}
	rows := []struct {
		reason  Reason
		about   string
		verdict Verdict
		code    int
		message string
		run     func(t *testing.T, w *world) *Result
	}{
		{Permitted, "code", Accept, 0, "", func(t *testing.T, w *world) *Result {
			return w.decide(w.request("alice+"+w.code(t, "alice", 0), password("alice")))
		}},
		{BadName, "empty", Reject, 691, denied, func(t *testing.T, w *world) *Result { return w.decide(w.request("", "x")) }},
		{BadName, "control", Reject, 691, denied, func(t *testing.T, w *world) *Result { return w.decide(w.request("al\nice", "x")) }},
		{BadName, "not UTF-8", Reject, 691, denied, func(t *testing.T, w *world) *Result { return w.decide(w.request("al\xff", "x")) }},
		{BadName, "long", Reject, 691, denied, func(t *testing.T, w *world) *Result { return w.decide(w.request(strings.Repeat("a", 254), "x")) }},
		{MethodRefused, "none", Reject, 691, denied, func(t *testing.T, w *world) *Result {
			r := w.request("alice", password("alice"))
			r.Method = MethodUnknown
			return w.decide(r)
		}},
		{MethodRefused, "PAP where it is not allowed", Reject, 691, denied, func(t *testing.T, w *world) *Result {
			r := w.pap("switch", password("switch"))
			r.AllowPAP = false
			return w.decide(r)
		}},
		{MethodRefused, "PAP in a tunnel", Reject, 691, denied, func(t *testing.T, w *world) *Result {
			r := w.pap("carol", password("carol"))
			r.Tunnel = "PPTP"
			return w.decide(r)
		}},
		{LockedOut, "five wrong passwords", Reject, 691, denied, func(t *testing.T, w *world) *Result {
			for range 5 {
				w.login(t, WrongPassword, w.request("alice", "guess"))
			}
			asked := w.dir.asked.Load()
			res := w.decide(w.request("ALICE+"+w.code(t, "alice", 0), password("alice")))
			if w.dir.asked.Load() != asked {
				t.Error("the directory was asked")
			}
			return res
		}},
		{NoSuchUser, "", Reject, 691, denied, func(t *testing.T, w *world) *Result { return w.decide(w.request("nobody", "x")) }},
		{WrongPassword, "", Reject, 691, denied, func(t *testing.T, w *world) *Result { return w.decide(w.request("alice", "x")) }},
		{WrongPassword, "by PAP", Reject, 691, denied, func(t *testing.T, w *world) *Result { return w.decide(w.pap("alice", "x")) }},
		{AccountDisabled, "", Reject, 647, "Account disabled", func(t *testing.T, w *world) *Result { return w.decide(w.request("off", password("off"))) }},
		{AccountExpired, "", Reject, 647, "Account expired", stateRow(directory.Expired)},
		{AccountLocked, "", Reject, 691, denied, stateRow(directory.Locked)},
		{AccountLocked, "said instead of verifying", Reject, 691, denied, func(t *testing.T, w *world) *Result {
			w.dir.verifyErr = directory.Rejected{Reason: directory.AccountState, State: directory.Locked}
			return w.decide(w.request("carol", password("carol")))
		}},
		{PasswordExpired, "", Reject, 648, "Password expired", stateRow(directory.PasswordExpired)},
		{PasswordMustChange, "", Reject, 648, "Password must change", stateRow(directory.PasswordMustChange)},
		{WorkstationDenied, "", Reject, 649, "Workstation not allowed", stateRow(directory.NotFromHere)},
		{AccountRestricted, "", Reject, 691, denied, stateRow(directory.Restricted)},
		{NoSuchUser, "deleted meanwhile", Reject, 691, denied, stateRow(directory.Gone)},
		{OutsideHours, "", Reject, 646, "Logon hours", stateRow(directory.OutsideHours)},
		{NoDialin, "", Reject, 649, "No dial-in permission", stateRow(directory.NoDialin)},
		{InternalError, "a state nobody knows", Silent, 0, "", stateRow(directory.StateUnknown)},
		{InternalError, "a token record nobody can read", Silent, 0, "", func(t *testing.T, w *world) *Result {
			must(t, w.Backend.Do(context.Background(), store.Seq{&store.Put{Key: store.UserTokens("alice"), Value: "{"}}))
			return w.decide(w.request("alice+123456", password("alice")))
		}},
		{CodeMissing, "", Reject, 691, denied, func(t *testing.T, w *world) *Result { return w.decide(w.request("alice", password("alice"))) }},
		{CodeWrong, "", Reject, 691, denied, func(t *testing.T, w *world) *Result {
			return w.decide(w.request("alice+"+wrong(w.code(t, "alice", 0)), password("alice")))
		}},
		{CodeWrong, "where none is needed", Reject, 691, denied, func(t *testing.T, w *world) *Result {
			return w.decide(w.request("carol+"+wrong(w.code(t, "carol", 0)), password("carol")))
		}},
		{CodeReplayed, "", Reject, 691, denied, func(t *testing.T, w *world) *Result {
			w.login(t, Permitted, w.request("alice+"+w.code(t, "alice", 0), password("alice")))
			return w.decide(w.request("alice+"+w.code(t, "alice", 0), password("alice")))
		}},
		{CodeReplayed, "an older one after a newer one", Reject, 691, denied, func(t *testing.T, w *world) *Result {
			w.login(t, Permitted, w.request("alice+"+w.code(t, "alice", 1), password("alice")))
			return w.decide(w.request("alice+"+w.code(t, "alice", 0), password("alice")))
		}},
		{CodeLocked, "", Reject, 691, denied, func(t *testing.T, w *world) *Result {
			for range 5 {
				w.login(t, CodeWrong, w.request("alice+"+wrong(w.code(t, "alice", 0)), password("alice")))
			}
			return w.decide(w.request("alice+"+w.code(t, "alice", 0), password("alice")))
		}},
		{NotEnrolled, "no code", Reject, 691, denied, func(t *testing.T, w *world) *Result { return w.decide(w.request("bob", password("bob"))) }},
		{NotEnrolled, "some code", Reject, 691, denied, func(t *testing.T, w *world) *Result { return w.decide(w.request("bob+123456", password("bob"))) }},
		{PolicyDenied, "", Reject, 691, denied, func(t *testing.T, w *world) *Result { return w.decide(w.request("mallory", password("mallory"))) }},
		{PolicyNoMatch, "", Reject, 691, denied, func(t *testing.T, w *world) *Result { return w.decide(w.request("stranger", password("stranger"))) }},
		{PolicyFailed, "", Reject, 691, denied, func(t *testing.T, w *world) *Result {
			r := w.request("carol", password("carol"))
			r.ClientName = "meets-a-broken-rule"
			res := w.decide(r)
			if rec := w.last(); rec.Rule != "broken" || rec.Err == nil || !strings.Contains(rec.Err.Error(), "cel: ") {
				t.Errorf("rule %q, error %v", rec.Rule, rec.Err)
			}
			return res
		}},
		{SourceDenied, "", Reject, 691, "Your network is blocked.", func(t *testing.T, w *world) *Result {
			r := w.request("carol", password("carol"))
			r.Source = blocked
			return w.decide(r)
		}},
		{TooManySessions, "", Reject, 691, denied, func(t *testing.T, w *world) *Result {
			w.login(t, Permitted, w.request("carol", password("carol")))
			w.login(t, Permitted, w.request("carol", password("carol")))
			return w.decide(w.request("carol", password("carol")))
		}},
		{PoolExhausted, "", Reject, 691, denied, func(t *testing.T, w *world) *Result {
			w.login(t, Permitted, w.request("plc1", password("plc1")))
			return w.decide(w.request("plc2", password("plc2")))
		}},
		{PoolExhausted, "the account's own address", Reject, 691, denied, func(t *testing.T, w *world) *Result {
			w.login(t, Permitted, w.request("fixed", password("fixed")))
			return w.decide(w.request("fixed", password("fixed")))
		}},
		{DirectoryDown, "at find", Silent, 0, "", func(t *testing.T, w *world) *Result {
			w.dir.findErr = silent
			return w.decide(w.request("alice", password("alice")))
		}},
		{DirectoryDown, "at verify", Silent, 0, "", func(t *testing.T, w *world) *Result {
			w.dir.verifyErr = silent
			return w.decide(w.request("alice", password("alice")))
		}},
		{DirectoryDown, "an error of no known type", Silent, 0, "", func(t *testing.T, w *world) *Result {
			w.dir.verifyErr = errors.New("test")
			return w.decide(w.request("alice", password("alice")))
		}},
		{NewPasswordRefused, "", Reject, 709, "New password refused", func(t *testing.T, w *world) *Result {
			first := w.expire(t, "dora")
			return w.decide(w.newPassword(first, password("dora"), "weak"))
		}},
		{StoreDown, "at load", Silent, 0, "", func(t *testing.T, w *world) *Result {
			w.broken.after = 0
			return w.decide(w.request("carol", password("carol")))
		}},
		{StoreDown, "at commit", Silent, 0, "", func(t *testing.T, w *world) *Result {
			w.broken.after = 1
			return w.decide(w.request("carol", password("carol")))
		}},
		{StoreDown, "at counting a wrong password", Silent, 0, "", func(t *testing.T, w *world) *Result {
			w.broken.after = 1
			return w.decide(w.request("alice", "guess"))
		}},
		{StoreDown, "at refusing by policy", Silent, 0, "", func(t *testing.T, w *world) *Result {
			w.broken.after = 1
			return w.decide(w.request("mallory", password("mallory")))
		}},
	}
	covered := map[Reason]bool{
		ReasonUnknown: true, PasswordChanged: true, EndedByOperator: true, EndedByUser: true, Replaced: true, Revoked: true, WrittenOff: true, // Reevaluate, operators, and the portal
		StepUpExpired: true, NotQuarantined: true, SessionGone: true, SteppedUp: true, // StepUp
		Isolated: true, CannotIsolate: true, Released: true, Regranted: true, TimeOver: true, // TestIsolate, TestTransitions
		Quarantined: true, Challenged: true, RetryAsked: true, StateInvalid: true, FactorTooWeak: true, // TestCarriers, TestState
	}
	for _, row := range rows {
		covered[row.reason] = true
		t.Run(row.reason.String()+"/"+row.about, func(t *testing.T) {
			w := newWorld(t)
			res := row.run(t, w)
			if res.Reason != row.reason || res.Verdict != row.verdict || res.ErrorCode != row.code || res.Message != row.message {
				t.Errorf("got %v %v %d %q, want %v %v %d %q", res.Reason, res.Verdict, res.ErrorCode, res.Message, row.reason, row.verdict, row.code, row.message)
			}
			if res.Verdict != Accept && (res.Success != "" || res.SendKey != [16]byte{} || res.RecvKey != [16]byte{} || res.Grant.Addr.IsValid() || res.Grant.Class != nil) {
				t.Errorf("a refused login is given %+v", res)
			}
			rec := w.last()
			if rec.Reason != row.reason || rec.Verdict != row.verdict || rec.DecisionID != res.DecisionID || len(rec.DecisionID) != 24 || rec.User != res.User {
				t.Errorf("record %+v", rec)
			}
			if (rec.Err != nil) != (row.verdict == Silent || row.reason == PolicyFailed || row.reason == PoolExhausted) && row.reason != InternalError {
				t.Errorf("error in the record: %v", rec.Err)
			}
		})
	}
	for r := range Reason(len(reasonNames)) {
		if !covered[r] {
			t.Errorf("no row for %v", r)
		}
	}
	if len(answers) != len(reasonNames) {
		t.Errorf("%d answers for %d reasons", len(answers), len(reasonNames))
	}
}

// What a client may learn is the operator's choice; by default unknown user, wrong
// password, locked and refused by policy look alike.
func TestDisclosure(t *testing.T) {
	for r, name := range reasonNames {
		a := answerTo(Reason(r))
		code, text := a.to(DiscloseNothing)
		if a.verdict == Reject && (code != 691 || text != denied) || a.verdict != Reject && (code != 0 || text != "") {
			t.Errorf("nothing disclosed, but %s is %d %q", name, code, text)
		}
	}
	for _, tt := range []struct {
		reason Reason
		full   int
		text   string
	}{
		{NoSuchUser, 691, denied}, {WrongPassword, 691, denied}, {LockedOut, 691, "Too many failures"},
		{AccountLocked, 647, "Account locked"}, {PolicyDenied, 649, "Refused by policy"}, {PolicyNoMatch, 649, "Refused by policy"},
	} {
		if code, text := answerTo(tt.reason).to(DiscloseStates); code != 691 || text != denied {
			t.Errorf("%v by default: %d %q", tt.reason, code, text)
		}
		if code, text := answerTo(tt.reason).to(DiscloseFull); code != tt.full || text != tt.text {
			t.Errorf("%v in full: %d %q", tt.reason, code, text)
		}
	}
	w := newWorld(t)
	w.cfg.Disclose = DiscloseFull
	if res := w.decide(w.request("stranger", password("stranger"))); res.ErrorCode != 649 {
		t.Errorf("the decider's answer: %+v", res)
	}
}

// What only the verification tells is used: groups, and keys made elsewhere.
func TestProof(t *testing.T) {
	w := newWorld(t)
	keys := &directory.Keys{Success: "S=0123456789012345678901234567890123456789", Send: [16]byte{1}, Recv: [16]byte{2}}
	w.dir.proof = &directory.Proof{Groups: []string{"NoCode"}, Keys: keys}
	for range 2 { // the account is the directory's: what a login learns stays in the login
		res := w.login(t, Permitted, w.request("stranger", "decided elsewhere"))
		if res.Success != keys.Success || res.SendKey != keys.Send || res.RecvKey != keys.Recv {
			t.Errorf("got %+v", res)
		}
	}
	w.dir.proof = nil
	w.login(t, PolicyNoMatch, w.request("stranger", password("stranger")))
	if w.last().Err != nil {
		t.Errorf("error in the record: %v", w.last().Err)
	}
	w.dir.verifyErr = directory.Rejected{Reason: directory.WrongPassword, Detail: "STATUS_WRONG_PASSWORD"}
	w.login(t, WrongPassword, w.request("stranger", "x"))
	if err := w.last().Err; err == nil || !strings.Contains(err.Error(), "STATUS_WRONG_PASSWORD") {
		t.Errorf("what the directory said is not in the record: %v", err)
	}
}

func stateRow(s directory.State) func(*testing.T, *world) *Result {
	return func(t *testing.T, w *world) *Result {
		w.dir.state["carol"] = s
		if res := w.decide(w.request("carol", "guess")); res.ErrorCode != 691 || res.Message != denied {
			t.Errorf("the account's state is told to who does not know the password: %+v", res)
		}
		return w.decide(w.request("carol", password("carol")))
	}
}

// wrong is a code that differs in each digit.
func wrong(code string) string {
	b := []byte(code)
	for i := range b {
		b[i] = '0' + (b[i]-'0'+5)%10
	}
	return string(b)
}

// TestGrant is what an accepted login gets.
func TestGrant(t *testing.T) {
	w := newWorld(t)
	r := w.request(`CORP\Alice+`+w.code(t, "alice", 0), password("alice"))
	res := w.login(t, Permitted, r)
	g := res.Grant
	switch {
	case res.User != "alice", g.Addr != netip.MustParseAddr("10.20.0.1"), g.Mask != 32, len(g.DNS) != 1, len(g.Routes) != 1,
		g.SessionTimeout != 8*time.Hour, g.IdleTimeout != 30*time.Minute, g.InterimInterval != 2*time.Minute,
		string(g.Class) != res.DecisionID:
		t.Errorf("grant %+v of %q", g, res.User)
	}
	// The peer computes what we must have sent (RFC 2759 §8.7, RFC 3079 §3.4).
	hash := mschap.NTHash(password("alice"))
	hashHash := mschap.HashHash(&hash)
	ch := mschap.ChallengeHash(&r.MSCHAPv2.PeerChallenge, &r.MSCHAPv2.Challenge, mschap.TrimDomain(r.User))
	if want := mschap.AuthenticatorResponse(&hashHash, &r.MSCHAPv2.Response, ch); res.Success != want {
		t.Errorf("success %q, want %q", res.Success, want)
	}
	master := mschap.MasterKey(&hashHash, &r.MSCHAPv2.Response)
	send, recv := mschap.StartKeys(&master, false)
	if res.SendKey != recv || res.RecvKey != send || send == recv {
		t.Error("the keys are not the peer's")
	}
	// The NAS reports the address, and the registry knows whose lease it is.
	_, err := w.sessions.Start(context.Background(), session.Report{Node: "gw1", Acct: r.SessionID, Addr: g.Addr})
	must(t, err)
	rec, found, err := w.sessions.Get(context.Background(), "gw1/"+r.SessionID)
	if err != nil || !found || rec.Addr != g.Addr || rec.User != "alice" || rec.Pool != "staff" || rec.Decision != res.DecisionID || rec.Rule != "staff" || rec.Factor != "code" {
		t.Errorf("session %+v, %v, %v", rec, found, err)
	}
	a := w.last()
	if a.User != "alice" || a.Typed != `CORP\Alice` || a.Factor != FactorCode || a.Rule != "staff" || a.Pool != "staff" || a.Addr != g.Addr || a.Policy == "" {
		t.Errorf("record %+v", a)
	}

	// A policy may not make a session report less often than the registry expects.
	carol := w.login(t, Permitted, w.request("carol", password("carol")))
	if carol.Grant.InterimInterval != w.sessions.Interim() || carol.Grant.Filter != "f1" {
		t.Errorf("grant %+v", carol.Grant)
	}
	// By PAP there is no challenge to prove anything about, and no key.
	if res := w.login(t, Permitted, w.pap("switch", password("switch"))); res.Success != "" || res.SendKey != [16]byte{} || res.Grant.Addr.IsValid() || res.Grant.Mask != 0 {
		t.Errorf("by PAP: %+v", res)
	}
	if res := w.login(t, Permitted, w.pap("alice+"+w.code(t, "alice", 1), password("alice"))); w.last().Factor != FactorCode {
		t.Errorf("PAP with a code: %+v", res)
	}
}

// TestFixedAddress: an account's own address is leased where it lies.
func TestFixedAddress(t *testing.T) {
	w := newWorld(t)
	if res := w.login(t, Permitted, w.request("fixed", password("fixed"))); res.Grant.Addr != netip.MustParseAddr("10.20.0.77") || w.last().Pool != "staff" {
		t.Errorf("%+v from pool %q", res.Grant, w.last().Pool)
	}
	if res := w.login(t, Permitted, w.request("outside", password("outside"))); res.Grant.Addr != netip.MustParseAddr("10.99.0.1") || w.last().Pool != fixedPool {
		t.Errorf("%+v from pool %q", res.Grant, w.last().Pool)
	}
	rec, _, err := w.sessions.Get(context.Background(), fmt.Sprintf("gw1/s%d", w.acct))
	if err != nil || rec.Addr != netip.MustParseAddr("10.99.0.1") || rec.Pool != fixedPool {
		t.Errorf("session %+v, %v", rec, err)
	}
}

// TestNameForms: one person, however the name is typed (DESIGN §7).
func TestNameForms(t *testing.T) {
	for i, form := range []string{"alice+%s", "ALICE+%s", `CORP\alice+%s`, "alice+%s@corp.example", "Alice@corp.example+%s"} {
		w := newWorld(t)
		res := w.login(t, Permitted, w.request(fmt.Sprintf(form, w.code(t, "alice", 0)), password("alice")))
		if res.User != "alice" {
			t.Errorf("%d: user %q", i, res.User)
		}
		// A hash over another name than the typed one is a wrong response.
		r := w.request(fmt.Sprintf(form, w.code(t, "alice", 1)), password("alice"))
		hash := mschap.NTHash(password("alice"))
		r.MSCHAPv2.Response = mschap.NTResponse(mschap.ChallengeHash(&r.MSCHAPv2.PeerChallenge, &r.MSCHAPv2.Challenge, "alice"), &hash)
		w.login(t, WrongPassword, r)
	}
}

// TestCodeIsKeptByWrongPassword: a code is consumed by a right password only.
func TestCodeIsKeptByWrongPassword(t *testing.T) {
	w := newWorld(t)
	typed := "alice+" + w.code(t, "alice", 0)
	w.login(t, WrongPassword, w.request(typed, "guess"))
	w.login(t, Permitted, w.request(typed, password("alice")))
	w.login(t, CodeReplayed, w.request(typed, password("alice")))
}

// TestPolicyRefusalBurnsTheCode: it went over the wire in clear.
func TestPolicyRefusalBurnsTheCode(t *testing.T) {
	w := newWorld(t)
	r := w.request("alice+"+w.code(t, "alice", 0), password("alice"))
	r.Source = blocked
	w.login(t, SourceDenied, r)
	w.login(t, CodeReplayed, w.request("alice+"+w.code(t, "alice", 0), password("alice")))
}

// TestWhatCounts: wrong passwords lock the password, wrong codes the codes, and
// refusals for other reasons nothing.
func TestWhatCounts(t *testing.T) {
	w := newWorld(t)
	for range 8 {
		w.login(t, PolicyDenied, w.request("mallory", password("mallory")))
		w.login(t, CodeMissing, w.request("alice", password("alice")))
		w.login(t, AccountDisabled, w.request("off", password("off")))
		w.login(t, NotEnrolled, w.request("bob+123456", password("bob")))
	}
	w.login(t, Permitted, w.request("alice+"+w.code(t, "alice", 0), password("alice")))
	for range 8 {
		w.login(t, CodeReplayed, w.request("alice+"+w.code(t, "alice", 0), password("alice")))
	}
	for range 5 {
		w.login(t, CodeWrong, w.request("alice+"+wrong(w.code(t, "alice", 1)), password("alice")))
	}
	w.login(t, CodeLocked, w.request("alice+"+w.code(t, "alice", 1), password("alice")))
	if w.last().Locked != lockout.ScopeCodes {
		t.Errorf("locked by %v", w.last().Locked)
	}
	w.login(t, CodeMissing, w.request("alice", password("alice"))) // the password is not locked

	for range 5 {
		w.login(t, NoSuchUser, w.request("Nobody", "x"))
	}
	w.login(t, LockedOut, w.request("nobody", "x")) // names nobody has lock like others
	w.sleep(16 * time.Minute)
	w.login(t, NoSuchUser, w.request("nobody", "x"))
}

// TestGoodPairPassesLock: the user at the usual address gets in while an attacker
// elsewhere keeps the name locked.
func TestGoodPairPassesLock(t *testing.T) {
	w := newWorld(t)
	w.login(t, Permitted, w.request("carol", password("carol")))
	attack := func() *Request {
		r := w.request("carol", "guess")
		r.Source = netip.MustParseAddr("192.0.2.66")
		return r
	}
	for range 5 {
		w.login(t, WrongPassword, attack())
	}
	w.login(t, LockedOut, attack())
	w.login(t, Permitted, w.request("carol", password("carol")))
}

// TestLookAlike: who has no password learns nothing from the answer.
func TestLookAlike(t *testing.T) {
	w := newWorld(t)
	type seen struct {
		verdict Verdict
		code    int
		retry   bool
		message string
	}
	look := func(r *Result) seen { return seen{r.Verdict, r.ErrorCode, r.Retry, r.Message} }
	first := look(w.login(t, NoSuchUser, w.request("nobody", "x")))
	for range 5 {
		if got := look(w.login(t, WrongPassword, w.request("alice", "x"))); got != first {
			t.Errorf("wrong password %+v, unknown user %+v", got, first)
		}
	}
	if got := look(w.login(t, LockedOut, w.request("alice", "x"))); got != first {
		t.Errorf("locked %+v, unknown user %+v", got, first)
	}
}

func TestRetryFlag(t *testing.T) {
	w := newWorld(t)
	w.Decider.cfg.Retry = true
	if !w.decide(w.request("alice", "x")).Retry || !w.decide(w.request("nobody", "x")).Retry {
		t.Error("no retry after a wrong password")
	}
	if w.decide(w.request("off", password("off"))).Retry || w.decide(w.request("carol", password("carol"))).Retry {
		t.Error("retry where it cannot help")
	}
}

// TestRepeatedAttempt: a request that comes again because the answer was lost, to
// this service or to another one, is the same attempt.
func TestRepeatedAttempt(t *testing.T) {
	w := newWorld(t)
	r := w.request("alice+"+w.code(t, "alice", 0), password("alice"))
	first := w.login(t, Permitted, r)
	again := w.login(t, Permitted, r)
	if again.Grant.Addr != first.Grant.Addr {
		t.Errorf("addresses %v and %v", first.Grant.Addr, again.Grant.Addr)
	}
	bad := w.request("bob", "x")
	for range 9 {
		w.login(t, WrongPassword, bad) // once counted, it never locks
	}
}

// TestCodeOpensOneLogin: many at once, one gets in.
func TestCodeOpensOneLogin(t *testing.T) {
	w := newWorld(t)
	typed := "alice+" + w.code(t, "alice", 0)
	w.Decider.cfg.Audit = silentAudit{}
	const n = 16
	requests := make([]*Request, n)
	for i := range requests {
		requests[i] = w.request(typed, password("alice"))
	}
	var wg sync.WaitGroup
	reasons := make([]Reason, n)
	w.Decider.cfg.Directory = w.dir.Directory
	for i := range requests {
		wg.Go(func() { reasons[i] = w.decide(requests[i]).Reason })
	}
	wg.Wait()
	count := map[Reason]int{}
	for _, r := range reasons {
		count[r]++
	}
	if count[Permitted] != 1 || count[CodeReplayed] != n-1 {
		t.Errorf("%v", count)
	}
	if live, err := w.sessions.Count(context.Background(), "alice"); err != nil || live != 1 {
		t.Errorf("%d sessions, %v", live, err)
	}
}

type silentAudit struct{}

func (silentAudit) Decision(*Record) {}

func (silentAudit) StepUp(*StepUpRecord) {}

func (silentAudit) SessionEnded(*Ended) {}

func (silentAudit) SessionChanged(*Changed) {}

func (silentAudit) SessionReviewed(*Reviewed) {}

func (silentAudit) SessionTold(*session.Told) {}

// TestLockedMeanwhile: a right password does not get in when failures reached the
// limit while it was on its way: guessing in parallel gains nothing.
func TestLockedMeanwhile(t *testing.T) {
	for _, user := range []string{"carol", "mallory"} {
		w := newWorld(t)
		shield := lockout.New(lockout.Config{})
		calls := 0
		w.broken.hook = func() {
			if calls++; calls != 2 { // between load and commit
				return
			}
			for i := range 5 {
				must(t, w.Backend.Do(context.Background(), shield.Failed(lockout.WrongPassword, user, home, fmt.Sprint(i))...))
			}
		}
		w.login(t, LockedOut, w.request(user, password(user)))
		if n, err := w.sessions.Count(context.Background(), user); err != nil || n != 0 {
			t.Errorf("%d sessions left behind, %v", n, err)
		}
	}
}

// TestRefusedLoginLeavesNothing: session and address are given back.
func TestRefusedLoginLeavesNothing(t *testing.T) {
	w := newWorld(t)
	for range 2 {
		w.login(t, Permitted, w.request("carol", password("carol")))
	}
	r := w.request("carol", password("carol"))
	w.login(t, TooManySessions, r)
	if _, found, err := w.sessions.Get(context.Background(), "gw1/"+r.SessionID); found || err != nil {
		t.Errorf("session found %v, %v", found, err)
	}
	_, pools := w.Policy()
	usage, err := pools.Usage(context.Background(), w.Backend)
	must(t, err)
	for _, u := range usage {
		if u.Name == "staff" && u.Used != 2 {
			t.Errorf("%d addresses leased, want 2", u.Used)
		}
	}
	w.login(t, Permitted, w.request("plc1", password("plc1")))
	r = w.request("plc2", password("plc2"))
	w.login(t, PoolExhausted, r)
	if n, err := w.sessions.Count(context.Background(), "plc2"); n != 0 || err != nil {
		t.Errorf("%d sessions, %v", n, err)
	}
}

// TestCanonicalNameCounts: a directory that knows the person by another name than
// was typed makes counters and tokens of that name count.
func TestCanonicalNameCounts(t *testing.T) {
	w := newWorld(t)
	w.dir.rename["carol"] = "alice"
	res := w.login(t, CodeWrong, w.request("carol+"+w.code(t, "carol", 0), password("carol")))
	if res.User != "alice" {
		t.Errorf("user %q", res.User)
	}
	for range 5 {
		w.login(t, WrongPassword, w.request("alice", "guess"))
	}
	w.login(t, LockedOut, w.request("carol+"+w.code(t, "alice", 0), password("carol")))
}

// TestTrips: a refused login costs two trips at most, and the directory only what
// it must.
func TestTrips(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		about string
		r     *Request
		want  int
	}{
		{"bad name", w.request("", ""), 0},
		{"wrong password", w.request("alice", "x"), 2},
		{"unknown user", w.request("nobody", "x"), 2},
		{"denied", w.request("mallory", password("mallory")), 2},
		{"no address to lease", w.pap("switch", password("switch")), 2},
		{"own address", w.request("outside", password("outside")), 2},
		{"an address from a pool", w.request("carol", password("carol")), 2},
	} {
		w.broken.trips = 0
		w.decide(c.r)
		if w.broken.trips != c.want {
			t.Errorf("%s: %d trips, want %d", c.about, w.broken.trips, c.want)
		}
	}
}

func TestSetPolicy(t *testing.T) {
	w := newWorld(t)
	w.login(t, Permitted, w.request("carol", password("carol")))
	p, err := policy.Load("p", []byte("version: 1\nrules: [{id: shut, then: deny, message: Closed today.}]\n"))
	must(t, err)
	must(t, w.SetPolicy(p))
	if res := w.login(t, PolicyDenied, w.request("carol", password("carol"))); res.Message != "Closed today." || w.last().Policy != p.Version() {
		t.Errorf("%+v under %s", res, w.last().Policy)
	}
	// One that cannot be put in force leaves the one before.
	var b strings.Builder
	for i := range 1100 {
		fmt.Fprintf(&b, "10.%d.%d.1, ", i/200, i%200)
	}
	q, err := policy.Load("q", []byte("version: 1\npools: {many: ["+b.String()+"]}\nrules: [{id: open, then: permit}]\n"))
	must(t, err)
	if w.SetPolicy(q) == nil {
		t.Error("a pool in more pieces than the store takes")
	}
	w.login(t, PolicyDenied, w.request("carol", password("carol")))
}

// TestSetPolicyWhileDeciding is for the race detector, and no decision may be of
// two policies.
func TestSetPolicyWhileDeciding(t *testing.T) {
	w := newWorld(t)
	var versions []string
	var policies []*policy.Policy
	for _, rule := range []string{"red", "blue"} {
		p, err := policy.Load("p", []byte("version: 1\nrules: [{id: "+rule+", then: deny, message: "+rule+"}]\n"))
		must(t, err)
		policies, versions = append(policies, p), append(versions, p.Version())
	}
	must(t, w.SetPolicy(policies[0]))
	stop, stopped := make(chan bool), make(chan bool)
	go func() { // waited for below
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				must(t, w.SetPolicy(policies[i%2]))
			}
		}
	}()
	for range 50 {
		res := w.decide(w.request("carol", password("carol")))
		rec := w.last()
		if i := slices.Index(versions, rec.Policy); i < 0 || rec.Rule != res.Message {
			t.Errorf("rule %q, message %q, version %q", rec.Rule, res.Message, rec.Policy)
		}
	}
	close(stop)
	<-stopped
}

func TestNewNeedsAllParts(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("a Decider of nothing")
	}
}

func TestZeroResultRefuses(t *testing.T) {
	if (Result{}).Verdict != Reject || answerTo(ReasonUnknown).verdict != Reject || answerTo(Reason(200)).verdict != Reject {
		t.Error("the zero result does not refuse")
	}
	if Method(9).String() != "unknown" || Verdict(9).String() != "reject" || Factor(9).String() != "none" || Reason(200).String() != "unknown" {
		t.Error("values out of range")
	}
}

// BenchmarkDecide is logins with MS-CHAPv2 and a code: each burns its code, opens a
// session and leases an address, durably. With one at a time the disk decides;
// logins under way together share the store's transactions. Run it with -cpu 1 for
// the figure of one core.
func BenchmarkDecide(b *testing.B) {
	for _, together := range []int{1, 64} {
		b.Run(fmt.Sprintf("together=%d", together), func(b *testing.B) { benchmarkDecide(b, together) })
	}
}

func benchmarkDecide(b *testing.B, together int) {
	w := newWorld(b)
	w.Decider.cfg.Audit = silentAudit{}
	w.Decider.cfg.Directory = w.dir.Directory
	// Each login needs a fresh code, and the clock makes one every 30 s for each user.
	for i := range together {
		name := fmt.Sprintf("user%d", i)
		must(b, w.users.Add(directory.User{Name: name, Groups: []string{"VPN-Users"}}, password(name)))
		e, err := w.mfa.Enroll(context.Background(), w.now, name, "")
		must(b, err)
		w.secrets[name] = e.Secret
	}
	must(b, w.file.Reload())
	requests := make([]*Request, together)
	logins, cpu := 0, time.Duration(0)
	for b.Loop() {
		b.StopTimer()
		w.sleep(30 * time.Second)
		for i := range requests {
			name := fmt.Sprintf("user%d", i)
			requests[i] = w.request(name+"+"+w.code(b, name, 0), password(name))
			requests[i].SessionID = name // a NAS ends sessions, too: the pool must not run out
		}
		before := cpuTime(b)
		b.StartTimer()
		var wg sync.WaitGroup
		for _, r := range requests {
			wg.Go(func() {
				if res := w.decide(r); res.Reason != Permitted {
					b.Error(res.Reason)
				}
			})
		}
		wg.Wait()
		logins += together
		cpu += cpuTime(b) - before
	}
	b.ReportMetric(float64(logins)/b.Elapsed().Seconds(), "logins/s")
	// Unlike the rate, this does not depend on the disk and the machine's load.
	b.ReportMetric(float64(cpu.Microseconds())/float64(logins), "cpu-µs/login")
}

// cpuTime is what the process has used.
func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	must(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
