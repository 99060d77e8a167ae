package chap

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"postern/internal/mschap"
)

// exchange runs an Authenticator and a Peer against each other over a link
// that loses, repeats and delays, on time that only jumps from one event to
// the next. judge is the service, and takes a second.
type exchange struct {
	rng         *rand.Rand
	loss, dup   float64
	now         time.Time
	queue       []delivery
	auth        *Authenticator
	peer        *Peer
	judge       func(Response) (ok bool, text string)
	judgeChange func(ChangePassword) (ok bool, text string)
	authEvents  []Event
	peerEvents  []Event
	onPeer      func(Event) Step
}

type delivery struct {
	at     time.Time
	toPeer bool
	data   []byte // nil: a verdict for ev
	ev     Event
}

func (x *exchange) fromAuth(s Step) {
	if s.Send != nil {
		x.carry(true, s.Send)
	}
	if s.Event == nil {
		return
	}
	x.authEvents = append(x.authEvents, s.Event)
	switch s.Event.(type) {
	case Response, ChangePassword:
		x.queue = append(x.queue, delivery{at: x.now.Add(time.Second), ev: s.Event})
	}
}

// verdict is the service's.
func (x *exchange) verdict(e Event) (ok bool, text string) {
	if c, is := e.(ChangePassword); is {
		return x.judgeChange(c)
	}
	return x.judge(e.(Response))
}

func (x *exchange) fromPeer(s Step) {
	if s.Send != nil {
		x.carry(false, s.Send)
	}
	if s.Event == nil {
		return
	}
	x.peerEvents = append(x.peerEvents, s.Event)
	if x.onPeer != nil {
		on := x.onPeer
		x.onPeer = nil
		x.fromPeer(on(s.Event))
	}
}

func (x *exchange) carry(toPeer bool, data []byte) {
	for first := true; first || x.rng.Float64() < x.dup; first = false {
		if x.rng.Float64() >= x.loss {
			delay := time.Duration(x.rng.IntN(400)) * time.Millisecond
			x.queue = append(x.queue, delivery{at: x.now.Add(delay), toPeer: toPeer, data: data})
		}
	}
}

func (x *exchange) run(t *testing.T) {
	t.Helper()
	x.fromPeer(x.peer.Start(x.now))
	x.fromAuth(x.auth.Start(x.now))
	for range 10000 {
		next, what := time.Time{}, -1
		for i, d := range x.queue {
			if what < 0 || d.at.Before(next) {
				next, what = d.at, i
			}
		}
		timer := false
		for _, at := range []time.Time{x.auth.Deadline(), x.peer.Deadline()} {
			if !at.IsZero() && (what < 0 && !timer || at.Before(next)) {
				next, timer = at, true
			}
		}
		if what < 0 && !timer {
			return
		}
		x.now = next
		if timer {
			x.fromAuth(x.auth.Timeout(x.now))
			x.fromPeer(x.peer.Timeout(x.now))
			continue
		}
		d := x.queue[what]
		x.queue = append(x.queue[:what], x.queue[what+1:]...)
		switch {
		case d.toPeer:
			x.fromPeer(x.peer.Input(x.now, d.data))
		case d.data != nil:
			x.fromAuth(x.auth.Input(x.now, d.data))
		default:
			if ok, text := x.verdict(d.ev); ok {
				x.fromAuth(x.auth.Success(x.now, text))
			} else {
				x.fromAuth(x.auth.Failure(x.now, text))
			}
		}
	}
	t.Fatal("the exchange does not end")
}

// service judges as RFC 2759 says, for one password.
func service(password, refusal string) func(Response) (bool, string) {
	hash := mschap.NTHash(password)
	return func(r Response) (bool, string) {
		digest := mschap.ChallengeHash(&r.PeerChallenge, &r.Challenge, mschap.TrimDomain(r.Name))
		if mschap.NTResponse(digest, &hash) != r.NTResponse {
			return false, refusal
		}
		hashHash := mschap.HashHash(&hash)
		return true, mschap.AuthenticatorResponse(&hashHash, &r.NTResponse, digest) + " M=Welcome"
	}
}

// 1,000 exchanges with a fifth lost and a tenth repeated each way: each ends,
// both sides agree, and one login is judged once.
func TestExchangeLossy(t *testing.T) {
	ended := map[string]int{}
	for seed := range uint64(1000) {
		password, typed := "secret", "secret"
		if seed%4 == 3 {
			typed = "wrong"
		}
		x := &exchange{
			rng: rand.New(rand.NewPCG(seed, 16)), loss: 0.2, dup: 0.1, now: epoch,
			auth:  NewAuthenticator(Config{}),
			peer:  NewPeer(PeerConfig{Name: `CORP\alice`, Password: typed}),
			judge: service(password, rejection),
		}
		x.run(t)
		judged := 0
		for _, e := range x.authEvents {
			if _, ok := e.(Response); ok {
				judged++
			}
		}
		if judged > 1 || len(x.peerEvents) != 1 {
			t.Fatalf("seed %d: judged %d times, peer %v", seed, judged, x.peerEvents)
		}
		switch e := x.peerEvents[0].(type) {
		case Succeeded:
			if typed != password || judged != 1 {
				t.Fatalf("seed %d: succeeded with %q", seed, typed)
			}
			ended["succeeded"]++
		case Failed:
			if e.Reason == Rejected && typed == password || e.Reason == Impostor {
				t.Fatalf("seed %d: %v", seed, e)
			}
			ended[e.Reason.String()]++
		}
	}
	if ended["succeeded"] < 745 || ended["rejected"] < 245 {
		t.Errorf("1000 exchanges ended %v", ended)
	}
}

// A mistyped password, granted a retry, over the same link.
func TestExchangeRetry(t *testing.T) {
	succeeded := 0
	for seed := range uint64(300) {
		x := &exchange{
			rng: rand.New(rand.NewPCG(seed, 17)), loss: 0.2, dup: 0.1, now: epoch,
			auth:  NewAuthenticator(Config{}),
			peer:  NewPeer(PeerConfig{Name: "alice", Password: "mistyped"}),
			judge: service("secret", retryText),
		}
		x.onPeer = func(Event) Step { return x.peer.Retry(x.now, "alice", "secret") }
		x.run(t)
		switch e := x.peerEvents[len(x.peerEvents)-1].(type) {
		case Succeeded:
			succeeded++
		case Failed:
			if e.Reason == Impostor {
				t.Fatalf("seed %d: %v", seed, fmt.Sprint(x.peerEvents))
			}
		}
	}
	if succeeded < 290 {
		t.Errorf("%d of 300 succeed at the second try", succeeded)
	}
}
