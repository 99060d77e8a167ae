package radius

import (
	"context"
	"errors"
	"net"
	"time"
)

// openDatagram adds a link in process or over UDP.
func (t *target) openDatagram(ctx context.Context) error {
	if t.transport == InProcess {
		t.add(t.newLink(nil))
		return nil
	}
	conn, err := t.c.cfg.Dial(ctx, "udp", t.addr)
	if err != nil {
		return err
	}
	l := t.newLink(conn)
	if !t.c.spawn(l.readDatagrams) {
		_ = conn.Close()
		return ErrClosed
	}
	t.add(l)
	return nil
}

// A socket that fails this often in a row is given up. Single errors are an ICMP
// message's (connection refused), which anybody can send: they mean nothing.
const maxReadErrors = 32

// readDatagrams is a UDP link's goroutine; the client's end closes the socket under
// it. The socket is connected, so that the kernel drops what others send.
func (l *link) readDatagrams() {
	stop := context.AfterFunc(l.t.c.ctx, func() { _ = l.conn.Close() })
	defer stop()
	defer l.end()
	buf := make([]byte, MaxPacket)
	for failed := 0; failed < maxReadErrors; {
		n, err := l.conn.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			failed++
			select {
			case <-l.t.c.ctx.Done():
				return
			case <-time.After(time.Duration(failed) * time.Millisecond): // do not spin on a broken one
			}
			continue
		}
		failed = 0
		l.deliver(buf[:n])
	}
}
