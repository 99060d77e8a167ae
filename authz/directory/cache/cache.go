// Package cache keeps what a directory answered for a while. One login asks about
// its account several times, and logins come in crowds: everybody's at eight, or
// one client's again and again.
//
// There is a bound on what is kept and a time that it is believed. Several who ask
// the same at once are one question. A no may be kept as well, with a bound of its
// own: whoever tries names at random pushes out other people's tries, not the
// accounts of those who work.
package cache

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"
)

// Config is what New needs.
type Config struct {
	Max int           // values kept, and as many errors; 0: DefaultMax
	TTL time.Duration // how long one is believed, from when it was asked for; 0: nothing is kept
	// Keep says which errors are answers and kept like values; nil: none.
	Keep func(error) bool
	Now  func() time.Time // nil: time.Now
}

// DefaultMax is ours: some ten megabytes of accounts.
const DefaultMax = 16384

// Cache is safe for concurrent use. Its values are shared by everybody who asks:
// they must not be changed.
type Cache[V any] struct {
	cfg Config

	mu      sync.Mutex
	entries map[string]*list.Element // of values or errors
	values  *list.List               // *entry[V], the one asked for last in front
	errors  *list.List
	flights map[string]*flight[V]
}

// entry is an answer.
type entry[V any] struct {
	key   string
	value V
	err   error
	until time.Time
}

// flight is a question under way. Whoever started it waits for it.
type flight[V any] struct {
	done  chan struct{}
	value V
	err   error
	// lost: the asker gave up or broke down, which says nothing to others.
	lost bool
}

// New makes an empty cache.
func New[V any](cfg Config) *Cache[V] {
	if cfg.Max <= 0 {
		cfg.Max = DefaultMax
	}
	if cfg.Keep == nil {
		cfg.Keep = func(error) bool { return false }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Cache[V]{cfg: cfg, flights: make(map[string]*flight[V])}
	c.clearLocked() // nobody else has c yet
	return c
}

func (c *Cache[V]) clearLocked() {
	c.entries = make(map[string]*list.Element)
	c.values, c.errors = list.New(), list.New()
}

// Get returns what is kept under key, or what load returns. load runs in one
// caller's goroutine and with that one's ctx; others wait for it as long as their
// own ctx lets them, and ask themselves when it gave up.
func (c *Cache[V]) Get(ctx context.Context, key string, load func(ctx context.Context) (V, error)) (V, error) {
	if c.cfg.TTL <= 0 {
		return load(ctx)
	}
	for {
		c.mu.Lock()
		if e := c.lookupLocked(key); e != nil {
			c.mu.Unlock()
			return e.value, e.err
		}
		f := c.flights[key]
		if f == nil {
			f = &flight[V]{done: make(chan struct{}), lost: true, err: errors.New("the question broke down")}
			c.flights[key] = f
			c.mu.Unlock()
			return c.fly(ctx, key, f, load)
		}
		c.mu.Unlock()

		select {
		case <-f.done:
			if !f.lost {
				return f.value, f.err
			}
		case <-ctx.Done():
			var none V
			return none, context.Cause(ctx)
		}
	}
}

func (c *Cache[V]) lookupLocked(key string) *entry[V] {
	at := c.entries[key]
	if at == nil {
		return nil
	}
	e := at.Value.(*entry[V])
	if !c.cfg.Now().Before(e.until) {
		c.removeLocked(at)
		return nil
	}
	c.listLocked(e).MoveToFront(at)
	return e
}

func (c *Cache[V]) listLocked(e *entry[V]) *list.List {
	if e.err != nil {
		return c.errors
	}
	return c.values
}

func (c *Cache[V]) removeLocked(at *list.Element) {
	e := at.Value.(*entry[V])
	c.listLocked(e).Remove(at)
	delete(c.entries, e.key)
}

// fly asks, keeps the answer and tells those who wait.
func (c *Cache[V]) fly(ctx context.Context, key string, f *flight[V], load func(ctx context.Context) (V, error)) (V, error) {
	until := c.cfg.Now().Add(c.cfg.TTL)
	defer func() { // also when load panics
		c.mu.Lock()
		defer c.mu.Unlock()
		defer close(f.done)
		if c.flights[key] != f {
			return // forgotten meanwhile: the answer may be from before
		}
		delete(c.flights, key)
		if !f.lost && (f.err == nil || c.cfg.Keep(f.err)) {
			c.keepLocked(&entry[V]{key, f.value, f.err, until})
		}
	}()
	value, err := load(ctx)
	f.value, f.err = value, err
	f.lost = err != nil && ctx.Err() != nil
	return value, err
}

func (c *Cache[V]) keepLocked(e *entry[V]) {
	if at := c.entries[e.key]; at != nil {
		c.removeLocked(at)
	}
	l := c.listLocked(e)
	if l.Len() >= c.cfg.Max {
		c.removeLocked(l.Back())
	}
	c.entries[e.key] = l.PushFront(e)
}

// Forget drops what is kept under the keys. A question that is under way is still
// answered to those who wait for it, but not kept; later ones are asked anew.
func (c *Cache[V]) Forget(keys ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range keys {
		if at := c.entries[key]; at != nil {
			c.removeLocked(at)
		}
		delete(c.flights, key)
	}
}

// ForgetIf drops every value that gone says so of, and all questions under way:
// whose they are is not known yet.
func (c *Cache[V]) ForgetIf(gone func(key string, value V) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.flights)
	for _, at := range c.entries {
		if e := at.Value.(*entry[V]); e.err == nil && gone(e.key, e.value) {
			c.removeLocked(at)
		}
	}
}

// Flush is Forget for all keys.
func (c *Cache[V]) Flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clearLocked()
	clear(c.flights)
}

// Len counts what is kept, over its time or not.
func (c *Cache[V]) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries)
}
