package ppp

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// host joins the three machines as a session does (without authentication): LCP,
// then CCP, then IPCP once CCP is open. At CCP's Up it sends encrypted data, which
// its peer must be ready for.
type host struct {
	t     testing.TB
	lcp   *LCP
	ccp   *CCP
	ipcp  *IPCP
	armed MPPEBits
	ended Reason
	downs int
	dead  int // encrypted frames that found no decryptor
	out   []Packet
}

func (h *host) do(now time.Time, p Proto, s Step) {
	if h.t.Failed() {
		return
	}
	if len(s.Send) > 3 {
		h.t.Fatalf("%s sends %d packets for one input", p, len(s.Send))
	}
	if s.Down() {
		h.downs++
		if p == ProtoCCP {
			h.armed = 0
		}
	}
	if s.RecvReady != 0 {
		h.armed = s.RecvReady
	}
	h.out = append(h.out, s.Send...)
	for _, e := range s.Events {
		h.event(now, p, e)
	}
}

func (h *host) event(now time.Time, p Proto, e Event) {
	switch {
	case p == ProtoLCP && e.Kind == Up:
		h.do(now, ProtoCCP, h.ccp.LowerUp(now))
	case p == ProtoLCP && e.Kind == Down:
		h.do(now, ProtoIPCP, h.ipcp.LowerDown(now))
		h.do(now, ProtoCCP, h.ccp.LowerDown(now))
	case p == ProtoCCP && e.Kind == Up:
		h.out = append(h.out, Packet{ProtoMPPE, h.ccp.Results().SendBits.Append(nil)})
		h.do(now, ProtoIPCP, h.ipcp.LowerUp(now))
	case p == ProtoCCP && e.Kind == Down:
		h.do(now, ProtoIPCP, h.ipcp.LowerDown(now))
	case e.Kind == Refused || e.Kind == Dead, p != ProtoLCP && e.Kind == Finished:
		if h.ended == ReasonUnknown {
			h.ended = e.Reason
		}
		h.do(now, ProtoLCP, h.lcp.Close(now, e.Reason.String()))
	case p == ProtoLCP && e.Kind == Finished:
		if h.ended == ReasonUnknown {
			h.ended = e.Reason
		}
	}
}

func (h *host) input(now time.Time, p Packet) {
	switch p.Proto {
	case ProtoLCP:
		h.do(now, p.Proto, h.lcp.Input(now, p.Data))
	case ProtoCCP:
		if h.lcp.State() == Opened {
			h.do(now, p.Proto, h.ccp.Input(now, p.Data))
		}
	case ProtoIPCP:
		if h.lcp.State() == Opened {
			h.do(now, p.Proto, h.ipcp.Input(now, p.Data))
		}
	case ProtoMPPE:
		if b, _ := parseMPPE(p.Data); b != h.armed {
			h.dead++
		}
	default:
		h.t.Fatalf("sent %s", p)
	}
}

func (h *host) deadline() time.Time {
	return earliest(earliest(h.lcp.Deadline(), h.ccp.Deadline()), h.ipcp.Deadline())
}

func (h *host) timeout(now time.Time) {
	h.do(now, ProtoLCP, h.lcp.Timeout(now))
	h.do(now, ProtoCCP, h.ccp.Timeout(now))
	h.do(now, ProtoIPCP, h.ipcp.Timeout(now))
}

func (h *host) up() bool {
	return h.lcp.State() == Opened && h.ccp.State() == Opened && h.ipcp.State() == Opened
}

func (h *host) down() bool { return h.lcp.State() < Closing }

// network is a bad link for the length of storm and a perfect one after it, so that
// what each side then believes can be compared.
type network struct {
	rnd         *rand.Rand
	loss, dup   float64
	base, shake time.Duration
	flying      []flight
}

const storm = 90 * time.Second

type flight struct {
	when time.Time
	to   int
	p    Packet
}

func (n *network) send(now time.Time, to int, p Packet) {
	if now.Sub(epoch) > storm {
		n.loss, n.dup, n.shake = 0, 0, 0
	}
	copies := 1
	if n.rnd.Float64() < n.dup {
		copies = 2
	}
	for range copies {
		if n.rnd.Float64() >= n.loss {
			delay := n.base + time.Duration(n.rnd.Float64()*float64(n.shake))
			n.flying = append(n.flying, flight{now.Add(delay), to, p})
		}
	}
}

// next takes the earliest arrival not after limit.
func (n *network) next(limit time.Time) (flight, bool) {
	best := -1
	for i, f := range n.flying {
		if !f.when.After(limit) && (best < 0 || f.when.Before(n.flying[best].when)) {
			best = i
		}
	}
	if best < 0 {
		return flight{}, false
	}
	f := n.flying[best]
	n.flying = append(n.flying[:best], n.flying[best+1:]...)
	return f, true
}

// negotiate runs a server and a client over n until the time is up.
func negotiate(t testing.TB, n *network, client CCPConfig) [2]*host {
	server := &host{t: t,
		lcp:  NewLCP(LCPConfig{MRU: 1400, Demand: []Auth{AuthMSCHAPv2}, Magic: n.rnd.Uint32, EchoInterval: 5 * time.Second, EchoFailures: 8}),
		ccp:  NewCCP(CCPConfig{Require: true, Allow: MPPE128}),
		ipcp: NewIPCP(IPCPConfig{Local: addrServer, Peer: addrClient, DNS: []netip.Addr{addrDNS}}),
	}
	peer := &host{t: t,
		lcp:  NewLCP(LCPConfig{MRU: 1400, Accept: []Auth{AuthMSCHAPv2}, PFC: true, ACFC: true, AskCallback: true, Magic: n.rnd.Uint32, EchoInterval: 5 * time.Second, EchoFailures: 8}),
		ccp:  NewCCP(client),
		ipcp: NewIPCP(IPCPConfig{Client: true, WantDNS: true, WantNBNS: true}),
	}
	hosts := [2]*host{server, peer}
	now := epoch
	for _, h := range hosts {
		h.ccp.Open(now)
		h.ipcp.Open(now)
		h.do(now, ProtoLCP, h.lcp.Open(now))
		h.do(now, ProtoLCP, h.lcp.LowerUp(now))
	}
	end := epoch.Add(5 * time.Minute)
	for steps := 0; !t.Failed(); steps++ {
		if steps > 20000 {
			t.Fatal("never quiet")
		}
		for i, h := range hosts {
			for _, p := range h.out {
				n.send(now, 1-i, p)
			}
			h.out = nil
		}
		next := earliest(hosts[0].deadline(), hosts[1].deadline())
		if next.IsZero() || next.After(end) {
			next = end
		}
		if f, ok := n.next(next); ok {
			now = f.when
			hosts[f.to].input(now, f.p)
			continue
		}
		if !next.Before(end) {
			break
		}
		now = next
		for _, h := range hosts {
			h.timeout(now)
		}
	}
	return hosts
}

// Over links that lose, duplicate and reorder, slow and fast, with each of our
// client's quirks: both ends come up, or both end, and always say why.
func TestLossyLink(t *testing.T) {
	links := []struct {
		name        string
		loss, dup   float64
		base, shake time.Duration
		atLeastUp   float64
	}{
		{"perfect", 0, 0, 10 * time.Millisecond, 0, 1},
		{"reordering", 0, 0, 5 * time.Millisecond, 60 * time.Millisecond, 1},
		{"slow, 800 ms there and back", 0, 0, 400 * time.Millisecond, 0, 1},
		{"duplicating", 0, 0.3, 10 * time.Millisecond, 30 * time.Millisecond, 1},
		{"a tenth lost", 0.1, 0.05, 20 * time.Millisecond, 40 * time.Millisecond, 0.98},
		{"a fifth lost, a tenth twice", 0.2, 0.1, 20 * time.Millisecond, 40 * time.Millisecond, 0.95},
		{"slow and lossy", 0.2, 0.1, 300 * time.Millisecond, 100 * time.Millisecond, 0.95},
		{"a third lost", 0.33, 0.1, 20 * time.Millisecond, 40 * time.Millisecond, 0.8},
		{"nine tenths lost", 0.9, 0, 20 * time.Millisecond, 0, 0},
		{"all lost", 1, 0, 20 * time.Millisecond, 0, 0},
	}
	const seeds = 150
	for _, link := range links {
		t.Run(link.name, func(t *testing.T) {
			up, dead := 0, 0
			for seed := range uint64(seeds) {
				n := &network{rnd: rand.New(rand.NewPCG(seed, 7)), loss: link.loss, dup: link.dup, base: link.base, shake: link.shake}
				cfg := CCPConfig{Require: true, Allow: MPPE128 | MPPE40}
				if seed%3 == 1 {
					cfg.Quirk = QuirkHOnly
				}
				hosts := negotiate(t, n, cfg)
				a, b := hosts[0], hosts[1]
				switch {
				case a.up() && b.up():
					up++
				case a.down() && b.down() && a.ended != ReasonUnknown && b.ended != ReasonUnknown:
				default:
					t.Fatalf("seed %d: server %s/%s/%s (%s), client %s/%s/%s (%s)", seed,
						a.lcp.State(), a.ccp.State(), a.ipcp.State(), a.ended, b.lcp.State(), b.ccp.State(), b.ipcp.State(), b.ended)
				}
				dead += a.dead + b.dead
				if a.dead+b.dead > 0 && a.downs+b.downs == 0 {
					t.Errorf("seed %d: %d encrypted packets came before the decryptor was armed", seed, a.dead+b.dead)
				}
			}
			t.Logf("%d of %d up, %d early packets dropped", up, seeds, dead)
			if float64(up) < link.atLeastUp*seeds {
				t.Errorf("only %d of %d came up", up, seeds)
			}
		})
	}
}

// A client that cannot agree with the server's policy ends, on both sides, with the
// reason, over any link.
func TestLossyLinkDisagreement(t *testing.T) {
	for name, cfg := range map[string]CCPConfig{
		"40 bits only":          {Require: true, Allow: MPPE40},
		"no encryption":         {},
		"a router with no bits": {Allow: MPPE128, Quirk: QuirkNoBits},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(100) {
				n := &network{rnd: rand.New(rand.NewPCG(seed, 8)), loss: float64(seed%4) / 10, dup: 0.1, base: 10 * time.Millisecond, shake: 30 * time.Millisecond}
				hosts := negotiate(t, n, cfg)
				for i, h := range hosts {
					if !h.down() || h.ended == ReasonUnknown {
						t.Fatalf("seed %d, host %d: %s (%s)", seed, i, h.lcp.State(), h.ended)
					}
				}
				if n.loss == 0 && hosts[0].ended != EncryptionRefused && hosts[0].ended != PeerTerminated {
					t.Errorf("seed %d: server says %s", seed, hosts[0].ended)
				}
			}
		})
	}
}

// One negotiation of both sides, LCP to IPCP, with five minutes of echoes after it.
func BenchmarkNegotiate(b *testing.B) {
	b.ReportAllocs()
	for i := range b.N {
		n := &network{rnd: rand.New(rand.NewPCG(uint64(i), 9)), base: 10 * time.Millisecond}
		if hosts := negotiate(b, n, CCPConfig{Require: true, Allow: MPPE128}); !hosts[0].up() {
			b.Fatal("not up")
		}
	}
}
