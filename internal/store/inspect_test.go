package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/internal/store"
	"postern/internal/store/redistest"
)

func inspect(t *testing.T, conf store.RedisConfig, as *store.Asker) *store.Inspection {
	t.Helper()
	in, err := store.InspectRedis(ctx, conf, as)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// says looks for a finding with these words.
func says(in *store.Inspection, l store.Level, c store.Check, words string) bool {
	for _, f := range in.Findings {
		if f.Level == l && f.Check == c && strings.Contains(f.Text, words) {
			return true
		}
	}
	return false
}

func dump(in *store.Inspection) string {
	var b strings.Builder
	for _, f := range in.Findings {
		fmt.Fprintf(&b, "%v %v %s %s\n", f.Level, f.Check, f.Server, f.Text)
	}
	return b.String()
}

// Each danger is found, and gone when it is mended.
func TestInspect(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t)
	c := r.Client()
	defer c.Close()
	do := func(args ...any) func(t *testing.T) {
		return func(t *testing.T) {
			t.Helper()
			if err := c.Do(ctx, args...).Err(); err != nil {
				t.Fatal(args, err)
			}
		}
	}
	conf := r.Config()
	fresh := inspect(t, conf, nil)
	if fresh.Worst() != store.Warning || fresh.Mode != "standalone" || len(fresh.Servers) != 1 || fresh.Servers[0].Role != "primary" || !strings.HasPrefix(fresh.Servers[0].Version, "7.") {
		t.Errorf("%+v\n%s", fresh.Servers, dump(fresh))
	}
	for _, want := range []struct {
		level store.Level
		check store.Check
		words string
	}{
		{store.Good, store.CheckVersion, "version 7"},
		{store.Good, store.CheckPersistence, "before each answer"},
		{store.Good, store.CheckEviction, "noeviction"},
		{store.Good, store.CheckLatency, "a question"},
		{store.Good, store.CheckLatency, "a write"},
		{store.Good, store.CheckClock, "agree"},
		{store.Note, store.CheckMemory, "no maxmemory"},
		{store.Note, store.CheckTransport, "this machine only"},
		{store.Warning, store.CheckReplicas, "no replica"},
		{store.Warning, store.CheckRights, "no password"},
		{store.Warning, store.CheckRights, "flushall, flushdb, keys, config set"},
	} {
		if !says(fresh, want.level, want.check, want.words) {
			t.Errorf("no %v of %v: %s\n%s", want.level, want.check, want.words, dump(fresh))
		}
	}
	for _, row := range []struct {
		name        string
		break_      func(t *testing.T)
		mend        func(t *testing.T)
		level       store.Level
		check       store.Check
		words       string
		replicasAck int
	}{
		{"lru without a limit", do("config", "set", "maxmemory-policy", "allkeys-lru"), do("config", "set", "maxmemory-policy", "noeviction"),
			store.Warning, store.CheckEviction, "allkeys-lru", 0},
		{"lru", do("config", "set", "maxmemory-policy", "allkeys-lru", "maxmemory", "100mb"), do("config", "set", "maxmemory-policy", "noeviction", "maxmemory", "0"),
			store.Danger, store.CheckEviction, "allkeys-lru: when memory is full", 0},
		{"what has a life goes first", do("config", "set", "maxmemory-policy", "volatile-ttl", "maxmemory", "100mb"), do("config", "set", "maxmemory-policy", "noeviction", "maxmemory", "0"),
			store.Danger, store.CheckEviction, "volatile-ttl", 0},
		{"full", do("config", "set", "maxmemory", "1mb"), do("config", "set", "maxmemory", "0"),
			store.Danger, store.CheckMemory, "of maxmemory 1.0 MiB used", 0},
		{"no disk", do("config", "set", "appendonly", "no"), do("config", "set", "appendonly", "yes"),
			store.Danger, store.CheckPersistence, "nothing is written to disk", 0},
		{"snapshots", do("config", "set", "appendonly", "no", "save", "3600 1"), do("config", "set", "appendonly", "yes", "save", ""),
			store.Danger, store.CheckPersistence, "snapshots only", 0},
		{"everysec", do("config", "set", "appendfsync", "everysec"), do("config", "set", "appendfsync", "always"),
			store.Note, store.CheckPersistence, "one or two seconds", 0},
		{"fsync no", do("config", "set", "appendfsync", "no"), do("config", "set", "appendfsync", "always"),
			store.Danger, store.CheckPersistence, "appendfsync no", 0},
		{"no replica to wait for", func(*testing.T) {}, func(*testing.T) {},
			store.Danger, store.CheckReplicas, "0 replicas and store.replicas_ack is 1", 1},
		{"a replica", do("replicaof", "127.0.0.1", "1"), do("replicaof", "no", "one"),
			store.Danger, store.CheckReplicas, "this is a replica", 0},
		{"newer schema", do("set", store.SchemaVersion().String(), store.Schema()+1), do("set", store.SchemaVersion().String(), store.Schema()),
			store.Danger, store.CheckSchema, "newer release", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			conf := conf
			conf.ReplicasAck = row.replicasAck
			if row.replicasAck > 0 {
				conf.Timeout = 400 * time.Millisecond
			}
			row.break_(t)
			in := inspect(t, conf, nil)
			if !says(in, row.level, row.check, row.words) {
				t.Errorf("not found:\n%s", dump(in))
			}
			if row.level == store.Danger && (in.Worst() != store.Danger || in.Findings[0].Level != store.Danger) {
				t.Errorf("the worst is %v", in.Worst())
			}
			row.mend(t)
		})
	}
	t.Run("evicted", func(t *testing.T) {
		do("config", "set", "maxmemory-policy", "allkeys-lru", "maxmemory", "1200kb")(t)
		for i := range 3000 {
			c.Set(ctx, fmt.Sprint("filler", i), strings.Repeat("x", 1000), 0)
		}
		do("config", "set", "maxmemory-policy", "noeviction", "maxmemory", "0")(t)
		if in := inspect(t, conf, nil); !says(in, store.Danger, store.CheckEviction, "keys were evicted") {
			t.Errorf("not found:\n%s", dump(in))
		}
	})
	conf.Addrs = []string{"127.0.0.1:1"}
	if _, err := store.InspectRedis(ctx, conf, nil); err == nil {
		t.Error("nobody is there")
	}
}

// What the store's user lacks is named, and what he has too much of; what he may not read
// another is asked for.
func TestInspectRights(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t)
	c := r.Client()
	defer c.Close()
	do := func(args ...any) {
		t.Helper()
		if err := c.Do(ctx, args...).Err(); err != nil {
			t.Fatal(args, err)
		}
	}
	do(aclUser()...)
	do("acl", "setuser", "admin", "on", ">"+aclPassword, "~*", "&*", "+@all")
	do("acl", "setuser", "default", "resetpass", ">other")
	defer c.Do(ctx, "acl", "setuser", "default", "nopass")
	conf := r.Config()
	conf.Username, conf.Password = "postern", aclPassword
	in := inspect(t, conf, nil)
	if !says(in, store.Good, store.CheckRights, "and nothing dangerous") || !says(in, store.Note, store.CheckPersistence, "our user may not read") || says(in, store.Warning, store.CheckRights, "no password") {
		t.Errorf("the least rights:\n%s", dump(in))
	}
	if in = inspect(t, conf, &store.Asker{Username: "admin", Password: aclPassword}); !says(in, store.Good, store.CheckPersistence, "before each answer") || !says(in, store.Good, store.CheckRights, "") {
		t.Errorf("asked as admin:\n%s", dump(in))
	}
	for _, row := range []struct {
		change, back []any
		level        store.Level
		words        string
	}{
		{[]any{"-zadd", "-wait"}, []any{"+zadd", "+wait"}, store.Danger, "lacks +wait +zadd"},
		{[]any{"resetkeys", "~{user:*"}, []any{"~{*"}, store.Danger, "lacks ~{*"},
		{[]any{"resetchannels"}, []any{"&postern:*"}, store.Danger, "&postern:*"},
		{[]any{"-script|load"}, []any{"+script|load"}, store.Danger, "NOPERM"},
		{[]any{"-evalsha"}, []any{"+evalsha"}, store.Danger, "writes failed"},
		{[]any{"+flushall", "+config|get"}, []any{"-flushall", "-config|get"}, store.Warning, "no service needs: flushall, config get"},
	} {
		do(append([]any{"acl", "setuser", "postern"}, row.change...)...)
		if in := inspect(t, conf, nil); !says(in, row.level, store.CheckRights, row.words) {
			t.Errorf("%v:\n%s", row.change, dump(in))
		}
		do(append([]any{"acl", "setuser", "postern"}, row.back...)...)
	}
	if in = inspect(t, conf, nil); in.Worst() > store.Warning {
		t.Errorf("all is given back:\n%s", dump(in))
	}
	conf.Password = "wrong"
	if _, err := store.InspectRedis(ctx, conf, nil); err == nil || strings.Contains(err.Error(), conf.Password+"\"") {
		t.Errorf("%v", err)
	}
}

func TestInspectCluster(t *testing.T) {
	t.Parallel()
	r := redistest.StartCluster(t, 1)
	conf := r.Config()
	conf.ReplicasAck = 1
	in := inspect(t, conf, nil)
	if in.Worst() == store.Danger || in.Mode != "cluster" || len(in.Servers) != 6 ||
		!says(in, store.Good, store.CheckCluster, "all 16384 slots are served by 3 primaries") ||
		!says(in, store.Warning, store.CheckCluster, "3 of 3 primaries are on one machine") ||
		!says(in, store.Note, store.CheckReplicas, "waits for all of them") {
		t.Errorf("%d servers\n%s", len(in.Servers), dump(in))
	}
	conf.Timeout = 500 * time.Millisecond
	// A third is lost with its replica: its slots are nobody's.
	gone := r.Primary(1)
	for _, s := range r.Servers {
		if s != gone && sameShard(r, s, gone) {
			s.Kill()
		}
	}
	gone.Kill()
	var last string
	for range 100 {
		in, err := store.InspectRedis(ctx, conf, nil)
		if err != nil {
			t.Fatal(err)
		}
		if last = dump(in); says(in, store.Danger, store.CheckCluster, "of 16384 slots are served") && says(in, store.Danger, store.CheckCluster, "this primary is away") && says(in, store.Danger, store.CheckReach, "writes failed") {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Errorf("nothing is found:\n%s", last)
}

// sameShard says whether a server is a replica of another.
func sameShard(r *redistest.Cluster, s, primary *redistest.Server) bool {
	c := s.Client()
	defer c.Close()
	_, port, _ := strings.Cut(primary.Addr, ":")
	return strings.Contains(c.Info(ctx, "replication").Val(), "master_port:"+port)
}

func TestInspectSentinel(t *testing.T) {
	t.Parallel()
	r := redistest.StartSentinel(t)
	conf := r.Config()
	conf.ReplicasAck = 1
	in := inspect(t, conf, nil)
	if in.Worst() == store.Danger || in.Mode != "sentinel" || len(in.Servers) != 3 ||
		!says(in, store.Good, store.CheckSentinel, "3 usable Sentinels") || !says(in, store.Good, store.CheckReplicas, "2 replicas, writes wait for 1") {
		t.Errorf("%d servers\n%s", len(in.Servers), dump(in))
	}
	wrong := conf
	wrong.MasterName = "other"
	if _, err := store.InspectRedis(ctx, wrong, nil); err == nil || !strings.Contains(err.Error(), `it knows no "other"`) {
		t.Errorf("a wrong name: %v", err)
	}
	conf.Timeout = 500 * time.Millisecond
	r.Sentinels[1].Kill()
	r.Sentinels[2].Kill()
	var last string
	for range 100 {
		in, err := store.InspectRedis(ctx, conf, nil)
		if err != nil {
			t.Fatal(err)
		}
		if last = dump(in); says(in, store.Danger, store.CheckSentinel, "nobody would take over") {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Errorf("nothing is found:\n%s", last)
}

// An acknowledgement that is missing is named as what it is.
func TestInspectNoAcknowledgement(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t)
	conf := r.Config()
	conf.ReplicasAck, conf.Timeout = 1, 400*time.Millisecond
	s, err := store.OpenRedis(conf)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := advance(s, 1); !errors.Is(err, store.ErrUnavailable) {
		t.Error(err)
	}
	if in := inspect(t, conf, nil); !says(in, store.Danger, store.CheckReplicas, "3 of 3 writes failed") {
		t.Errorf("%s", dump(in))
	}
}
