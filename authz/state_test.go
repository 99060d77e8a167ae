package authz

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/authz/directory"
	"postern/authz/lockout"
	"postern/internal/seal"
)

// challenged is a login that was asked for a code, and the answer to be.
func (w *world) challenged(t testing.TB, user, code string) *Request {
	t.Helper()
	first := w.pap(user, password(user))
	first.NAS.Client = "switches"
	res := w.login(t, Challenged, first)
	if res.Verdict != Challenge || len(res.State) == 0 || len(res.State) > maxState || res.Message != "Enter the code" || res.Grant.Class != nil {
		t.Errorf("%+v", res)
	}
	second := *first
	second.Password, second.State = []byte(code), res.State
	return &second
}

// TestChallenge: the answer brings the code and no password, to any service.
func TestChallenge(t *testing.T) {
	w := carryWorld(t)
	r := w.challenged(t, "paul", w.code(t, "paul", 0))
	asked := w.last().DecisionID
	verified := w.dir.asked.Load()
	other := w.service(t)
	res := other.Decide(context.Background(), r)
	if res.Reason != Permitted || !res.Grant.Addr.IsValid() || res.User != "paul" {
		t.Errorf("%+v", res)
	}
	if n := w.dir.asked.Load() - verified; n != 1 {
		t.Errorf("the directory was asked %d times, want for the account once", n)
	}
	if a := w.last(); a.Answers != asked || a.Factor != FactorCode || a.Rule != "challenge" {
		t.Errorf("record %+v", a)
	}
	if line := w.audit.String(); !strings.Contains(line, `"answers":"`+asked+`"`) {
		t.Errorf("audit %s", line)
	}
	// Whether somebody may come in is asked again, and what is refused is answered.
	for _, tt := range []struct {
		about  string
		change func()
		want   Reason
	}{
		{"disabled", func() { w.dir.state["paul"] = directory.Disabled }, AccountDisabled},
		{"expired", func() { w.dir.state["paul"] = directory.PasswordExpired }, PasswordExpired},
		{"deleted", func() { w.dir.findErr = directory.Rejected{Reason: directory.NoSuchUser} }, NoSuchUser},
		{"another rule", func() { must(t, w.users.SetGroups("paul", []string{"Passwords"})); must(t, w.file.Reload()) }, CodeMissing},
		{"no rule", func() { must(t, w.users.SetGroups("paul", nil)); must(t, w.file.Reload()) }, PolicyNoMatch},
	} {
		w.sleep(30 * time.Second)
		r := w.challenged(t, "paul", w.code(t, "paul", 0))
		tt.change()
		w.login(t, tt.want, r)
		clear(w.dir.state)
		w.dir.findErr = nil
		must(t, w.users.SetGroups("paul", []string{"Challenged"}))
		must(t, w.file.Reload())
		if tt.want != NoSuchUser {
			w.login(t, StateInvalid, r)
		}
	}
}

// TestState: a State that is not the one of this very login, or not any more, is worth
// nothing, and counts as a guess.
func TestState(t *testing.T) {
	for _, tt := range []struct {
		about  string
		change func(w *world, r *Request)
		err    error
	}{
		{"altered", func(_ *world, r *Request) { r.State = flip(r.State, len(r.State)/2) }, seal.ErrOpen},
		{"cut", func(_ *world, r *Request) { r.State = r.State[:len(r.State)-9] }, nil},
		{"empty", func(_ *world, r *Request) { r.State = []byte{} }, seal.ErrFormat},
		{"of another make", func(_ *world, r *Request) { r.State = []byte("\x00\x01\x02") }, seal.ErrFormat},
		{"under another key", func(w *world, r *Request) {
			ring, err := seal.ParseRing([]byte("k1 " + strings.Repeat("B", 42) + "A=\n"))
			must(t, err)
			w.cfg.Ring = ring
		}, seal.ErrOpen},
		{"for another purpose", func(w *world, r *Request) {
			s, err := w.ring.Seal(referencePurpose, "", bytes.Repeat([]byte{1}, stateLen))
			must(t, err)
			r.State = []byte(s)
		}, seal.ErrOpen},
		{"another name", func(_ *world, r *Request) { r.User = "PAUL" }, errStateForeign},
		{"another user", func(_ *world, r *Request) { r.User = "pam" }, errStateForeign},
		{"another client", func(_ *world, r *Request) { r.NAS.Client = "others" }, errStateForeign},
		{"another NAS", func(_ *world, r *Request) { r.NAS.ID = "sw2" }, errStateForeign},
		{"another address of the NAS", func(_ *world, r *Request) { r.NAS.Addr = home }, errStateForeign},
		{"another source", func(_ *world, r *Request) { r.Source = netip.MustParseAddr("198.51.100.8") }, errStateForeign},
		{"another session", func(_ *world, r *Request) { r.SessionID = "p99" }, errStateForeign},
		{"too late", func(w *world, _ *Request) { w.sleep(challengeLife) }, errStateOld},
		{"somebody else by now", func(w *world, _ *Request) { w.dir.rename["paul"] = "pam" }, errStateForeign},
		{"with MS-CHAP-V2", func(w *world, r *Request) {
			s := r.State
			*r = *w.request("paul", password("paul"))
			r.State = s
		}, errStateMethod},
	} {
		t.Run(tt.about, func(t *testing.T) {
			w := carryWorld(t)
			r := w.challenged(t, "paul", w.code(t, "paul", 0))
			good := *r
			tt.change(w, r)
			res := w.login(t, StateInvalid, r)
			if res.ErrorCode != 691 || res.Message != denied || w.last().Err == nil || tt.err != nil && !errors.Is(w.last().Err, tt.err) {
				t.Errorf("%+v, %v", res, w.last().Err)
			}
			user := res.User
			w.dir.rename = map[string]string{}
			if r.Method == MethodPAP {
				if n := w.codeFailures(t, user); n != 1 {
					t.Errorf("%d failures counted for %s", n, user)
				}
			}
			if !errors.Is(tt.err, errStateOld) && w.cfg.Ring == w.ring {
				w.login(t, Permitted, &good) // it is still good for whom it was made
			}
		})
	}
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	if b[i] == 'A' {
		b[i] = 'B'
	} else {
		b[i] = 'A'
	}
	return b
}

// codeFailures is how many wrong codes the shield knows of.
func (w *world) codeFailures(t testing.TB, user string) int {
	t.Helper()
	q := w.cfg.Shield.Ask(user, home)
	must(t, w.Backend.Do(context.Background(), q.Seqs()...))
	return q.Counters().Codes.Failures
}

// A State is good for one answer, right or wrong. One that was accepted is the same when it
// comes again, and opens nothing more.
func TestStateOnce(t *testing.T) {
	w := carryWorld(t)
	code := w.code(t, "paul", 0)
	r := w.challenged(t, "paul", code)
	first := w.login(t, Permitted, r)
	if again := w.login(t, Permitted, r); again.Grant.Addr != first.Grant.Addr {
		t.Errorf("addresses %v and %v", first.Grant.Addr, again.Grant.Addr)
	}
	if n, err := w.sessions.Count(context.Background(), "paul"); n != 1 || err != nil {
		t.Errorf("%d sessions, %v", n, err)
	}
	other := *r
	other.Password = []byte(wrong(code))
	w.login(t, StateInvalid, &other)
	w.sleep(30 * time.Second)
	nowhere := w.pap("paul", password("paul")) // by a NAS that does not tell its dialogues apart
	nowhere.SessionID = ""
	nowhere.State = w.login(t, Challenged, nowhere).State
	nowhere.Password = []byte(w.code(t, "paul", 0))
	w.login(t, Permitted, nowhere)
	w.login(t, StateInvalid, nowhere)
	if !errors.Is(w.last().Err, errStateUsed) {
		t.Errorf("%v", w.last().Err)
	}
	w.sleep(30 * time.Second)
	guess := w.challenged(t, "paul", wrong(w.code(t, "paul", 0)))
	right := *guess
	right.Password = []byte(w.code(t, "paul", 0))
	w.login(t, CodeWrong, guess)
	w.login(t, StateInvalid, &right)
	// Nothing was typed at all.
	none := w.challenged(t, "paul", "")
	w.login(t, CodeMissing, none)
	w.login(t, StateInvalid, none)
	// A code that was used elsewhere.
	w.sleep(time.Minute)
	clear(w.dir.state)
	w.unlock(t, "paul")
	w.login(t, Challenged, w.pap("paul+"+w.code(t, "paul", 0), password("paul"))) // burns it
	again := w.challenged(t, "paul", w.code(t, "paul", 0))
	w.login(t, CodeReplayed, again)
	w.login(t, StateInvalid, again)
}

// unlock forgets what locks a user.
func (w *world) unlock(t testing.TB, user string) {
	t.Helper()
	must(t, w.cfg.Shield.Reset(context.Background(), w.Backend, lockout.What{User: user}))
}

// Guessing by answers is bounded as guessing by logins is.
func TestStateGuessing(t *testing.T) {
	w := carryWorld(t)
	for range 5 {
		w.login(t, CodeWrong, w.challenged(t, "paul", wrong(w.code(t, "paul", 0))))
	}
	w.login(t, CodeLocked, w.challenged(t, "paul", w.code(t, "paul", 0)))
	if w.last().Locked != lockout.ScopeCodes {
		t.Errorf("locked by %v", w.last().Locked)
	}
}

// While the store or the directory is away nothing is used up: another service may know
// better.
func TestStateSilent(t *testing.T) {
	w := carryWorld(t)
	r := w.challenged(t, "paul", w.code(t, "paul", 0))
	w.dir.findErr = directory.Unavailable{Doing: "dial", Err: errors.New("test")}
	w.login(t, DirectoryDown, r)
	w.dir.findErr = nil
	w.broken.after = 0
	w.login(t, StoreDown, r)
	w.broken.after = -1
	w.login(t, Permitted, r)
}

// A ring whose keys have long names makes no State that would not fit.
func TestStateFits(t *testing.T) {
	w := carryWorld(t)
	ring, err := seal.ParseRing([]byte(strings.Repeat("k", 32) + " AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"))
	must(t, err)
	w.cfg.Ring = ring
	w.challenged(t, "paul", "")
}

func TestParseState(t *testing.T) {
	s := state{until: time.UnixMilli(1_770_000_000_123), nonce: [16]byte{1}, dialogue: digestOf("a", "bc"), user: digestOf("u"), decision: newID(time.Now())}
	got, err := parseState(s.append(nil))
	if err != nil || *got != s {
		t.Errorf("%+v, %v", got, err)
	}
	if digestOf("ab", "c") == s.dialogue || digestOf("a", "bc") != s.dialogue {
		t.Error("digests do not tell the parts apart")
	}
}

func FuzzParseState(f *testing.F) {
	f.Add((&state{until: time.UnixMilli(1_770_000_000_123), nonce: [16]byte{1}, decision: newID(time.Now())}).append(nil))
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0xff}, stateLen))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseState(b)
		if err == nil && !bytes.Equal(s.append(nil), b) {
			t.Errorf("%x becomes %x", b, s.append(nil))
		}
	})
}

// service is another service over the same store, with an audit log of its own.
func (w *world) service(t testing.TB) *Decider {
	t.Helper()
	c := w.cfg
	c.Store, c.Metrics = w.Backend.Store, nil
	d, err := New(c)
	must(t, err)
	p, _ := w.Policy()
	must(t, d.SetPolicy(p))
	return d
}
