// Package storetest holds the one suite that every back end of the store passes.
package storetest

import (
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"postern/internal/store"
	"postern/internal/store/redistest"
)

// Backend is one store under test.
type Backend struct {
	store.Store
	// Sleep lets d pass on the store's clock: really for Redis, at once for
	// the embedded store.
	Sleep func(d time.Duration)
	// Crash loses all that is not durable and opens the store again.
	Crash func(t testing.TB) store.Store
}

// Each runs test once for each back end, on an empty store.
func Each(t *testing.T, test func(t *testing.T, b Backend)) {
	t.Run("embedded", func(t *testing.T) { test(t, Embedded(t)) })
	t.Run("redis", func(t *testing.T) { test(t, OnRedis(t)) })
}

// Embedded opens an embedded store on a clock of its own, which only Sleep moves.
func Embedded(t testing.TB) Backend {
	t.Helper()
	clock := &clock{now: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)}
	path := filepath.Join(t.TempDir(), "store.db")
	open := func(t testing.TB) store.Store {
		t.Helper()
		s, err := store.OpenEmbedded(store.EmbeddedConfig{Path: path, Now: clock.Now})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	s := open(t)
	return Backend{Store: s, Sleep: clock.sleep, Crash: func(t testing.TB) store.Store {
		t.Helper()
		s.Close() // frees the file; Do had committed all that counts
		return open(t)
	}}
}

// OnRedis opens a store on a redis-server of its own.
func OnRedis(t testing.TB) Backend {
	t.Helper()
	r := redistest.Start(t)
	return Backend{Store: r.Open(t), Sleep: time.Sleep, Crash: func(t testing.TB) store.Store {
		t.Helper()
		r.Kill()
		r.Restart()
		return r.Open(t)
	}}
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) sleep(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func isUnavailable(err error) bool { return errors.Is(err, store.ErrUnavailable) }
