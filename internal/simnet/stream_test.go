package simnet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// connect opens a stream from a1 to a2 over a link with 10 ms each way.
func connect(t *testing.T) (n *Network, client, server net.Conn) {
	t.Helper()
	n = New(1)
	n.SetFaults(anyone, anyone, Faults{Delay: 10 * time.Millisecond, Loss: 1, Duplicate: 1, Reorder: 1})
	l, err := n.Host(a2).Listen(1723)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if client, err = n.Host(a1).Dial(t.Context(), netip.AddrPortFrom(a2, 1723)); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d != 20*time.Millisecond {
		t.Errorf("dialling took %v", d)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return n, client, server
}

func write(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if n, err := c.Write([]byte(s)); n != len(s) || err != nil {
		t.Errorf("wrote %d of %q: %v", n, s, err)
	}
}

func read(t *testing.T, c net.Conn, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if n, err := io.ReadFull(c, b); err != nil || string(b) != want {
		t.Errorf("read %q, want %q: %v", b[:n], want, err)
	}
}

func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, client, server := connect(t)
		if got := client.RemoteAddr().String(); got != "192.0.2.2:1723" || server.LocalAddr().String() != got {
			t.Errorf("remote %s, local there %s", got, server.LocalAddr())
		}
		if got := server.RemoteAddr().(*net.TCPAddr).AddrPort(); got != netip.AddrPortFrom(a1, firstPort) ||
			client.LocalAddr().String() != got.String() {
			t.Errorf("from %v, there %v", got, client.LocalAddr())
		}
		start := time.Now()
		write(t, client, "hello ")
		write(t, client, "you")
		read(t, server, "hel")
		if d := time.Since(start); d != 10*time.Millisecond {
			t.Errorf("after %v", d)
		}
		read(t, server, "lo you")
		write(t, server, "bye")
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		read(t, client, "bye")
		if n, err := client.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("after the end: %d, %v", n, err)
		}
		// Nobody is there to read this: a reset comes back.
		write(t, client, "hello?")
		time.Sleep(20 * time.Millisecond)
		if _, err := client.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("written to nobody: %v", err)
		}
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read from nobody: %v", err)
		}
		for _, c := range []net.Conn{client, server} {
			if err := c.Close(); err != nil && c == client {
				t.Error(err)
			}
			if err := c.Close(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("closed again: %v", err)
			}
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("read when closed: %v", err)
			}
			if _, err := c.Write(nil); !errors.Is(err, net.ErrClosed) {
				t.Errorf("written when closed: %v", err)
			}
			if err := c.SetDeadline(time.Time{}); !errors.Is(err, net.ErrClosed) {
				t.Errorf("deadline when closed: %v", err)
			}
		}
	})
}

func TestStreamCarriesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, client, server := connect(t)
		data := make([]byte, 1<<20)
		r := rand.NewChaCha8([32]byte{1})
		_, _ = r.Read(data)
		go func() {
			for rest := data; len(rest) > 0; {
				n := min(len(rest), 1+int(r.Uint64()%5000))
				if _, err := client.Write(rest[:n]); err != nil {
					t.Error(err)
					return
				}
				rest = rest[n:]
			}
			if err := client.Close(); err != nil {
				t.Error(err)
			}
		}()
		got, err := io.ReadAll(server)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d octets of %d, %v", len(got), len(data), err)
		}
	})
}

func TestStreamWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, client, server := connect(t)
		start := time.Now()
		if err := client.SetWriteDeadline(start.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		n, err := client.Write(make([]byte, streamWindow+100))
		if n != streamWindow || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("wrote %d after %v: %v", n, time.Since(start), err)
		}
		if err := client.SetWriteDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(time.Second)
			if _, err := io.ReadFull(server, make([]byte, 100)); err != nil {
				t.Error(err)
			}
		}()
		start = time.Now()
		write(t, client, string(make([]byte, 100)))
		if time.Since(start) != time.Second {
			t.Errorf("wrote after %v", time.Since(start))
		}
		// Unread octets at Close are a reset, which also frees a writer.
		go func() {
			time.Sleep(time.Second)
			if err := server.Close(); err != nil {
				t.Error(err)
			}
		}()
		if _, err := client.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("wrote: %v", err)
		}
	})
}

func TestStreamReadDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, client, server := connect(t)
		start := time.Now()
		if err := server.SetReadDeadline(start.Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		_, err := server.Read(make([]byte, 1))
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(start) != time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		write(t, client, "x")
		if err := server.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		read(t, server, "x")
		// One set while somebody waits.
		go func() {
			time.Sleep(time.Second)
			if err := server.SetDeadline(time.Now()); err != nil {
				t.Error(err)
			}
		}()
		if _, err := server.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: %v", err)
		}
	})
}

func TestCloseWakesReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, client, server := connect(t)
		go func() {
			time.Sleep(time.Second)
			if err := client.Close(); err != nil {
				t.Error(err)
			}
		}()
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read: %v", err)
		}
		if _, err := server.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("there: %v", err)
		}
	})
}

// A direction that is down holds a stream up, and loses none of it.
func TestStreamWaitsWhileDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, client, server := connect(t)
		n.SetFaults(a1, a2, Faults{Down: true})
		write(t, client, "one ")
		write(t, client, "two")
		go func() {
			time.Sleep(time.Hour)
			n.SetFaults(a1, a2, Faults{Delay: time.Second})
		}()
		start := time.Now()
		write(t, server, "back")
		read(t, client, "back")
		if d := time.Since(start); d != 10*time.Millisecond {
			t.Errorf("the other direction took %v", d)
		}
		read(t, server, "one two")
		if d := time.Since(start); d != time.Hour+time.Second {
			t.Errorf("it took %v", d)
		}
		// A shorter delay lets nothing overtake.
		write(t, client, "three ")
		n.SetFaults(a1, a2, Faults{})
		write(t, client, "four")
		read(t, server, "three four")
	})
}

func TestDialRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		n.SetFaults(anyone, anyone, Faults{Delay: time.Second})
		n.Host(a2)
		for _, tt := range []struct {
			to   netip.Addr
			want error
		}{{a2, syscall.ECONNREFUSED}, {a3, syscall.EHOSTUNREACH}} {
			start := time.Now()
			c, err := n.Host(a1).Dial(t.Context(), netip.AddrPortFrom(tt.to, 1723))
			if c != nil || !errors.Is(err, tt.want) || time.Since(start) != 2*time.Second {
				t.Errorf("%v after %v: %v", c, time.Since(start), err)
			}
		}
		l, err := n.Host(a2).Listen(1723)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Host(a2).Listen(1723); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("listened twice: %v", err)
		}
		for range acceptBacklog {
			if _, err := n.Host(a1).Dial(t.Context(), netip.AddrPortFrom(a2, 1723)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := n.Host(a1).Dial(t.Context(), netip.AddrPortFrom(a2, 1723)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("one too many: %v", err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestDialGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		n.SetFaults(a2, a1, Faults{Down: true})
		l, err := n.Host(a2).Listen(1723)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := n.Host(a1).Dial(ctx, netip.AddrPortFrom(a2, 1723)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dialled: %v", err)
		}
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read from one who gave up: %v", err)
		}
		n.SetFaults(a2, a1, Faults{})
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestListenerClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		h := n.Host(a2)
		l, err := h.Listen(1723)
		if err != nil {
			t.Fatal(err)
		}
		waiting, err := n.Host(a1).DialFrom(t.Context(), 1024, netip.AddrPortFrom(a2, 1723))
		if err != nil {
			t.Fatal(err)
		}
		if got := waiting.LocalAddr().String(); got != "192.0.2.1:1024" {
			t.Errorf("dialled from %s", got)
		}
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		late, err := n.Host(a1).Dial(t.Context(), netip.AddrPortFrom(a2, 1723))
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if _, err := late.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("not accepted: %v", err)
		}
		write(t, waiting, "still here")
		read(t, c, "still here")
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accepted: %v", err)
		}
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed twice: %v", err)
		}
		l, err = h.Listen(1723)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(time.Second)
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}()
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accepted: %v", err)
		}
	})
}
