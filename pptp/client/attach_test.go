package client

import (
	"errors"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"postern/pptp/control"
	"postern/pptp/tun/tuntest"
)

func TestAttach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, rules{})
		s := l.dial(l.config())
		near, far := tuntest.Pair(1500, 256)
		if err := s.Attach(near); err != nil {
			t.Fatal(err)
		}
		want := [][]byte{packet(1, 100), packet(2, 1400)}
		if _, err := far.WriteBatch([][]byte{want[0], packet(0, 1401), {0x60, 0, 0}, {}, want[1]}, 0); err != nil {
			t.Fatal(err)
		}
		l.server.do(func(_ time.Time, k *serverCall) { k.sendIP(packet(3, 500)) })
		pass(time.Second)
		l.server.mu.Lock()
		if len(l.server.got) != 2 || !slices.Equal(l.server.got[0], want[0]) || !slices.Equal(l.server.got[1], want[1]) {
			t.Errorf("server got %d packets", len(l.server.got))
		}
		l.server.mu.Unlock()
		bufs, sizes := [][]byte{make([]byte, 2048)}, make([]int, 1)
		if n, err := far.ReadBatch(bufs, sizes, 0); n != 1 || err != nil || !slices.Equal(bufs[0][:sizes[0]], packet(3, 500)) {
			t.Errorf("device got %d packets, %v", n, err)
		}
		l.ping(s, 56) // by the session itself, beside the device
		_ = s.Close()
		if _, err := near.ReadBatch(bufs, sizes, 0); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the device outlives the session: %v", err)
		}
		again, _ := tuntest.Pair(1500, 1)
		if err := s.Attach(again); !errors.Is(err, ErrNotUp) {
			t.Errorf("attached to what is over: %v", err)
		}
		if _, err := again.ReadBatch(bufs, sizes, 0); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a device that was handed over is open: %v", err)
		}
		l.close()
	})
}

// The session ends with its device, and the device with the session.
func TestAttachEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, rules{})
		for _, byDevice := range []bool{true, false} {
			s := l.dial(l.config())
			near, _ := tuntest.Pair(1500, 1)
			if err := s.Attach(near); err != nil {
				t.Fatal(err)
			}
			if byDevice {
				_ = near.Close()
			} else {
				l.server.do(func(_ time.Time, k *serverCall) { k.disconnect(control.DisconnectAdminShutdown) })
			}
			<-s.Done()
			if errors.Is(s.Err(), net.ErrClosed) != byDevice {
				t.Errorf("Err %v", s.Err())
			}
			pass(10 * time.Second)
			l.server.empty()
		}
		l.close()
	})
}
