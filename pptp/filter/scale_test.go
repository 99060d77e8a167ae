package filter

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"
)

// nth is the n-th client's address.
func nth(n int) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 10<<24|100<<16+uint32(n))))
}

// typical is a configuration as a site may have it: some filters of some rules.
func typical(t testing.TB) Config {
	cfg := quarantineConfig()
	cfg.Allowed = []netip.Prefix{anyone}
	cfg.Masquerade = true
	cfg.Filters = map[string][]Rule{}
	for i := range 8 {
		var all []Rule
		for j := range 10 {
			all = append(all, rules(t, fmt.Sprintf("permit in tcp from assigned to 10.%d.%d.0/24 80,443,%d", 20+i, j, 8000+j))...)
		}
		cfg.Filters[fmt.Sprint("filter", i)] = all
	}
	return cfg
}

func typicalClient(n int) Client {
	return Client{Addr: nth(n), Filter: fmt.Sprint("filter", n%8), DNS: []netip.Addr{addr("10.20.0.53")}}
}

// fill logs many in at the same time, as after a node's restart.
func fill(t testing.TB, table *Table, clients int) []Lease {
	t.Helper()
	const workers = 64
	leases := make([]Lease, clients)
	errs := make([]error, clients)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < clients; i += workers {
				leases[i], errs[i] = table.Set(typicalClient(i))
			}
		})
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
	}
	return leases
}

const many = 20_000

// At 20,000 sessions a login is two updates of the kernel's sets in one transaction.
// The times are for the reader: this machine has other things to do.
func TestManyClients(t *testing.T) {
	w := newWorld(t)
	table := open(t, typical(t))
	began := time.Now()
	leases := fill(t, table, many)
	t.Logf("%d logins, 64 at a time: %v, %.0f a second", many, time.Since(began), many/time.Since(began).Seconds())
	if n := table.metric.updates.Load(); n != 2*many {
		t.Errorf("%d updates of sets for %d logins", n, many)
	}

	var set, lift, remove []time.Duration
	measure := func(all *[]time.Duration, updates uint64, f func() error) {
		t.Helper()
		was, began := table.metric.updates.Load(), time.Now()
		if err := f(); err != nil {
			t.Fatal(err)
		}
		*all = append(*all, time.Since(began))
		if n := table.metric.updates.Load() - was; n != updates {
			t.Fatalf("%d updates of sets, want %d", n, updates)
		}
	}
	for range 100 {
		var l Lease
		c := typicalClient(many)
		measure(&set, 2, func() (err error) { l, err = table.Set(c); return err })
		measure(&remove, 2, func() error { return table.Remove(l) })
		c.Quarantine = true
		measure(&set, 4, func() (err error) { l, err = table.Set(c); return err })
		c.Quarantine = false
		measure(&lift, 6, func() error { return table.Change(l, c) })
		measure(&remove, 2, func() error { return table.Remove(l) })
	}
	for what, all := range map[string][]time.Duration{"login": set, "out of quarantine": lift, "logout": remove} {
		slices.Sort(all)
		t.Logf("one %s at %d sessions: median %v, fastest %v, slowest %v", what, many, all[len(all)/2], all[0], all[len(all)-1])
	}

	began = time.Now()
	if err := table.Verify(); err != nil {
		t.Fatal(err)
	}
	t.Logf("Verify: %v", time.Since(began))
	if n := table.metric.repairs.Load(); n != 0 {
		t.Fatalf("%d repairs", n)
	}
	began = time.Now()
	nft(t, "flush", "ruleset")
	for known(table) != 0 && len(values(t, table)) == 0 {
		time.Sleep(time.Millisecond)
	}
	t.Logf("after nft flush ruleset, and the tool's own time, nothing passes in %v", time.Since(began))
	waitRepairs(t, table, 1)
	t.Logf("after nft flush ruleset all is back in %v", time.Since(began))
	if err := table.Verify(); err != nil || table.metric.repairs.Load() != 1 {
		t.Errorf("%v, %d repairs", err, table.metric.repairs.Load())
	}
	w.tun.send(t, tcp(nth(many-1), 1, addr("10.27.3.4"), 443, tcpSYN).bytes())
	w.wan.receive(t, "a permitted packet", func(q packet) bool { return q.dst == addr("10.27.3.4") && q.dport == 443 })
	w.drops(table, tcp(nth(many-1), 1, addr("10.27.3.4"), 444, tcpSYN), w.tun, "denied.filter7")
	w.drops(table, tcp(nth(many), 1, addr("10.27.3.4"), 443, tcpSYN), w.tun, countNoLease)

	began = time.Now()
	var wg sync.WaitGroup
	for n := range 64 {
		wg.Go(func() {
			for i := n; i < many; i += 64 {
				if err := table.Remove(leases[i]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d logouts: %v", many, time.Since(began))
	if err := table.Verify(); err != nil || table.metric.repairs.Load() != 1 || known(table) != 0 {
		t.Errorf("%v, %d repairs, %d clients", err, table.metric.repairs.Load(), known(table))
	}
}

func waitRepairs(t testing.TB, table *Table, n uint64) {
	t.Helper()
	for end := time.Now().Add(patient); table.metric.repairs.Load() < n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d repairs, want %d", table.metric.repairs.Load(), n)
		}
	}
}

// BenchmarkLogin is a session's two transactions, Set and Remove.
func BenchmarkLogin(b *testing.B) {
	for _, clients := range []int{0, many} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			newWorld(b)
			table := open(b, typical(b))
			fill(b, table, clients)
			c := typicalClient(clients)
			b.ReportAllocs()
			for b.Loop() {
				if err := table.Remove(login(b, table, c)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLogins is the same for as many at the same time as there may be in a storm.
func BenchmarkLogins(b *testing.B) {
	newWorld(b)
	table := open(b, typical(b))
	fill(b, table, many)
	next := make(chan int, 1)
	next <- many
	b.SetParallelism(64)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		n := <-next
		next <- n + 1
		for pb.Next() {
			l, err := table.Set(typicalClient(n))
			if err == nil {
				err = table.Remove(l)
			}
			if err != nil {
				b.Error(err)
			}
		}
	})
}
