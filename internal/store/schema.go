package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// The schema is what keys.go and script.lua make of Redis. Its version stands in
// SchemaVersion; Redis without one was never used, or by a release from before there were
// versions, whose schema is the first.
//
// A version is gone forward from by the one process that has the turn, on line and in small
// steps. Until it is done nothing else runs: an older shape read as a newer one could open
// what is shut. A version newer than ours is refused for the same reason, so services of a
// release are stopped before those of the next go forward, unless the migration says that
// the release before it can live with what it does.

// firstSchema is the version of what has none.
const firstSchema = 1

// migration brings the schema one version forward. It may be cut off anywhere and is then
// run again from its beginning.
type migration struct {
	what string
	run  func(ctx context.Context, m migrator) error
}

// migrations lead from the first version to ours, in order; the first leads to 2.
var migrations = []migration{}

// Schema is the version that this program reads and writes.
func Schema() int { return firstSchema + len(migrations) }

// turnLife is when another process may go on with a migration that stands still.
const turnLife = 30 * time.Second

// NewerSchemaError is refused until the program is a newer one, too.
type NewerSchemaError struct{ Found, Ours int }

func (e NewerSchemaError) Error() string {
	return fmt.Sprintf("its schema is version %d, written by a newer release; this one knows %d", e.Found, e.Ours)
}

var errMigrating = errors.New("its schema is being brought forward")

// schemaGate lets a store's operations through once the version is ours.
type schemaGate struct {
	open atomic.Bool

	mu     sync.Mutex
	closed bool
	done   chan struct{} // of the migration that runs here; nil: none
	err    error         // how the last one ended
	quit   context.CancelFunc
}

// ready asks Redis until it has once answered with our version.
func (g *schemaGate) ready(ctx context.Context, r *redisStore) error {
	if g.open.Load() {
		return nil
	}
	v, err := schemaVersion(ctx, r.client)
	switch {
	case err != nil:
		return err
	case v > Schema():
		return NewerSchemaError{v, Schema()}
	case v == Schema():
		g.open.Store(true)
		return nil
	}
	// A short migration is waited for; a long one is unavailability until it is done.
	select {
	case <-g.begin(ctx, r, max(v, firstSchema)):
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.err
	case <-ctx.Done():
		return errMigrating
	}
}

// begin starts a migration, if none runs, and returns its end.
func (g *schemaGate) begin(ctx context.Context, r *redisStore, v int) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.done != nil {
		return g.done
	}
	done := make(chan struct{})
	if g.closed {
		close(done)
		return done
	}
	g.done = done
	ctx, g.quit = context.WithCancel(context.WithoutCancel(ctx))
	go func() { // stop waits for it
		err := r.migrate(ctx, v)
		g.mu.Lock()
		defer g.mu.Unlock()
		g.quit()
		g.done, g.err = nil, err
		g.open.Store(err == nil)
		close(done)
	}()
	return done
}

func (g *schemaGate) stop() {
	g.mu.Lock()
	g.closed, g.err = true, redis.ErrClosed
	done := g.done
	if done != nil {
		g.quit()
	}
	g.mu.Unlock()
	if done != nil {
		<-done
	}
}

// schemaVersion is 0 when there is none.
func schemaVersion(ctx context.Context, c redis.Cmdable) (int, error) {
	text, err := c.Get(ctx, SchemaVersion().String()).Result()
	if errors.Is(err, redis.Nil) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	v, err := strconv.Atoi(text)
	if err != nil || v < firstSchema {
		return 0, fmt.Errorf("parse %v: %q is no version", SchemaVersion(), text)
	}
	return v, nil
}

// migrate goes from version v to ours, if nobody else does.
func (r *redisStore) migrate(ctx context.Context, v int) error {
	if v == Schema() { // nothing to do but to say so
		_, err := r.setAbsent(ctx, SchemaVersion(), strconv.Itoa(v), 0)
		return err
	}
	got, err := r.setAbsent(ctx, schemaTurn(), "", turnLife)
	if err != nil {
		return err
	}
	if !got {
		return errMigrating
	}
	turn := schemaTurn().String()
	defer func() { _ = r.client.Del(context.WithoutCancel(ctx), turn).Err() }() // or it lapses
	m := migrator{client: r.client, hold: func(ctx context.Context) error { return r.client.Expire(ctx, turn, turnLife).Err() }}
	// Somebody may have had the turn before us.
	found, err := schemaVersion(ctx, r.client)
	if err != nil {
		return err
	}
	for v = max(found, v); v < Schema(); v++ {
		step := migrations[v-firstSchema]
		if err := step.run(ctx, m); err != nil {
			return fmt.Errorf("bring the schema to version %d (%s): %w", v+1, step.what, err)
		}
		if err := r.client.Set(ctx, SchemaVersion().String(), v+1, 0).Err(); err != nil {
			return err
		}
	}
	return nil
}

// setAbsent writes a value if there is none.
func (r *redisStore) setAbsent(ctx context.Context, k Key, value string, ttl time.Duration) (bool, error) {
	err := r.client.SetArgs(ctx, k.String(), value, redis.SetArgs{Mode: "NX", TTL: ttl}).Err()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	return err == nil, err
}

// migrator is what a migration works with.
type migrator struct {
	client redis.UniversalClient
	hold   func(ctx context.Context) error // keeps the turn
}

// scanned is how many keys SCAN looks at in one call: a millisecond's work.
const scanned = 1000

// each calls f for all keys that match, of all servers, a few at a time and some perhaps
// twice. No other client waits for it longer than for one call.
func (m migrator) each(ctx context.Context, match string, f func(ctx context.Context, key string) error) error {
	one := func(ctx context.Context, c *redis.Client) error {
		for cursor := uint64(0); ; {
			keys, next, err := c.Scan(ctx, cursor, match, scanned).Result()
			if err != nil {
				return err
			}
			for _, k := range keys {
				if err := f(ctx, k); err != nil {
					return err
				}
			}
			if err := m.hold(ctx); err != nil {
				return err
			}
			if cursor = next; cursor == 0 {
				return nil
			}
		}
	}
	switch c := m.client.(type) {
	case *redis.ClusterClient:
		return c.ForEachMaster(ctx, one)
	case *redis.Client:
		return one(ctx, c)
	}
	return fmt.Errorf("no migration with %T", m.client)
}
