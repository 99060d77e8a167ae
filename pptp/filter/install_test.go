package filter

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// full is a configuration with something of everything.
func full(t testing.TB) Config {
	cfg := typical(t)
	cfg.Listen, cfg.GREPerSource, cfg.MSS = wanSelf, 1000, 1360
	cfg.Allowed = []netip.Prefix{prefix("198.51.100.0/24"), prefix("203.0.113.80/32")}
	cfg.AllowToNode = []netip.AddrPort{service("10.9.0.1:2222")}
	cfg.Sets = map[string][]netip.Prefix{
		"servers": {prefix("10.20.1.0/24"), prefix("10.20.9.9/32")}, "all": {anyone}, "none": nil, "top": {prefix("240.0.0.0/4")},
	}
	cfg.Filters["sets"] = rules(t, "permit in tcp from assigned to @servers 22,80-90", "deny in ip from assigned to @top",
		"permit out ip from @all to assigned", "permit out 47 from 10.20.0.5 to assigned")
	return cfg
}

// crowd is a client of each kind.
func crowd(t testing.TB, table *Table) []Lease {
	t.Helper()
	return []Lease{
		login(t, table, Client{Addr: alice, Filter: "sets", DNS: []netip.Addr{lanSelf}, Routes: networks("10.50.7.0/24", "10.51.0.0/16")}),
		login(t, table, Client{Addr: bob, Quarantine: true, DNS: []netip.Addr{lanSelf, server}, Routes: networks("10.60.0.0/16", "10.61.1.1/32")}),
		login(t, table, Client{Addr: addr("10.9.0.12")}),
		login(t, table, Client{Addr: addr("10.9.0.13"), Filter: `a "strange" näme`, Rules: rules(t, "permit in udp from assigned to any 1,3-5", "deny out ip from 10.20.0.0/16 to assigned")}),
	}
}

// ruleset is what nft prints of a table, or of all, without what counts.
func ruleset(t testing.TB, what ...string) string {
	t.Helper()
	if len(what) == 0 {
		what = []string{"ruleset"}
	}
	return nft(t, append([]string{"-s", "list"}, what...)...)
}

// abandon leaves a table as a node does that is killed.
func abandon(t testing.TB, table *Table) {
	t.Helper()
	table.mu.Lock()
	table.closed = true
	table.mu.Unlock()
	close(table.stop)
	if err := table.hangUp(); err != nil {
		t.Fatal(err)
	}
	table.done.Wait()
}

const foreignTables = `
table ip filter { chain FORWARD { type filter hook forward priority 0; policy accept; ip saddr 192.0.2.0/24 counter accept; }; }
table inet firewall {
  set allowed { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 }; }
  map client_in { type ipv4_addr : verdict; elements = { 10.9.0.10 : accept }; }
  counter no_lease { packets 7 bytes 8 }
  chain input { type filter hook input priority -10; policy accept; ip saddr @allowed accept; }
}
table ip postern_tun1 { chain input { type filter hook input priority 0; policy accept; }; }
table ip6 postern_tun0 { chain input { type filter hook input priority 0; policy accept; }; }
`

// load gives nft something to read.
func load(t testing.TB, text string) {
	t.Helper()
	name := t.TempDir() + "/ruleset"
	write(t, name, text)
	nft(t, "-f", name)
}

// foreign is the ruleset, all but our table, as JSON with handles.
func foreign(t testing.TB) string {
	t.Helper()
	var all struct{ Nftables []map[string]json.RawMessage }
	if err := json.Unmarshal([]byte(nft(t, "-j", "list", "ruleset")), &all); err != nil {
		t.Fatal(err)
	}
	ours := regexp.MustCompile(`"family": "ip",.*"(name|table)": "postern_tun0"`)
	all.Nftables = slices.DeleteFunc(all.Nftables, func(m map[string]json.RawMessage) bool {
		for _, v := range m {
			if ours.Match(v) {
				return true
			}
		}
		return false
	})
	b, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The whole ruleset is after a run what it was before, and what is not ours is so all
// the time: with clients, reloads, repairs, and errors.
func TestForeignTables(t *testing.T) {
	newWorld(t)
	load(t, foreignTables)
	before := nft(t, "-j", "list", "ruleset")
	if foreign(t) == "" || !strings.Contains(foreign(t), "postern_tun1") || !strings.Contains(foreign(t), `"ip6"`) {
		t.Fatalf("foreign tables: %s", foreign(t))
	}
	others := foreign(t)
	same := func(when string) {
		t.Helper()
		if got := foreign(t); got != others {
			t.Errorf("%s: foreign tables were\n%s\nand are\n%s", when, others, got)
		}
	}

	table := open(t, full(t))
	same("open")
	leases := crowd(t, table)
	same("logins")
	for _, l := range leases[1:] {
		if err := table.Remove(l); err != nil {
			t.Error(err)
		}
	}
	if err := table.Apply(minimal()); err != nil {
		t.Error(err)
	}
	same("apply")
	nft(t, "delete", "table", "ip", "postern_tun0")
	waitRepairs(t, table, 1)
	same("repair")
	if err := table.Close(); err != nil {
		t.Error(err)
	}
	if got := nft(t, "-j", "list", "ruleset"); got != before {
		t.Errorf("the ruleset was\n%s\nand is\n%s", before, got)
	}

	// Nothing is left of an Open that fails late.
	reg := prometheus.NewRegistry()
	table, err := Open(full(t), slog.New(slog.DiscardHandler), reg)
	if err != nil {
		t.Fatal(err)
	}
	cfg := full(t)
	cfg.Table = "postern_other"
	if _, err := Open(cfg, slog.New(slog.DiscardHandler), reg); err == nil {
		t.Error("registered twice")
	}
	if err := table.Close(); err != nil {
		t.Error(err)
	}
	if err := table.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
	// Nor of one that is closed when somebody has taken the table away already.
	table = open(t, full(t))
	table.mu.Lock() // so that nobody repairs it
	nft(t, "delete", "table", "ip", "postern_tun0")
	go table.mu.Unlock()
	if err := table.Close(); err != nil {
		t.Error(err)
	}
	if got := nft(t, "-j", "list", "ruleset"); got != before {
		t.Errorf("the ruleset was\n%s\nand is\n%s", before, got)
	}
}

// What a killed node left is replaced, whatever it is.
func TestLeftOver(t *testing.T) {
	newWorld(t)
	table := open(t, full(t))
	crowd(t, table)
	want := ruleset(t)
	abandon(t, table)
	if ruleset(t) != want {
		t.Fatal("a killed node takes its table away")
	}

	cfg := full(t)
	cfg.Filters["old"] = rules(t, "permit in ip from assigned to any")
	delete(cfg.Sets, "top")
	cfg.Filters["sets"] = nil
	table = open(t, cfg)
	for i := range 10 {
		login(t, table, Client{Addr: nth(i), Filter: "old"})
	}
	abandon(t, table)
	load(t, `table ip postern_tun0 {
		chain stranger { type filter hook output priority 0; policy accept; }
		set own { type inet_service; }
		counter mine { }
	}`)

	table = open(t, full(t))
	crowd(t, table)
	if got := ruleset(t); sorted(got) != sorted(want) {
		t.Errorf("table\n%s\nwant\n%s", got, want)
	}
}

// sorted is a listing without its order: that of sets and chains is a map's.
func sorted(listing string) string {
	lines := strings.Split(listing, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// An operator who saves his ruleset while we run can load it again: nft reads what it
// prints of our table.
func TestListingLoads(t *testing.T) {
	newWorld(t)
	table := open(t, full(t))
	crowd(t, table)
	listing := ruleset(t)
	abandon(t, table)
	nft(t, "flush", "ruleset")
	load(t, listing)
	if got := ruleset(t); sorted(got) != sorted(listing) {
		t.Errorf("table\n%s\nwant\n%s", got, listing)
	}
}

// One table each, and neither knows of the other.
func TestTwoTables(t *testing.T) {
	newWorld(t)
	one := open(t, full(t))
	cfg := full(t)
	cfg.Tun = "tun1"
	two := open(t, cfg)
	crowd(t, one)
	listing := ruleset(t, "table", "ip", "postern_tun0")
	crowd(t, two)
	if err := two.Apply(cfg); err != nil {
		t.Error(err)
	}
	if err := two.Close(); err != nil {
		t.Error(err)
	}
	if got := ruleset(t); got != listing {
		t.Errorf("table\n%s\nwant\n%s", got, listing)
	}
	if err := one.Verify(); err != nil || one.metric.repairs.Load() != 0 {
		t.Errorf("%v, %d repairs", err, one.metric.repairs.Load())
	}
}
