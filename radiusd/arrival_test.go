package radiusd

import (
	"net/netip"
	"testing"
	"time"

	"postern/internal/radius"
)

// What has lain in the socket for longer than a client waits is not worked on, and what
// has lain there for less has that much less time.
func TestHeldUpProcessDropsWhatIsOld(t *testing.T) {
	const deadline = 1500 * time.Millisecond
	s := newService(t, Config{Deadline: deadline})
	u, err := s.listenUDP("0.0.0.0:0", portAuth) // with destinations, too
	must(t, err)
	t.Cleanup(func() {
		s.Stop()
		s.access.close()
		_ = u.conn.Close()
	})
	conn := dialUDP(t, netip.AddrPortFrom(loopback.Addr(), addrPort(u.conn.LocalAddr()).Port()).String())
	time.Sleep(200 * time.Millisecond) // the kernel begins to take times a moment after it is asked
	old := access(t, pap("old", goodPassword), func(p *radius.Packet) { p.Identifier = 1 })
	send(t, conn, old)
	time.Sleep(deadline + 200*time.Millisecond) // nobody reads
	fresh := access(t, pap("fresh", goodPassword), func(p *radius.Packet) { p.Identifier = 2 })
	send(t, conn, fresh)
	began := time.Now()
	go u.read()                      // ends with the socket
	go func() { s.work(s.access) }() // ends with the queue
	wantCode(t, receive(t, conn, fresh), radius.CodeAccessAccept)
	eventually(t, "the old one is dropped", func() bool { return s.counted(t, "dropped_total", "reason=late") == 1 })
	if n := s.decider.count(); n != 1 || s.decider.last(t).User != "fresh" {
		t.Errorf("%d logins were worked on", n)
	}
	if at := s.decider.last(t).Now; at.After(time.Now()) || began.Sub(at) > deadline {
		t.Errorf("it came at %v, and now it is %v", at, began)
	}
}

func TestArrived(t *testing.T) {
	now := time.Now()
	for _, control := range [][]byte{nil, {1, 2, 3}, make([]byte, 40)} {
		if at := arrived(now, control); !at.Equal(now) {
			t.Errorf("%x: %v", control, at)
		}
	}
}
