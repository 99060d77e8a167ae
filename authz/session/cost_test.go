package session_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/redis/go-redis/v9"

	"postern/authz/session"
	"postern/internal/store/redistest"
)

// What a login and a session cost in Redis. Commands are bounded here so that
// nobody makes a login dearer unnoticed; times and octets are logged.
func TestRedisCost(t *testing.T) {
	srv := redistest.Start(t)
	v := newService(t, srv.Open(t))
	c := srv.Client()
	defer c.Close()
	ctx := t.Context()
	const logins = 40
	codes := make([]string, logins)
	at := clock(t, v.store)
	for i := range logins {
		e, err := v.codes.Enroll(ctx, at, user(i), "phone")
		if err != nil {
			t.Fatal(err)
		}
		if codes[i], err = totp.GenerateCode(e.Secret, at); err != nil {
			t.Fatal(err)
		}
	}
	tokens := octets(t, ctx, c)
	source := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}) }
	measure := func(what string, most float64, f func(i int)) {
		t.Helper()
		if err := c.ConfigResetStat(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		for i := range logins {
			f(i)
		}
		calls, usec, inner := stats(t, ctx, c)
		t.Logf("%-8s %.1f scripts, %.1f commands in them, %.0f µs of the server", what, calls/logins, inner/logins, usec/logins)
		if calls/logins > most {
			t.Errorf("%s: %.2f scripts, want %.0f at most", what, calls/logins, most)
		}
	}
	measure("login", 7.1, func(i int) { // 3 to load (user, source, network), 4 to commit; 0.1 for what the first ones load
		if got := v.login(t, ctx, user(i), fmt.Sprint(i), codes[i], source(i)); !strings.HasPrefix(got, "10.0.") {
			t.Fatal(got)
		}
	})
	rep := func(i int) session.Report {
		return session.Report{Node: "n1", Acct: fmt.Sprint(i), Usage: session.Usage{Time: time.Minute, InOctets: 1 << 40, OutOctets: 1 << 41}}
	}
	measure("start", 7, func(i int) { report(t, ctx, v.reg.Start, rep(i)) })
	measure("interim", 7, func(i int) { report(t, ctx, v.reg.Touch, rep(i)) })
	live := octets(t, ctx, c)
	for kind, n := range live {
		t.Logf("%-8s %d octets of %s", "session", n/logins, kind)
	}
	measure("stop", 6, func(i int) { report(t, ctx, v.reg.Stop, rep(i)) })
	sum := 0
	for kind, n := range live {
		sum += n - tokens[kind]
	}
	t.Logf("a user's token: %d octets; a live session with all that belongs to it: %d", tokens[":tokens"]/logins, sum/logins)
}

func user(i int) string { return fmt.Sprintf("user%04d", i) }

func report(t *testing.T, ctx context.Context, f func(context.Context, session.Report) (session.Outcome, error), rep session.Report) {
	t.Helper()
	if out, err := f(ctx, rep); err != nil || out.AddressLost {
		t.Fatalf("%+v, %v", out, err)
	}
}

// stats sums commandstats: script calls, their time, and commands inside them.
func stats(t *testing.T, ctx context.Context, c *redis.Client) (calls, usec, inner float64) {
	t.Helper()
	info, err := c.Info(ctx, "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(info) {
		name, values, found := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":")
		if !found || !strings.HasPrefix(line, "cmdstat_") {
			continue
		}
		var n, us float64
		if _, err := fmt.Sscanf(values, "calls=%f,usec=%f", &n, &us); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		switch {
		case name == "evalsha":
			calls, usec = n, us
		case strings.HasPrefix(name, "config") || name == "info" || name == "hello" || strings.HasPrefix(name, "client") || strings.HasPrefix(name, "script"):
		default:
			inner += n
		}
	}
	return calls, usec, inner
}

// octets sums MEMORY USAGE by kind of key.
func octets(t *testing.T, ctx context.Context, c *redis.Client) map[string]int {
	t.Helper()
	keys, err := c.Keys(ctx, "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	sum := map[string]int{}
	for _, k := range keys {
		n, err := c.MemoryUsage(ctx, k, 0).Result()
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(k, "}")
		kind, _, _ := strings.Cut(rest[1:], ":")
		sum[":"+kind] += int(n)
	}
	return sum
}
