package samba

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"time"
)

// ready waits until the controller can do all that is asked of it: each step is tried
// until it works, or Samba has ended, or a minute is over.
func (d *DC) ready(cmd *exec.Cmd, end <-chan struct{}) error {
	late := time.Now().Add(time.Minute)
	for _, step := range []struct {
		name string
		try  func() error
	}{
		{"Kerberos", func() error { return d.listens(88) }},
		{"LDAP", func() error { return d.listens(389) }},
		{"NETLOGON", d.netlogon},
		{"LDAPS", func() error {
			c, err := d.dial(d.BindUser, d.BindPassword)
			if err != nil {
				return err
			}
			return c.Close()
		}},
	} {
		for {
			err := step.try()
			if err == nil {
				break
			}
			if time.Now().After(late) {
				return fmt.Errorf("%s does not answer: %w", step.name, err)
			}
			select {
			case <-end:
				return fmt.Errorf("it has ended: %v", cmd.ProcessState)
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return nil
}

// connect to a port of the controller, in its network.
func (d *DC) connect(port int) (c net.Conn, err error) {
	d.in(func() {
		c, err = net.DialTimeout("tcp", net.JoinHostPort(d.Addr.String(), strconv.Itoa(port)), patience)
	})
	return c, err
}

func (d *DC) listens(port int) error {
	c, err := d.connect(port)
	if err != nil {
		return err
	}
	return c.Close()
}

// Two requests in C706's words, little-endian: bind to the endpoint mapper, and ept_map
// (opnum 3) with a tower of NETLOGON 1.0, NDR, connections, TCP, IP.
var (
	epmBind = []byte("\x05\x00\x0b\x03\x10\x00\x00\x00\x48\x00\x00\x00\x01\x00\x00\x00" +
		"\xb8\x10\xb8\x10\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x01\x00" +
		"\x08\x83\xaf\xe1\x1f\x5d\xc9\x11\x91\xa4\x08\x00\x2b\x14\xa0\xfa\x03\x00\x00\x00" +
		"\x04\x5d\x88\x8a\xeb\x1c\xc9\x11\x9f\xe8\x08\x00\x2b\x10\x48\x60\x02\x00\x00\x00")
	epmMap = []byte("\x05\x00\x00\x03\x10\x00\x00\x00\x8c\x00\x00\x00\x02\x00\x00\x00" +
		"\x74\x00\x00\x00\x00\x00\x03\x00" + // size, context, opnum
		"\x00\x00\x00\x00\x01\x00\x00\x00\x4b\x00\x00\x00\x4b\x00\x00\x00" + // no object; the tower's size
		"\x05\x00" +
		"\x13\x00\x0d\x78\x56\x34\x12\x34\x12\xcd\xab\xef\x00\x01\x23\x45\x67\xcf\xfb\x01\x00\x02\x00\x00\x00" +
		"\x13\x00\x0d\x04\x5d\x88\x8a\xeb\x1c\xc9\x11\x9f\xe8\x08\x00\x2b\x10\x48\x60\x02\x00\x02\x00\x00\x00" +
		"\x01\x00\x0b\x02\x00\x00\x00" +
		"\x01\x00\x07\x02\x00\x00\x00" +
		"\x01\x00\x09\x04\x00\x00\x00\x00\x00" +
		"\x00" + // to a multiple of four
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" + // entry handle
		"\x04\x00\x00\x00") // towers wanted
	tcpFloor = []byte("\x01\x00\x07\x02\x00") // before a port, in the answer
)

// netlogon says whether NETLOGON listens where the endpoint mapper says that it is.
// Port 135 answers before everything behind it is registered.
func (d *DC) netlogon() error {
	port, err := d.endpoint(epmMap)
	if err != nil {
		return err
	}
	return d.listens(port)
}

// endpoint asks the endpoint mapper for a port.
func (d *DC) endpoint(ask []byte) (int, error) {
	c, err := d.connect(135)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	var answer []byte
	for _, request := range [][]byte{epmBind, ask} {
		if _, err := c.Write(request); err != nil {
			return 0, err
		}
		var head [16]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return 0, err
		}
		answer = make([]byte, max(0, int(binary.LittleEndian.Uint16(head[8:]))-len(head)))
		if _, err := io.ReadFull(c, answer); err != nil {
			return 0, err
		}
		if kind := head[2]; kind != 12 && kind != 2 { // bind_ack, response
			return 0, fmt.Errorf("the endpoint mapper answers with a PDU of type %d", kind)
		}
	}
	_, at, found := bytes.Cut(answer, tcpFloor)
	if !found || len(at) < 2 {
		return 0, errors.New("it is not registered")
	}
	return int(binary.BigEndian.Uint16(at)), nil
}
