package authz

import (
	"context"
	"strings"
	"testing"
	"time"

	"postern/authz/session"
	"postern/internal/store"
	"postern/internal/store/storetest"
)

// A NAS whose service falls silent asks another one the same. Here that other one must
// answer as the first did, or would have done, whenever that comes to itself again.

// stuck is a store at whose trip number at (1: the first) a service is frozen, before it
// or behind it, until it is thawed.
type stuck struct {
	store.Store
	at     int
	behind bool
	frozen chan struct{} // closed when it is
	thaw   chan struct{}
}

func (s *stuck) Do(ctx context.Context, seqs ...store.Seq) error {
	s.at--
	if s.at != 0 {
		return s.Store.Do(ctx, seqs...)
	}
	var err error
	if s.behind {
		err = s.Store.Do(ctx, seqs...)
	}
	close(s.frozen)
	<-s.thaw
	if !s.behind {
		err = s.Store.Do(ctx, seqs...)
	}
	return err
}

// freezing is a service that is frozen in its next login at a trip to the store.
func (w *world) freezing(t testing.TB, at int, behind bool) (*Decider, *stuck) {
	t.Helper()
	s := &stuck{Store: w.Backend.Store, at: at, behind: behind, frozen: make(chan struct{}), thaw: make(chan struct{})}
	c := w.cfg
	c.Store, c.Metrics, c.Audit = s, nil, silentAudit{}
	d, err := New(c)
	must(t, err)
	p, _ := w.Policy()
	must(t, d.SetPolicy(p))
	return d, s
}

// dialogues is a login of each kind, as it is when its last request is made. The NAS of
// each tells its dialogues apart.
var dialogues = map[string]func(*testing.T, *world) *Request{
	"code behind the name": func(t *testing.T, w *world) *Request { return w.with(t, "ines", 0) },
	"no code":              func(t *testing.T, w *world) *Request { return w.dial("frei", "frei") },
	"password wrong": func(t *testing.T, w *world) *Request {
		return w.request("frei", "guess")
	},
	"code wrong": func(t *testing.T, w *world) *Request {
		return w.dial("ines+"+wrong(w.code(t, "ines", 0)), "ines")
	},
	"code missing":    func(t *testing.T, w *world) *Request { return w.dial("ines", "ines") },
	"asked to retry":  func(t *testing.T, w *world) *Request { return w.dial("otto", "otto") },
	"into quarantine": func(t *testing.T, w *world) *Request { return w.dial("quin", "quin") },
	"retried with a code": func(t *testing.T, w *world) *Request {
		r := w.dial("otto", "otto")
		w.login(t, RetryAsked, r)
		again := *r
		again.User = "otto+" + w.code(t, "otto", 0)
		again.MSCHAPv2.Response = respond(&again, password("otto"))
		return &again
	},
	"remembered": func(t *testing.T, w *world) *Request {
		w.login(t, Permitted, w.with(t, "ruth", 0))
		return w.dial("ruth", "ruth")
	},
	"to be remembered": func(t *testing.T, w *world) *Request { return w.with(t, "ruth", 0) },
	"PAP, challenged":  func(t *testing.T, w *world) *Request { return w.pap("paul", password("paul")) },
	"PAP, answer to a challenge": func(t *testing.T, w *world) *Request {
		return w.challenged(t, "paul", w.code(t, "paul", 0))
	},
	"PAP, wrong answer": func(t *testing.T, w *world) *Request {
		return w.challenged(t, "paul", wrong(w.code(t, "paul", 0)))
	},
	"PAP, code behind the password": func(t *testing.T, w *world) *Request {
		r := w.pap("pam", password("pam")+w.code(t, "pam", 0))
		r.CodeInPassword = true
		return r
	},
	"PAP, code behind the name": func(t *testing.T, w *world) *Request {
		return w.pap("ines+"+w.code(t, "ines", 0), password("ines"))
	},
}

// sameAnswer compares what a NAS sees.
func sameAnswer(t testing.TB, first, second *Result) {
	t.Helper()
	if first.Verdict != second.Verdict || first.ErrorCode != second.ErrorCode || first.Message != second.Message || first.Retry != second.Retry ||
		first.Grant.Addr != second.Grant.Addr || first.Success != second.Success || first.SendKey != second.SendKey || first.Grant.Filter != second.Grant.Filter {
		t.Errorf("%v (%v) and %v (%v):\n%+v\n%+v", first.Verdict, first.Reason, second.Verdict, second.Reason, first, second)
	}
}

// A service is frozen after its commit: its answer is not sent, or comes when nobody
// waits for it any more. Another one gives the same, a code that is burnt or not.
func TestFrozenAfterCommit(t *testing.T) {
	for about, login := range dialogues {
		t.Run(about, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, b storetest.Backend) {
				w := carryWorldOn(t, b)
				r := login(t, w)
				live := w.live(t, r)
				a, s := w.freezing(t, 2, true)
				late := decideUntil(a, s, r)
				second := w.decide(clone(r))
				close(s.thaw)
				first := <-late
				sameAnswer(t, first, second)
				third := w.service(t).Decide(context.Background(), clone(r)) // and by a third
				sameAnswer(t, first, third)
				want := live
				if first.Verdict == Accept {
					want++
				}
				if got := w.live(t, r); got != want {
					t.Errorf("%d sessions, want %d", got, want)
				}
			})
		})
	}
}

// A service is frozen before its commit, which comes when another one has let the user in
// and the NAS has reported the session. It is that session, and not begun afresh; and one
// that has ended stays so.
func TestFrozenBeforeCommit(t *testing.T) {
	for about, login := range dialogues {
		for _, ended := range []bool{false, true} {
			name := about
			if ended {
				name += ", and ended"
			}
			t.Run(name, func(t *testing.T) {
				w := carryWorld(t)
				r := login(t, w)
				live := w.live(t, r)
				a, s := w.freezing(t, 2, false)
				late := decideUntil(a, s, r)
				second := w.decide(clone(r))
				rep := session.Report{Node: r.NAS.Node(), Acct: r.SessionID}
				if second.Verdict == Accept {
					live++
					_, err := w.sessions.Start(context.Background(), rep)
					must(t, err)
				}
				if second.Verdict == Accept && ended {
					live--
					_, err := w.sessions.Stop(context.Background(), rep)
					must(t, err)
				}
				close(s.thaw)
				first := <-late
				sameAnswer(t, first, second)
				if second.Verdict != Accept {
					return
				}
				if got := w.live(t, r); got != live {
					t.Errorf("%d sessions, want %d", got, live)
				}
				w.sleep(2 * time.Minute) // pending ones are gone
				if live = 1; ended {
					live = 0
				}
				if got := w.live(t, r); got != live {
					t.Errorf("later: %d sessions, want %d", got, live)
				}
				_, err := w.sessions.Sweep(context.Background())
				must(t, err)
				rec, found, err := w.sessions.Get(context.Background(), session.ID(rep.Node, rep.Acct))
				must(t, err)
				if found == ended || found && rec.State != session.Active {
					t.Errorf("found %v: %+v", found, rec)
				}
				if !ended {
					out, err := w.sessions.Touch(context.Background(), rep)
					must(t, err)
					if out.First || out.AddressLost {
						t.Errorf("started again: %+v", out)
					}
					_, err = w.sessions.Stop(context.Background(), rep)
					must(t, err)
				}
				events, err := w.sessions.History(context.Background(), 100)
				must(t, err)
				kinds := map[session.EventKind]int{}
				for _, e := range events {
					if e.ID == session.ID(rep.Node, rep.Acct) {
						kinds[e.Kind]++
					}
				}
				if kinds[session.EventStart] != 1 || kinds[session.EventStop] != 1 {
					t.Errorf("history: %v", kinds)
				}
			})
		}
	}
}

// decideUntil has r decided until the service is frozen, or has made no such trip. The
// result must be taken.
func decideUntil(d *Decider, s *stuck, r *Request) <-chan *Result {
	late, done := make(chan *Result, 1), make(chan struct{})
	go func() { // its end is the result
		late <- d.Decide(context.Background(), clone(r))
		close(done)
	}()
	select {
	case <-s.frozen:
	case <-done:
	}
	return late
}

// live is how many live sessions the user of a request has.
func (w *world) live(t testing.TB, r *Request) int {
	t.Helper()
	name, _, _ := strings.Cut(r.User, "+")
	n, err := w.sessions.Count(context.Background(), name)
	must(t, err)
	return n
}

// clone is the request as it comes to a service: the listener wipes its passwords.
func clone(r *Request) *Request {
	c := *r
	c.Password = append([]byte(nil), r.Password...)
	return &c
}
