package redistest

import (
	"testing"
	"time"
)

// What a server has acknowledged is there after Kill and Restart.
func TestServer(t *testing.T) {
	t.Parallel()
	s := Start(t)
	if _, err := s.do("set", "k", "v"); err != nil {
		t.Fatal(err)
	}
	s.Freeze()
	if s.alive() {
		t.Error("a frozen server answers")
	}
	s.Kill()
	s.Restart()
	if v := s.text("get", "k"); v != "v" || s.URL() != "redis://"+s.Addr {
		t.Errorf("%q, %s", v, s.URL())
	}
}

// A replica takes over for a primary that is killed or frozen, and that one comes back as
// a replica.
func TestCluster(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	c := StartCluster(t, 1)
	t.Logf("ready after %v", time.Since(begin))
	first := c.Primary(0)
	if first != c.Servers[0] || c.PrimaryOf("{user:x}:fail") == nil {
		t.Fatal("not the primary")
	}
	begin = time.Now()
	key := "{user:x}:fail"
	killed := c.KillPrimary(key)
	second := c.PrimaryOf(key)
	t.Logf("failed over after %v", time.Since(begin))
	if second == killed || second == nil {
		t.Fatal("no other primary")
	}
	killed.Restart()
	c.WaitOK()
	begin = time.Now()
	frozen := c.Partition(1)
	if c.Primary(1) == frozen {
		t.Error("no other primary")
	}
	t.Logf("failed over after %v", time.Since(begin))
	c.Heal()
	c.WaitOK()
	if frozen.info("replication", "role") != "slave" {
		t.Error("two primaries")
	}
}

// The same with Sentinels; and one that is cut off but from its clients is a second
// primary until it is healed.
func TestSentinel(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	c := StartSentinel(t)
	t.Logf("ready after %v", time.Since(begin))
	other := func(old *Server) *Server {
		t.Helper()
		begin := time.Now()
		var p *Server
		eventually(t, time.Minute, "no other primary", func() bool {
			p = c.Primary()
			return p != nil && p != old && p.info("replication", "role") == "master"
		})
		t.Logf("failed over after %v", time.Since(begin))
		return p
	}
	frozen := c.FreezePrimary()
	other(frozen)
	c.Heal()
	c.WaitOK()
	cut := c.PartitionPrimary()
	other(cut)
	if _, err := cut.do("set", "k", "lost"); err != nil {
		t.Errorf("no second primary: %v", err)
	}
	c.HealPrimary(cut)
	c.WaitOK()
	if v := cut.text("get", "k"); v != "" {
		t.Error("a write to the second primary is there")
	}
}
