//go:build integration

package faults

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/cmd/internal/faults/history"
	"postern/internal/store/redistest"
)

// A primary of the cluster is killed while people log in: nobody gets in who should not,
// some wait, and all is as before without anybody's doing.
func TestPrimaryKilled(t *testing.T) {
	c := redistest.StartCluster(t, 2)
	w := newWorld(t, layout{
		services: 2, nases: 4, plants: 400, staff: 200, guests: 100, pool: "198.18.0.0/20",
		store: []string{"urls: [" + strings.Join(c.URLs(), ", ") + "]", "timeout: 2s", "replicas_ack: 1"},
	})
	const perSecond, lasting, at = 200, 20 * time.Second, 6 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), lasting)
	defer cancel()
	var killed time.Time
	var wg sync.WaitGroup
	wg.Go(func() {
		time.Sleep(at)
		c.Primary(rand.IntN(3)).Kill()
		killed = time.Now()
	})
	w.load(ctx, perSecond, func() time.Duration { return time.Duration(rand.N(2000)) * time.Millisecond })
	wg.Wait()

	r := w.run()
	slices.SortFunc(r.Sessions, func(a, b history.Session) int { return a.Asked.Compare(b.Asked) })
	silent, slow, after := 0, 0, 0
	var first, last time.Time // asked in between, and not answered or late
	for i := range r.Sessions {
		s := &r.Sessions[i]
		took := s.Answered.Sub(s.Asked)
		late := s.Verdict == history.Silent || took > 2*time.Second
		switch {
		case s.Verdict == history.Silent:
			silent++
		case late:
			slow++
		}
		if late {
			if first.IsZero() {
				first = s.Asked
			}
			last = s.Asked
		}
		if s.Asked.After(killed.Add(lasting-at-3*time.Second)) && s.Verdict != history.Silent {
			after++
		}
	}
	for _, f := range slices.Concat(history.Check(&history.Run{Sessions: r.Sessions, Limits: r.Limits, Pending: r.Pending, Silence: r.Silence})) {
		if f.Rule != history.Events && f.Rule != history.Leak { // nobody has looked into the store
			t.Error(f)
		}
	}
	if after == 0 {
		t.Error("no login was answered again")
	}
	t.Logf("%v", w)
	t.Logf("of %d logins %d (%.1f %%) were not answered and %d took more than 2 s; asked from %v before the kill to %v after it",
		len(r.Sessions), silent, 100*float64(silent)/float64(max(1, len(r.Sessions))), slow, killed.Sub(first).Round(time.Millisecond), last.Sub(killed).Round(time.Millisecond))
	if silent > len(r.Sessions)/2 {
		t.Error("more than half of the logins were not answered")
	}
}
