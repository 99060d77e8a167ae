package client

import (
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, rules{})
		start := time.Now()
		s := l.dial(l.config())
		if d := time.Since(start); d > 300*time.Millisecond {
			t.Errorf("a dial at 20 ms round trip took %v", d)
		}
		if s.Local() != netip.MustParseAddr("10.0.0.101") || s.Peer() != serverInner {
			t.Errorf("addresses %v, %v", s.Local(), s.Peer())
		}
		if d := s.DNS(); len(d) != 2 || d[0] != dns1 || d[1] != dns2 {
			t.Errorf("DNS %v", d)
		}
		if send, recv := s.MPPE(); send != "128-bit stateless" || recv != send {
			t.Errorf("MPPE %q, %q", send, recv)
		}
		for _, size := range []int{0, 56, 1000, 1372} {
			l.ping(s, size)
		}
		if s.Err() != nil {
			t.Errorf("error of a session that is up: %v", s.Err())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if !errors.Is(s.Err(), ErrClosed) {
			t.Errorf("error after Close: %v", s.Err())
		}
		l.server.empty()
		l.close()
	})
}
