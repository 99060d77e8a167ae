package filter

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// handle finds a rule's.
func handle(t testing.TB, chain, comment string) string {
	t.Helper()
	list := nft(t, "-a", "list", "chain", "ip", "postern_tun0", chain)
	m := regexp.MustCompile(`"` + regexp.QuoteMeta(comment) + `" # handle (\d+)`).FindStringSubmatch(list)
	if m == nil {
		t.Fatalf("no rule %q in\n%s", comment, list)
	}
	return m[1]
}

// Whatever somebody does to the table is seen, by its event, and undone.
func TestRepairs(t *testing.T) {
	newWorld(t)
	table := open(t, full(t))
	crowd(t, table)
	want := sorted(ruleset(t))
	if err := table.Verify(); err != nil || table.metric.repairs.Load() != 0 {
		t.Fatalf("%v, %d repairs of what is whole", err, table.metric.repairs.Load())
	}
	for i, damage := range []string{
		"flush ruleset",
		"delete table ip postern_tun0",
		"add table ip postern_tun0 { flags dormant; }",
		"flush chain ip postern_tun0 from_clients",
		"flush chain ip postern_tun0 in.sets",
		"delete rule ip postern_tun0 input handle " + handleMark + "input|GRE from elsewhere",
		"add rule ip postern_tun0 node accept",
		"insert rule ip postern_tun0 from_clients accept",
		`insert rule ip postern_tun0 from_clients accept comment "other traffic of this host"`,
		"replace rule ip postern_tun0 to_clients handle " + handleMark + "to_clients|not an address of a session accept",
		"add chain ip postern_tun0 early { type filter hook forward priority -5 ; policy accept ; }",
		"add chain ip postern_tun0 input { policy drop ; }",
		"delete element ip postern_tun0 client_in { 10.9.0.10 }",
		"add element ip postern_tun0 client_in { 10.9.0.99 : goto open_in }",
		"add element ip postern_tun0 client_out { 10.9.0.99 : accept }",
		"delete element ip postern_tun0 client_out { 10.9.0.11 } ; add element ip postern_tun0 client_out { 10.9.0.11 : goto open_out }",
		"delete element ip postern_tun0 quarantined { 10.9.0.11 }",
		"add element ip postern_tun0 quarantined { 10.9.0.10 }",
		"delete element ip postern_tun0 client_dns { 10.9.0.11 . 10.20.0.5 } ; add element ip postern_tun0 client_dns { 10.9.0.11 . 10.20.0.6 }",
		"delete element ip postern_tun0 routed_in.24 { 10.50.7.0 }",
		"add element ip postern_tun0 routed_in.16 { 10.99.0.0 : goto open_in }",
		"delete element ip postern_tun0 routed_out.16 { 10.60.0.0 } ; add element ip postern_tun0 routed_out.16 { 10.60.0.0 : goto open_out }",
		"delete element ip postern_tun0 routed_quarantined.16 { 10.60.0.0 }",
		"add element ip postern_tun0 routed_quarantined.24 { 10.50.7.0 }",
		"delete element ip postern_tun0 routed_dns.32 { 10.61.1.1 . 10.20.0.5 } ; add element ip postern_tun0 routed_dns.32 { 10.61.1.1 . 10.20.0.6 }",
		"flush chain ip postern_tun0 routed_node",
		"flush chain ip postern_tun0 routed_in; delete map ip postern_tun0 routed_in.24",
		"add element ip postern_tun0 allowed { 1.2.3.4 }",
		"delete element ip postern_tun0 allowed { 203.0.113.80 }",
		"flush set ip postern_tun0 set.servers",
		"add element ip postern_tun0 portal { 10.20.0.9 . 443 }",
	} {
		if before, mark, ok := strings.Cut(damage, handleMark); ok {
			chain, rest, _ := strings.Cut(mark, "|")
			verdict := ""
			if head, ok := strings.CutSuffix(rest, " accept"); ok {
				rest, verdict = head, " accept"
			}
			damage = before + handle(t, chain, rest) + verdict
		}
		nft(t, damage)
		waitRepairs(t, table, uint64(i+1))
		if got := sorted(ruleset(t)); got != want {
			t.Fatalf("after %s: table\n%s\nwant\n%s", damage, got, want)
		}
		if table.metric.broken.Load() {
			t.Errorf("after %s: broken", damage)
		}
	}
	if err := table.Verify(); err != nil {
		t.Error(err)
	}
}

const handleMark = "HANDLE "

// What keeps everybody out is there before those who may pass, and also if they cannot
// be put there.
func TestRepairKeepsOutFirst(t *testing.T) {
	w := newWorld(t)
	table := open(t, config())
	login(t, table, Client{Addr: alice})
	w.flows(udp(alice, 1, server, 1), w.tun, w.lan)
	table.mu.Lock()
	table.clients[bob] = &entry{client: Client{Addr: bob}, content: &content{id: "nowhere"}}
	nft(t, "flush ruleset")
	if err := table.verify(); !errors.Is(err, unix.ENOENT) || !table.metric.broken.Load() {
		t.Errorf("%v, broken %v", err, table.metric.broken.Load())
	}
	w.drops(table, udp(alice, 1, server, 1), w.tun, countNoLease)
	delete(table.clients, bob)
	table.mu.Unlock()
	if err := table.Verify(); err != nil || table.metric.broken.Load() {
		t.Errorf("%v, broken %v", err, table.metric.broken.Load())
	}
	w.flows(udp(alice, 1, server, 1), w.tun, w.lan)
}

// Somebody who takes the table away as often as it comes does not get all our time.
func TestFight(t *testing.T) {
	newWorld(t)
	table := open(t, config())
	var began time.Time // not later than the last repair: the pause counts from there
	for i := range uint64(maxRepairs) {
		began = time.Now()
		nft(t, "delete table ip postern_tun0")
		waitRepairs(t, table, i+1)
	}
	nft(t, "delete table ip postern_tun0")
	waitRepairs(t, table, maxRepairs+1)
	if took := time.Since(began); took < fightPause {
		t.Errorf("repaired after %v, a pause of %v wanted", took, fightPause)
	}
	nft(t, "delete table ip postern_tun0") // and Close does not wait for the next
}

// Our own changes, and those of others to their tables, are no reason to look.
func TestNoRepairs(t *testing.T) {
	newWorld(t)
	table := open(t, full(t))
	for range 20 {
		for _, l := range crowd(t, table) {
			if err := table.Remove(l); err != nil {
				t.Fatal(err)
			}
		}
		if err := table.Apply(full(t)); err != nil {
			t.Fatal(err)
		}
		nft(t, "add table ip other; add chain ip other x; add rule ip other x accept; delete table ip other")
	}
	// After the last of all events: a change of the table by somebody else.
	looks := table.metric.looks.Load()
	nft(t, "add counter ip postern_tun0 somebody")
	for end := time.Now().Add(patient); table.metric.looks.Load() == looks && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if n := table.metric.looks.Load(); n != 1 {
		t.Errorf("looked %d times", n)
	}
	if n := table.metric.repairs.Load(); n != 0 {
		t.Errorf("%d repairs", n)
	}
}

// A login that comes between the flush and its event does not fail.
func TestLoginAfterFlush(t *testing.T) {
	w := newWorld(t)
	cfg := config()
	cfg.Filters = map[string][]Rule{"x": rules(t, "permit in udp from assigned to any 1")}
	table := open(t, cfg)
	login(t, table, Client{Addr: bob, Filter: "x"})
	var wg sync.WaitGroup
	table.mu.Lock()
	nft(t, "flush", "ruleset")
	wg.Go(func() {
		if _, err := table.Set(Client{Addr: alice, Filter: "x"}); err != nil {
			t.Error(err)
		}
	})
	table.mu.Unlock()
	wg.Wait()
	for _, who := range []packet{udp(alice, 1, server, 1), udp(bob, 1, server, 1)} {
		w.flows(who, w.tun, w.lan)
		who.dport = 2
		w.drops(table, who, w.tun, "denied.x")
	}
}

// While there is no table everything passes; with the first event nothing does but
// what may.
func TestRepairedByPackets(t *testing.T) {
	w := newWorld(t)
	table := open(t, full(t))
	crowd(t, table)
	nft(t, "flush", "ruleset")
	waitRepairs(t, table, 1)
	w.drops(table, udp(addr("10.9.0.99"), 1, server, 1), w.tun, countNoLease)
	w.prohibited(udp(bob, 1, server, 1), w.tun)
	w.pong(echo(bob, inside), w.tun)
	w.drops(table, tcp(addr("203.0.113.81"), 1, wanSelf, pptpPort, tcpSYN), w.wan, countSource)
}
