package redistest

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/internal/store"
)

// MasterName is what the Sentinels call the primary.
const MasterName = "postern"

// Servers and Sentinels talk to each other as a user of their own, so that a test can cut
// that talk off while clients go on: see PartitionPrimary.
const (
	inner         = "inner"
	innerPassword = "between-servers"
)

// Sentinel is a primary with two replicas, and the three Sentinels that watch them.
type Sentinel struct {
	Servers   []*Server // the first was the primary at first
	Sentinels []*Server

	t testing.TB
}

// StartSentinel starts all six and waits until each knows the others.
func StartSentinel(t testing.TB, opts ...Option) *Sentinel {
	t.Helper()
	c := &Sentinel{t: t}
	base := map[string]string{
		"user": fmt.Sprintf("%s on >%s ~* &* +@all", inner, innerPassword), "masteruser": inner, "masterauth": innerPassword,
	}
	for i := range 3 {
		if i > 0 {
			base["replicaof"] = strings.Replace(c.Servers[0].Addr, ":", " ", 1)
		}
		c.Servers = append(c.Servers, launch(t, base, opts...))
	}
	for range 3 {
		c.Sentinels = append(c.Sentinels, c.sentinel())
	}
	c.WaitOK()
	return c
}

func (c *Sentinel) sentinel() *Server {
	c.t.Helper()
	host, port, _ := net.SplitHostPort(c.Servers[0].Addr)
	s := c.Servers[0]
	dir := c.t.TempDir()
	ms := strconv.FormatInt(downAfter.Milliseconds(), 10)
	for range 5 {
		p := freePort(c.t)
		w := &Server{t: c.t, Addr: loopback(p), Socket: filepath.Join(s.dir, fmt.Sprint(p)), dir: dir,
			bin: []string{"redis-server", filepath.Join(dir, "sentinel.conf"), "--sentinel"}}
		err := w.write(map[string]string{"port": strconv.Itoa(p), "bind": "127.0.0.1", "unixsocket": w.Socket, "dir": dir,
			"logfile": filepath.Join(dir, "log"),
			"sentinel": strings.Join([]string{
				"monitor " + MasterName + " " + host + " " + port + " 2",
				"auth-user " + MasterName + " " + inner, "auth-pass " + MasterName + " " + innerPassword,
				"down-after-milliseconds " + MasterName + " " + ms,
				"failover-timeout " + MasterName + " 6000", "parallel-syncs " + MasterName + " 2",
			}, "\n")})
		if err == nil {
			err = w.start()
		}
		if err == nil {
			c.t.Cleanup(w.Kill)
			return w
		}
		c.t.Log(err)
	}
	c.t.Fatal("no Sentinel starts")
	return nil
}

// Addrs are the addresses of the Sentinels.
func (c *Sentinel) Addrs() []string {
	var out []string
	for _, s := range c.Sentinels {
		out = append(out, s.Addr)
	}
	return out
}

// Config is the store's configuration for what the Sentinels watch.
func (c *Sentinel) Config() store.RedisConfig {
	return store.RedisConfig{Addrs: c.Addrs(), MasterName: MasterName, Timeout: 10 * time.Second}
}

// Open opens a store on it that closes with the test.
func (c *Sentinel) Open(t testing.TB) store.Store {
	t.Helper()
	return open(t, c.Config())
}

// Primary is the server that most Sentinels call the primary.
func (c *Sentinel) Primary() *Server {
	votes := map[string]int{}
	for _, s := range c.Sentinels {
		if v, err := s.do("sentinel", "get-master-addr-by-name", MasterName); err == nil {
			if a, ok := v.([]any); ok && len(a) == 2 {
				votes[fmt.Sprintf("%v:%v", a[0], a[1])]++
			}
		}
	}
	for _, s := range c.Servers {
		if votes[s.Addr] >= 2 {
			return s
		}
	}
	return nil
}

// KillPrimary kills the primary and returns it for Restart.
func (c *Sentinel) KillPrimary() *Server {
	c.t.Helper()
	p := c.primary()
	if p != nil {
		p.Kill()
	}
	return p
}

func (c *Sentinel) primary() *Server {
	c.t.Helper()
	var p *Server
	eventually(c.t, 30*time.Second, "there is no primary", func() bool {
		p = c.Primary()
		return p != nil
	})
	return p
}

// FreezePrimary freezes the primary; Thaw is the way back.
func (c *Sentinel) FreezePrimary() *Server {
	c.t.Helper()
	p := c.primary()
	if p != nil {
		p.Freeze()
	}
	return p
}

// PartitionPrimary cuts the primary off from replicas and Sentinels but not from clients:
// those that are connected go on writing to it while another becomes the primary. Such
// writes are lost unless a replica was waited for. HealPrimary is the way back.
func (c *Sentinel) PartitionPrimary() *Server {
	c.t.Helper()
	p := c.primary()
	if p == nil {
		return nil
	}
	if _, err := p.do("acl", "setuser", inner, "-@all"); err != nil {
		c.t.Error(err)
	}
	for _, kind := range []string{"replica", "pubsub"} { // and they do not come back
		if _, err := p.do("client", "kill", "type", kind); err != nil {
			c.t.Error(err)
		}
	}
	return p
}

// HealPrimary undoes PartitionPrimary: the Sentinels make the server a replica.
func (c *Sentinel) HealPrimary(p *Server) {
	c.t.Helper()
	if _, err := p.do("acl", "setuser", inner, "+@all"); err != nil {
		c.t.Error(err)
	}
}

// Heal thaws and restarts all that was frozen or killed.
func (c *Sentinel) Heal() {
	c.t.Helper()
	heal(c.Servers)
	heal(c.Sentinels)
}

// WaitOK waits until the Sentinels agree on a primary and every server that runs follows it.
func (c *Sentinel) WaitOK() {
	c.t.Helper()
	why := ""
	if !eventually(c.t, time.Minute, "not whole", func() bool {
		why = c.broken()
		return why == ""
	}) {
		c.t.Log(why)
	}
}

func (c *Sentinel) broken() string {
	p := c.Primary()
	if p == nil {
		return "the Sentinels do not agree"
	}
	if p.info("replication", "role") != "master" {
		return p.Addr + " is not the primary yet"
	}
	for _, s := range c.Servers {
		if s == p || !s.alive() {
			continue
		}
		if _, port, _ := net.SplitHostPort(p.Addr); s.info("replication", "master_port") != port || s.info("replication", "master_link_status") != "up" {
			return s.Addr + " does not follow " + p.Addr
		}
	}
	for _, s := range c.Sentinels {
		if !s.alive() {
			continue
		}
		if v := s.text("sentinel", "ckquorum", MasterName); !strings.HasPrefix(v, "OK 3 ") {
			return s.Addr + ": quorum: " + v
		}
		if n := s.info("sentinel", "master0"); !strings.Contains(n, "status=ok") || !strings.Contains(n, "slaves=2") {
			return s.Addr + ": " + n
		}
	}
	return ""
}
