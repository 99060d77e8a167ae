package filter

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"
)

// A lease that is over takes nothing away, and changes nothing.
func TestLeases(t *testing.T) {
	w := newWorld(t)
	table := open(t, config())
	old := login(t, table, Client{Addr: alice})
	last := login(t, table, Client{Addr: alice, Filter: "x", Rules: rules(t, "permit in udp from assigned to any 1")})
	if err := table.Remove(old); err != nil {
		t.Error(err)
	}
	if err := table.Change(old, Client{Addr: alice}); !errors.Is(err, ErrStale) {
		t.Errorf("Change of an old lease: %v", err)
	}
	if err := table.Change(last, Client{Addr: bob}); err == nil {
		t.Error("a lease for another address")
	}
	w.flows(udp(alice, 1, server, 1), w.tun, w.lan)
	w.drops(table, udp(alice, 1, server, 2), w.tun, "denied.x")
	for range 2 {
		if err := table.Remove(last); err != nil {
			t.Error(err)
		}
	}
	w.drops(table, udp(alice, 1, server, 1), w.tun, countNoLease)
	for _, l := range []Lease{{}, last, {addr: bob, generation: 1}} {
		if err := table.Remove(l); err != nil {
			t.Error(err)
		}
		if err := table.Change(l, Client{Addr: alice}); !errors.Is(err, ErrStale) {
			t.Errorf("Change of no lease: %v", err)
		}
	}
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := table.Set(Client{Addr: alice}); !errors.Is(err, ErrClosed) {
		t.Errorf("Set after Close: %v", err)
	}
	for _, err := range []error{table.Remove(last), table.Change(last, Client{Addr: alice}), table.Apply(config()), table.Verify()} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}

// Logins that bring the same rules under the same name share their chains.
func TestSharedChains(t *testing.T) {
	newWorld(t)
	table := open(t, config())
	empty := ruleset(t)
	one, two := rules(t, "permit in ip from assigned to 10.20.0.0/16"), rules(t, "permit in ip from assigned to 10.21.0.0/16")
	chains := func(want int) {
		t.Helper()
		if len(table.contents) != want {
			t.Errorf("%d filters, want %d", len(table.contents), want)
		}
		if err := table.Verify(); err != nil || table.metric.repairs.Load() != 0 {
			t.Errorf("%v, %d repairs", err, table.metric.repairs.Load())
		}
	}
	a := login(t, table, Client{Addr: nth(1), Filter: "x", Rules: one})
	b := login(t, table, Client{Addr: nth(2), Filter: "x", Rules: one})
	chains(1)
	c := login(t, table, Client{Addr: nth(3), Filter: "x", Rules: two})
	d := login(t, table, Client{Addr: nth(4), Filter: "y", Rules: one})
	chains(3)
	if err := table.Change(b, Client{Addr: nth(2), Filter: "x", Rules: two}); err != nil {
		t.Fatal(err)
	}
	if err := table.Remove(c); err != nil {
		t.Fatal(err)
	}
	chains(3)
	for i, l := range []Lease{a, b, d} {
		if err := table.Remove(l); err != nil {
			t.Fatal(err)
		}
		chains(2 - i)
	}
	if got := withoutCounters(ruleset(t)); got != withoutCounters(empty) {
		t.Errorf("table\n%s\nwant\n%s", got, empty)
	}
	// The counters stay, three names' worth of them: what they count does not go back.
	if n := len(values(t, table)); n != 9+4 {
		t.Errorf("%d counters", n)
	}
}

// A login with an unknown filter is refused and leaves nothing.
func TestRefusedLogin(t *testing.T) {
	newWorld(t)
	cfg := config()
	cfg.Filters = map[string][]Rule{"sales": nil}
	table := open(t, cfg)
	l := login(t, table, Client{Addr: alice, Filter: "sales"})
	want := ruleset(t)
	for _, c := range []Client{
		{Addr: alice, Filter: "Sales"},
		{Addr: alice, Filter: Quarantine},
		{Addr: alice, Filter: "x", Rules: []Rule{{}}},
		{Addr: netip.Addr{}},
	} {
		if _, err := table.Set(c); err == nil {
			t.Errorf("%+v was taken", c)
		}
		if err := table.Change(l, c); err == nil {
			t.Errorf("change to %+v was taken", c)
		}
	}
	if got := ruleset(t); got != want {
		t.Errorf("table\n%s\nwant\n%s", got, want)
	}
	// There is an end to different filters.
	for i := range maxFilters - 1 {
		table.contents[fmt.Sprint(i)] = &content{}
	}
	if _, err := table.Set(Client{Addr: bob, Filter: "x", Rules: rules(t, "permit in ip from assigned to any")}); err == nil {
		t.Error("one filter too many")
	}
	for i := range maxFilters - 1 {
		delete(table.contents, fmt.Sprint(i))
	}
}

// Many at the same time, on the same addresses, with the same and other filters: in
// the end the kernel has what the Table thinks.
func TestConcurrentUse(t *testing.T) {
	newWorld(t)
	cfg := full(t)
	table := open(t, cfg)
	before := runtime.NumGoroutine()
	kinds := []func(netip.Addr) Client{
		func(a netip.Addr) Client { return Client{Addr: a} },
		func(a netip.Addr) Client { return Client{Addr: a, Filter: "sets"} },
		func(a netip.Addr) Client { return Client{Addr: a, Filter: "unknown"} },
		func(a netip.Addr) Client {
			return Client{Addr: a, Quarantine: true, DNS: []netip.Addr{server, printer}}
		},
		func(a netip.Addr) Client { return Client{Addr: a, DNS: []netip.Addr{lanSelf, printer}} },
		func(a netip.Addr) Client { return Client{Addr: a, Filter: "x", Rules: cfg.Filters["filter1"]} },
		func(a netip.Addr) Client {
			return Client{Addr: a, Filter: "sets", Routes: networks("10.50.7.0/24", "10.51.0.0/16"), Turn: uint64(a.As4()[3] % 3)}
		},
		func(a netip.Addr) Client {
			return Client{Addr: a, Quarantine: true, DNS: []netip.Addr{server}, Routes: networks("10.50.7.0/24", "10.52.1.1/32"), Turn: 2}
		},
		func(a netip.Addr) Client { return Client{Addr: a, Filter: "x", Rules: cfg.Filters["filter2"]} },
	}
	var wg sync.WaitGroup
	for worker := range 16 {
		wg.Go(func() {
			var mine []Lease
			for i := range 60 {
				c := kinds[(i+worker)%len(kinds)](nth((i * 7 % 20)))
				switch l, err := table.Set(c); {
				case err == nil:
					mine = append(mine, l)
				case !errors.Is(err, ErrUnknownFilter):
					t.Errorf("Set %+v: %v", c, err)
				}
				if i%3 == 0 && len(mine) > 0 {
					l := mine[0]
					c := kinds[i%2](l.addr)
					if err := table.Change(l, c); err != nil && !errors.Is(err, ErrStale) {
						t.Errorf("Change %+v: %v", c, err)
					}
				}
				if i%2 == 0 && len(mine) > 0 {
					if err := table.Remove(mine[0]); err != nil {
						t.Error(err)
					}
					mine = mine[1:]
				}
				if i%20 == worker {
					if err := table.Apply(cfg); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if err := table.Verify(); err != nil || table.metric.repairs.Load() != 0 {
		t.Errorf("%v, %d repairs", err, table.metric.repairs.Load())
	}
	users := 0
	for _, c := range table.contents {
		users += c.users
	}
	with := 0
	for _, e := range table.clients {
		if e.content != nil {
			with++
		}
	}
	if users != with {
		t.Errorf("filters have %d users, clients have %d filters", users, with)
	}
	if err := table.Close(); err != nil {
		t.Error(err)
	}
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, were %d before", runtime.NumGoroutine(), before)
		}
	}
}
