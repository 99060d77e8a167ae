package redistest

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/internal/store"
)

// downAfter is when a cluster or the Sentinels take a silent server for dead. A fail-over
// takes this and one or two seconds of voting. Less would make a busy machine fail over by
// itself.
const downAfter = 2 * time.Second

// primaries is the least number that outvotes the loss of one.
const primaries = 3

const slots = 16384

// Cluster is three primaries with a third of the slots each, and their replicas.
type Cluster struct {
	Servers []*Server // the primaries as they were at first, then the replicas

	t        testing.TB
	replicas int
}

// StartCluster starts three primaries with so many replicas each, and waits until all of
// them serve.
func StartCluster(t testing.TB, replicas int, opts ...Option) *Cluster {
	t.Helper()
	c := &Cluster{t: t, replicas: replicas}
	base := map[string]string{
		"cluster-enabled": "yes", "cluster-node-timeout": strconv.FormatInt(downAfter.Milliseconds(), 10),
		// A replica may take over however long its primary has been silent, and the slots of
		// the others go on meanwhile.
		"cluster-replica-validity-factor": "0", "cluster-require-full-coverage": "no",
		"cluster-allow-replica-migration": "no",
	}
	for range primaries * (1 + replicas) {
		c.Servers = append(c.Servers, launch(t, base, opts...))
	}
	for i, s := range c.Servers[:primaries] {
		c.must(s, "cluster", "addslotsrange", i*slots/primaries, (i+1)*slots/primaries-1)
		c.must(s, "cluster", "set-config-epoch", i+1)
	}
	for i, s := range c.Servers {
		for _, other := range c.Servers[:i] {
			host, port, _ := net.SplitHostPort(other.Addr)
			c.must(s, "cluster", "meet", host, port)
		}
	}
	eventually(t, time.Minute, "the servers do not know each other", func() bool {
		for _, s := range c.Servers {
			if strings.Count(s.text("cluster", "nodes"), " connected") < len(c.Servers) {
				return false
			}
		}
		return true
	})
	for i, s := range c.Servers[primaries:] {
		of := c.Servers[i%primaries]
		id := of.text("cluster", "myid")
		eventually(t, 20*time.Second, "a replica is refused", func() bool {
			_, err := s.do("cluster", "replicate", id)
			return err == nil
		})
	}
	c.WaitOK()
	return c
}

func (c *Cluster) must(s *Server, args ...any) {
	c.t.Helper()
	if _, err := s.do(args...); err != nil {
		c.t.Fatalf("%v: %v", args, err)
	}
}

// Addrs are the addresses of all servers.
func (c *Cluster) Addrs() []string {
	var out []string
	for _, s := range c.Servers {
		out = append(out, s.Addr)
	}
	return out
}

// URLs are the addresses as programs take them.
func (c *Cluster) URLs() []string {
	var out []string
	for _, s := range c.Servers {
		out = append(out, s.URL())
	}
	return out
}

// Config is the store's configuration for this cluster.
func (c *Cluster) Config() store.RedisConfig {
	return store.RedisConfig{Addrs: c.Addrs(), Cluster: true, Timeout: 10 * time.Second}
}

// Open opens a store on the cluster that closes with the test.
func (c *Cluster) Open(t testing.TB) store.Store {
	t.Helper()
	return open(t, c.Config())
}

// Everywhere runs a command on every server that runs, FLUSHALL for example; replicas that
// refuse it are left out.
func (c *Cluster) Everywhere(args ...any) {
	c.t.Helper()
	for _, s := range c.Servers {
		if !s.alive() {
			continue
		}
		if _, err := s.do(args...); err != nil && !redis.HasErrorPrefix(err, "READONLY") {
			c.t.Errorf("%s: %v: %v", s.Addr, args, err)
		}
	}
}

// WaitOK waits until every server that runs sees all slots served, and every replica that
// runs has its primary.
func (c *Cluster) WaitOK() {
	c.t.Helper()
	why := ""
	if !eventually(c.t, time.Minute, "the cluster is not whole", func() bool {
		why = c.broken()
		return why == ""
	}) {
		c.t.Log(why)
	}
}

// broken says what is not as it should be.
func (c *Cluster) broken() string {
	serving := 0
	for _, s := range c.Servers {
		s.mu.Lock()
		down := s.cmd == nil
		s.mu.Unlock()
		if down {
			continue
		}
		info := s.text("cluster", "info")
		if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, fmt.Sprintf("cluster_slots_ok:%d", slots)) {
			return s.Addr + ": " + info
		}
		switch s.info("replication", "role") {
		case "master":
			if len(s.owned()) > 0 {
				serving++
			}
		case "slave":
			if s.info("replication", "master_link_status") != "up" {
				return s.Addr + ": no primary"
			}
		}
	}
	if serving != primaries {
		return fmt.Sprintf("%d primaries", serving)
	}
	return ""
}

// owned are the slot ranges that a server says are its own.
func (s *Server) owned() [][2]int {
	var out [][2]int
	for line := range strings.Lines(s.text("cluster", "nodes")) {
		f := strings.Fields(line)
		if len(f) < 9 || !strings.Contains(f[2], "myself,master") {
			continue
		}
		for _, r := range f[8:] {
			first, last, found := strings.Cut(r, "-")
			if !found {
				last = first
			}
			a, err1 := strconv.Atoi(first)
			b, err2 := strconv.Atoi(last)
			if err1 == nil && err2 == nil { // not a slot that moves
				out = append(out, [2]int{a, b})
			}
		}
	}
	return out
}

// serving finds the primary that answers for a slot. One that has been replaced without
// knowing it yet is told apart by its epoch.
func (c *Cluster) serving(slot int) *Server {
	var best *Server
	epoch := -1
	for _, s := range c.Servers {
		if !s.alive() {
			continue
		}
		for _, r := range s.owned() {
			e := s.epoch()
			if r[0] <= slot && slot <= r[1] && e > epoch {
				best, epoch = s, e
			}
		}
	}
	return best
}

func (s *Server) epoch() int {
	for line := range strings.Lines(s.text("cluster", "info")) {
		if v, found := strings.CutPrefix(strings.TrimSpace(line), "cluster_my_epoch:"); found {
			n, _ := strconv.Atoi(v)
			return n
		}
	}
	return -1
}

// Primary is the server that now serves the i-th third of the slots; it waits for one.
func (c *Cluster) Primary(i int) *Server {
	c.t.Helper()
	return c.waitServing(i * slots / primaries)
}

// PrimaryOf is the server that now serves a key, which may be only a tag in braces.
func (c *Cluster) PrimaryOf(key string) *Server {
	c.t.Helper()
	return c.waitServing(c.slot(key))
}

func (c *Cluster) waitServing(slot int) *Server {
	c.t.Helper()
	var s *Server
	eventually(c.t, 30*time.Second, fmt.Sprintf("nobody serves slot %d", slot), func() bool {
		s = c.serving(slot)
		return s != nil
	})
	return s
}

func (c *Cluster) slot(key string) int {
	for _, s := range c.Servers {
		if !s.alive() {
			continue
		}
		if n, err := s.do("cluster", "keyslot", key); err == nil {
			v, _ := n.(int64)
			return int(v)
		}
	}
	return 0
}

// KillPrimary kills the server that serves a key now, and returns it for Restart.
func (c *Cluster) KillPrimary(key string) *Server {
	c.t.Helper()
	s := c.PrimaryOf(key)
	if s != nil {
		s.Kill()
	}
	return s
}

// Partition freezes the server that serves the i-th third now: the others cannot tell it
// from one behind a broken network. Heal thaws what it returns.
func (c *Cluster) Partition(i int) *Server {
	c.t.Helper()
	s := c.Primary(i)
	if s != nil {
		s.Freeze()
	}
	return s
}

// Heal thaws and restarts all that was frozen or killed.
func (c *Cluster) Heal() {
	c.t.Helper()
	heal(c.Servers)
}

func heal(all []*Server) {
	for _, s := range all {
		s.Thaw()
		s.mu.Lock()
		down := s.cmd == nil
		s.mu.Unlock()
		if down {
			s.Restart()
		}
	}
}
