package control

import (
	"math/rand/v2"
	"testing"
	"time"
)

// pair is a server's and a client's machine with a stream each way between
// them, and owners that do anything at any time.
type pair struct {
	t        *testing.T
	rnd      *rand.Rand
	now      time.Time
	conn     [2]*Conn   // server, client
	stream   [2][]byte  // to server, to client
	up       [2]bool    // Started seen
	closed   [2]bool    //
	why      [2]Cause   //
	asked    []uint16   // server: CallRequest not yet answered
	replies  int        // client: CallReply seen
	requests int        // client: Call used
	nextID   [2]uint16  //
	seen     [2][]Event //
}

const (
	srv = 0
	cli = 1
)

func newPair(t *testing.T, seed uint64) *pair {
	p := &pair{t: t, rnd: rand.New(rand.NewPCG(seed, 7)), now: t0, nextID: [2]uint16{1000, 1}}
	cfg := &Config{MaxCalls: 4, HostName: "h", Vendor: "v"}
	p.conn[srv] = NewServer(cfg, t0)
	c, s := NewClient(cfg, t0)
	p.conn[cli] = c
	p.obey(cli, s)
	return p
}

// obey does what a Step says: octets go to the other end's stream.
func (p *pair) obey(end int, s Step) {
	p.t.Helper()
	p.stream[1-end] = append(p.stream[1-end], s.Send...)
	p.seen[end] = append(p.seen[end], s.Events...)
	for _, e := range s.Events {
		switch e := e.(type) {
		case Started:
			p.up[end] = true
		case CallRequest:
			p.asked = append(p.asked, e.PeerCallID)
		case CallReply:
			p.replies++
		case Ignored:
			// An end of a call may cross the other end's message about it.
			if e.Why != UnknownCall && p.conn[end].State() != StateStopping {
				p.t.Fatalf("end %d ignores %s: %s", end, e.Type, e.Why)
			}
		case IncomingCall, WANError, Refused:
			p.t.Fatalf("end %d: %T", end, e)
		}
	}
	if s.Close {
		p.closed[end], p.why[end] = true, s.Why
	}
}

// deliver hands some waiting octets to an end, perhaps half a message.
func (p *pair) deliver(end int) {
	p.t.Helper()
	n := min(1+p.rnd.IntN(200), len(p.stream[end]))
	if n == 0 || p.closed[end] {
		p.stream[end] = p.stream[end][n:]
		return
	}
	s, err := p.conn[end].Input(p.now, p.stream[end][:n])
	if err != nil {
		p.t.Fatalf("end %d: %v", end, err)
	}
	p.stream[end] = p.stream[end][n:]
	p.obey(end, s)
	bounded(p.t, p.conn[end])
}

func (p *pair) settle() {
	p.t.Helper()
	for len(p.stream[srv])+len(p.stream[cli]) > 0 {
		p.deliver(p.rnd.IntN(2))
	}
}

// act lets one of the owners use a verb.
func (p *pair) act() {
	own := func(end int) uint16 { // some call of an end, or none
		calls := p.conn[end].calls
		if len(calls) == 0 {
			return 0
		}
		return calls[p.rnd.IntN(len(calls))].own
	}
	switch p.rnd.IntN(6) {
	case 0:
		if p.up[cli] && p.conn[cli].Calls() < 4 {
			p.nextID[cli]++
			p.requests++
			p.obey(cli, p.conn[cli].Call(p.now, p.nextID[cli], 1, 0))
		}
	case 1:
		p.obey(cli, p.conn[cli].Clear(p.now, own(cli)))
	case 2:
		p.obey(cli, p.conn[cli].SetLinkInfo(p.now, own(cli), 1, 2))
	case 3, 4:
		if len(p.asked) == 0 {
			return
		}
		id := p.asked[0]
		p.asked = p.asked[1:]
		if p.rnd.IntN(4) == 0 {
			p.obey(srv, p.conn[srv].RefuseCall(p.now, id, CallBusy, ErrorNone))
			return
		}
		p.nextID[srv]++
		p.obey(srv, p.conn[srv].AcceptCall(p.now, id, p.nextID[srv], 0, 1))
	case 5:
		p.obey(srv, p.conn[srv].Disconnect(p.now, own(srv), DisconnectLostCarrier, 0))
	}
}

// agree checks, with nothing under way, that both ends have the same calls.
func (p *pair) agree() {
	p.t.Helper()
	server, client := p.conn[srv].calls, p.conn[cli].calls
	if len(server) != len(client) {
		p.t.Fatalf("server has %+v, client %+v", server, client)
	}
	for _, k := range server {
		i := p.conn[cli].byOwn(k.peer)
		if i < 0 || client[i].state != k.state || (k.state == callUp && client[i].peer != k.own) {
			p.t.Fatalf("server has %+v, client %+v", server, client)
		}
	}
}

// TestPair: whatever both owners do and however the streams are cut, the two
// ends agree on the calls when all is delivered, and both come to an end.
func TestPair(t *testing.T) {
	total := 0
	for seed := range uint64(300) {
		p := newPair(t, seed)
		for round := range 400 {
			switch p.rnd.IntN(3) {
			case 0:
				p.act()
			default:
				p.deliver(p.rnd.IntN(2))
			}
			if round%40 == 39 {
				p.settle()
				p.agree()
				p.now = p.now.Add(time.Second)
			}
		}
		total += p.replies
		if p.replies == 0 || p.replies > p.requests {
			t.Fatalf("seed %d: %d requests, %d replies", seed, p.requests, p.replies)
		}
		end := p.rnd.IntN(2)
		p.obey(end, p.conn[end].Stop(p.now, StopShutdown))
		if p.rnd.IntN(3) == 0 { // both at once
			p.obey(1-end, p.conn[1-end].Stop(p.now, StopGeneral))
		}
		p.settle()
		if !p.closed[srv] || !p.closed[cli] {
			t.Fatalf("seed %d: closed %v", seed, p.closed)
		}
		if p.why[end] != CauseStopped {
			t.Fatalf("seed %d: closed because %s", seed, p.why[end])
		}
	}
	if total < 1000 {
		t.Errorf("only %d calls answered; the test does not test", total)
	}
}

// TestPairLives: two ends with a call keep each other alive for a day with
// nothing but echoes, and end within the two times when one goes silent.
func TestPairLives(t *testing.T) {
	p := newPair(t, 1)
	p.settle()
	p.obey(cli, p.conn[cli].Call(p.now, 7, 1, 0))
	p.settle()
	p.obey(srv, p.conn[srv].AcceptCall(p.now, 7, 70, 0, 1))
	p.settle()
	next := func(end int) time.Time { return p.conn[end].Deadline() }
	for p.now.Before(at(24 * time.Hour)) {
		p.now = next(srv)
		if next(cli).Before(p.now) {
			p.now = next(cli)
		}
		for _, end := range []int{srv, cli} {
			p.obey(end, p.conn[end].Timeout(p.now))
		}
		p.settle()
		if p.closed[srv] || p.closed[cli] {
			t.Fatalf("closed after %v: %v", p.now.Sub(t0), p.why)
		}
	}
	silent := p.now
	for !p.closed[srv] {
		p.now = next(srv)
		p.obey(srv, p.conn[srv].Timeout(p.now)) // the client hears nothing
	}
	if took := p.now.Sub(silent); p.why[srv] != CauseEchoTimeout || took > DefaultEchoInterval+DefaultEchoTimeout {
		t.Errorf("closed after %v: %s", took, p.why[srv])
	}
}
