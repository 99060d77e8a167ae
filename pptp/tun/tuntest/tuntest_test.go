package tuntest

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postern/pptp/tun"
)

var (
	_ tun.Device = (*Device)(nil)
	_ tun.Router = (*Device)(nil)
)

func TestPair(t *testing.T) {
	a, b := Pair(100, 2)
	packets := [][]byte{[]byte("..one"), []byte("..two"), []byte("..three"), make([]byte, 200)}
	if n, err := a.WriteBatch(packets, 2); n != 2 || err != nil {
		t.Fatalf("wrote %d: %v", n, err)
	}
	if a.Dropped() != 2 || b.Dropped() != 0 {
		t.Errorf("dropped %d and %d", a.Dropped(), b.Dropped())
	}
	packets[0][2] = '!' // the buffer is used again
	bufs, sizes := [][]byte{make([]byte, 20), make([]byte, 20), make([]byte, 20)}, make([]int, 3)
	n, err := b.ReadBatch(bufs, sizes, 4)
	if n != 2 || err != nil {
		t.Fatalf("read %d: %v", n, err)
	}
	for i, want := range []string{"one", "two"} {
		if got := string(bufs[i][4 : 4+sizes[i]]); got != want {
			t.Errorf("packet %d is %q", i, got)
		}
	}
	if n, err := b.WriteBatch([][]byte{[]byte("back")}, 0); n != 1 || err != nil {
		t.Fatalf("wrote %d: %v", n, err)
	}
	if n, err := a.ReadBatch(bufs[:1], sizes, 0); n != 1 || err != nil || string(bufs[0][:sizes[0]]) != "back" {
		t.Errorf("read %d %q: %v", n, bufs[0], err)
	}
	if a.Name() == b.Name() || a.MTU() != 100 {
		t.Errorf("%s, %s, MTU %d", a.Name(), b.Name(), a.MTU())
	}
}

func TestBlockedReadOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pair(100, 2)
		start := time.Now()
		go func() {
			time.Sleep(time.Hour)
			if n, err := a.WriteBatch([][]byte{[]byte("x")}, 0); n != 1 || err != nil {
				t.Errorf("wrote %d: %v", n, err)
			}
			time.Sleep(time.Hour)
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}()
		bufs, sizes := [][]byte{make([]byte, 10)}, make([]int, 1)
		if n, err := b.ReadBatch(bufs, sizes, 0); n != 1 || err != nil || time.Since(start) != time.Hour {
			t.Errorf("read %d after %v: %v", n, time.Since(start), err)
		}
		if _, err := b.ReadBatch(bufs, sizes, 0); !errors.Is(err, net.ErrClosed) || time.Since(start) != 2*time.Hour {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		if _, err := b.WriteBatch(bufs, 0); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write after Close: %v", err)
		}
		if err := b.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed twice: %v", err)
		}
	})
}

func TestRoutes(t *testing.T) {
	a, _ := Pair(100, 1)
	p := netip.MustParsePrefix("192.0.2.1/32")
	if err := a.AddRoute(p); err != nil {
		t.Fatal(err)
	}
	if err := a.AddRoute(p); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("again: %v", err)
	}
	if got := a.Routes(); len(got) != 1 || got[0] != p {
		t.Errorf("routes %v", got)
	}
	if err := a.DelRoute(p); err != nil || len(a.Routes()) != 0 {
		t.Errorf("%v left: %v", a.Routes(), err)
	}
	if err := a.DelRoute(p); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("removed twice: %v", err)
	}
}

func TestAllocatesNothing(t *testing.T) {
	a, b := Pair(1400, 4)
	out, in, sizes := [][]byte{make([]byte, 1000)}, [][]byte{make([]byte, 1400)}, make([]int, 1)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := a.WriteBatch(out, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := b.ReadBatch(in, sizes, 0); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}
