package proxy

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"postern/authz/directory"
	"postern/internal/radius"
)

func TestAccessChallenge(t *testing.T) {
	u := newUpstream()
	u.answer = func(q *radius.Packet) *radius.Packet { return radius.NewReply(q, radius.CodeAccessChallenge) }
	d := u.open(t, nil)
	_, err := dial("alice", bareName("alice"), "Alice-Pass1").verify(d)
	wantRejected(t, err, directory.AccountState, directory.Restricted)
	_, err = d.VerifyPassword(context.Background(), bareName("alice"), &directory.Account{}, []byte("x"))
	wantRejected(t, err, directory.AccountState, directory.Restricted)
}

func TestSilence(t *testing.T) { synctest.Test(t, testSilence) }

func testSilence(t *testing.T) {
	u := newUpstream()
	u.answer = func(*radius.Packet) *radius.Packet { return nil }
	d := u.open(t, nil)
	_, err := dial("alice", bareName("alice"), "Alice-Pass1").verify(d)
	wantUnavailable(t, err, radius.ErrNoAnswer)
	_, err = dial("alice+123456", bareName("alice"), "Alice-Pass1").verify(d)
	wantUnavailable(t, err, radius.ErrNoAnswer)
	_, err = d.VerifyPassword(context.Background(), bareName("alice"), &directory.Account{}, []byte("x"))
	wantUnavailable(t, err, radius.ErrNoAnswer)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = d.VerifyPassword(ctx, bareName("alice"), &directory.Account{}, []byte("x"))
	wantUnavailable(t, err, context.Canceled)
}

// resign makes the Response Authenticator right again, as whoever broke MD5 can.
func resign(b []byte, q *radius.Packet) []byte {
	copy(b[4:20], q.Authenticator[:])
	h := md5.New()
	h.Write(b)
	h.Write(q.Secret)
	return h.Sum(b[:4])[:20:20]
}

// unsigned takes the Message-Authenticator off.
func unsigned(b []byte, q *radius.Packet) []byte {
	b = append(bytes.Clone(b[:20]), b[38:]...)
	b[2], b[3] = byte(len(b)>>8), byte(len(b))
	head := resign(bytes.Clone(b), q)
	return append(head, b[20:]...)
}

// TestForgedReplies has the ways to say yes without being asked: none is believed,
// and the login gets no answer.
func TestForgedReplies(t *testing.T) { synctest.Test(t, testForgedReplies) }

func testForgedReplies(t *testing.T) {
	good := func(b []byte, _ *radius.Packet) []byte { return b }
	for about, row := range map[string]struct {
		spoil func([]byte, *radius.Packet) []byte
		ok    bool
	}{
		"untouched": {good, true},
		"unsigned":  {unsigned, false},
		"another secret": {func(b []byte, q *radius.Packet) []byte {
			copied := *q
			copied.Secret = []byte("guess")
			forged := radius.NewReply(&copied, radius.CodeAccessAccept)
			out, err := radius.EncodeReply(forged, &copied)
			if err != nil {
				panic(err)
			}
			return out
		}, false},
		"accept made reject": {func(b []byte, q *radius.Packet) []byte {
			b = bytes.Clone(b)
			b[0] = byte(radius.CodeAccessReject)
			return append(resign(bytes.Clone(b), q), b[20:]...)
		}, false},
		"signature of zeros": {func(b []byte, q *radius.Packet) []byte {
			b = bytes.Clone(b)
			clear(b[22:38])
			return append(resign(bytes.Clone(b), q), b[20:]...)
		}, false},
		"another Response Authenticator": {func(b []byte, q *radius.Packet) []byte {
			b = bytes.Clone(b)
			b[4] ^= 1
			return b
		}, false},
		"signature over another request": {func(b []byte, q *radius.Packet) []byte {
			b = bytes.Clone(b)
			clear(b[22:38])
			clear(b[4:20])
			h := hmac.New(md5.New, q.Secret)
			h.Write(b)
			h.Sum(b[22:22])
			return append(resign(bytes.Clone(b), q), b[20:]...)
		}, false},
	} {
		u := newUpstream()
		u.spoil = row.spoil
		_, err := dial("alice", bareName("alice"), "Alice-Pass1").verify(u.open(t, nil))
		if row.ok {
			if err != nil {
				t.Errorf("%s: %v", about, err)
			}
			continue
		}
		t.Log(about)
		wantUnavailable(t, err, radius.ErrNoAnswer)
	}
}

// Over a socket somebody who sees the requests is faster than the server: the forged
// Accept is dropped and the server's own Reject stands.
func TestForgedReplyBeforeTheRealOne(t *testing.T) {
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secret := radius.NewSecret("s3cret-of-the-server")
	u := newUpstream()
	ended := make(chan struct{})
	go func() { // the test waits for ended
		defer close(ended)
		buf := make([]byte, radius.MaxPacket)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			req := buf[:n]
			forged := newUpstream()
			forged.answer = accepting(func(*radius.Packet) error { return nil })
			forged.spoil = unsigned
			for _, b := range [][]byte{
				forged.ServeRADIUS(context.Background(), req, radius.Peer{Secret: secret}),
				u.ServeRADIUS(context.Background(), req, radius.Peer{Secret: secret}),
			} {
				_, _ = conn.WriteTo(b, from)
			}
		}
	}()
	d := open(t, nil, radius.Server{Name: "up", Network: "udp", Addr: conn.LocalAddr().String(), Secret: secret})
	a := &directory.Account{Name: "alice", State: directory.Active}
	_, err = d.VerifyPassword(context.Background(), bareName("alice"), a, []byte("wrong"))
	wantRejected(t, err, directory.WrongPassword, directory.StateUnknown)
	if _, err := d.VerifyPassword(context.Background(), bareName("alice"), a, []byte("Alice-Pass1")); err != nil {
		t.Error(err)
	}
	conn.Close()
	<-ended
}

// MS-CHAP does not leave the host over plain UDP unless that is allowed.
func TestUDPToAnotherHost(t *testing.T) {
	server := radius.Server{Name: "far", Network: "udp", Addr: "192.0.2.1:1812", Secret: radius.NewSecret("secret")}
	d := openWith(t, radius.ClientConfig{Servers: []radius.Server{server}, Timeout: 50 * time.Millisecond}, nil)
	for _, typed := range []string{"alice", "alice+123456"} {
		_, err := dial(typed, bareName("alice"), "x").verify(d)
		wantUnavailable(t, err, radius.ErrMSCHAPOverUDP)
	}
	allowed := openWith(t, radius.ClientConfig{
		Servers: []radius.Server{server}, Timeout: 50 * time.Millisecond, AllowMSCHAPOverUDP: true,
		Dial: func(context.Context, string, string) (net.Conn, error) { // nobody on this machine's network is asked
			return net.Dial("udp", "127.0.0.1:9")
		},
	}, nil)
	_, err := dial("alice", bareName("alice"), "x").verify(allowed)
	wantUnavailable(t, err, radius.ErrNoAnswer)
}

func TestFailOver(t *testing.T) { synctest.Test(t, testFailOver) }

func testFailOver(t *testing.T) {
	frozen, live := newUpstream(), newUpstream()
	frozen.answer = func(*radius.Packet) *radius.Packet { return nil }
	d := open(t, nil,
		radius.Server{Name: "first", Network: "inproc", Local: frozen},
		radius.Server{Name: "second", Network: "inproc", Local: live, Priority: 1})
	for range 3 {
		l := dial("alice", bareName("alice"), "Alice-Pass1")
		proof, err := l.verify(d)
		if err != nil {
			t.Fatal(err)
		}
		l.satisfied(t, &proof)
	}
	if frozen.count() != 1 || live.count() != 3 {
		t.Errorf("asked %d and %d times, want 1 and 3: the silent one is passed over", frozen.count(), live.count())
	}
	// No is an answer: the second is not asked for a better one.
	if _, err := dial("alice", bareName("alice"), "wrong").verify(d); err == nil {
		t.Error("a wrong password was taken")
	}
	if live.count() != 4 {
		t.Errorf("a refused password was tried %d times", live.count()-3)
	}
}
