package netlogon

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// tcp is both ends of a TCP connection.
func tcp(t *testing.T) (client, server net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// through sends octets to a wire and returns what comes out.
func through(t *testing.T, bound bool, octets []byte) ([]byte, error) {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	go func() {
		_, _ = server.Write(octets)
		server.Close()
	}()
	w := newWire(client)
	w.bound.Store(bound)
	return io.ReadAll(w)
}

func TestWireAdmits(t *testing.T) {
	token := make([]byte, 56)
	fault5 := append(make([]byte, 8), 5, 0, 0, 0, 0, 0, 0, 0)
	for _, c := range []struct {
		name          string
		octets        []byte
		before, after bool // the bind
	}{
		{"bind-ack", answer(pdu{}, pduBindAck, whole, ackBody), true, false},
		{"alter-context response", answer(pdu{}, pduAlterAck, whole, ackBody), true, false},
		{"bind-nak", answer(pdu{}, pduBindNak, whole, []byte{0, 0, 0}), true, false},
		{"response with a token", withToken(pdu{}, pduResponse, make([]byte, 16), token), false, true},
		{"response with an empty token", withToken(pdu{}, pduResponse, make([]byte, 16), nil), false, false},
		{"response without", answer(pdu{}, pduResponse, whole, make([]byte, 16)), false, false},
		{"fault", answer(pdu{}, pduFault, whole, fault5), true, true},
		{"fault with a token", withToken(pdu{}, pduFault, fault5, token), true, true},
		{"fault of status zero", withToken(pdu{}, pduFault, make([]byte, 16), token), false, false},
		{"shutdown", answer(pdu{}, pduShutdown, whole, nil), true, true},
	} {
		for bound, want := range map[bool]bool{false: c.before, true: c.after} {
			got, err := through(t, bound, c.octets)
			if (err == nil) != want || want != bytes.Equal(got, c.octets) || !want && len(got) != 0 {
				t.Errorf("%s, bound %v: %x, %v", c.name, bound, got, err)
			}
		}
	}
}

func TestWirePassesStream(t *testing.T) {
	var sent []byte
	for n := range 40 {
		sent = append(sent, withToken(pdu{call: uint32(n)}, pduResponse, make([]byte, 8+n*100), make([]byte, 56))...)
	}
	if got, err := through(t, true, sent); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d octets of %d: %v", len(got), len(sent), err)
	}
}

func TestWireStopsNonsense(t *testing.T) {
	bad := map[string][]byte{
		"bind-ack with fragments of no size": answer(pdu{}, pduBindAck, whole, append([]byte{0, 0, 0, 0}, ackBody[4:]...)),
		"alter-context response, the same":   answer(pdu{}, pduAlterAck, whole, append([]byte{0, 0, 0, 0}, ackBody[4:]...)),
	}
	for _, g := range readGolden(t, "pdu.txt") {
		if g.fails != "" {
			bad[g.name] = g.octets
		}
	}
	for name, octets := range bad {
		for _, bound := range []bool{false, true} {
			if got, err := through(t, bound, octets); err == nil || len(got) != 0 {
				t.Errorf("%s, bound %v: %x, %v", name, bound, got, err)
			}
		}
	}
}

func TestWireAlive(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(w *wire, server net.Conn)
		want bool
	}{
		"idle":              {func(*wire, net.Conn) {}, true},
		"closed over there": {func(_ *wire, server net.Conn) { server.Close() }, false},
		"reset": {func(_ *wire, server net.Conn) {
			_ = server.(*net.TCPConn).SetLinger(0)
			server.Close()
		}, false},
		"speaks unasked": {func(_ *wire, server net.Conn) { _, _ = server.Write([]byte{5}) }, false},
		"closed here":    {func(w *wire, _ net.Conn) { w.Close() }, false},
		"deadline is past": {func(w *wire, _ net.Conn) { // of a call that ended in time
			_ = w.SetDeadline(time.Unix(1, 0))
		}, true},
	} {
		client, server := tcp(t)
		w := newWire(client)
		c.do(w, server)
		if c.want {
			if !w.alive() {
				t.Errorf("%s: dead", name)
			}
			continue
		}
		until(t, name, func() bool { return !w.alive() })
	}
	// Half a PDU that was read and not taken.
	client, server := tcp(t)
	w := newWire(client)
	go func() { _, _ = server.Write(readGolden(t, "pdu.txt")[0].octets) }()
	if _, err := io.ReadFull(w, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if w.alive() {
		t.Error("alive with half a PDU unread")
	}
	// On a pipe nothing can be known without reading.
	a, _ := net.Pipe()
	if !newWire(a).alive() {
		t.Error("a pipe is dead")
	}
}

func TestWireUnsent(t *testing.T) {
	client, _ := net.Pipe()
	w := newWire(client)
	if w.unsent() {
		t.Error("before anything was written")
	}
	_ = client.SetDeadline(time.Unix(1, 0))
	if _, err := w.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) || !w.unsent() || w.alive() {
		t.Errorf("%v, unsent %v, alive %v", err, w.unsent(), w.alive())
	}
}
