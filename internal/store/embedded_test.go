package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/store"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }

func openEmbedded(t testing.TB, path string) store.Store {
	t.Helper()
	s, err := store.OpenEmbedded(store.EmbeddedConfig{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// crashEnv makes the test binary the victim of TestEmbeddedKill.
const crashEnv = "POSTERN_TEST_STORE"

// A process that is killed in the middle of writing has lost nothing of what it
// was told is done.
func TestEmbeddedKill(t *testing.T) {
	if path := os.Getenv(crashEnv); path != "" {
		victim(path)
		return
	}
	path := filepath.Join(t.TempDir(), "store.db")
	cmd := exec.Command(os.Args[0], "-test.run=^TestEmbeddedKill$")
	cmd.Env = append(os.Environ(), crashEnv+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	sc := bufio.NewScanner(out)
	var done []int64
	for len(done) < 200 && sc.Scan() {
		if n, err := strconv.ParseInt(sc.Text(), 10, 64); err == nil {
			done = append(done, n)
		}
	}
	cmd.Process.Kill()
	for sc.Scan() { // what it still said
		if n, err := strconv.ParseInt(sc.Text(), 10, 64); err == nil {
			done = append(done, n)
		}
	}
	cmd.Wait() // its error is our signal
	s := openEmbedded(t, path)
	if len(done) < 200 {
		t.Fatalf("the victim wrote only %d", len(done))
	}
	for _, n := range done {
		op := &store.Advance{Key: store.UserSteps(fmt.Sprint(n)), Field: "t", To: 1, TTL: time.Hour}
		if err := s.Do(ctx, store.Seq{op}); err != nil || op.OK {
			t.Fatalf("code %d is usable again: %v", n, err)
		}
	}
}

func victim(path string) {
	s, err := store.OpenEmbedded(store.EmbeddedConfig{Path: path})
	if err != nil {
		panic(err)
	}
	var mu sync.Mutex
	next := int64(0)
	for range 8 {
		go func() {
			for {
				mu.Lock()
				next++
				n := next
				mu.Unlock()
				op := &store.Advance{Key: store.UserSteps(fmt.Sprint(n)), Field: "t", To: 1, TTL: time.Hour}
				if s.Do(ctx, store.Seq{op}) == nil && op.OK {
					fmt.Println(n)
				}
			}
		}()
	}
	select {}
}

func TestEmbeddedOneProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := openEmbedded(t, path)
	if _, err := store.OpenEmbedded(store.EmbeddedConfig{Path: path}); !errors.Is(err, store.ErrInUse) {
		t.Errorf("opened twice: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	s.Close()
	openEmbedded(t, path)
	if _, err := store.OpenEmbedded(store.EmbeddedConfig{Path: filepath.Join(path, "x")}); err == nil {
		t.Error("opened below a file")
	}
}

func TestEmbeddedEndedContext(t *testing.T) {
	s := openEmbedded(t, filepath.Join(t.TempDir(), "store.db"))
	c, cancel := context.WithCancel(ctx)
	cancel()
	for _, op := range []store.Op{&store.Time{}, &store.Put{Key: store.Nodes()}} {
		if err := s.Do(c, store.Seq{op}); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%v", err)
		}
	}
}

// A Do that is given up leaves its operations to the caller alone: the race detector
// watches.
func TestEmbeddedGivenUp(t *testing.T) {
	t.Parallel()
	s := openEmbedded(t, filepath.Join(t.TempDir(), "store.db"))
	for i := range 500 {
		c, cancel := context.WithTimeout(ctx, time.Duration(i)*time.Microsecond)
		op := &store.Advance{Key: store.UserSteps(fmt.Sprint(i)), Field: "t", To: 1, TTL: time.Hour}
		err := s.Do(c, store.Seq{op})
		cancel()
		if err == nil && !op.OK {
			t.Fatal("a first code was refused")
		}
		op.OK = false
	}
}

// What has expired leaves the file by itself, in small steps.
func TestEmbeddedSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "store.db")
		s := openEmbedded(t, path)
		for i := range 20 {
			var seqs []store.Seq
			for j := range 250 {
				k := fmt.Sprint(i, j)
				seqs = append(seqs, store.Seq{
					&store.Put{Key: store.UserTokens(k), Value: "x", TTL: time.Minute},
					&store.Count{Key: store.UserFailures(k), ID: "1", Window: time.Minute},
				}, store.Seq{&store.Put{Key: store.UserTokens("keep" + k), Value: "x"}})
			}
			if err := s.Do(ctx, seqs...); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		s.Close()
		values, members := store.Counts(t, path)
		if values != 5000 || members != 0 {
			t.Errorf("%d values, %d members are left", values, members)
		}
	})
}

func TestEmbeddedGoroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	s := openEmbedded(t, filepath.Join(t.TempDir(), "store.db"))
	c, cancel := context.WithCancel(ctx)
	a, err := s.Watch(c, "x")
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Watch(ctx, "x")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	for range a { // closed by the context
	}
	s.Close()
	for range b { // closed with the store
	}
	for range 1000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

// One login's commit, by the number of logins at once: what group commit gives.
func BenchmarkEmbeddedCommit(b *testing.B) {
	for _, n := range []int{1, 16, 128} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := openEmbedded(b, filepath.Join(b.TempDir(), "store.db"))
			b.SetParallelism(max(n/runtime.GOMAXPROCS(0), 1))
			if n == 1 {
				for i := 0; b.Loop(); i++ {
					commit(b, s, i)
				}
				return
			}
			var mu sync.Mutex
			next := 0
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					mu.Lock()
					next++
					i := next
					mu.Unlock()
					commit(b, s, i)
				}
			})
		})
	}
}

func commit(b *testing.B, s store.Store, i int) {
	user, id := fmt.Sprint("u", i%5000), fmt.Sprint("s", i)
	err := s.Do(ctx,
		store.Seq{
			&store.Tally{Key: store.UserFailures(user), Window: time.Minute, Below: 5},
			&store.Advance{Key: store.UserSteps(user), Field: "t", To: int64(i), TTL: time.Hour},
			&store.Enter{Key: store.UserLive(user), Member: id, For: time.Minute},
		},
		store.Seq{&store.Put{Key: store.Session(id), Value: strings.Repeat("x", 400), TTL: time.Hour}},
		store.Seq{&store.Lease{Pool: "p", Ranges: []store.Range{{First: addr("10.0.0.1"), Last: addr("10.255.0.0")}}, Holder: id, Owner: user, TTL: time.Minute}},
	)
	if err != nil {
		b.Error(err)
	}
}
