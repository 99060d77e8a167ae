package store_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/internal/store"
	"postern/internal/store/redistest"
)

// A store that was never used gets our version, and one of a newer release is refused
// until it is gone.
func TestSchemaVersion(t *testing.T) {
	r := redistest.Start(t)
	c := r.Client()
	defer c.Close()
	s := r.Open(t)
	if err := s.Do(ctx, store.Seq{&store.Time{}}); err != nil {
		t.Fatal(err)
	}
	key := store.SchemaVersion().String()
	if v := c.Get(ctx, key).Val(); v != strconv.Itoa(store.Schema()) {
		t.Errorf("version %q", v)
	}
	for _, bad := range []string{strconv.Itoa(store.Schema() + 1), "0", "x"} {
		if err := c.Set(ctx, key, bad, 0).Err(); err != nil {
			t.Fatal(err)
		}
		// Who has begun goes on: the version is looked at once.
		if ok, err := advance(s, time.Now().UnixNano()); !ok || err != nil {
			t.Errorf("%q while it runs: %v, %v", bad, ok, err)
		}
		young := r.Open(t)
		_, err := advance(young, time.Now().UnixNano())
		var newer store.NewerSchemaError
		if !errors.Is(err, store.ErrUnavailable) || errors.As(err, &newer) != (bad != "0" && bad != "x") {
			t.Errorf("%q: %v", bad, err)
		}
		if err := c.Set(ctx, key, store.Schema(), 0).Err(); err != nil {
			t.Fatal(err)
		}
		if ok, err := advance(young, time.Now().UnixNano()); !ok || err != nil {
			t.Errorf("%q is gone: %v, %v", bad, ok, err)
		}
	}
}

// What an older release has left is brought forward, on every server of a cluster and once:
// here each :fail becomes a :lost. A migration that was cut off is done again.
func TestSchemaForward(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) (store.RedisConfig, redis.UniversalClient){
		"one": func(t *testing.T) (store.RedisConfig, redis.UniversalClient) {
			r := redistest.Start(t)
			return r.Config(), r.Client()
		},
		"cluster": func(t *testing.T) (store.RedisConfig, redis.UniversalClient) {
			r := redistest.StartCluster(t, 0)
			return r.Config(), redis.NewClusterClient(&redis.ClusterOptions{Addrs: r.Addrs()})
		},
	} {
		t.Run(name, func(t *testing.T) {
			conf, c := start(t)
			defer c.Close()
			const users = 3000
			old := func(i int) string { return "{user:" + strconv.Itoa(i) + "}:fail" }
			pipe := c.Pipeline()
			for i := range users {
				pipe.Set(ctx, old(i), i, time.Hour)
			}
			if _, err := pipe.Exec(ctx); err != nil {
				t.Fatal(err)
			}
			runs, cut := 0, errors.New("cut off")
			store.Migrations(t, func(ctx context.Context, each store.Each) error {
				runs++
				var n atomic.Int64 // each primary has a goroutine of its own
				return each(ctx, "{user:*}:fail", func(ctx context.Context, key string) error {
					if n.Add(1) > users/10 && runs == 1 {
						return cut
					}
					return c.Rename(ctx, key, strings.TrimSuffix(key, ":fail")+":lost").Err()
				})
			})
			open := func() store.Store {
				s, err := store.OpenRedis(conf)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { s.Close() })
				return s
			}
			s := open()
			if err := s.Do(ctx, store.Seq{&store.Time{}}); !errors.Is(err, cut) || !errors.Is(err, store.ErrUnavailable) {
				t.Fatalf("cut off: %v", err)
			}
			if v := c.Get(ctx, store.SchemaVersion().String()).Val(); v != "" {
				t.Errorf("cut off: version %q", v)
			}
			if err := s.Do(ctx, store.Seq{&store.Time{}}); err != nil {
				t.Fatal(err)
			}
			if v := c.Get(ctx, store.SchemaVersion().String()).Val(); v != "2" || store.Schema() != 2 {
				t.Errorf("version %q", v)
			}
			for i := range users {
				if v := c.Get(ctx, "{user:"+strconv.Itoa(i)+"}:lost").Val(); v != strconv.Itoa(i) {
					t.Fatalf("user %d: %q", i, v)
				}
			}
			if err := open().Do(ctx, store.Seq{&store.Time{}}); err != nil || runs != 2 {
				t.Errorf("%d runs, %v", runs, err)
			}
		})
	}
}

// While one process has the turn another refuses, and it goes on when the turn is free.
func TestSchemaTurn(t *testing.T) {
	r := redistest.Start(t)
	c := r.Client()
	defer c.Close()
	begun, end := make(chan struct{}), make(chan struct{})
	store.Migrations(t, func(context.Context, store.Each) error {
		close(begun)
		<-end
		return nil
	})
	first, second := away(t, r), away(t, r)
	bounded(t, "first", func() error { return first.Do(ctx, store.Seq{&store.Time{}}) })
	<-begun
	bounded(t, "first again", func() error { return first.Do(ctx, store.Seq{&store.Time{}}) })
	bounded(t, "second", func() error { return second.Do(ctx, store.Seq{&store.Time{}}) })
	close(end)
	for _, s := range []store.Store{first, second} {
		var err error
		for range 100 {
			if err = s.Do(ctx, store.Seq{&store.Time{}}); err == nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if err != nil {
			t.Error(err)
		}
	}
}
