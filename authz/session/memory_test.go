package session_test

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/redis/go-redis/v9"

	"postern/authz/session"
	"postern/internal/store/redistest"
)

// manyUsers are so many that what the server needs for itself, half a megabyte more or
// less, is little for each; of fewer each may take half as much more.
const manyUsers = 10000

var measuredUsers = manyUsers

// What 10,000 users and their sessions take of Redis, and what goes to and fro for them. The
// figures are ARCHITECTURE.md's, and the bounds here keep them true: they leave room for a
// third more.
func TestRedisMemory(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t, redistest.Fsync("everysec"), redistest.With("auto-aof-rewrite-percentage", "0"))
	v := newService(t, srv.Open(t))
	c := srv.Client()
	defer c.Close()
	ctx := t.Context()
	n := measuredUsers
	codes := make([]string, n)
	at := clock(t, v.store)
	// What the first login of all brings is nobody's share.
	if _, err := v.codes.Enroll(ctx, at, "first", "phone"); err != nil {
		t.Fatal(err)
	}
	before := measured(t, ctx, c)
	const workers = 8
	step := func(what string, most float64, f func(i int)) {
		t.Helper()
		begin := time.Now()
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() { // waited for below
				for i := w; i < n; i += workers {
					f(i)
				}
			})
		}
		wg.Wait()
		took := time.Since(begin)
		now := measured(t, ctx, c)
		d := func(key string) float64 { return (now[key] - before[key]) / float64(n) }
		t.Logf("%-8s %7.0f octets of memory; %5.0f octets sent, %5.0f received, %5.0f to the append-only file; %4.1f scripts, %4.1f commands in them, %4.0f µs of the server; %.0f a second",
			what, d("used_memory"), d("total_net_input_bytes"), d("total_net_output_bytes"), d("aof_current_size"),
			d("scripts"), d("commands"), d("usec"), float64(n)/took.Seconds())
		if n < manyUsers {
			most *= 1.5
		}
		if most > 0 && d("used_memory") > most {
			t.Errorf("%s: %.0f octets, want %.0f at most", what, d("used_memory"), most)
		}
		before = now
	}
	source := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, byte(18 + i>>16), byte(i >> 8), byte(i)}) }
	step("enrol", 600, func(i int) {
		e, err := v.codes.Enroll(ctx, at, user(i), "phone")
		if err != nil {
			t.Error(err)
			return
		}
		codes[i], _ = totp.GenerateCode(e.Secret, at)
	})
	rep := func(i int) session.Report {
		return session.Report{Node: "n1", Acct: fmt.Sprint(i), Usage: session.Usage{Time: time.Minute, InOctets: 1 << 40, OutOctets: 1 << 41}}
	}
	did := func(f func(context.Context, session.Report) (session.Outcome, error)) func(int) {
		return func(i int) {
			if out, err := f(ctx, rep(i)); err != nil || out.AddressLost {
				t.Errorf("%+v, %v", out, err)
			}
		}
	}
	idle := before
	step("login", 2200, func(i int) {
		if got := v.login(t, ctx, user(i), fmt.Sprint(i), codes[i], source(i)); !strings.HasPrefix(got, "10.0.") {
			t.Error(got)
		}
	})
	step("start", 1500, did(v.reg.Start))
	step("interim", 0, did(v.reg.Touch))
	live := before
	for kind, octets := range octets(t, ctx, c) {
		if octets > n { // of what all have
			t.Logf("  %-12s %5d octets a session", kind, octets/n)
		}
	}
	t.Logf("a live session with all that belongs to it: %.0f octets", (live["used_memory"]-idle["used_memory"])/float64(n))
	step("stop", 0, did(v.reg.Stop))
	t.Logf("what a session leaves for the time that it is remembered: %.0f octets", (before["used_memory"]-idle["used_memory"])/float64(n))
}

// measured is what the server counts.
func measured(t *testing.T, ctx context.Context, c *redis.Client) map[string]float64 {
	t.Helper()
	m := map[string]float64{}
	for _, section := range []string{"memory", "stats", "persistence"} {
		text, err := c.Info(ctx, section).Result()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(text) {
			k, v, _ := strings.Cut(strings.TrimSpace(line), ":")
			if f, err := strconv.ParseFloat(v, 64); err == nil {
				m[k] = f
			}
		}
	}
	// What waits for the disk or for us is nobody's.
	m["used_memory"] -= m["mem_aof_buffer"] + m["mem_clients_normal"]
	m["scripts"], m["usec"], m["commands"] = stats(t, ctx, c)
	return m
}
