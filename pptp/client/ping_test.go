package client

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/simnet"
)

func TestPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, rules{})
		s := l.dial(l.config())
		pass(time.Second)
		d, err := s.Ping(t.Context(), serverInner, 56)
		if err != nil || d != 20*time.Millisecond {
			t.Errorf("took %v, %v", d, err)
		}
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { l.ping(s, 100) })
		}
		all.Wait()
		for _, c := range []struct {
			dst  netip.Addr
			size int
			want error // nil: any
		}{{netip.IPv6Loopback(), 56, nil}, {serverInner, -1, nil}, {serverInner, 1373, ErrTooBig}, {netip.Addr{}, 0, nil}} {
			if _, err := s.Ping(t.Context(), c.dst, c.size); err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("ping %v with %d octets: %v", c.dst, c.size, err)
			}
		}
		l.server.do(func(time.Time, *serverCall) {
			l.server.rules.rewrite = func(ip []byte) []byte {
				e, _ := parseEcho(ip)
				e.data[3] ^= 0x40
				return e.Append(nil)
			}
		})
		if _, err := s.Ping(t.Context(), serverInner, 56); !errors.Is(err, ErrPayload) {
			t.Errorf("a changed reply: %v", err)
		}
		for name, change := range map[string]func(*echo){
			"of another host":   func(e *echo) { e.src[3]++ },
			"to another ping":   func(e *echo) { e.seq++ },
			"to another sender": func(e *echo) { e.id++ },
		} {
			l.server.do(func(time.Time, *serverCall) {
				l.server.rules.rewrite = func(ip []byte) []byte {
					e, _ := parseEcho(ip)
					change(&e)
					return e.Append(nil)
				}
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := s.Ping(ctx, serverInner, 56); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a reply %s: %v", name, err)
			}
			cancel()
		}
		if len(s.pings) != 0 {
			t.Errorf("%d pings are remembered", len(s.pings))
		}
		_ = s.Close()
		l.close()
	})
}

// A session without a taker of its packets answers pings; others are the taker's.
func TestAnswersPings(t *testing.T) {
	for _, taker := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, rules{})
			taken := 0
			cfg := l.config()
			if taker {
				cfg.Deliver = func([]byte) { taken++ }
			}
			s := l.dial(cfg)
			for _, dst := range []netip.Addr{s.Local(), serverInner} {
				l.server.do(func(_ time.Time, k *serverCall) {
					k.sendIP(echo{src: serverInner.As4(), dst: dst.As4(), id: 5, seq: 6, data: []byte("hello")}.Append(nil))
				})
			}
			pass(time.Second)
			l.server.mu.Lock()
			if taker && (len(l.server.got) != 0 || taken != 2) {
				t.Errorf("taken %d, answered %d", taken, len(l.server.got))
			}
			if !taker {
				if len(l.server.got) != 1 {
					t.Fatalf("%d answers, want 1", len(l.server.got))
				}
				e, ok := parseEcho(l.server.got[0])
				if !ok || !e.reply || e.src != s.Local().As4() || e.dst != serverInner.As4() || e.id != 5 || e.seq != 6 || string(e.data) != "hello" {
					t.Errorf("answer %+v", e)
				}
			}
			l.server.mu.Unlock()
			_ = s.Close()
			l.close()
		})
	}
}

// A lost ping is lost: ctx ends it.
func TestPingLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, rules{})
		s := l.dial(l.config())
		l.net.SetFaults(clientAddr, serverAddr, simnet.Faults{Loss: 1})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		begin := time.Now()
		if _, err := s.Ping(ctx, serverInner, 56); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		l.net.SetFaults(clientAddr, serverAddr, simnet.Faults{})
		_ = s.Close()
		l.close()
	})
}
