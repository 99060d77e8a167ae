package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/simnet"
)

// Over a bad link every dial ends in a session that carries packets, or in a word of
// the server's or of ours why not; none hangs, none comes up dead.
func TestBadLink(t *testing.T) {
	const dials = 400
	sessions, pings := 0, 0
	failures := map[string]int{}
	var longest time.Duration
	for seed := range uint64(dials) {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, rules{})
			bad := simnet.Faults{
				Delay: 20 * time.Millisecond, Jitter: 10 * time.Millisecond, Loss: 0.2, Duplicate: 0.1, Reorder: 0.2, ReorderBy: 25 * time.Millisecond,
			}
			l.net = reseed(l, seed)
			l.net.SetFaults(netip.Addr{}, netip.Addr{}, bad)
			cfg := l.config()
			cfg.Timeout = 2 * time.Minute
			cfg.Quirk = []Quirk{QuirkNone, QuirkWindows10, QuirkMacOS, QuirkKernelPPPD}[seed%4]
			begin := time.Now()
			s, err := Dial(t.Context(), cfg)
			longest = max(longest, time.Since(begin))
			if err != nil {
				var ended *EndedError
				if !errors.As(err, &ended) && !errors.Is(err, ErrLink) && !errors.Is(err, ErrEncryption) {
					t.Errorf("seed %d, %s: %v", seed, cfg.Quirk, err)
				}
				failures[err.Error()]++
			} else {
				sessions++
				through := false
				for range 40 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					_, err := s.Ping(ctx, serverInner, 56)
					cancel()
					if err == nil {
						pings++
						through = true
					} else if errors.Is(err, ErrNotUp) { // something is agreed on again
						pass(time.Second)
					} else if !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("seed %d, %s: ping: %v", seed, cfg.Quirk, err)
					}
				}
				if !through {
					t.Errorf("seed %d, %s: a dead tunnel: %+v", seed, cfg.Quirk, s.Stats())
				}
				_ = s.Close()
			}
			pass(2 * time.Minute)
			l.server.empty()
			l.close()
		})
	}
	t.Logf("%d sessions of %d dials, the longest %v, %d of %d pings; failures %v", sessions, dials, longest, pings, 40*sessions, failures)
	if sessions < dials*97/100 {
		t.Errorf("%d sessions of %d dials", sessions, dials)
	}
	if got := float64(pings) / float64(40*sessions); got < 0.55 || got > 0.75 { // 0.8 × 0.8
		t.Errorf("%.2f of the pings came back", got)
	}
}

// reseed makes the lab anew on a network of another seed.
func reseed(l *lab, seed uint64) *simnet.Network {
	r := l.server.rules
	l.close()
	n := simnet.New(seed)
	l.server, l.client = newServer(l.t, n.Host(serverAddr), r), n.Host(clientAddr)
	return n
}

// Whatever packets of the handshake are lost, in one direction or both, it completes.
func TestDrops(t *testing.T) {
	random := func(seed uint64) simnet.Rule {
		r := rand.New(rand.NewPCG(seed, 0))
		return func(int, []byte) bool { return r.IntN(3) == 0 }
	}
	for _, d := range []struct {
		name string
		rule func() simnet.Rule
	}{
		{"first", func() simnet.Rule { return simnet.First(1) }},
		{"first three", func() simnet.Rule { return simnet.First(3) }},
		{"a third", func() simnet.Rule { return simnet.Every(3) }},
		{"a random third", func() simnet.Rule { return random(7) }},
		{"5 to 8", func() simnet.Rule { return simnet.Nth(5, 6, 7, 8) }},
		{"9 to 12", func() simnet.Rule { return simnet.Nth(9, 10, 11, 12) }},
	} {
		for _, way := range []string{"to", "from", "both"} {
			for _, q := range Quirks() {
				if q == QuirkRouter {
					continue
				}
				t.Run(fmt.Sprintf("%s %s %s", d.name, way, q), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						l := newLab(t, rules{})
						delay := 10 * time.Millisecond
						if way != "from" {
							l.net.SetFaults(clientAddr, serverAddr, simnet.Faults{Delay: delay, Drop: d.rule()})
						}
						if way != "to" {
							l.net.SetFaults(serverAddr, clientAddr, simnet.Faults{Delay: delay, Drop: d.rule()})
						}
						cfg := l.config()
						cfg.Quirk = q
						s := l.dial(cfg)
						l.net.SetFaults(clientAddr, serverAddr, simnet.Faults{Delay: delay})
						l.net.SetFaults(serverAddr, clientAddr, simnet.Faults{Delay: delay})
						pass(time.Second)
						l.ping(s, 56)
						_ = s.Close()
						l.close()
					})
				})
			}
		}
	}
}
