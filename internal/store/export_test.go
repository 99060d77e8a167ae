package store

import (
	"context"
	"testing"

	"go.etcd.io/bbolt"
)

// Counts returns how many values and members a closed store's file holds.
func Counts(t testing.TB, path string) (values, members int) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bbolt.Tx) error {
		values = tx.Bucket(bucketValues).Stats().KeyN
		members = tx.Bucket(bucketMembers).Stats().KeyN
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return values, members
}

// Each is what a migration looks for keys with.
type Each = func(ctx context.Context, match string, f func(ctx context.Context, key string) error) error

// Migrations makes run the only migration for the time of a test.
func Migrations(t testing.TB, run func(ctx context.Context, each Each) error) {
	before := migrations
	migrations = []migration{{what: "a test's", run: func(ctx context.Context, m migrator) error { return run(ctx, m.each) }}}
	t.Cleanup(func() { migrations = before })
}
