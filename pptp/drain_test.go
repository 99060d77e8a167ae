package pptp_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"layeh.com/radius/rfc2866"

	"postern/internal/config"
	"postern/internal/radius"
	"postern/pptp"
	"postern/pptp/client"
	"postern/pptp/control"
)

// duty makes d what the service answers reports with.
func (s *service) wants(d radius.Duty) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.duty = d
}

func busy(err error) bool {
	var refused *client.CallRefusedError
	return errors.As(err, &refused) && refused.Result == control.CallBusy
}

// A node that drains refuses calls as busy, waits, ends sessions in turn and politely,
// and serves again when it is told so.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		var all []*client.Session
		for i := range 12 {
			s, err := client.Dial(t.Context(), w.clientConfig(clientAddr(i)))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, s)
			time.Sleep(10 * time.Millisecond)
		}
		ended := func() (n int) {
			for i, s := range all {
				select {
				case <-s.Done():
					if n != i {
						t.Errorf("the %dth has ended before an older one", i)
					}
					n++
				default:
				}
			}
			return n
		}
		w.service.wants(radius.Duty{State: radius.NodeDraining, Rate: 12, Wait: 20 * time.Second})
		time.Sleep(12 * time.Second) // a report
		if _, err := client.Dial(t.Context(), w.clientConfig(clientAddr(20))); !busy(err) {
			t.Errorf("a new call: %v", err)
		}
		if n := ended(); n != 0 {
			t.Errorf("%d have ended in the wait", n)
		}
		time.Sleep(24 * time.Second) // five seconds a session, from 20 s after the report on
		if n := ended(); n < 1 || n > 5 {
			t.Errorf("%d have ended", n)
		}
		before := ended()
		var how *client.EndedError
		if err := all[0].Err(); !errors.As(err, &how) || how.How != client.EndTerminated && how.How != client.EndDisconnected {
			t.Errorf("the first ended: %v", err)
		}
		w.service.wants(radius.Duty{State: radius.NodeServing})
		time.Sleep(12 * time.Second)
		after := ended()
		if after-before > 4 || after == 12 {
			t.Errorf("%d, then %d have ended", before, after)
		}
		time.Sleep(time.Minute)
		if n := ended(); n != after {
			t.Errorf("%d ended after the end of draining", n-after)
		}
		if _, err := client.Dial(t.Context(), w.clientConfig(clientAddr(20))); err != nil {
			t.Errorf("a call after the end of draining: %v", err)
		}
		w.service.mu.Lock()
		defer w.service.mu.Unlock()
		if len(w.service.stops) != after {
			t.Errorf("%d stops of %d sessions", len(w.service.stops), after)
		}
		for _, stop := range w.service.stops {
			if stop.cause != rfc2866.AcctTerminateCause_Value_NASRequest || stop.count != 1 {
				t.Errorf("stop: %+v", stop)
			}
		}
		h, ok := radius.ReadNodeHealth(w.service.reported[len(w.service.reported)-1])
		if !ok || h.State != radius.NodeServing || h.Sessions == 0 || h.Boot == "" || h.Starting != 0 || time.Since(h.At) > 12*time.Second {
			t.Errorf("it says %+v", h)
		}
	})
}

// Whose turn it is hears of it when a service has his Stop, so that he finds his address
// free elsewhere; and while no service answers nobody is sent away, for none would let him
// in.
func TestDrainStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		var all []*client.Session
		for i := range 100 {
			s, err := client.Dial(t.Context(), w.clientConfig(clientAddr(i)))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, s)
		}
		ended := func() (n int) {
			for _, s := range all {
				select {
				case <-s.Done():
					n++
				default:
				}
			}
			return n
		}
		time.Sleep(time.Second)
		w.service.delay.Store(int64(700 * time.Millisecond)) // of a Stop's answer
		w.node.Do(radius.Duty{State: radius.NodeDraining, Rate: 120})
		<-all[0].Done()
		w.service.mu.Lock()
		stops := len(w.service.stops)
		w.service.mu.Unlock()
		if stops == 0 {
			t.Error("the first was cut before a service knew")
		}

		w.service.away.Store(true)
		time.Sleep(time.Minute)
		before := ended()
		if before > 75 {
			t.Errorf("%d were sent away while no service answered", before)
		}
		time.Sleep(time.Minute)
		if n := ended(); n != before {
			t.Errorf("%d, and then %d were", before, n)
		}
		w.service.away.Store(false)
		time.Sleep(3 * time.Minute)
		if n := ended(); n != len(all) {
			t.Errorf("%d of %d have ended after that", n, len(all))
		}
		w.service.mu.Lock()
		defer w.service.mu.Unlock()
		if len(w.service.stops) != len(all) {
			t.Errorf("%d stops of %d sessions", len(w.service.stops), len(all))
		}
		for id, stop := range w.service.stops {
			if stop.count != 1 || stop.cause != rfc2866.AcctTerminateCause_Value_NASRequest {
				t.Errorf("%s: %+v", id, stop)
			}
		}
	})
}

// A service of another release says nothing of duties: the node goes on as it is.
func TestDutyUnsaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.service.wants(radius.Duty{State: radius.NodeDraining})
		time.Sleep(15 * time.Second)
		w.service.mu.Lock()
		w.service.older = true
		w.service.mu.Unlock()
		time.Sleep(15 * time.Second)
		if _, err := client.Dial(t.Context(), w.clientConfig(clientAddr(0))); !busy(err) {
			t.Errorf("a call at a node that was to drain: %v", err)
		}
		w.node.Do(radius.Duty{State: radius.NodeServing})
		if _, err := client.Dial(t.Context(), w.clientConfig(clientAddr(0))); err != nil {
			t.Error(err)
		}
	})
}

// No more logins are begun than the limit says, and who is turned away knows at once.
func TestStartingLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, crowd = 5, 20
		w := newWorld(t, func(c *config.Gateway, _ *pptp.Deps) { c.PPTP.Limits.Starting = limit })
		w.service.delay.Store(int64(3 * time.Second))
		errs := make(chan error, crowd)
		for i := range crowd {
			go func() { // counted below
				_, err := client.Dial(t.Context(), w.clientConfig(clientAddr(i)))
				errs <- err
			}()
		}
		var in, away int
		for range crowd {
			switch err := <-errs; {
			case err == nil:
				in++
			case busy(err):
				away++
			default:
				t.Error(err)
			}
		}
		time.Sleep(time.Second) // a client is up before the node has heard its last word
		if in != limit || away != crowd-limit || w.node.Sessions() != limit {
			t.Errorf("%d came in, %d were turned away", in, away)
		}
		w.service.delay.Store(0)
		if _, err := client.Dial(t.Context(), w.clientConfig(clientAddr(30))); err != nil {
			t.Errorf("when the others are up: %v", err)
		}
	})
}
