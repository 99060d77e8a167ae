package client

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/simnet"
	"postern/pptp/control"
	"postern/pptp/gre"
	"postern/pptp/gre/gretest"
	"postern/pptp/ppp"
)

// Each way a server ends a session, and what Err makes of it.
func TestServerEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(l *lab, now time.Time, k *serverCall)
		want func(error) bool
		soon time.Duration
	}{
		{"disconnects the call", func(_ *lab, _ time.Time, k *serverCall) { k.disconnect(control.DisconnectAdminShutdown) },
			func(err error) bool {
				var e *EndedError
				return errors.As(err, &e) && e.How == EndDisconnected && e.Result == control.DisconnectAdminShutdown
			}, time.Second},
		{"terminates the link", func(_ *lab, now time.Time, k *serverCall) { k.lcpStep(now, k.lcp.Close(now, "idle time-out")) },
			func(err error) bool {
				var e *EndedError
				return errors.As(err, &e) && e.How == EndTerminated && e.Text == "idle time-out"
			}, time.Second},
		{"terminates IP", func(_ *lab, now time.Time, k *serverCall) { k.ipcpStep(now, k.ipcp.Close(now, "no more")) },
			func(err error) bool {
				var e *EndedError
				return errors.As(err, &e) && e.How == EndTerminated
			}, 10 * time.Second},
		{"negotiates anew", func(_ *lab, now time.Time, k *serverCall) {
			k.lcpStep(now, k.lcp.LowerDown(now))
			k.lcpStep(now, k.lcp.LowerUp(now))
		}, func(err error) bool {
			var e *EndedError
			return errors.As(err, &e) && e.How == EndRenegotiated
		}, time.Second},
		{"stops the connection", func(_ *lab, now time.Time, k *serverCall) { k.conn.step(k.conn.m.Stop(now, control.StopShutdown)) },
			func(err error) bool {
				var e *EndedError
				return errors.As(err, &e) && e.How == EndStopped && e.Stop == control.StopShutdown
			}, time.Second},
		{"closes TCP", func(_ *lab, _ time.Time, k *serverCall) { _ = k.conn.tcp.Close() },
			func(err error) bool { return errors.Is(err, ErrServerGone) }, time.Second},
		{"sends nonsense", func(_ *lab, _ time.Time, k *serverCall) { _, _ = k.conn.tcp.Write([]byte{0, 16, 0, 1, 13: 0, 15: 0}) },
			func(err error) bool { return errors.Is(err, ErrServerGone) && errors.Is(err, control.ErrMagic) }, time.Second},
		{"is behind a GRE filter", func(l *lab, _ time.Time, _ *serverCall) {
			l.net.SetFaults(serverAddr, clientAddr, simnet.Faults{Loss: 1})
		}, func(err error) bool { return errors.Is(err, ErrSilent) }, (echoFailures + 2) * DefaultEchoInterval},
		{"goes away", func(l *lab, _ time.Time, _ *serverCall) {
			l.net.SetFaults(serverAddr, clientAddr, simnet.Faults{Down: true})
		}, func(err error) bool {
			return errors.Is(err, ErrServerGone) && strings.Contains(err.Error(), "echo time-out")
		}, 125 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, rules{})
				s := l.dial(l.config())
				pass(time.Second)
				l.server.do(func(time.Time, *serverCall) {
					l.server.rules.rewrite = func([]byte) []byte { return []byte{0x45} } // no ping has an answer
				})
				ping := make(chan error)
				go func() {
					_, err := s.Ping(t.Context(), netip.MustParseAddr("10.9.9.9"), 56)
					ping <- err
				}()
				synctest.Wait() // it is on its way
				begin := time.Now()
				l.server.do(func(now time.Time, k *serverCall) { tt.end(l, now, k) })
				<-s.Done()
				if !tt.want(s.Err()) {
					t.Errorf("Err %v", s.Err())
				}
				if d := time.Since(begin); d > tt.soon {
					t.Errorf("took %v", d)
				}
				if err := <-ping; !errors.Is(err, s.Err()) {
					t.Errorf("a ping that waited: %v", err)
				}
				if err := s.Send(make([]byte, 20)); !errors.Is(err, ErrNotIPv4) {
					t.Errorf("send: %v", err)
				}
				if _, err := s.Ping(t.Context(), serverInner, 0); !errors.Is(err, ErrNotUp) {
					t.Errorf("ping: %v", err)
				}
				before := s.Err()
				if err := s.Close(); err != nil || !errors.Is(s.Err(), before) {
					t.Errorf("Close after the end: %v, then %v", err, s.Err())
				}
				l.net.SetFaults(serverAddr, clientAddr, simnet.Faults{})
				l.close()
			})
		})
	}
}

// A server that renegotiates IPCP, or encryption, keeps its session.
func TestRenegotiation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, rules{})
		s := l.dial(l.config())
		for _, again := range []func(now time.Time, k *serverCall){
			func(now time.Time, k *serverCall) {
				k.ipcpStep(now, k.ipcp.LowerDown(now))
				k.ipcpStep(now, k.ipcp.LowerUp(now))
			},
			func(now time.Time, k *serverCall) {
				k.ccpStep(now, k.ccp.LowerDown(now))
				k.ccpStep(now, k.ccp.LowerUp(now))
			},
		} {
			l.server.do(again)
			pass(20 * time.Second) // the first repeated requests are only acknowledged, package ppp says why
			l.ping(s, 56)
		}
		if err := s.Err(); err != nil {
			t.Error(err)
		}
		_ = s.Close()
		l.close()
	})
}

// Close says goodbye in order, and does not wait for ever for a server that does not
// answer.
func TestClose(t *testing.T) {
	for _, down := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var events []control.Event
			var terminated bool
			l := newLab(t, rules{
				message: func(e control.Event) { events = append(events, e) },
				control: func(p ppp.Proto, b []byte) { terminated = terminated || p == ppp.ProtoLCP && b[0] == 5 },
			})
			s := l.dial(l.config())
			l.net.SetFaults(serverAddr, clientAddr, simnet.Faults{Down: down})
			begin := time.Now()
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			limit := 100 * time.Millisecond
			if down {
				limit = 8 * time.Second
			}
			if d := time.Since(begin); d > limit {
				t.Errorf("took %v", d)
			}
			if !terminated {
				t.Error("no LCP Terminate-Request")
			}
			l.server.mu.Lock()
			cleared, stopped := false, false
			for _, e := range events {
				switch e.(type) {
				case control.CallClear:
					cleared = true
				case control.Stopped:
					stopped = cleared
				}
			}
			if !cleared || !stopped {
				t.Errorf("call cleared %v, connection stopped after it %v", cleared, stopped)
			}
			l.server.mu.Unlock()
			l.net.SetFaults(serverAddr, clientAddr, simnet.Faults{})
			l.close()
		})
	}
}

// Close and the server's end at the same time, Close twice, Close while dialling.
func TestCloseRaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, rules{})
		for i := range 20 {
			s := l.dial(l.config())
			for range 3 {
				go func() { _ = s.Close() }()
			}
			l.server.do(func(now time.Time, k *serverCall) {
				if i%2 == 0 {
					k.disconnect(control.DisconnectAdminShutdown)
				} else {
					k.lcpStep(now, k.lcp.Close(now, "bye"))
				}
			})
			<-s.Done()
			pass(10 * time.Second)
			l.server.empty()
		}
		h, err := NewHost(clientAddr, l.config().ListenGRE)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		for range 10 {
			go func() {
				_, err := h.Dial(t.Context(), l.config())
				ended <- err
			}()
		}
		pass(75 * time.Millisecond)
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		for range 10 {
			if err := <-ended; !errors.Is(err, ErrClosed) {
				t.Errorf("dial: %v", err)
			}
		}
		l.close()
	})
}

// A Host whose socket breaks ends its sessions with the reason.
func TestSocketBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, rules{})
		var conn gre.Conn
		h, err := NewHost(clientAddr, func(netip.Addr) (gre.Conn, error) {
			conn = gretest.Listen(l.client)
			return conn, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		s, err := h.Dial(t.Context(), l.config())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		<-s.Done()
		if errors.Is(s.Err(), ErrClosed) || s.Err() == nil {
			t.Errorf("Err %v", s.Err())
		}
		_ = h.Close()
		l.close()
	})
	_, err := NewHost(clientAddr, func(netip.Addr) (gre.Conn, error) { return nil, syscall.EPERM })
	if !errors.Is(err, syscall.EPERM) {
		t.Errorf("no socket: %v", err)
	}
	cfg := Config{ListenGRE: func(netip.Addr) (gre.Conn, error) { return nil, syscall.EPERM }}
	if _, err := Dial(context.Background(), cfg); !errors.Is(err, syscall.EPERM) {
		t.Errorf("no socket: %v", err)
	}
}

// A session costs no goroutine, its control connection one; all end.
func TestGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, rules{})
		settle := func() int {
			pass(10 * time.Second)
			n := runtime.NumGoroutine()
			for range 10_000 { // one that has ended may still be counted for a moment
				runtime.Gosched()
				n = min(n, runtime.NumGoroutine())
			}
			return n
		}
		before := settle()
		h, err := NewHost(clientAddr, l.config().ListenGRE)
		if err != nil {
			t.Fatal(err)
		}
		first, err := h.Dial(t.Context(), l.config())
		if err != nil {
			t.Fatal(err)
		}
		// The runtime has goroutines of its own that come and go; one of ours that stayed
		// would make synctest fail.
		const others = 5
		one := settle()
		for range 50 {
			if _, err := first.DialCall(t.Context(), l.config()); err != nil && l.server.rules.call == 0 {
				var full *CallRefusedError
				if !errors.As(err, &full) {
					t.Fatal(err)
				}
				break // the server's limit of calls on one connection
			}
		}
		if n := settle(); n > one+others {
			t.Errorf("more calls made %d goroutines %d", one, n)
		}
		var more []*Session
		for range 50 {
			s, err := h.Dial(t.Context(), l.config())
			if err != nil {
				t.Fatal(err)
			}
			more = append(more, s)
		}
		if n := settle(); n > one+100+others { // a reader at each end
			t.Errorf("50 more connections made %d goroutines %d", one, n)
		}
		for _, s := range more[:25] {
			_ = s.Close()
		}
		if err := h.Close(); err != nil { // the rest is dropped
			t.Error(err)
		}
		s := l.dial(l.config()) // a Host of its own
		_ = s.Close()
		cfg := l.config()
		cfg.Password = "wrong"
		if _, err := Dial(t.Context(), cfg); err == nil {
			t.Error("logged in with a wrong password")
		}
		if n := settle(); n > before+others {
			t.Errorf("%d goroutines before, %d after", before, n)
		}
		l.close()
	})
}
