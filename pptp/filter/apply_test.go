package filter

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// variants are configurations that differ in all that Apply can change, and permit
// and deny alice the same: server's ports 1000 to 1999, but not those of 10.20.66.0/24.
func variants(t testing.TB) []Config {
	one := config()
	one.ClientToClient = true
	one.Filters = map[string][]Rule{"sales": rules(t, "deny in ip from assigned to @bad",
		"permit in udp from assigned to @servers 1000-1999", "permit out udp from 10.20.0.5 to assigned 7")}
	one.Sets = map[string][]netip.Prefix{"servers": {prefix("10.20.0.0/16")}, "bad": {prefix("10.20.66.0/24")}}
	one.Allowed = []netip.Prefix{prefix("203.0.113.0/24")}
	two := full(t)
	two.GREPerSource, two.Masquerade = 1_000_000, false
	two.Filters["sales"] = rules(t, "deny in udp from assigned to @servers 5000", "deny in ip from assigned to @bad", "permit in tcp from assigned to @servers",
		"permit in udp from assigned to 10.20.0.0/16 1000-1499,1500-1999", "permit out udp from @servers to assigned 7")
	two.Sets["servers"] = []netip.Prefix{prefix("10.20.0.5/32"), prefix("10.20.9.0/24")}
	two.Sets["bad"] = []netip.Prefix{prefix("10.20.64.0/23"), prefix("10.20.66.0/25"), prefix("10.20.66.128/25")}
	three := two
	three.Filters = map[string][]Rule{"sales": rules(t, "deny in ip from assigned to 10.20.66.0/24", "deny in ip from assigned to 10.20.99.0/24",
		"permit in udp from assigned to any 1000-1999,2500-2600", "permit out udp from any to assigned 7")}
	three.Sets, three.CaptivePort, three.Portal, three.Allowed = nil, 0, nil, nil
	return []Config{one, two, three}
}

// Not one packet is lost, and none gets through that should not, while the
// configuration changes all the time.
func TestApplyUnderTraffic(t *testing.T) {
	w := newWorld(t)
	cfgs := variants(t)
	table := open(t, cfgs[0])
	login(t, table, Client{Addr: alice, Filter: "sales"})
	login(t, table, Client{Addr: bob, Quarantine: true, DNS: []netip.Addr{printer}})

	stop, applied := make(chan struct{}), 0
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			applied++
			if err := table.Apply(cfgs[applied%len(cfgs)]); err != nil {
				t.Error(err)
				return
			}
		}
	})
	// A round is less than the devices' queues take.
	const rounds, round = 150, 100
	burst := func(from, to *port, packets, never []packet) {
		t.Helper()
		waiting := map[uint16]bool{}
		for i, p := range packets {
			waiting[p.sport] = true
			from.send(t, p.bytes())
			from.send(t, never[i%len(never)].bytes())
		}
		for len(waiting) > 0 {
			q := to.receive(t, fmt.Sprintf("a round, which lacks %v", waiting), func(q packet) bool { return q.proto == UDP })
			if !waiting[q.sport] {
				t.Fatalf("%v got through, or twice", q)
			}
			delete(waiting, q.sport)
		}
	}
	var there, back []packet
	for i := range uint16(round) {
		there = append(there, udp(alice, 100+i, server, 1000+i*9))
		back = append(back, udp(server, 20000+i, alice, 7))
	}
	for range rounds {
		burst(w.tun, w.lan, there, []packet{udp(alice, 1, server, 5000), udp(addr("10.9.0.99"), 2, server, 1001), udp(bob, 3, server, 1001), udp(alice, 4, addr("10.20.66.200"), 1001)})
		w.wan.send(t, grePacket(website, wanSelf).bytes())
		burst(w.lan, w.tun, back, []packet{udp(server, 4, alice, 8), udp(printer, 53, bob, 9)})
	}
	close(stop)
	wg.Wait()
	t.Logf("%d packets each way during %d changes", rounds*round, applied)
	if applied < 3 {
		t.Errorf("only %d changes", applied)
	}
	if v := value(t, table, countSource) + value(t, table, countGRE); v != 0 {
		t.Errorf("%d GRE packets refused", v)
	}
	if v := value(t, table, "accepted.sales"); v != 2*rounds*round {
		t.Errorf("%d packets accepted, want %d", v, 2*rounds*round)
	}
	if err := table.Verify(); err != nil || table.metric.repairs.Load() != 0 {
		t.Errorf("%v, %d repairs", err, table.metric.repairs.Load())
	}
}

// After Apply the table is what Open would have made.
func TestApplyIsOpen(t *testing.T) {
	newWorld(t)
	cfgs := append(variants(t), minimal(), full(t))
	var want []string
	for _, cfg := range cfgs {
		table := open(t, cfg)
		login(t, table, Client{Addr: bob, Quarantine: true, DNS: []netip.Addr{server}})
		want = append(want, sorted(withoutCounters(ruleset(t))))
		if err := table.Close(); err != nil {
			t.Fatal(err)
		}
	}
	table := open(t, cfgs[0])
	login(t, table, Client{Addr: bob, Quarantine: true, DNS: []netip.Addr{server}})
	for _, from := range []int{1, 2, 3, 4, 0, 2, 1, 4, 3, 0, 4, 2, 0, 3, 1} {
		if err := table.Apply(cfgs[from]); err != nil {
			t.Fatal(err)
		}
		if got := sorted(withoutCounters(ruleset(t))); got != want[from] {
			t.Fatalf("to %d: table\n%s\nwant\n%s", from, got, want[from])
		}
		if err := table.Verify(); err != nil || table.metric.repairs.Load() != 0 {
			t.Fatalf("to %d: %v, %d repairs", from, err, table.metric.repairs.Load())
		}
	}
}

var change = regexp.MustCompile(`\.g\d+`)

// withoutCounters is a listing without counters, for those of filters that there were
// stay, and without the numbers of changes.
func withoutCounters(listing string) string {
	lines := strings.Split(change.ReplaceAllString(listing, ""), "\n")
	var out []string
	for i := 0; i < len(lines); i++ {
		if strings.HasPrefix(lines[i], "\tcounter ") {
			i += 2
			continue
		}
		out = append(out, strings.TrimRight(lines[i], " "))
	}
	return strings.Join(slices.DeleteFunc(out, func(s string) bool { return s == "" }), "\n")
}

// A filter that the configuration drops holds on for who has it, with its sets, and is
// not there for others; it goes with its last client, or comes back with new rules.
func TestFilterThatGoes(t *testing.T) {
	w := newWorld(t)
	cfg := config()
	cfg.Filters = map[string][]Rule{"sales": rules(t, "permit in udp from assigned to @servers 1")}
	cfg.Sets = map[string][]netip.Prefix{"servers": {prefix("10.20.0.5/32")}}
	table := open(t, cfg)
	l := login(t, table, Client{Addr: alice, Filter: "sales"})
	if err := table.Apply(config()); err != nil {
		t.Fatal(err)
	}
	w.flows(udp(alice, 1, server, 1), w.tun, w.lan)
	w.drops(table, udp(alice, 1, server, 2), w.tun, "denied.sales")
	if _, err := table.Set(Client{Addr: bob, Filter: "sales"}); !errors.Is(err, ErrUnknownFilter) {
		t.Errorf("login: %v", err)
	}
	if err := table.Verify(); err != nil || table.metric.repairs.Load() != 0 {
		t.Errorf("%v, %d repairs", err, table.metric.repairs.Load())
	}

	cfg.Filters["sales"] = rules(t, "permit in udp from assigned to @servers 2")
	if err := table.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	w.flows(udp(alice, 2, server, 2), w.tun, w.lan)
	w.drops(table, udp(alice, 2, server, 1), w.tun, "denied.sales")
	login(t, table, Client{Addr: bob, Filter: "sales"})

	if err := table.Apply(config()); err != nil {
		t.Fatal(err)
	}
	if err := table.Remove(l); err != nil {
		t.Fatal(err)
	}
	login(t, table, Client{Addr: bob}) // in the place of the other
	if list := ruleset(t); strings.Contains(list, "in.sales") || len(table.contents) != 0 {
		t.Errorf("chains are left:\n%s", list)
	}
	if err := table.Apply(config()); err != nil { // which takes the set, too
		t.Fatal(err)
	}
	if list := ruleset(t); strings.Contains(list, "set.servers") {
		t.Errorf("a set is left:\n%s", list)
	}
}

// A set's change reaches sessions without touching them.
func TestSetChanges(t *testing.T) {
	w := newWorld(t)
	cfg := config()
	cfg.Filters = map[string][]Rule{"x": rules(t, "permit in udp from assigned to @s")}
	cfg.Sets = map[string][]netip.Prefix{"s": {prefix("10.20.0.5/32")}}
	table := open(t, cfg)
	login(t, table, Client{Addr: alice, Filter: "x"})
	updates := table.metric.updates.Load()
	w.flows(udp(alice, 1, server, 1), w.tun, w.lan)
	cfg.Sets = map[string][]netip.Prefix{"s": {prefix("10.20.7.0/25"), prefix("10.20.7.128/25")}}
	if err := table.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	w.drops(table, udp(alice, 1, server, 1), w.tun, "denied.x")
	w.flows(udp(alice, 1, printer, 1), w.tun, w.lan)
	cfg.Sets["s"] = nil
	cfg.Sets = map[string][]netip.Prefix{"s": nil}
	if err := table.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	w.drops(table, udp(alice, 1, printer, 1), w.tun, "denied.x")
	if n := table.metric.updates.Load(); n != updates {
		t.Errorf("%d updates of clients", n-updates)
	}
}

func TestApplyRefuses(t *testing.T) {
	newWorld(t)
	table := open(t, full(t))
	want := ruleset(t)
	for _, change := range []func(*Config){
		func(c *Config) { c.Tun = "tun7" },
		func(c *Config) { c.Table = "postern_other" },
		func(c *Config) { c.Inside = netip.Addr{} },
		func(c *Config) { c.Sets = nil },
	} {
		cfg := full(t)
		change(&cfg)
		if err := table.Apply(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
	if got := ruleset(t); got != want {
		t.Errorf("table\n%s\nwant\n%s", got, want)
	}
	if err := table.Apply(full(t)); err != nil {
		t.Error(err)
	}
}
