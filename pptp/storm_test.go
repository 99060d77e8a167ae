package pptp

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/radius"
	"postern/pptp/client"
	"postern/pptp/control"
)

// storm is what a node's loss leaves to another one.
type storm struct {
	clients int
	limit   int           // of starting calls
	rate    int           // logins a second that the services manage, one after the other
	login   time.Duration // as long as a call may take
	trip    time.Duration // to the node and back
}

// weathered is what came of it.
type weathered struct {
	all           time.Duration // until the last client was back
	peak          int64         // of starting calls
	refused, busy int           // connections, calls
	late          int           // logins that were not answered in time
}

// run has all clients dial at once, on virtual time. Admission, the limit and the
// clients' waits are the real ones; what lies between, the control connection and PPP, is
// counted in round trips, and the services are a queue.
func (st storm) run(t *testing.T, most time.Duration) (w weathered, back int) {
	cfg := testGateway(t)
	cfg.PPTP.Limits.Starting = st.limit
	n, err := New(cfg, Deps{TUN: new(sink), RADIUS: nobodyAnswers{}})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	began := time.Now()
	free := began // when the services have done all that they were asked
	once := func(addr netip.Addr) bool {
		if n.admission.Admit(time.Now(), addr) != control.Admitted {
			mu.Lock()
			w.refused++
			mu.Unlock()
			return false
		}
		time.Sleep(st.trip) // SCCRQ
		n.admission.Started(addr)
		if n.busy() != BusyUnknown {
			mu.Lock()
			w.busy++
			mu.Unlock()
			return false
		}
		defer n.metrics.starting.Add(-1)
		now := time.Now()
		mu.Lock()
		w.peak = max(w.peak, n.metrics.starting.Load())
		if free.Before(now) {
			free = now
		}
		free = free.Add(time.Second / time.Duration(st.rate))
		answered := free.Sub(now) + 6*st.trip // OCRQ, LCP twice, CHAP, CCP, IPCP
		if answered > st.login {
			w.late++
		}
		mu.Unlock()
		time.Sleep(min(answered, st.login))
		return answered <= st.login
	}
	var all sync.WaitGroup
	for i := range st.clients {
		all.Go(func() {
			addr := netip.AddrFrom4([4]byte{100, 64, byte(i >> 8), byte(i)})
			var wait client.Backoff
			for time.Sleep(client.Settle()); time.Since(began) < most; time.Sleep(wait.Next()) {
				if once(addr) {
					mu.Lock()
					back++
					w.all = max(w.all, time.Since(began))
					mu.Unlock()
					return
				}
			}
		})
	}
	all.Wait()
	return w, back
}

// 20,000 clients lose their node at once and dial another one. With the limit on starting
// calls all are back soon after the services could have had them at best; with none, the
// services spend their time on logins that nobody waits for any more.
func TestReconnectStorm(t *testing.T) {
	limited := storm{clients: 20000, limit: 512, rate: 200, login: time.Minute, trip: 50 * time.Millisecond}
	best := time.Duration(limited.clients/limited.rate) * time.Second
	synctest.Test(t, func(t *testing.T) {
		w, back := limited.run(t, time.Hour)
		if back != limited.clients || w.all > best*3/2 || w.peak > int64(limited.limit) || w.late > 0 {
			t.Errorf("%d are back: %+v", back, w)
		}
		t.Logf("limit %d: %d clients are back after %v, at best %v; at most %d starting; busy %d times, connections refused %d times",
			limited.limit, back, w.all.Round(time.Second), best, w.peak, w.busy, w.refused)
	})
	synctest.Test(t, func(t *testing.T) {
		open := limited
		open.limit = 65535
		w, back := open.run(t, 10*time.Minute)
		if w.late == 0 {
			t.Errorf("without a limit, %d are back: %+v", back, w)
		}
		t.Logf("no limit: %d are back after %v; at most %d starting; %d logins were answered too late", back, w.all.Round(time.Second), w.peak, w.late)
	})
}

// nobodyAnswers is services that are never asked here.
type nobodyAnswers struct{}

func (nobodyAnswers) Exchange(context.Context, *radius.Packet) (*radius.Packet, error) {
	return nil, radius.ErrNoAnswer
}
