package gretest

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/simnet"
	"postern/pptp/gre"
)

var _ gre.Conn = (*Conn)(nil)

func TestConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		client, node := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		n.SetFaults(client, node, simnet.Faults{Delay: time.Second})
		a, b := Listen(n.Host(client)), Listen(n.Host(node))
		var out []gre.Message
		for _, s := range []string{"one", "a longer one", "two"} {
			out = append(out, gre.Message{Buf: []byte(s + "!"), N: len(s), Addr: node})
		}
		if n, err := a.WriteBatch(out); n != 3 || err != nil {
			t.Fatalf("wrote %d: %v", n, err)
		}
		in := make([]gre.Message, 4)
		for i := range in {
			in[i].Buf = make([]byte, 5)
		}
		// A packet at a time: two that arrive in one instant may come in one batch or in two.
		start := time.Now()
		for i := range 2 {
			if got, err := b.ReadBatch(in[i : i+1]); got != 1 || err != nil {
				t.Fatalf("read %d: %v", got, err)
			}
		}
		if time.Since(start) != time.Second {
			t.Errorf("read after %v", time.Since(start))
		}
		for i, want := range []string{"one", "two"} {
			if m := in[i]; string(m.Buf[:m.N]) != want || m.Addr != client {
				t.Errorf("%q from %v", m.Buf[:m.N], m.Addr)
			}
		}
		// One message of room for two packets: the other comes next time.
		if _, err := a.WriteBatch(append(out[:1:1], out[2])); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if n, err := b.ReadBatch(in[:1]); n != 1 || err != nil {
				t.Fatalf("read %d: %v", n, err)
			}
		}
		go func() {
			time.Sleep(time.Second)
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}()
		if _, err := b.ReadBatch(in); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read when closed: %v", err)
		}
		if _, err := b.WriteBatch(out); !errors.Is(err, net.ErrClosed) {
			t.Errorf("wrote when closed: %v", err)
		}
		if n, err := b.ReadBatch(nil); n != 0 || err != nil {
			t.Errorf("nothing to read to: %d, %v", n, err)
		}
	})
}
