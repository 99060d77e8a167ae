package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/internal/store"
	"postern/internal/store/redistest"
)

var ctx = context.Background()

func advance(s store.Store, to int64) (bool, error) {
	op := &store.Advance{Key: store.UserSteps("alice"), Field: "t", To: to, TTL: time.Hour}
	err := s.Do(ctx, store.Seq{op})
	return op.OK, err
}

// away opens a store with the time-out of a service, not of a test.
func away(t *testing.T, r *redistest.Server) store.Store {
	t.Helper()
	c := r.Config()
	c.Timeout = 500 * time.Millisecond
	s, err := store.OpenRedis(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// bounded runs f and fails if it takes much longer than the store's time-out.
func bounded(t *testing.T, what string, f func() error) {
	t.Helper()
	start := time.Now()
	err := f()
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("%s: %v", what, err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("%s: answered after %v", what, d)
	}
}

func TestRedisAway(t *testing.T) {
	r := redistest.Start(t)
	s := away(t, r)
	if ok, err := advance(s, 1); !ok || err != nil {
		t.Fatal(ok, err)
	}
	r.Kill()
	bounded(t, "killed", func() error { _, err := advance(s, 2); return err })
	bounded(t, "watch", func() error { _, err := s.Watch(ctx, "x"); return err })
	r.Restart()
	// By itself, and although the new server does not know the script.
	var ok bool
	var err error
	for range 100 {
		if ok, err = advance(s, 3); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if !ok || err != nil {
		t.Errorf("server is back: %v, %v", ok, err)
	}
	r.Freeze() // connections stay, nobody answers
	bounded(t, "paused", func() error { _, err := advance(s, 4); return err })
	r.Thaw()
	for range 100 {
		if _, err = advance(s, 5); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		t.Errorf("server goes on: %v", err)
	}
	c, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Do(c, store.Seq{&store.Time{}}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("ended context: %v", err)
	}
}

// Whatever Redis refuses for is unavailability: full, read-only, loading.
func TestRedisRefuses(t *testing.T) {
	r := redistest.Start(t)
	s := away(t, r)
	if ok, err := advance(s, 1); !ok || err != nil {
		t.Fatal(ok, err)
	}
	c := r.Client()
	defer c.Close()
	for what, cmds := range map[string][2][]any{
		"full":      {{"config", "set", "maxmemory", "1"}, {"config", "set", "maxmemory", "0"}},
		"read only": {{"replicaof", "127.0.0.1", "1"}, {"replicaof", "no", "one"}},
	} {
		if err := c.Do(ctx, cmds[0]...).Err(); err != nil {
			t.Fatal(err)
		}
		bounded(t, what, func() error { _, err := advance(s, 100); return err })
		if err := c.Do(ctx, cmds[1]...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.ScriptFlush(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	if ok, err := advance(s, 2); !ok || err != nil {
		t.Errorf("after SCRIPT FLUSH: %v, %v", ok, err)
	}
	// A foreign value under our key is an error, no decision.
	if err := c.Set(ctx, store.UserSteps("bob").String(), "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	err := s.Do(ctx, store.Seq{&store.Advance{Key: store.UserSteps("bob"), Field: "t", To: 1}})
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("foreign value: %v", err)
	}
}

// Every key has a life but the tokens and the version, and one tag a key.
func TestRedisKeys(t *testing.T) {
	r := redistest.Start(t)
	everything(t, r.Open(t))
	c := r.Client()
	defer c.Close()
	keys, err := c.Keys(ctx, "*").Result() // a test may
	if err != nil || len(keys) < 12 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	for _, k := range keys {
		if strings.Count(k, "{") != 1 || strings.Count(k, "}") != 1 || k[0] != '{' {
			t.Errorf("%s: tag", k)
		}
		ttl := c.PTTL(ctx, k).Val()
		if forever := ttl < 0; forever != (strings.HasSuffix(k, ":tokens") || k == "{schema}:version") {
			t.Errorf("%s: TTL %v", k, ttl)
		}
	}
}

// A cluster takes every sequence, and the script again after losing it.
func TestRedisCluster(t *testing.T) {
	t.Parallel()
	r := redistest.StartCluster(t, 0)
	s := r.Open(t)
	everything(t, s)
	for _, one := range r.Servers {
		c := one.Client()
		defer c.Close()
		if err := c.ScriptFlush(ctx).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Do(ctx, store.Seq{&store.Time{}}); err != nil {
		t.Error(err)
	}
	if ok, err := advance(s, 1); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	w, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	ch, err := s.Watch(w, "news")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Do(ctx, store.Seq{&store.Publish{Topic: "news", Message: "hello"}}); err != nil {
		t.Fatal(err)
	}
	if m := <-ch; m != "hello" {
		t.Errorf("got %q", m)
	}
}

// everything uses every kind of key once.
func everything(t *testing.T, s store.Store) {
	t.Helper()
	src := store.SourceFailures
	p := prefix("192.0.2.1/32")
	err := s.Do(ctx,
		store.Seq{
			&store.Count{Key: store.UserFailures("a"), ID: "1", Window: time.Minute, At: 1, Strikes: store.UserStrikes("a"), Memory: time.Hour},
			&store.Count{Key: store.PairFailures("a", p), ID: "1", Window: time.Minute, At: 1, Strikes: store.PairStrikes("a", p), Memory: time.Hour},
			&store.Count{Key: store.CodeFailures("a"), ID: "1", Window: time.Minute, Kind: store.Fixed, At: 1, Strikes: store.CodeStrikes("a"), Memory: time.Hour},
			&store.Put{Key: store.PairGood("a", p), Value: "1", TTL: time.Hour},
			&store.Put{Key: store.UserTokens("a"), Value: "[]"},
			&store.Advance{Key: store.UserSteps("a"), Field: "t", To: 1, TTL: time.Hour},
			&store.Enter{Key: store.UserLive("a"), Member: "s", For: time.Minute},
		},
		store.Seq{&store.Count{Key: src(p), ID: "1", Window: time.Minute, Kind: store.Idle, At: 1, Strikes: store.SourceStrikes(p), Memory: time.Hour}},
		store.Seq{
			&store.Put{Key: store.Session("s"), Value: "{}", TTL: time.Hour},
			&store.Advance{Key: store.SessionMarks("s"), Field: "start", To: 1, TTL: time.Hour},
			&store.Append{Key: store.History("s"), Event: "{}", Max: 10, TTL: time.Hour},
		},
		store.Seq{&store.Enter{Key: store.NodeLive("n"), Member: "s", For: time.Minute}},
		store.Seq{&store.Enter{Key: store.Nodes(), Member: "n", For: time.Minute}},
		store.Seq{&store.Lease{Pool: "p", Ranges: []store.Range{{First: addr("10.0.0.1"), Last: addr("10.0.0.9")}}, Holder: "s", Owner: "a", TTL: time.Minute}},
	)
	if err != nil {
		t.Fatal(err)
	}
}

func TestParseRedisURL(t *testing.T) {
	c, err := store.ParseRedisURL("rediss://u:geheim@redis.example:6380/3")
	if err != nil || fmt.Sprint(c.Addrs) != "[redis.example:6380]" || c.Username != "u" || c.Password != "geheim" || c.DB != 3 || c.TLS == nil {
		t.Errorf("%v", err)
	}
	if c, err = store.ParseRedisURL("unix:///run/redis.sock"); err != nil || c.Addrs[0] != "/run/redis.sock" {
		t.Errorf("%v, %v", c.Addrs, err)
	}
	for _, bad := range []string{"", "http://x", "redis://u:geheim@h:port/0", "redis://u:geheim@h/x"} {
		if _, err := store.ParseRedisURL(bad); err == nil || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := store.OpenRedis(store.RedisConfig{}); err == nil {
		t.Error("no address")
	}
}
