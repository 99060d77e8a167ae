package netlogon

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
)

// caller makes one call of an interface: stub data in and out.
type caller interface {
	call(operation uint16, stub []byte) ([]byte, error)
}

// plain is a connection without authentication, for one interface. It is not safe
// for concurrent use; after an error that is no fault it is of no more use.
type plain struct {
	conn net.Conn
	last uint32 // call number
	buf  []byte
	stop func() bool
}

// dial opens a TCP connection to a port of the DC.
func (c *Config) dial(ctx context.Context, port uint16) (net.Conn, error) {
	return c.Dial(ctx, "tcp", net.JoinHostPort(c.Server, strconv.Itoa(int(port))))
}

// bindPlain connects and binds. What is done with the connection ends with ctx.
func bindPlain(ctx context.Context, cfg *Config, port uint16, s *syntax) (*plain, error) {
	conn, err := cfg.dial(ctx, port)
	if err != nil {
		return nil, err
	}
	p := &plain{conn: conn, buf: make([]byte, maxFragment)}
	p.stop = abort(ctx, conn)
	if err := p.bind(s); err != nil {
		p.close()
		return nil, ended(ctx, fmt.Errorf("bind: %w", err))
	}
	return p, nil
}

// abort makes conn's reads and writes fail when ctx ends, until stop is called.
func abort(ctx context.Context, conn net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // fails on a closed connection only
}

// ended prefers ctx's error to that of the connection it cut.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w (%w)", ctx.Err(), err)
	}
	return err
}

func (p *plain) close() {
	p.stop()
	p.conn.Close()
}

func (p *plain) bind(s *syntax) error {
	p.last++
	out := pdu{kind: pduBind, flags: pduFirst | pduLast, call: p.last, body: bindBody(s)}
	if _, err := p.conn.Write(out.Append(nil)); err != nil {
		return err
	}
	in, _, err := readPDU(p.conn, p.buf)
	switch {
	case err != nil:
		return err
	case in.call != p.last:
		return errBadPDU
	case in.kind == pduBindAck:
		return parseBindAck(in.body)
	case in.kind == pduBindNak:
		return fmt.Errorf("%w: reason %d", errBindRefused, binary.LittleEndian.Uint16(in.body))
	default:
		return fmt.Errorf("%w: %s", errPDUType, in.kind)
	}
}

var errLongReply = errors.New("reply is too long")

// call sends one fragment, and gathers those of the reply.
func (p *plain) call(operation uint16, stub []byte) ([]byte, error) {
	p.last++
	body := binary.LittleEndian.AppendUint32(nil, uint32(len(stub)))
	body = binary.LittleEndian.AppendUint16(body, 0) // the one context
	body = binary.LittleEndian.AppendUint16(body, operation)
	out := pdu{kind: pduRequest, flags: pduFirst | pduLast, call: p.last, body: append(body, stub...)}
	if _, err := p.conn.Write(out.Append(nil)); err != nil {
		return nil, err
	}
	var reply []byte
	for {
		in, _, err := readPDU(p.conn, p.buf)
		switch {
		case err != nil:
			return nil, err
		case in.call != p.last:
			return nil, errBadPDU
		case in.kind == pduFault:
			return nil, parseFault(in.body)
		case in.kind != pduResponse:
			return nil, fmt.Errorf("%w: %s", errPDUType, in.kind)
		}
		reply = append(reply, in.body[8:]...) // after alloc_hint, context, cancel_count
		if in.flags&pduLast != 0 {
			return reply, nil
		}
		if len(reply) > maxReply {
			return nil, errLongReply
		}
	}
}
