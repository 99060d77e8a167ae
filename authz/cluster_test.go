package authz

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"postern/authz/session"
	"postern/internal/store/storetest"
	"postern/policy"
)

// servicesOn is two services over one store.
func servicesOn(t *testing.T, b storetest.Backend) (*world, []*Decider) {
	t.Helper()
	w := carryWorldOn(t, b)
	// The test's own directory and audit log are for one login at a time.
	w.cfg.Directory, w.cfg.Audit = w.dir.Directory, silentAudit{}
	return w, []*Decider{w.service(t), w.service(t)}
}

// together runs f n times at once, in turn on each service, and counts the reasons.
func together(n int, services []*Decider, f func(i int, d *Decider) Reason) map[Reason]int {
	reasons := make([]Reason, n)
	var wg sync.WaitGroup
	ready := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-ready
			reasons[i] = f(i, services[i%len(services)])
		})
	}
	close(ready)
	wg.Wait()
	count := map[Reason]int{}
	for _, r := range reasons {
		count[r]++
	}
	return count
}

// Acceptance of the whole: one code, a hundred logins at once on two services, one is
// let in.
func TestOneCodeOnTwoServices(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		w, services := servicesOn(t, b)
		const n = 100
		requests := make([]*Request, n)
		for i := range requests {
			requests[i] = w.with(t, "ines", 0)
			requests[i].Source = netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
		}
		got := together(n, services, func(i int, d *Decider) Reason { return d.Decide(context.Background(), requests[i]).Reason })
		if got[Permitted] != 1 || got[CodeReplayed] != n-1 {
			t.Errorf("%v", got)
		}
		if live, err := w.sessions.Count(context.Background(), "ines"); err != nil || live != 1 {
			t.Errorf("%d sessions, %v", live, err)
		}
	})
}

// One code, given at once for a login, in the portal for a session, and to sign in.
func TestOneCodeForOneThing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		w, services := servicesOn(t, b)
		rec, _ := w.heldSilently(t, services[0], "ruth")
		code := w.code(t, "ruth", 0)
		const n = 30
		requests := make([]*Request, n)
		for i := range requests {
			requests[i] = w.dial("ruth+"+code, "ruth")
		}
		got := together(n, services, func(i int, d *Decider) Reason {
			switch i % 3 {
			case 0:
				return d.Decide(context.Background(), requests[i]).Reason
			case 1:
				return d.StepUp(context.Background(), StepUp{Session: rec.ID, User: "ruth", Code: code, From: phone}).Reason
			}
			return d.SignIn(context.Background(), SignIn{Name: "ruth", Password: []byte(password("ruth")), Code: code, From: phone}).Reason
		})
		if got[Permitted] != 1 || got[Permitted]+got[CodeReplayed]+got[NotQuarantined] != n {
			t.Errorf("%v", got)
		}
	})
}

// heldSilently is held without the world's own audit log.
func (w *world) heldSilently(t *testing.T, d *Decider, user string) (session.Record, *Request) {
	t.Helper()
	r := w.dial(user, user)
	if res := d.Decide(context.Background(), r); res.Reason != Quarantined {
		t.Fatal(res.Reason)
	}
	return w.record(t, r), r
}

// One State, a hundred answers at once, right and wrong ones: one is looked at, and what
// is that one again, as a NAS asks another service, opens the same session.
func TestOneAnswerOnTwoServices(t *testing.T) {
	for _, right := range []bool{true, false} {
		t.Run(fmt.Sprint(right), func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, b storetest.Backend) {
				w, services := servicesOn(t, b)
				first := w.pap("paul", password("paul"))
				res := services[0].Decide(context.Background(), first)
				if res.Reason != Challenged {
					t.Fatal(res.Reason)
				}
				code := w.code(t, "paul", 0)
				const n = 100
				got := together(n, services, func(i int, d *Decider) Reason {
					r := *first
					r.State, r.Password = res.State, []byte(code)
					if !right && i%2 == 0 {
						r.Password = []byte(wrong(code))
					}
					return d.Decide(context.Background(), &r).Reason
				})
				refused := n - got[Permitted] - got[CodeWrong]
				switch {
				case right && got[Permitted] != n,
					got[CodeWrong] > 1 || got[CodeWrong] == 1 && got[Permitted] > 0,
					got[CodeWrong] == 0 && got[Permitted] == 0,
					got[StateInvalid]+got[CodeLocked]+got[CodeReplayed]+got[LockedOut] != refused:
					t.Errorf("%v", got)
				}
				if live, err := w.sessions.Count(context.Background(), "paul"); err != nil || live != min(got[Permitted], 1) {
					t.Errorf("%d sessions, %v", live, err)
				}
			})
		})
	}
}

// Two step-ups of one session, with what can be given twice at once: it is released
// once.
func TestOneReleaseOnTwoServices(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		w, services := servicesOn(t, b)
		rec, _ := w.heldSilently(t, services[0], "ruth")
		const n = 20
		got := together(n, services, func(_ int, d *Decider) Reason {
			return d.StepUp(context.Background(), StepUp{Session: rec.ID, User: "ruth", WebAuthn: true, From: phone}).Reason
		})
		if got[Permitted] != 1 || got[NotQuarantined] != n-1 {
			t.Errorf("%v", got)
		}
		names, err := w.sessions.Wishes(context.Background())
		if err != nil || len(names) != 1 {
			t.Errorf("wishes %q, %v", names, err)
		}
	})
}

// Remembered factors are used by many logins together, and one that is revoked among
// them opens none that began afterwards.
func TestGrantsOnTwoServices(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		w, services := servicesOn(t, b)
		if res := services[0].Decide(context.Background(), w.with(t, "ruth", 0)); res.Reason != Permitted {
			t.Fatal(res.Reason)
		}
		const n = 40
		requests := make([]*Request, 2*n)
		for i := range requests {
			requests[i] = w.dial("ruth", "ruth")
		}
		got := together(n, services, func(i int, d *Decider) Reason { return d.Decide(context.Background(), requests[i]).Reason })
		if got[Permitted] != n {
			t.Errorf("%v", got)
		}
		got = together(n+1, services, func(i int, d *Decider) Reason {
			if i == n {
				if k, err := w.keeper().RevokeAll(context.Background(), "ruth"); k != 1 || err != nil {
					t.Errorf("%d, %v", k, err)
				}
				return ReasonUnknown
			}
			return d.Decide(context.Background(), requests[n+i]).Reason
		})
		if got[Permitted]+got[Quarantined] != n {
			t.Errorf("%v", got)
		}
		if res := services[1].Decide(context.Background(), w.dial("ruth", "ruth")); res.Reason != Quarantined {
			t.Errorf("after it was revoked: %v", res.Reason)
		}
	})
}

// Logins from many places at once are all remembered.
func TestGivingOnTwoServices(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		w, services := servicesOn(t, b)
		const n = 12
		var recs []session.Record
		for i := range n {
			r := w.dial("ruth", "ruth")
			r.Source = netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
			if res := services[0].Decide(context.Background(), r); res.Reason != Quarantined {
				t.Fatal(res.Reason)
			}
			recs = append(recs, w.record(t, r))
		}
		got := together(n, services, func(i int, d *Decider) Reason {
			return d.StepUp(context.Background(), StepUp{Session: recs[i].ID, User: "ruth", WebAuthn: true}).Reason
		})
		list, err := w.keeper().List(context.Background(), "ruth")
		if got[Permitted] != n || err != nil || len(list) != n {
			t.Errorf("%v, %d remembered, %v", got, len(list), err)
		}
	})
}

// A policy that changes between the login and the step-up decides about the latter.
func TestPolicyOfTheOtherService(t *testing.T) {
	w, services := servicesOn(t, storetest.Embedded(t))
	rec, _ := w.heldSilently(t, services[0], "ruth")
	p, err := policy.Load("p", []byte("version: 1\nrules: [{id: shut, then: deny}]\n"))
	must(t, err)
	must(t, services[1].SetPolicy(p))
	if res := services[1].StepUp(context.Background(), StepUp{Session: rec.ID, User: "ruth", WebAuthn: true}); res.Reason != PolicyDenied {
		t.Errorf("%v", res.Reason)
	}
	if res := services[0].StepUp(context.Background(), StepUp{Session: rec.ID, User: "ruth", WebAuthn: true}); res.Reason != Permitted {
		t.Errorf("%v", res.Reason)
	}
}
