package authz

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/authz/session"
	"postern/internal/store"
	"postern/internal/store/storetest"
	"postern/policy"
)

const replacePolicy = `version: 1
pools: {staff: [10.20.0.0/24], tiny: [10.30.0.1]}
rules:
  - {id: plant, when: {group: Plant}, then: {permit: {factor: none, pool: tiny, sessions: {max: 1, on_limit: replace}}}}
  - {id: free, then: {permit: {factor: none, pool: staff, sessions: {max: 1, on_limit: replace}}}}
`

// replaceWorld is a world whose users have one session each, the newest.
func replaceWorld(t *testing.T, b storetest.Backend) *world {
	t.Helper()
	w := newWorldOn(t, b)
	w.setReplace(t, replacePolicy)
	return w
}

func (w *world) setReplace(t *testing.T, src string) {
	t.Helper()
	p, err := policy.Load("policy.yaml", []byte(src))
	must(t, err)
	must(t, w.SetPolicy(p))
}

// up logs a user in, and has the NAS report the session.
func (w *world) up(t *testing.T, user string) (id string, addr netip.Addr) {
	t.Helper()
	r := w.request(user, password(user))
	res := w.login(t, Permitted, r)
	if _, err := w.sessions.Start(context.Background(), session.Report{Node: "gw1", Acct: r.SessionID, Addr: res.Grant.Addr}); err != nil {
		t.Fatal(err)
	}
	return "gw1/" + r.SessionID, res.Grant.Addr
}

// wished are the sessions that are to end, and why.
func (w *world) wished(t *testing.T) map[string]session.Wish {
	t.Helper()
	names, err := w.sessions.Wishes(context.Background())
	must(t, err)
	all := map[string]session.Wish{}
	for _, name := range names {
		wish, rec, found, err := w.sessions.Wish(context.Background(), name)
		must(t, err)
		if found && rec.ID != "" {
			all[rec.ID] = wish
		}
	}
	return all
}

func (w *world) stop(t *testing.T, id string) {
	t.Helper()
	node, acct, _ := strings.Cut(id, "/")
	if _, err := w.sessions.Stop(context.Background(), session.Report{Node: node, Acct: acct, Cause: 6}); err != nil {
		t.Error(err)
	}
}

// The newer session is let in, the older one is asked to end, and audit log and history
// say why.
func TestReplace(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		w := replaceWorld(t, b)
		ctx := context.Background()
		first, _ := w.up(t, "carol")
		if rec := w.last(); rec.Replaced != nil {
			t.Errorf("%+v", rec)
		}
		w.sleep(5 * time.Millisecond)
		second, _ := w.up(t, "carol")
		if rec := w.last(); !slices.Equal(rec.Replaced, []string{first}) || !strings.Contains(w.audit.String(), `"replaced":["`+first+`"]`) {
			t.Errorf("%q", rec.Replaced)
		}
		wish := w.wished(t)
		if x := wish[first]; len(wish) != 1 || x.Reason != "replaced" || x.Detail != "by session "+second || x.Text != "Replaced by a newer connection" || x.Rule != "free" {
			t.Errorf("%+v", wish)
		}
		// Its NAS does it. The same limit now has one place taken, by the newer session.
		w.sleep(5 * time.Millisecond) // events of one have no order
		w.stop(t, first)
		events, err := w.sessions.History(ctx, 10)
		must(t, err)
		if e := events[len(events)-1]; e.Kind != session.EventStop || e.ID != first || e.Why != "replaced" || e.WhyDetail != "by session "+second {
			t.Errorf("%+v", e)
		}
		if n, err := w.sessions.Count(ctx, "carol"); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		w.sleep(5 * time.Millisecond)
		w.stop(t, second)
		if e, err := w.sessions.History(ctx, 1); err != nil || e[0].Why != "" {
			t.Errorf("%+v, %v", e, err)
		}
	})
}

// Many logins at once: as many stay as may, each replaces another session, and all that
// lost their places are asked to end.
func TestReplaceTogether(t *testing.T) {
	for _, most := range []int{1, 2} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, b storetest.Backend) {
				w, services := servicesOn(t, b)
				p, err := policy.Load("policy.yaml", []byte(strings.ReplaceAll(replacePolicy, "max: 1", fmt.Sprint("max: ", most))))
				must(t, err)
				for _, d := range services {
					must(t, d.SetPolicy(p))
				}
				const n = 24
				requests := make([]*Request, n)
				for i := range requests {
					requests[i] = w.request("carol", password("carol"))
				}
				got := together(n, services, func(i int, d *Decider) Reason { return d.Decide(context.Background(), requests[i]).Reason })
				if got[Permitted]+got[TooManySessions] != n || got[Permitted] < most {
					t.Errorf("%v", got)
				}
				live, err := w.sessions.ByUser(context.Background(), "carol")
				must(t, err)
				if len(live) != got[Permitted] || len(live) > most+most+3 {
					t.Errorf("%d live of %d let in", len(live), got[Permitted])
				}
				wish, stay := w.wished(t), 0
				for _, rec := range live {
					if wish[rec.ID].Reason == "" {
						stay++
					}
				}
				if stay != most {
					t.Errorf("%d of %d stay, want %d", stay, len(live), most)
				}
			})
		})
	}
}

// An account with an address of its own: the login waits until the older session has
// given it back.
func TestReplaceWaitsForAddress(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		w := replaceWorld(t, b)
		first, addr := w.up(t, "fixed")
		done := make(chan struct{})
		go func() { // its NAS; waited for below
			defer close(done)
			for range 200 {
				time.Sleep(5 * time.Millisecond)
				if w.wished(t)[first].Reason != "" {
					w.stop(t, first)
					return
				}
			}
		}()
		res := w.login(t, Permitted, w.request("fixed", password("fixed")))
		<-done
		if res.Grant.Addr != addr {
			t.Errorf("%v, want %v", res.Grant.Addr, addr)
		}
	})
}

// A NAS that does not end the older session: nobody else gets its address.
func TestReplaceWithoutAddress(t *testing.T) {
	w := replaceWorld(t, storetest.Embedded(t))
	first, addr := w.up(t, "plc1")
	began := time.Now()
	w.login(t, PoolExhausted, w.request("plc1", password("plc1")))
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("%v: longer than a NAS waits", took)
	}
	if live, err := w.sessions.ByUser(context.Background(), "plc1"); err != nil || len(live) != 1 || live[0].ID != first {
		t.Errorf("%+v, %v", live, err)
	}
	if w.wished(t)[first].Reason != "replaced" {
		t.Errorf("%+v", w.wished(t))
	}
	w.stop(t, first)
	if res := w.login(t, Permitted, w.request("plc1", password("plc1"))); res.Grant.Addr != addr {
		t.Errorf("%v", res.Grant.Addr)
	}
}

// A login that comes to nothing gives the place back that it took.
func TestReplaceRestores(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		w := replaceWorld(t, b)
		w.up(t, "plc1") // has the only address
		must(t, w.users.SetGroups("carol", []string{"NoCode"}))
		first, _ := w.up(t, "carol") // of another pool
		w.setReplace(t, strings.Replace(replacePolicy, "group: Plant", "group: NoCode", 1))
		w.login(t, PoolExhausted, w.request("carol", password("carol")))
		if got := w.wished(t); len(got) != 0 {
			t.Errorf("%+v", got)
		}
		w.setReplace(t, strings.ReplaceAll(replacePolicy, "replace", "refuse"))
		w.login(t, TooManySessions, w.request("carol", password("carol")))
		w.stop(t, first)
		w.login(t, Permitted, w.request("carol", password("carol")))
	})
}

// A service that ends between taking a place and saying so: the session without a place is
// found by any report about the user.
func TestReplaceInterrupted(t *testing.T) {
	for _, who := range []string{"older", "newer"} {
		t.Run(who, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, b storetest.Backend) {
				w := replaceWorld(t, b)
				first, _ := w.up(t, "carol")
				w.sleep(5 * time.Millisecond)
				w.broken.after = 2 // load, commit
				r := w.request("carol", password("carol"))
				w.login(t, StoreDown, r)
				w.broken.after = -1
				if got := w.wished(t); len(got) != 0 {
					t.Errorf("%+v", got)
				}
				_, acct, _ := strings.Cut(first, "/")
				if who == "newer" {
					acct = r.SessionID
				}
				book := NewBookkeeper(w.sessions, nil, slog.New(slog.DiscardHandler))
				must(t, book.Account(context.Background(), &Accounting{Received: w.now, Status: AcctInterim, NAS: r.NAS, SessionID: acct}))
				got := w.wished(t)
				if len(got) != 1 || got[first].Reason != "replaced" {
					t.Errorf("%+v", got)
				}
			})
		})
	}
}

// What the previous release wrote down is still read, and has its place: a session without
// a note of when it was opened is the oldest.
func TestReplaceBeforeUpgrade(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		w := replaceWorld(t, b)
		first, _ := w.up(t, "carol")
		forgetSince(t, b, "carol", first)
		w.sleep(5 * time.Millisecond)
		second, _ := w.up(t, "carol")
		if got := w.wished(t); len(got) != 1 || got[first].Detail != "by session "+second {
			t.Errorf("%+v", got)
		}
	})
}

// forgetSince makes a session one that a service of before has opened.
func forgetSince(t *testing.T, b storetest.Backend, user, id string) {
	t.Helper()
	must(t, b.Do(context.Background(), store.Seq{&store.Leave{Key: store.UserSince(user), Member: id}}))
}
