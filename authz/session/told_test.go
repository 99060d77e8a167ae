package session

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"postern/internal/store/storetest"
)

type ctxType = context.Context

// Whoever keeps what it is told has each start and stop that was acknowledged.
func TestTold(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		var got []string
		r := New(b, Config{Interim: 20 * time.Millisecond, Told: func(w *Told) {
			got = append(got, fmt.Sprintf("%s %s %v %v %v", w.Kind, w.Acct, w.Cause, w.Repeated, w.Own))
			if w.ID != ID("n1", w.Acct) || w.User != "alice" || w.Started.IsZero() || w.At.IsZero() {
				t.Errorf("%+v", w)
			}
		}})
		want := func(what string, lines ...string) {
			t.Helper()
			if !slices.Equal(got, lines) {
				t.Errorf("%s: %q, want %q", what, got, lines)
			}
			got = nil
		}
		rep := func(acct string) Report { return Report{Node: "n1", Acct: acct, User: "alice", Cause: 1} }
		report(t, r.Start, rep("1"))
		report(t, r.Start, rep("1"))
		report(t, r.Touch, rep("1"))
		want("start", "start 1 unknown false false", "start 1 unknown true false")
		report(t, r.Stop, rep("1"))
		report(t, r.Stop, rep("1"))
		want("stop", "stop 1 user-request false false", "stop 1 user-request true false")
		report(t, r.Touch, rep("1"))
		report(t, r.Touch, rep("2"))
		want("late interim, and one without a start", "start 2 unknown false false")
		report(t, r.Stop, rep("3"))
		want("stop without a start", "start 3 unknown false false", "stop 3 user-request false false")
		b.Sleep(200 * time.Millisecond)
		if n, err := r.Sweep(ctx); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		want("silence", "stop 2 lost-carrier false true")
	})
}

func report(t *testing.T, f func(context.Context, Report) (Outcome, error), rep Report) {
	t.Helper()
	if _, err := f(ctx, rep); err != nil {
		t.Fatal(err)
	}
}

func TestDisconnectNames(t *testing.T) {
	for d, want := range map[Disconnect]string{0: "no-information", 7: "looped", 8: "lcp-timeout", 16: "authentication-failed", 20: "local-error", 21: "disconnect-21"} {
		if d.String() != want {
			t.Errorf("%d: %s, want %s", d, d, want)
		}
	}
}
