package radiusd

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"postern/authz"
	"postern/internal/radius"
)

func TestUDP(t *testing.T) {
	s := newService(t, Config{Auth: "127.0.0.1:0", Acct: "127.0.0.1:0"})
	must(t, s.Start())
	auth, acct, _ := s.Addrs()
	c := newClient(t, radius.Server{Name: "s", Network: "udp", Addr: auth.String(), AcctAddr: acct.String(), Secret: sharedSecret})
	p := exchange(t, c, chap("alice", goodPassword), radius.CodeAccessAccept)
	if _, _, ok := radius.MPPEKeys(p); !ok {
		t.Error("no keys")
	}
	exchange(t, c, chap("alice", "guess"), radius.CodeAccessReject)
	exchange(t, c, start("1"), radius.CodeAccountingResponse)
	if n := s.counted(t, "requests_total", "transport=udp"); n != 3 {
		t.Errorf("%d requests counted", n)
	}
	if s.counted(t, "request_seconds", "kind=access") != 2 {
		t.Error("answers are not timed")
	}
}

// dialUDP is a NAS' socket: connected, so that replies from elsewhere never arrive.
func dialUDP(t testing.TB, to string) *net.UDPConn {
	t.Helper()
	a, err := net.ResolveUDPAddr("udp", to)
	must(t, err)
	conn, err := net.DialUDP("udp", nil, a)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func send(t testing.TB, conn net.Conn, b []byte) {
	t.Helper()
	_, err := conn.Write(b)
	must(t, err)
}

func receive(t testing.TB, conn net.Conn, req []byte) *radius.Packet {
	t.Helper()
	must(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
	buf := make([]byte, radius.MaxPacket)
	n, err := conn.Read(buf)
	must(t, err)
	p, err := radius.ParseReply(buf[:n], req, sharedSecret)
	must(t, err)
	return p
}

// A wildcard socket answers from the address that was asked, repetitions too.
func TestAnswersFromWhereItWasAsked(t *testing.T) {
	for listen, addrs := range map[string][]string{
		"0.0.0.0:0": {"127.0.0.1", "127.0.0.2", "127.8.8.8"},
		":0":        {"127.0.0.1", "127.0.0.2", "::1"},
	} {
		s := newService(t, Config{Auth: listen})
		must(t, s.Start())
		auth, _, _ := s.Addrs()
		for _, a := range addrs {
			if a == "::1" && !haveIPv6() {
				continue
			}
			conn := dialUDP(t, netip.AddrPortFrom(netip.MustParseAddr(a), auth.Port()).String())
			req := access(t, pap("alice", goodPassword))
			for range 2 {
				send(t, conn, req)
				wantCode(t, receive(t, conn, req), radius.CodeAccessAccept)
			}
		}
		if n := s.counted(t, "repeated_total"); n == 0 {
			t.Error("no repetition was one")
		}
	}
}

func haveIPv6() bool {
	l, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}

// What finds no room is dropped and counted, and forgotten: its repetition is a new
// request. What has room is answered.
func TestOverload(t *testing.T) {
	s := newService(t, Config{Auth: "127.0.0.1:0", Workers: 1, Queue: 2, Readers: 1})
	release := make(chan bool)
	s.decider.decide = func(_ context.Context, r *authz.Request) *authz.Result {
		<-release
		return verify(r)
	}
	must(t, s.Start())
	auth, _, _ := s.Addrs()
	conn := dialUDP(t, auth.String())
	request := func(id byte) []byte {
		return access(t, pap("alice", goodPassword), func(p *radius.Packet) { p.Identifier = id })
	}
	first := request(1)
	send(t, conn, first)
	eventually(t, "in work", func() bool { return s.decider.count() == 1 })
	for id := byte(2); id <= 6; id++ {
		send(t, conn, request(id))
	}
	send(t, conn, first) // in work: takes no room, and is no overload
	eventually(t, "overload", func() bool { return s.counted(t, "dropped_total", "reason=overload") == 3 })
	eventually(t, "repetition", func() bool { return s.counted(t, "dropped_total", "reason=in_flight") == 1 })
	if n := s.counted(t, "queued", "kind=access"); n != 2 {
		t.Errorf("%d queued", n)
	}
	close(release)
	answered := make(map[byte]bool)
	buf := make([]byte, radius.MaxPacket)
	for range 3 {
		must(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
		n, err := conn.Read(buf)
		must(t, err)
		if n > 2 && buf[0] == byte(radius.CodeAccessAccept) {
			answered[buf[1]] = true
		}
	}
	if !answered[1] || len(answered) != 3 {
		t.Errorf("answered %v", answered)
	}
}

// Accounting that waits for a slow store keeps nobody from logging in.
func TestAccountingHasItsOwnWorkers(t *testing.T) {
	s := newService(t, Config{Auth: "127.0.0.1:0", Acct: "127.0.0.1:0", Workers: 1, Queue: 4})
	must(t, s.Start())
	s.accounter.mu.Lock() // the store is slow
	auth, acct, _ := s.Addrs()
	slow := dialUDP(t, acct.String())
	for i := range 3 {
		send(t, slow, accountingRequest(t, start(string(rune('a'+i)))))
	}
	eventually(t, "accounting in work", func() bool { return s.counted(t, "requests_total", "kind=accounting") == 3 })
	conn := dialUDP(t, auth.String())
	req := access(t, pap("alice", goodPassword))
	send(t, conn, req)
	wantCode(t, receive(t, conn, req), radius.CodeAccessAccept)
	s.accounter.mu.Unlock()
}

// Garbage from clients' addresses and from others takes no room in the queue.
func TestGarbageTakesNoRoom(t *testing.T) {
	s := newService(t, Config{Auth: "127.0.0.1:0", Workers: 1, Queue: 1})
	release := make(chan bool)
	s.decider.decide = func(_ context.Context, r *authz.Request) *authz.Result {
		<-release
		return verify(r)
	}
	must(t, s.Start())
	auth, _, _ := s.Addrs()
	conn := dialUDP(t, auth.String())
	first := access(t, pap("alice", goodPassword))
	send(t, conn, first)
	eventually(t, "in work", func() bool { return s.decider.count() == 1 })
	for range 50 {
		bad := access(t, pap("alice", goodPassword))
		bad[30] ^= 1
		send(t, conn, bad)
	}
	eventually(t, "garbage dropped", func() bool { return s.counted(t, "dropped_total", "reason=signature") == 50 })
	s.dropped(t, "overload", 0)
	close(release)
	wantCode(t, receive(t, conn, first), radius.CodeAccessAccept)
}
