package store

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// facts are what one server said of itself.
type facts struct {
	addr, role string
	clock      time.Duration
	info       map[string]string
	offset     int64
	replicas   []replicaFacts
}

type replicaFacts struct {
	addr, state string
	offset      int64
}

// server looks at what matters at every server, whatever its role: a replica is a primary
// after the next fail-over. It is nil if the server does not answer.
func (in *inspector) server(ctx context.Context, addr string) *facts {
	c := in.client(addr, false)
	defer c.Close()
	text, err := c.Info(ctx).Result()
	if err != nil {
		in.errs = append(in.errs, fmt.Errorf("%s: %w", addr, err))
		in.find(Danger, CheckReach, addr, "%v", err)
		return nil
	}
	f := &facts{addr: addr, info: parseInfo(text), role: "primary"}
	if f.info["role"] == "slave" {
		f.role = "replica"
		if f.info["master_link_status"] != "up" {
			in.find(Danger, CheckReplicas, addr, "this replica has lost its primary %s:%s", f.info["master_host"], f.info["master_port"])
		}
	}
	f.offset = f.number("master_repl_offset")
	for i := range int(f.number("connected_slaves")) {
		v := parseFields(f.info["slave"+strconv.Itoa(i)])
		n, _ := strconv.ParseInt(v["offset"], 10, 64)
		f.replicas = append(f.replicas, replicaFacts{addr: net.JoinHostPort(v["ip"], v["port"]), state: v["state"], offset: n})
	}
	in.servers = append(in.servers, f)
	in.version(f)
	in.persistence(ctx, c, f)
	in.memory(f)
	ping := in.ping(ctx, c, f)
	in.rights(ctx, f)
	in.out.Servers = append(in.out.Servers, RedisServer{Addr: addr, Role: f.role, Version: f.info["redis_version"], Memory: f.number("used_memory"), Ping: ping, Clock: f.clock})
	return f
}

// parseInfo reads the lines of INFO.
func parseInfo(text string) map[string]string {
	m := make(map[string]string)
	for line := range strings.Lines(text) {
		if k, v, found := strings.Cut(strings.TrimSpace(line), ":"); found && !strings.HasPrefix(k, "#") {
			m[k] = v
		}
	}
	return m
}

// parseFields reads k=v,k=v.
func parseFields(text string) map[string]string {
	m := make(map[string]string)
	for part := range strings.SplitSeq(text, ",") {
		if k, v, found := strings.Cut(part, "="); found {
			m[k] = v
		}
	}
	return m
}

func (f *facts) number(key string) int64 {
	n, _ := strconv.ParseInt(f.info[key], 10, 64)
	return n
}

// major and minor are those of Redis. Valkey says which Redis it stands for.
func (f *facts) release() (major, minor int) {
	_, _ = fmt.Sscanf(f.info["redis_version"], "%d.%d", &major, &minor)
	return major, minor
}

func (in *inspector) version(f *facts) {
	major, minor := f.release()
	v := f.info["redis_version"]
	if name := f.info["server_name"]; name != "" && name != "redis" {
		v = name + ", as Redis " + v
	}
	if major < oldestMajor || major == oldestMajor && minor < oldestMinor {
		in.find(Danger, CheckVersion, f.addr, "version %s lacks commands that are used", v).advise("%d.%d at least", oldestMajor, oldestMinor)
		return
	}
	in.find(Good, CheckVersion, f.addr, "version %s", v)
}

// setting is one value of CONFIG GET, if it may be read.
func setting(ctx context.Context, c *redis.Client, key string) (string, bool) {
	m, err := c.ConfigGet(ctx, key).Result()
	v, found := m[key]
	return v, err == nil && found
}

func (in *inspector) persistence(ctx context.Context, c *redis.Client, f *facts) {
	if f.info["loading"] == "1" {
		in.find(Danger, CheckPersistence, f.addr, "it is still reading its data from disk and refuses all else")
	}
	for key, what := range map[string]string{"aof_last_write_status": "the last write to the append-only file failed", "rdb_last_bgsave_status": "the last snapshot failed"} {
		if v := f.info[key]; v != "" && v != "ok" {
			in.find(Danger, CheckPersistence, f.addr, "%s", what).advise("look at the disk's space and at the server's log; Redis may refuse writes until it is mended")
		}
	}
	if f.info["aof_enabled"] == "0" {
		const advice = "appendonly yes; appendfsync always, or everysec"
		save, known := setting(ctx, c, "save")
		if known && save == "" {
			in.find(Danger, CheckPersistence, f.addr, "nothing is written to disk: a restart forgets all, tokens and lockouts too, and an empty primary that comes back empties its replicas").advise(advice)
		} else {
			in.find(Danger, CheckPersistence, f.addr, "snapshots only: a restart forgets minutes, so that used codes open again").advise(advice)
		}
		return
	}
	switch v, known := setting(ctx, c, "appendfsync"); {
	case !known:
		in.find(Note, CheckPersistence, f.addr, "append-only file; how often it is written through (appendfsync) our user may not read").advise("postern redis check --user NAME --password-file FILE, as a user who may CONFIG GET")
	case v == "always":
		in.find(Good, CheckPersistence, f.addr, "append-only file, written through before each answer")
	case v == "everysec":
		in.find(Note, CheckPersistence, f.addr, "append-only file, written through each second: power that fails takes the last one or two seconds").advise("appendfsync always, where the disk is fast")
	default:
		in.find(Danger, CheckPersistence, f.addr, "append-only file with appendfsync %s: power that fails takes half a minute", v).advise("appendfsync everysec or always")
	}
}

func (in *inspector) memory(f *facts) {
	limit, used, machine := f.number("maxmemory"), f.number("used_memory"), f.number("total_system_memory")
	policy := f.info["maxmemory_policy"]
	if n := f.number("evicted_keys"); n > 0 {
		in.find(Danger, CheckEviction, f.addr, "%d keys were evicted since it started: lockouts, used codes or sessions are gone", n).advise("maxmemory-policy noeviction, and more memory")
	}
	switch {
	case policy == "noeviction":
		in.find(Good, CheckEviction, f.addr, "noeviction")
	case limit == 0:
		in.find(Warning, CheckEviction, f.addr, "%s: as soon as maxmemory is set, lockouts, used codes and sessions are thrown away", policy).advise("maxmemory-policy noeviction")
	default:
		in.find(Danger, CheckEviction, f.addr, "%s: when memory is full, lockouts, used codes and sessions are thrown away, and what was shut opens", policy).advise("maxmemory-policy noeviction")
	}
	if limit == 0 {
		in.find(Note, CheckMemory, f.addr, "%s used and no maxmemory: the kernel ends what outgrows the machine", mebi(used)).advise("maxmemory at 60 %% of the machine's memory or of what else bounds it")
		return
	}
	share := used * 100 / limit
	level := Good
	switch {
	case share >= fillDanger:
		level = Danger
	case share >= fillWarn || machine > 0 && limit > machine*9/10:
		level = Warning
	}
	x := in.find(level, CheckMemory, f.addr, "%s of maxmemory %s used, the machine has %s", mebi(used), mebi(limit), mebi(machine))
	if level > Good {
		x.advise("more memory: when it is full no login succeeds")
	}
}

func mebi(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// ping measures a server's latency, and its clock by the fastest answer.
func (in *inspector) ping(ctx context.Context, c *redis.Client, f *facts) time.Duration {
	var took []time.Duration
	best := time.Duration(1 << 62)
	for range pings {
		begin := time.Now()
		// TIME is in the store's script, so that our user may call it.
		theirs, err := c.Time(ctx).Result()
		d := time.Since(begin)
		if err != nil {
			in.find(Danger, CheckReach, f.addr, "%v", err)
			return 0
		}
		if took = append(took, d); d < best {
			best, f.clock = d, theirs.Sub(begin.Add(d/2))
		}
	}
	return in.latency(f.addr, "a question", took)
}

// rights asks what the store's own user may do.
func (in *inspector) rights(ctx context.Context, f *facts) {
	if major, _ := f.release(); major < ruledMajor {
		in.find(Note, CheckRights, f.addr, "what our user may do can only be asked from Redis %d on", ruledMajor)
		return
	}
	c := in.client(f.addr, true)
	defer c.Close()
	const advice = "what postern redis acl prints"
	r, err := askRights(ctx, c)
	switch {
	case err != nil:
		in.find(Danger, CheckRights, f.addr, "%v", err).advise(advice)
		return
	case len(r.lacks) > 0:
		in.find(Danger, CheckRights, f.addr, "our user lacks %s", strings.Join(r.lacks, " ")).advise(advice)
	}
	switch {
	case len(r.tooMuch) > 0:
		in.find(Warning, CheckRights, f.addr, "our user may do what no service needs: %s", strings.Join(r.tooMuch, ", ")).advise(advice)
	case len(r.lacks) == 0:
		in.find(Good, CheckRights, f.addr, "our user may do what is needed, and nothing dangerous")
	}
}
