//go:build integration

package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
)

const period = 30 // seconds, of codes

// fresh is the code of this moment, if it was not typed yet.
func (u *user) fresh() (code string, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	step := time.Now().Unix() / period
	if step <= u.step {
		return "", false
	}
	u.step = step
	code, err := hotp.GenerateCodeCustom(u.secret, uint64(step), hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
	return code, err == nil
}

// load logs in rate times a second until ctx ends, and returns when each has been
// answered. life draws how long a tunnel stays.
func (w *world) load(ctx context.Context, rate int, life func() time.Duration) {
	var wg sync.WaitGroup
	defer wg.Wait()
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			wg.Go(func() { w.someone(life()) })
		}
	}
}

// someone is one of the users, at one of the NAS.
func (w *world) someone(life time.Duration) {
	at := w.somewhere()
	if at == nil {
		return
	}
	switch dice := rand.IntN(100); {
	case dice < 15:
		u := w.guests[rand.IntN(len(w.guests))]
		at.login(attempt{user: u, wrong: true, source: anywhere()})
	case dice < 50:
		for range 20 {
			u := w.staff[rand.IntN(len(w.staff))]
			code, ok := u.fresh()
			if !ok {
				continue
			}
			a := attempt{user: u, code: code, source: u.source, life: life}
			var wg sync.WaitGroup
			if other := w.somewhere(); other != nil && rand.IntN(5) == 0 {
				// Somebody who has read the code over the user's shoulder is as fast.
				wg.Go(func() { other.login(attempt{user: u, code: code, source: anywhere(), life: life}) })
			}
			at.login(a)
			wg.Wait()
			return
		}
		fallthrough // all have typed this half minute's
	default:
		u := w.plants[rand.IntN(len(w.plants))]
		at.login(attempt{user: u, source: u.source, life: life})
	}
}

// somewhere is a NAS that runs; nil: none does.
func (w *world) somewhere() *boot {
	for _, i := range rand.Perm(len(w.nases)) {
		if b := w.nases[i].running(); b != nil {
			return b
		}
	}
	return nil
}

// fault is one thing that can be broken.
type fault struct {
	what  string
	of    string // one fault at a time for each
	begin func() (undo func())
}

// breakThings has one fault after the other until ctx ends, some at the same time, and
// returns when all is whole again, with how many there were of each.
func (w *world) breakThings(ctx context.Context, faults []fault, every time.Duration) map[string]int {
	begun := map[string]int{}
	var mu sync.Mutex
	under := map[string]bool{}
	var wg sync.WaitGroup
	for {
		select {
		case <-ctx.Done():
			wg.Wait()
			return begun
		case <-time.After(every/2 + rand.N(every)):
		}
		f := faults[rand.IntN(len(faults))]
		mu.Lock()
		taken := under[f.of]
		under[f.of] = true
		mu.Unlock()
		if taken {
			continue
		}
		begun[f.what]++
		undo := f.begin()
		lasts := time.Second + rand.N(5*time.Second)
		w.t.Logf("%s (%s) for %v", f.what, f.of, lasts.Round(time.Millisecond))
		wg.Go(func() {
			time.Sleep(lasts)
			undo()
			mu.Lock()
			defer mu.Unlock()
			under[f.of] = false
		})
	}
}

// breakable are the services and the NAS.
func (w *world) breakable() []fault {
	var all []fault
	for _, p := range w.services {
		all = append(all,
			fault{"service killed", p.name, func() func() { p.kill(); return p.start }},
			fault{"service frozen", p.name, func() func() { p.freeze(); return p.thaw }})
	}
	for _, n := range w.nases {
		all = append(all, fault{"NAS killed", n.name, func() func() { n.kill(); return n.start }})
	}
	return all
}

func (w *world) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	verdicts := map[string]int{}
	reports := 0
	for _, s := range w.all {
		verdicts[verdictNames[s.Verdict]]++
		reports += len(s.Reports)
	}
	return fmt.Sprintf("%d logins: %v; not let in: %v; %d reports acknowledged", len(w.all), verdicts, w.code, reports)
}

var verdictNames = [...]string{"silent", "accepted", "refused"}
