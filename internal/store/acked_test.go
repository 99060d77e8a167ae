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

// What too few replicas have is unavailability, also when it is asked for again and nothing
// is written any more.
func TestReplicasAck(t *testing.T) {
	t.Parallel()
	p := redistest.Start(t)
	replica := redistest.Start(t, redistest.With("replicaof", strings.Replace(p.Addr, ":", " ", 1)))
	conf := p.Config()
	conf.ReplicasAck, conf.Timeout = 1, 2*time.Second
	s, err := store.OpenRedis(conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	code := func() (bool, error) {
		op := &store.Advance{Key: store.UserSteps("alice"), Field: "t", To: 7, ID: "login 1", TTL: time.Hour}
		err := s.Do(ctx, store.Seq{op})
		return op.OK, err
	}
	acknowledged := func(what string, f func() error) {
		t.Helper()
		var err error
		for range 50 {
			if err = f(); err == nil {
				return
			}
		}
		t.Fatalf("%s: %v", what, err)
	}
	acknowledged("the replica is coming", func() error { _, err := advance(s, 1); return err })
	replica.Freeze()
	for i := range 2 {
		if _, err := code(); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "0 replicas have the write, 1 are wanted") {
			t.Errorf("%d: the replica is frozen: %v", i, err)
		}
	}
	// Nothing is waited for that does not write.
	if err := s.Do(ctx, store.Seq{&store.Marks{Key: store.UserSteps("alice")}}, store.Seq{&store.Time{}}); err != nil {
		t.Errorf("reading: %v", err)
	}
	replica.Thaw()
	acknowledged("the replica is back", func() error {
		ok, err := code()
		if err == nil && !ok {
			t.Error("the same login lost against itself")
		}
		return err
	})
	replica.Kill()
	if _, err := advance(s, 8); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("the replica is killed: %v", err)
	}
	// A primary that has lost the script gets it.
	replica.Restart()
	c := p.Client()
	defer c.Close()
	acknowledged("the script is lost", func() error {
		if err := c.ScriptFlush(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		_, err := advance(s, 9)
		return err
	})
}

// With acknowledgements, too, sequences find their servers in a cluster, also while slots
// move.
func TestReplicasAckCluster(t *testing.T) {
	t.Parallel()
	r := redistest.StartCluster(t, 1)
	conf := r.Config()
	conf.ReplicasAck, conf.Timeout = 1, 2*time.Second
	s, err := store.OpenRedis(conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	everything(t, s)
	var seqs []store.Seq
	for i := range 60 {
		seqs = append(seqs, store.Seq{&store.Put{Key: store.UserGrants(fmt.Sprint("u", i)), Value: "x", TTL: time.Hour}})
	}
	if err := s.Do(ctx, seqs...); err != nil {
		t.Fatal(err)
	}
	move(t, r, store.UserGrants("u7").String(), func(when string) {
		t.Helper()
		if when == "migrating" {
			// A new key of the slot would have to begin over there.
			bounded(t, when, func() error {
				return s.Do(ctx, store.Seq{&store.Put{Key: store.UserGrants("u7"), Value: "y", TTL: time.Hour}})
			})
			if err := s.Do(ctx, seqs[8], seqs[9]); err != nil {
				t.Errorf("%s: others: %v", when, err)
			}
			return
		}
		get := &store.Get{Key: store.UserGrants("u7")}
		if err := s.Do(ctx, store.Seq{get}, store.Seq{&store.Put{Key: store.UserGrants("u7"), Value: "y", TTL: time.Hour}}, seqs[8]); err != nil || !get.Found {
			t.Errorf("%s: %v", when, err)
		}
	})
}

// move moves the slot of one key to another primary, step by step.
func move(t *testing.T, r *redistest.Cluster, key string, each func(when string)) {
	t.Helper()
	from := r.PrimaryOf(key)
	to := r.Primary(0)
	if to == from {
		to = r.Primary(1)
	}
	a, b := from.Client(), to.Client()
	defer a.Close()
	defer b.Close()
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	slot := int(a.ClusterKeySlot(ctx, key).Val())
	idA, idB := a.Do(ctx, "cluster", "myid").Val(), b.Do(ctx, "cluster", "myid").Val()
	do(b.Do(ctx, "cluster", "setslot", slot, "importing", idA).Err())
	do(a.Do(ctx, "cluster", "setslot", slot, "migrating", idB).Err())
	each("migrating")
	host, port, _ := strings.Cut(to.Addr, ":")
	keys := a.ClusterGetKeysInSlot(ctx, slot, 100).Val()
	args := []any{"migrate", host, port, "", 0, 5000, "keys"}
	for _, k := range keys {
		args = append(args, k)
	}
	do(a.Do(ctx, args...).Err())
	each("migrated")
	do(b.Do(ctx, "cluster", "setslot", slot, "node", idB).Err())
	do(a.Do(ctx, "cluster", "setslot", slot, "node", idB).Err())
	each("moved")
}
