package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/report"
)

func TestPause(t *testing.T) {
	no := func(r report.Refusal) error { return &refused{&report.Reply{Refused: r}} }
	for _, c := range []struct {
		failures int
		err      error
		want     time.Duration // in the middle of what chance makes of it
	}{
		{0, nil, 10 * time.Minute},
		{1, errors.New("no answer"), 15 * time.Second},
		{2, errors.New("no answer"), 30 * time.Second},
		{7, errors.New("no answer"), 10 * time.Minute},
		{1 << 30, no(report.Away), 10 * time.Minute},
		{1, no(report.Clock), 15 * time.Second},
		{1, no(report.Revoked), time.Hour},
		{9, no(report.UnknownKey), time.Hour},
	} {
		if got := pause(10*time.Minute, c.failures, c.err, 0.5); got != c.want {
			t.Errorf("after %d failures, %v: %v, want %v", c.failures, c.err, got, c.want)
		}
		low, high := pause(10*time.Minute, c.failures, c.err, 0), pause(10*time.Minute, c.failures, c.err, 1)
		if low != c.want*9/10 || high != c.want*11/10 {
			t.Errorf("%v to %v around %v", low, high, c.want)
		}
	}
}

// Who asks is heard soon, but nobody can make an agent report all the time.
func TestRequests(t *testing.T) {
	l := newLaptop(t)
	if err := protect(l.dir); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(l.dir, requestsDir))
	if err != nil || info.Mode().Perm() != 0o733 || info.Mode()&os.ModeSticky == 0 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if !l.wait(t.Context(), time.Minute) || time.Since(began) != time.Minute {
			t.Errorf("without a request: after %v", time.Since(began))
		}
		for range 2 {
			if err := l.request(); err != nil {
				t.Fatal(err)
			}
		}
		began = time.Now()
		if !l.wait(t.Context(), time.Minute) || time.Since(began) < restEvery || time.Since(began) > restEvery+2*lookEvery {
			t.Errorf("with a request: after %v", time.Since(began))
		}
		if l.requested() {
			t.Error("two requests are two reports")
		}
		// What cannot be taken away is no request.
		if err := os.MkdirAll(filepath.Join(l.dir, requestsDir, requestFile, "x"), 0o755); err != nil {
			t.Fatal(err)
		}
		began = time.Now()
		if !l.wait(t.Context(), time.Minute) || time.Since(began) != time.Minute {
			t.Errorf("with nonsense: after %v", time.Since(began))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if l.wait(ctx, time.Minute) {
			t.Error("goes on after its end")
		}
	})
}

func TestNumbersRise(t *testing.T) {
	l := newLaptop(t)
	if err := protect(l.dir); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 9, 12, 0, 0, 0, time.UTC)
	var last int64
	for _, at := range []time.Time{now, now, now.Add(-time.Hour), now.Add(time.Second)} {
		seq, err := l.nextSeq(at)
		if err != nil || seq <= last {
			t.Errorf("%d after %d, %v", seq, last, err)
		}
		last = seq
	}
	if err := os.Remove(l.private(seqFile)); err != nil { // restored without it
		t.Fatal(err)
	}
	if seq, err := l.nextSeq(now.Add(2 * time.Second)); err != nil || seq <= last {
		t.Errorf("%d after %d, %v", seq, last, err)
	}
}
