package redistest_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"postern/internal/store"
	"postern/internal/store/redistest"
)

// topology is a group of servers in which one takes over for another.
type topology interface {
	Config() store.RedisConfig
	Heal()
	WaitOK()
}

// What was acknowledged is there after a fail-over, whether the primary was killed, froze
// and came back, or went on beside its successor; the same without acknowledgements loses
// what the last of these took alone. Writing goes on again by itself.
func TestFailover(t *testing.T) {
	t.Parallel()
	cluster := func(t *testing.T) topology { return redistest.StartCluster(t, 2) } // one replica is left to wait for
	sentinel := func(t *testing.T) topology { return redistest.StartSentinel(t) }
	// A fault is undone by what it returns.
	kill := func(v topology) func() {
		switch v := v.(type) {
		case *redistest.Cluster:
			v.KillPrimary(key(0, 0).String())
		case *redistest.Sentinel:
			v.KillPrimary()
		}
		return v.Heal
	}
	freeze := func(v topology) func() {
		switch v := v.(type) {
		case *redistest.Cluster:
			v.PrimaryOf(key(0, 0).String()).Freeze()
		case *redistest.Sentinel:
			v.FreezePrimary()
		}
		return v.Heal
	}
	cut := func(v topology) func() {
		s := v.(*redistest.Sentinel)
		p := s.PartitionPrimary()
		return func() {
			for range 600 { // a successor is there
				if now := s.Primary(); now != nil && now != p {
					break
				}
				time.Sleep(50 * time.Millisecond)
			}
			s.HealPrimary(p)
		}
	}
	var all sync.WaitGroup // more at once than t.Parallel, for they mostly wait
	for _, row := range []struct {
		name   string
		start  func(t *testing.T) topology
		fault  func(topology) (heal func())
		acks   int
		losing bool
	}{
		{"cluster, killed", cluster, kill, 1, false},
		{"cluster, frozen", cluster, freeze, 1, false},
		{"sentinel, killed", sentinel, kill, 1, false},
		{"sentinel, frozen", sentinel, freeze, 1, false},
		{"sentinel, cut off", sentinel, cut, 1, false},
		{"sentinel, cut off, no acknowledgements", sentinel, cut, 0, true},
	} {
		all.Go(func() {
			t.Run(row.name, func(t *testing.T) {
				v := row.start(t)
				conf := v.Config()
				conf.ReplicasAck, conf.Timeout = row.acks, time.Second
				s, err := store.OpenRedis(conf)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { s.Close() })
				w := start(s)
				time.Sleep(time.Second)
				begin := time.Now()
				heal := row.fault(v)
				back := w.again(begin.Add(time.Second), 45*time.Second)
				if back.IsZero() {
					t.Errorf("nothing is written again")
				}
				time.Sleep(time.Second)
				heal()
				v.WaitOK()
				if w.again(time.Now(), 20*time.Second).IsZero() {
					t.Error("nothing is written when all is whole")
				}
				acked, failed := w.stop()
				lost := missing(t, v, acked)
				t.Logf("%d writes acknowledged, %d refused, %d lost; all users written again %v after the fault", len(acked), failed, lost, back.Sub(begin).Round(100*time.Millisecond))
				if len(acked) < 200 {
					t.Errorf("only %d writes", len(acked))
				}
				if row.losing != (lost > 0) {
					t.Errorf("%d acknowledged writes are lost", lost)
				}
			})
		})
	}
	all.Wait()
}

const writers = 8

// key is the n-th of a writer; their users lie in all parts of a cluster.
func key(writer, n int) store.Key {
	return store.UserState(fmt.Sprint("writer", writer), fmt.Sprint(n))
}

// load is writers who write ever new keys and note what was acknowledged.
type load struct {
	mu     sync.Mutex
	acked  []store.Key
	failed int
	last   [writers]time.Time // when the last acknowledged write was begun

	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func start(s store.Store) *load {
	l := new(load)
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	for i := range writers {
		l.wg.Go(func() { // stop waits
			for n := 0; ctx.Err() == nil; n++ {
				begin := time.Now()
				op := &store.Once{Key: key(i, n), Value: "x", TTL: time.Hour}
				err := s.Do(context.Background(), store.Seq{op})
				l.mu.Lock()
				if err == nil && op.OK {
					l.acked, l.last[i] = append(l.acked, op.Key), begin
				} else {
					l.failed++
				}
				l.mu.Unlock()
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	return l
}

// again waits until every writer has begun a write after since that was acknowledged.
func (l *load) again(since time.Time, most time.Duration) time.Time {
	for end := time.Now().Add(most); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		l.mu.Lock()
		all := true
		for _, at := range l.last {
			all = all && at.After(since)
		}
		l.mu.Unlock()
		if all {
			return time.Now()
		}
	}
	return time.Time{}
}

func (l *load) stop() (acked []store.Key, failed int) {
	l.cancel()
	l.wg.Wait()
	return l.acked, l.failed
}

// missing counts what was acknowledged and is not there.
func missing(t *testing.T, v topology, acked []store.Key) int {
	t.Helper()
	s, err := store.OpenRedis(v.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	lost := 0
	for len(acked) > 0 {
		some := acked[:min(100, len(acked))]
		acked = acked[len(some):]
		gets := make([]*store.Get, len(some))
		seqs := make([]store.Seq, len(some))
		for i, k := range some {
			gets[i] = &store.Get{Key: k}
			seqs[i] = store.Seq{gets[i]}
		}
		if err := s.Do(context.Background(), seqs...); err != nil {
			t.Fatal(err)
		}
		for _, g := range gets {
			if !g.Found {
				lost++
			}
		}
	}
	return lost
}
