package pool

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/internal/store"
	"postern/internal/store/redistest"
	"postern/internal/store/storetest"
)

// A pool of sixteen million addresses takes no room in Redis until somebody has an address
// of it, and then what is leased takes.
func TestLargePoolCostsWhatIsLeased(t *testing.T) {
	srv := redistest.Start(t)
	s, c := srv.Open(t), srv.Client()
	defer c.Close()
	ps := pools(t, Spec{"all", []string{"10.0.0.0/8"}, []string{"10.0.0.1-10.0.0.9", "10.128.0.0/16"}})
	const size = 1<<24 - 2 - 9 - 1<<16
	if ps.Size("all") != size {
		t.Fatalf("%d addresses", ps.Size("all"))
	}
	if us, err := ps.Usage(ctx, s); err != nil || us[0] != (Usage{"all", 0, size}) {
		t.Fatal(us, err)
	}
	const schema = 1 // the store's own key
	if n := c.DBSize(ctx).Val(); n != schema {
		t.Errorf("%d keys before the first lease", n)
	}
	lease := func(i int) {
		t.Helper()
		if a, err := claim(t, ps, s, "all", fmt.Sprintf("gw1/%08x", i), fmt.Sprintf("user%06d", i)); err != nil || !a.IsValid() {
			t.Fatal(a, err)
		}
	}
	began := time.Now()
	lease(0)
	first := time.Since(began)
	before := taken(t, c)
	if before > 2000 {
		t.Errorf("%d octets for one lease", before)
	}
	const leases = 2000
	for i := 1; i <= leases; i += 100 {
		var seqs []store.Seq
		for j := range 100 {
			cl, err := ps.Claim("all", fmt.Sprintf("gw1/%08x", i+j), fmt.Sprintf("user%06d", i+j), time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			seqs = append(seqs, cl.Seqs()...)
		}
		if err := s.Do(ctx, seqs...); err != nil {
			t.Fatal(err)
		}
	}
	each := (taken(t, c) - before) / leases
	if n := c.DBSize(ctx).Val(); n != schema+4 || each > 600 {
		t.Errorf("%d keys, %d octets for each lease", n, each)
	}
	t.Logf("of %d addresses: first lease %v, %d octets; then %d octets each", size, first, before, each)
	if us, err := ps.Usage(ctx, s); err != nil || us[0].Used != leases+1 {
		t.Error(us, err)
	}
}

// taken is what the keys take in Redis' memory.
func taken(t *testing.T, c *redis.Client) (n int64) {
	t.Helper()
	keys, err := c.Keys(context.Background(), "*").Result() // a server of the test's own
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		n += c.MemoryUsage(ctx, k, 0).Val()
	}
	return n
}

// A changed pool ends no lease: who holds an address that the pool has lost keeps it, and
// nobody else gets it; who comes next gets one of the new ones.
func TestChangedPoolEndsNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		before := pools(t, Spec{"a", []string{"10.0.0.0/29"}, nil})
		first, err := claim(t, before, b, "a", "s1", "alice")
		if err != nil {
			t.Fatal(err)
		}
		after := pools(t, Spec{"a", []string{"10.0.1.0/29"}, nil}, Spec{"b", []string{"10.0.0.0/30"}, nil})
		renew := &store.Renew{Pool: "a", Holder: "s1", TTL: time.Hour}
		if err := b.Do(ctx, store.Seq{renew}); err != nil || !renew.OK || renew.Addr != first {
			t.Errorf("renewed %v, %v; want %v", renew.Addr, err, first)
		}
		if us, err := after.Usage(ctx, b); err != nil || us[0].Used != 1 {
			t.Error(us, err)
		}
		if a, err := claim(t, after, b, "a", "s2", "bob"); err != nil || a.String() != "10.0.1.1" {
			t.Error(a, err)
		}
		if a, err := claim(t, after, b, "a", "s3", "alice"); err != nil || a.String() != "10.0.1.2" {
			t.Errorf("alice once more: %v, %v", a, err)
		}
	})
}
