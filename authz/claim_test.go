package authz

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"postern/authz/session"
	"postern/policy"
)

// pooled puts a policy in force that gives NoCode these pools.
func (w *world) pooled(t *testing.T, pools, given string) {
	t.Helper()
	p, err := policy.Load("policy.yaml", []byte("version: 1\npools: {"+pools+"}\nrules:\n"+
		"  - {id: free, when: {group: [NoCode, Plant]}, then: {permit: {factor: none, pool: "+given+"}}}\n"))
	must(t, err)
	must(t, w.SetPolicy(p))
}

// The address is of the first of the rule's pools that has one; record, audit line and
// accounting know which.
func TestPoolsInOrder(t *testing.T) {
	w := newWorld(t)
	w.pooled(t, "first: [10.40.0.1], second: [10.40.1.1], third: [10.40.2.1]", "[first, second, third]")
	ctx := context.Background()
	var last *Request
	for i, want := range []struct{ user, addr, pool string }{
		{"carol", "10.40.0.1", "first"}, {"plc1", "10.40.1.1", "second"}, {"plc2", "10.40.2.1", "third"},
	} {
		last = w.request(want.user, password(want.user))
		res := w.login(t, Permitted, last)
		rec, found, err := w.sessions.Get(ctx, session.ID("gw1", last.SessionID))
		if err != nil || !found || res.Grant.Addr.String() != want.addr || rec.Pool != want.pool || w.last().Pool != want.pool {
			t.Errorf("%d: %v of %q, the audit line says %q", i, res.Grant.Addr, rec.Pool, w.last().Pool)
		}
	}
	before := w.broken.trips
	r := w.request("carol", password("carol"))
	w.login(t, PoolExhausted, r)
	t.Logf("%d trips when all pools are exhausted", w.broken.trips-before)
	if _, found, _ := w.sessions.Get(ctx, session.ID("gw1", r.SessionID)); found {
		t.Error("a session without an address was left behind")
	}
	// The end of plc2's session frees the third pool's.
	b := NewBookkeeper(w.sessions, nil, slog.New(slog.DiscardHandler))
	must(t, b.Account(ctx, &Accounting{Received: w.now, Status: AcctStop, NAS: last.NAS, SessionID: last.SessionID}))
	if res := w.login(t, Permitted, w.request("carol", password("carol"))); res.Grant.Addr != netip.MustParseAddr("10.40.2.1") {
		t.Errorf("%v", res.Grant.Addr)
	}
}

// A pool of a site is for its NAS, by identifier or address, and a shared one for all.
func TestPoolsOfSites(t *testing.T) {
	w := newWorld(t)
	w.pooled(t, "munich: {ranges: [10.40.0.0/29], nas: [GW1, gw2]}, berlin: {ranges: [10.40.1.0/29], nas: 198.51.100.0/28}, shared: [10.40.2.0/29]",
		"[munich, berlin, shared]")
	at := func(id, addr string) *Request {
		r := w.request("plc1", password("plc1"))
		r.NAS.ID, r.NAS.Addr = id, netip.MustParseAddr(addr)
		return r
	}
	for _, want := range []struct{ id, nas, addr string }{
		{"gw1", "192.0.2.10", "10.40.0.1"}, {"gw9", "198.51.100.3", "10.40.1.1"}, {"gw9", "::ffff:198.51.100.3", "10.40.1.2"}, {"gw9", "198.51.100.16", "10.40.2.1"},
		{strings.Repeat("x", 600), "192.0.2.10", "10.40.2.2"}, {"", "192.0.2.10", "10.40.2.3"},
	} {
		if res := w.login(t, Permitted, at(want.id, want.nas)); res.Grant.Addr.String() != want.addr {
			t.Errorf("at %.20s %s: %v, want %s", want.id, want.nas, res.Grant.Addr, want.addr)
		}
	}
	w.pooled(t, "munich: {ranges: [10.40.0.0/29], nas: gw1}", "munich")
	w.login(t, PoolExhausted, at("gw2", "192.0.2.10"))
	if err := w.last().Err; err == nil || !strings.Contains(err.Error(), "none of the rule's pools is for this NAS") {
		t.Errorf("the audit line says %v", err)
	}
}

// Routes are the rule's and the account's own, but for those into a pool.
func TestRoutesOfAccounts(t *testing.T) {
	w := newWorld(t)
	w.pooled(t, "some: [10.40.0.0/24]", "some")
	w.dir.routes = []netip.Prefix{netip.MustParsePrefix("10.50.7.0/24"), netip.MustParsePrefix("10.40.0.128/25")}
	res := w.login(t, Permitted, w.request("carol", password("carol")))
	if len(res.Grant.Routes) != 1 || res.Grant.Routes[0] != w.dir.routes[0] {
		t.Errorf("routes %v", res.Grant.Routes)
	}
	if err := w.last().Err; err == nil || !strings.Contains(err.Error(), `pool "some": 10.40.0.1-10.40.0.254 overlaps 10.40.0.128/25`) {
		t.Errorf("the audit line says %v", err)
	}
}

// One attempt that two services let in has one address, though the pools have room again
// in between.
func TestPoolsOfOneAttempt(t *testing.T) {
	w := newWorld(t)
	w.pooled(t, "first: [10.40.0.1], second: [10.40.1.0/29]", "[first, second]")
	ctx := context.Background()
	other := w.service(t)
	holder := w.request("carol", password("carol"))
	w.login(t, Permitted, holder)
	r := w.request("plc1", password("plc1"))
	one := w.login(t, Permitted, clone(r))
	b := NewBookkeeper(w.sessions, nil, slog.New(slog.DiscardHandler))
	must(t, b.Account(ctx, &Accounting{Received: w.now, Status: AcctStop, NAS: holder.NAS, SessionID: holder.SessionID}))
	two := other.Decide(ctx, clone(r))
	if one.Grant.Addr.String() != "10.40.1.1" || two.Grant.Addr != one.Grant.Addr {
		t.Errorf("%v, and by the other service %v (%v)", one.Grant.Addr, two.Grant.Addr, two.Reason)
	}
	_, pools := w.Policy()
	usage, err := pools.Usage(ctx, w.Backend)
	must(t, err)
	if usage[0].Used != 0 || usage[1].Used != 1 {
		t.Errorf("leased: %+v", usage)
	}
}
