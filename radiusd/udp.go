package radiusd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"postern/internal/radius"
)

const (
	// readBuffer holds a burst while readers are busy; the kernel may give less.
	readBuffer = 1 << 20
	// A listener that fails this often in a row is broken, and the server with it.
	maxFailures = 64
)

// udpSocket is one of the two UDP ports.
type udpSocket struct {
	s        *Server
	conn     *net.UDPConn
	port     port
	wildcard bool
}

func (s *Server) listenUDP(address string, p port) (*udpSocket, error) {
	a, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for RADIUS: %w", err)
	}
	network := "udp"
	if a.IP.To4() != nil {
		network = "udp4" // for 0.0.0.0 Go would listen on [::], too
	}
	conn, err := net.ListenUDP(network, a)
	if err != nil {
		return nil, fmt.Errorf("listen for RADIUS: %w", err)
	}
	u := &udpSocket{s: s, conn: conn, port: p, wildcard: a.IP == nil || a.IP.IsUnspecified()}
	_ = conn.SetReadBuffer(readBuffer) // a wish
	if err := askArrival(conn); err != nil {
		_ = conn.Close()
		return nil, err
	}
	if u.wildcard {
		if err := askDestination(conn); err != nil {
			_ = conn.Close()
			return nil, err
		}
	}
	return u, nil
}

// read is a reader's goroutine. It ends with the server, or makes it end.
func (u *udpSocket) read() {
	s := u.s
	stop := context.AfterFunc(s.halt, func() { _ = u.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf, control := make([]byte, radius.MaxPacket), make([]byte, controlRoom)
	for failures := 0; ; {
		n, c, _, addr, err := u.conn.ReadMsgUDPAddrPort(buf, control)
		if err != nil {
			if s.halt.Err() != nil {
				return
			}
			if failures++; failures == maxFailures || errors.Is(err, net.ErrClosed) {
				s.fail(fmt.Errorf("read RADIUS requests: %w", err))
				return
			}
			s.pause(failures)
			continue
		}
		failures = 0
		from := peer{addr: netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()), via: radius.UDP, port: u.port}
		t, reply := s.admit(arrived(time.Now(), control[:c]), buf[:n], from)
		switch {
		case t != nil:
			t.via = u
			if u.wildcard {
				t.control = replyFrom(control[:c])
			}
			ok, gone := s.queue(t).offer(time.Now(), t)
			s.giveUp(gone)
			if !ok {
				s.refuse(t, dropOverload)
			}
		case reply != nil:
			again := ticket{from: from}
			if u.wildcard {
				again.control = replyFrom(control[:c])
			}
			u.answer(&again, reply)
		}
	}
}

// answer implements answerer.
func (u *udpSocket) answer(t *ticket, reply []byte) {
	if reply == nil {
		return
	}
	if _, _, err := u.conn.WriteMsgUDPAddrPort(reply, t.control, t.from.addr); err != nil {
		u.s.drop(&t.from, dropWriteFailed) // a lost datagram; the NAS asks again
	}
}

// pause keeps a broken listener from spinning.
func (s *Server) pause(failures int) {
	timer := time.NewTimer(time.Duration(failures) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.halt.Done():
	}
}
