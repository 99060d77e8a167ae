package netlogon

import (
	"errors"
	"net"
	"sync/atomic"
	"syscall"
)

// wire is a DC's connection as go-msrpc gets it. It is a guard, for go-msrpc believes
// more than it should:
//
// It reads on a goroutine of its own, where a panic would end the whole service, and
// trusts lengths that nothing protects. Only whole PDUs that parsePDU finds right get
// through, and of acknowledgments such as parseBindAck accepts.
//
// It verifies the signatures of responses, but takes a fault of status zero, or an
// acknowledgment, for the reply to a call as well, and its body for the result: whoever
// is on the way could let anybody in. Once bound, only responses get through, faults
// that say why, and a shutdown.
//
// Reading is for one goroutine at a time, as is writing.
type wire struct {
	net.Conn
	buf    []byte
	ready  []byte // of buf, not read yet
	bound  atomic.Bool
	failed atomic.Bool
}

func newWire(c net.Conn) *wire { return &wire{Conn: c, buf: make([]byte, maxFragment)} }

var errUnprotected = errors.New("the server sends what nothing protects")

// Read implements net.Conn.
func (w *wire) Read(b []byte) (int, error) {
	if len(w.ready) == 0 {
		p, octets, err := readPDU(w.Conn, w.buf)
		if err != nil {
			return 0, err
		}
		if err := admit(&p, w.bound.Load()); err != nil {
			return 0, err
		}
		w.ready = octets
	}
	n := copy(b, w.ready)
	w.ready = w.ready[n:]
	return n, nil
}

// admit says whether go-msrpc may see a PDU.
func admit(p *pdu, bound bool) error {
	switch p.kind {
	case pduResponse:
		if !bound || len(p.auth) <= pduTrailer {
			return errUnprotected
		}
	case pduFault:
		if errors.Is(parseFault(p.body), fault(0)) {
			return errUnprotected
		}
	case pduBindAck, pduAlterAck:
		if bound {
			return errUnprotected
		}
		return parseBindAck(p.body)
	case pduBindNak:
		if bound {
			return errUnprotected
		}
	case pduShutdown:
	case pduRequest, pduBind, pduAlter, pduAuth3:
		return errPDUType // parsePDU knows
	default:
		return errPDUType
	}
	return nil
}

// Write implements net.Conn.
func (w *wire) Write(b []byte) (int, error) {
	n, err := w.Conn.Write(b)
	if err != nil {
		w.failed.Store(true)
	}
	return n, err
}

// unsent says that a write failed: the last request has not left as a whole.
func (w *wire) unsent() bool { return w.failed.Load() }

// alive says whether an idle connection still stands: it must be open, and silent,
// for there is nothing that a DC may say unasked.
func (w *wire) alive() bool {
	if len(w.ready) > 0 || w.failed.Load() {
		return false
	}
	sc, ok := w.Conn.(syscall.Conn)
	if !ok {
		return true // not a socket
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	var peeked error
	err = rc.Control(func(fd uintptr) {
		var b [1]byte
		_, _, peeked = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	// No error is data, or the end.
	return err == nil && errors.Is(peeked, syscall.EAGAIN)
}

// given hands out a connection that is there already, whatever address is asked for:
// go-msrpc would look names up itself, IPv4 only, and without a deadline.
type given struct{ *wire }
