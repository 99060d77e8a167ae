package control

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func nets(s ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, n := range s {
		all = append(all, netip.MustParsePrefix(n))
	}
	return all
}

func TestVerdict(t *testing.T) {
	enum(t, SourceRate, "unknown", "admitted", "not IPv4", "denied", "not allowed",
		"too many half-open", "too many half-open from source", "source rate")
}

// TestNetworks: denial first, then the list of those who may, if there is one.
func TestNetworks(t *testing.T) {
	open := AdmissionConfig{Deny: nets("192.0.2.0/24")}
	closed := AdmissionConfig{Deny: nets("10.9.0.0/16"), Allow: nets("10.0.0.0/8", "192.0.2.7/32")}
	for _, row := range []struct {
		cfg  AdmissionConfig
		addr string
		want Verdict
	}{
		{AdmissionConfig{}, "203.0.113.1", Admitted},
		{AdmissionConfig{}, "::ffff:203.0.113.1", Admitted},
		{AdmissionConfig{}, "2001:db8::1", NotIPv4},
		{open, "203.0.113.1", Admitted},
		{open, "192.0.2.1", Denied},
		{open, "::ffff:192.0.2.1", Denied},
		{closed, "10.1.2.3", Admitted},
		{closed, "10.9.2.3", Denied},
		{closed, "192.0.2.7", Admitted},
		{closed, "192.0.2.8", NotAllowed},
	} {
		if got := NewAdmission(row.cfg, t0).Admit(t0, ip(row.addr)); got != row.want {
			t.Errorf("%s: %s, want %s", row.addr, got, row.want)
		}
	}
	if got := NewAdmission(AdmissionConfig{}, t0).Admit(t0, netip.Addr{}); got != NotIPv4 {
		t.Errorf("no address: %s", got)
	}
}

// TestRate: a burst at once, then one for each interval, and nobody pays for
// another or for a refusal.
func TestRate(t *testing.T) {
	a := NewAdmission(AdmissionConfig{Rate: 2, Burst: 3}, t0)
	try := func(d time.Duration, addr string, want Verdict) {
		t.Helper()
		got := a.Admit(at(d), ip(addr))
		if got != want {
			t.Errorf("%s after %v: %s, want %s", addr, d, got, want)
		}
		if got == Admitted {
			a.Started(ip(addr))
		}
	}
	for range 3 {
		try(0, "10.0.0.1", Admitted)
	}
	for range 10 {
		try(499*time.Millisecond, "10.0.0.1", SourceRate)
	}
	try(499*time.Millisecond, "10.0.0.2", Admitted)
	try(500*time.Millisecond, "10.0.0.1", Admitted)
	try(500*time.Millisecond, "10.0.0.1", SourceRate)
	for range 3 { // rested: the burst is back, and no more than that
		try(time.Hour, "10.0.0.1", Admitted)
	}
	try(time.Hour, "10.0.0.1", SourceRate)

	slow := NewAdmission(AdmissionConfig{Rate: 1e-300, Burst: 1 << 62}, t0)
	if got := slow.Admit(t0, ip("10.0.0.1")); got != Admitted {
		t.Errorf("absurd rate: %s", got)
	}
	once := NewAdmission(AdmissionConfig{Rate: 1}, t0)
	if got := [2]Verdict{once.Admit(t0, ip("10.0.0.1")), once.Admit(t0, ip("10.0.0.1"))}; got != [2]Verdict{Admitted, SourceRate} {
		t.Errorf("without a burst: %v", got)
	}
}

// TestSourceBits: a prefix is one source.
func TestSourceBits(t *testing.T) {
	a := NewAdmission(AdmissionConfig{Rate: 1, SourceBits: 24}, t0)
	for addr, want := range map[string]Verdict{"10.0.0.2": SourceRate, "10.0.0.255": SourceRate, "10.0.1.1": Admitted} {
		a.Admit(t0, ip("10.0.0.1"))
		if got := a.Admit(t0, ip(addr)); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

// TestHalfOpen: the node's bound and the source's; both ends of being
// half-open give the place back, and nothing gives back more than there is.
func TestHalfOpen(t *testing.T) {
	a := NewAdmission(AdmissionConfig{MaxHalfOpen: 3, MaxHalfOpenPerSource: 2}, t0)
	try := func(addr string, want Verdict) {
		t.Helper()
		if got := a.Admit(t0, ip(addr)); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
	try("10.0.0.1", Admitted)
	try("10.0.0.1", Admitted)
	try("10.0.0.1", SourceHalfOpen)
	try("10.0.0.2", Admitted)
	try("10.0.0.3", TooManyHalfOpen)
	a.Started(ip("::ffff:10.0.0.1"))
	try("10.0.0.1", Admitted)
	a.Done(ip("10.0.0.2"))
	try("10.0.0.3", Admitted)
	try("10.0.0.4", TooManyHalfOpen)
	for range 5 {
		for _, addr := range []string{"10.0.0.1", "10.0.0.3", "10.0.0.9", "2001:db8::1"} {
			a.Done(ip(addr))
		}
	}
	if got := a.HalfOpen(); got != 0 {
		t.Errorf("%d half-open after all are done", got)
	}
}

// TestSources: memory is bounded whoever comes; those who are known are served
// when the table is full of strangers, and strangers share one row.
func TestSources(t *testing.T) {
	const bound = 100
	a := NewAdmission(AdmissionConfig{Rate: 1, Burst: 1, MaxSources: bound, MaxHalfOpen: 1 << 20}, t0)
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}) }
	admitted := 0
	for i := range 10 * bound {
		if a.Admit(t0, addr(i)) == Admitted {
			admitted++
		}
		if len(a.sources) > bound {
			t.Fatalf("%d sources remembered", len(a.sources))
		}
	}
	if admitted != bound+1 { // and one for all the rest
		t.Errorf("%d admitted at once, want %d", admitted, bound+1)
	}
	if got := a.Admit(at(time.Second), addr(0)); got != Admitted {
		t.Errorf("known source: %s", got)
	}
	for i := range 10 * bound {
		a.Done(addr(i))
	}
	a.Done(addr(0))
	if got := a.HalfOpen(); got != 0 {
		t.Errorf("%d half-open", got)
	}
	// Rested rows make room, a few with each newcomer.
	for i := range 10 * bound {
		if got := a.Admit(at(time.Hour), addr(5000+i)); got == Admitted {
			a.Started(addr(5000 + i))
		}
	}
	if len(a.sources) > bound {
		t.Errorf("%d sources remembered", len(a.sources))
	}
	if got := a.Admit(at(2*time.Hour), addr(1)); got != Admitted {
		t.Errorf("after all have rested: %s", got)
	}
}

// TestSharedRow: a connection that was admitted on the shared row finds its way
// back although its source has a row of its own by then.
func TestSharedRow(t *testing.T) {
	a := NewAdmission(AdmissionConfig{Rate: 1, MaxSources: 1}, t0)
	for _, row := range []struct {
		d    time.Duration
		addr string
	}{{0, "10.0.0.1"}, {0, "10.0.0.2"}, {time.Minute, "10.0.0.2"}} {
		if got := a.Admit(at(row.d), ip(row.addr)); got != Admitted {
			t.Fatalf("%s after %v: %s", row.addr, row.d, got)
		}
		if row.addr == "10.0.0.1" {
			a.Done(ip(row.addr))
		}
	}
	if len(a.sources) != 1 || a.sources[ip("10.0.0.2")] == nil {
		t.Fatalf("rows %v", a.sources)
	}
	a.Started(ip("10.0.0.2"))
	a.Started(ip("10.0.0.2"))
	if got := a.HalfOpen(); got != 0 {
		t.Errorf("%d half-open", got)
	}
}

// TestConfigure: limits and networks change, memory of sources stays.
func TestConfigure(t *testing.T) {
	a := NewAdmission(AdmissionConfig{Rate: 1, SourceBits: 24}, t0)
	if got := a.Admit(t0, ip("10.0.0.1")); got != Admitted {
		t.Fatal(got)
	}
	a.Configure(AdmissionConfig{Rate: 0.1, SourceBits: 32, Deny: nets("192.0.2.0/24")})
	if got := a.Admit(at(500*time.Millisecond), ip("10.0.0.2")); got != SourceRate {
		t.Errorf("neighbour after a reload: %s", got)
	}
	if got := a.Admit(t0, ip("192.0.2.1")); got != Denied {
		t.Errorf("denied since the reload: %s", got)
	}
	a.Configure(AdmissionConfig{})
	if got := a.Admit(at(500*time.Millisecond), ip("10.0.0.2")); got != Admitted {
		t.Errorf("without a rate: %s", got)
	}
	a.Started(ip("10.0.0.1"))
	a.Started(ip("10.0.0.2"))
	if got := a.HalfOpen(); got != 0 {
		t.Errorf("%d half-open", got)
	}
}

// TestAdmissionConcurrent is for the race detector, and counts at the end.
func TestAdmissionConcurrent(t *testing.T) {
	a := NewAdmission(AdmissionConfig{Rate: 100, Burst: 50, MaxSources: 64, MaxHalfOpen: 500}, t0)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Add(1)
		go func() { // waited for below
			defer wg.Done()
			rnd := rand.New(rand.NewPCG(uint64(g), 0))
			for i := range 5000 {
				addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(rnd.IntN(200))})
				if a.Admit(at(time.Duration(i)*time.Millisecond), addr) != Admitted {
					continue
				}
				if rnd.IntN(2) == 0 {
					a.Started(addr)
				} else {
					a.Done(addr)
				}
			}
		}()
	}
	wg.Wait()
	if got := a.HalfOpen(); got != 0 {
		t.Errorf("%d half-open", got)
	}
}

func BenchmarkAdmit(b *testing.B) {
	a := NewAdmission(AdmissionConfig{Rate: 1, Burst: 10}, t0)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		addr := netip.AddrFrom4([4]byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)})
		if a.Admit(at(time.Duration(i)*time.Microsecond), addr) == Admitted {
			a.Started(addr)
		}
	}
}
