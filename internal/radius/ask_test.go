package radius

import (
	"bytes"
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"layeh.com/radius/rfc2866"
)

// askedNAS answers on a UDP port as reply says, until the test ends.
func askedNAS(t *testing.T, reply func(n int, req []byte) []byte) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // waited for below
		defer close(done)
		buf := make([]byte, MaxPacket)
		for n := 1; ; n++ {
			k, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if b := reply(n, buf[:k]); b != nil {
				_, _ = conn.WriteTo(b, from)
			}
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return conn.LocalAddr().String()
}

func TestAsker(t *testing.T) {
	n := newNAS(t)
	n.now = time.Now()
	p := &Packet{Code: CodeDisconnectRequest}
	_ = rfc2866.AcctSessionID_SetString(p, "s")
	ask := func(addr string, secret Secret) (*Packet, error) {
		a := Asker{Addr: addr, Secret: secret, Timeout: 50 * time.Millisecond, Retries: 2}
		return a.Exchange(t.Context(), p)
	}
	came := make(chan []byte, 100)
	addr := askedNAS(t, func(k int, req []byte) []byte {
		came <- bytes.Clone(req)
		if k < 3 { // lost
			return []byte("nonsense")
		}
		return n.ServeRADIUS(t.Context(), req, overUDP)
	})
	reply, err := ask(addr, testSecret)
	if err != nil || reply.Code != CodeDisconnectNAK { // there is no Event-Timestamp in it
		t.Fatalf("%v, %v", reply, err)
	}
	if len(came) != 3 {
		t.Fatalf("asked %d times", len(came))
	}
	first, _, third := <-came, <-came, <-came
	if !bytes.Equal(first, third) { // RFC 5080 §2.2.1
		t.Errorf("asked %x, then %x", first, third)
	}
	if err := VerifyRequest(first, testSecret, true); err != nil {
		t.Error(err)
	}
	if _, err := ask(addr, NewSecret("guess")); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("with another secret: %v", err)
	}
	if _, err := ask("127.0.0.1:1", testSecret); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("where nobody listens: %v", err)
	}
	if _, err := ask("nowhere.invalid:3799", testSecret); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("of no address: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	silent := askedNAS(t, func(int, []byte) []byte { return nil })
	began := time.Now()
	a := Asker{Addr: silent, Secret: testSecret, Timeout: time.Minute}
	if _, err := a.Exchange(ctx, p); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrNoAnswer) || time.Since(began) > 5*time.Second {
		t.Errorf("out of patience after %v: %v", time.Since(began), err)
	}
	if _, err := ask(addr, Secret{}); !errors.Is(err, FaultNoSecret) {
		t.Errorf("without a secret: %v", err)
	}
}

// An unsigned reply is for those only who are known not to sign.
func TestAskerUnsignedReplies(t *testing.T) {
	p := &Packet{Code: CodeDisconnectRequest}
	addr := askedNAS(t, func(_ int, req []byte) []byte {
		b := append([]byte{byte(CodeDisconnectACK), req[offIdentifier], 0, HeaderLen}, req[offAuth:HeaderLen]...)
		auth := [authLen]byte(req[offAuth:])
		sum := authenticator(b, &auth, testSecret.Bytes())
		copy(b[offAuth:], sum[:])
		return b
	})
	for _, unsigned := range []bool{false, true} {
		a := Asker{Addr: addr, Secret: testSecret, Timeout: 50 * time.Millisecond, Unsigned: unsigned}
		if _, err := a.Exchange(t.Context(), p); (err == nil) != unsigned {
			t.Errorf("unsigned %v: %v", unsigned, err)
		}
	}
}
