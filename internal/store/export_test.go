package store

import (
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
