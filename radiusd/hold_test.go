package radiusd

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/authz"
	"postern/internal/radius"
)

func refuseLate(d time.Duration) func(context.Context, *authz.Request) *authz.Result {
	return func(context.Context, *authz.Request) *authz.Result {
		return &authz.Result{Reason: authz.LockedOut, ErrorCode: 691, Delay: d}
	}
}

// In process the caller waits; a repetition meanwhile is in flight and learns nothing
// earlier, and one after it gets the same answer.
func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, Config{})
		s.decider.decide = refuseLate(80 * time.Millisecond)
		req := access(t, chap("alice", "guess"))
		from := radius.Peer{Addr: loopback, Transport: radius.UDP}
		began := time.Now()
		var early []byte
		var wg sync.WaitGroup
		wg.Go(func() {
			time.Sleep(79 * time.Millisecond)
			early = s.ServeRADIUS(context.Background(), req, from)
		})
		reply := s.ServeRADIUS(context.Background(), req, from)
		if took := time.Since(began); reply == nil || took != 80*time.Millisecond {
			t.Errorf("answered %v after %v", reply != nil, took)
		}
		wg.Wait()
		if early != nil {
			t.Error("a repetition was answered before its time")
		}
		s.dropped(t, "in_flight", 1)
		if again := s.ServeRADIUS(context.Background(), req, from); !bytes.Equal(again, reply) || s.decider.count() != 1 {
			t.Error("another answer")
		}
	})
}

// Nothing is held back for longer than the answer is waited for, and who waits in
// process may leave.
func TestHoldEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, Config{Deadline: time.Second})
		s.decider.decide = refuseLate(time.Hour)
		began := time.Now()
		wantCode(t, s.ask(t, access(t, chap("alice", "guess")), loopback), radius.CodeAccessReject)
		if took := time.Since(began); took != time.Second {
			t.Errorf("took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		began = time.Now()
		s.ServeRADIUS(ctx, access(t, chap("bob", "guess")), radius.Peer{Addr: loopback, Transport: radius.UDP})
		if took := time.Since(began); took != 10*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

// sent is an answerer that remembers when.
type sent struct {
	mu sync.Mutex
	at []time.Duration
	by time.Time
}

func (a *sent) answer(_ *ticket, reply []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if reply != nil {
		a.at = append(a.at, time.Since(a.by))
	}
}

// Answers that are held back keep no worker: more of them than workers wait side by
// side. Too many do, and then the queue waits behind them; all are answered, none early.
func TestHoldKeepsNoWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const hold, n = 100 * time.Millisecond, maxHeld + 3
		s := newService(t, Config{Queue: n})
		s.decider.decide = refuseLate(hold)
		var workers sync.WaitGroup
		workers.Go(func() { s.work(s.access) })
		to := &sent{by: time.Now()}
		for i := range n {
			req := access(t, pap(fmt.Sprint("user", i), "guess"), func(p *radius.Packet) { p.Identifier = byte(i) })
			tk, _ := s.admit(time.Now(), req, peer{addr: netip.AddrPortFrom(nasAddr.Addr(), uint16(1024+i/256)), via: radius.UDP})
			tk.via = to
			s.access.offer(time.Now(), tk)
		}
		s.access.close()
		workers.Wait()
		s.holding.Wait()
		early, late := 0, 0
		for _, at := range to.at {
			if at < hold {
				early++
			}
			if at > hold {
				late++
			}
		}
		// One worker: the first that found no room waited in it, and those behind it found
		// room again when it was over.
		if len(to.at) != n || early != 0 || late != 2 || s.held.Load() != 0 {
			t.Errorf("%d answers, %d early, %d late, %d held", len(to.at), early, late, s.held.Load())
		}
	})
}

// A server that stops sends what it holds back, and not before its time.
func TestStopSendsWhatIsHeld(t *testing.T) {
	s := newService(t, Config{Auth: "127.0.0.1:0"})
	const hold = 150 * time.Millisecond
	s.decider.decide = refuseLate(hold)
	must(t, s.Start())
	auth, _, _ := s.Addrs()
	conn := dialUDP(t, auth.String())
	began := time.Now()
	send(t, conn, access(t, pap("alice", "guess")))
	eventually(t, "held", func() bool { return s.held.Load() == 1 })
	s.Stop()
	must(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
	buf := make([]byte, radius.MaxPacket)
	n, err := conn.Read(buf)
	must(t, err)
	if took := time.Since(began); n == 0 || buf[0] != byte(radius.CodeAccessReject) || took < hold {
		t.Errorf("%d octets after %v", n, took)
	}
	must(t, s.Wait())
}
