package netlogon

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// served is a Config whose server answers every PDU with what f says, on a pipe.
func served(f func(n int, in pdu) []byte) *Config {
	return &Config{Server: "dc1", Timeout: time.Second, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			for n := 1; ; n++ {
				h := make([]byte, pduHeader)
				if _, err := io.ReadFull(server, h); err != nil {
					return
				}
				body := make([]byte, int(binary.LittleEndian.Uint16(h[pduOffLen:]))-pduHeader)
				if _, err := io.ReadFull(server, body); err != nil {
					return
				}
				in := pdu{kind: pduType(h[pduOffType]), flags: h[pduOffFlags], call: binary.LittleEndian.Uint32(h[pduOffCall:]), body: body}
				if out := f(n, in); out == nil {
					return
				} else if _, err := server.Write(out); err != nil {
					return
				}
			}
		}()
		return client, nil
	}}
}

var ackBody = []byte{
	0xb8, 0x10, 0xb8, 0x10, 1, 0, 0, 0, 4, 0, '1', '3', '5', 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
	0x04, 0x5d, 0x88, 0x8a, 0xeb, 0x1c, 0xc9, 0x11, 0x9f, 0xe8, 0x08, 0x00, 0x2b, 0x10, 0x48, 0x60, 2, 0, 0, 0,
}

func answer(in pdu, kind pduType, flags uint8, body []byte) []byte {
	p := pdu{kind: kind, flags: flags, call: in.call, body: body}
	return p.Append(nil)
}

const whole = pduFirst | pduLast

func TestPlainCall(t *testing.T) {
	none := make([]byte, 8) // alloc_hint, context, cancel_count
	cfg := served(func(n int, in pdu) []byte {
		switch {
		case in.kind == pduBind:
			if !bytes.Equal(in.body, bindBody(&samrInterface)) {
				t.Errorf("bind %x", in.body)
			}
			return answer(in, pduBindAck, whole, ackBody)
		case n == 2:
			if in.kind != pduRequest || in.flags != whole || !bytes.Equal(in.body, []byte{3, 0, 0, 0, 0, 0, 7, 0, 'a', 'b', 'c'}) {
				t.Errorf("request %+v", in)
			}
			// In two fragments, as one write and with another call's number after it.
			return append(answer(in, pduResponse, pduFirst, append(bytes.Clone(none), 'd', 'e')),
				answer(in, pduResponse, pduLast, append(bytes.Clone(none), 'f'))...)
		default:
			return answer(in, pduFault, whole, append(bytes.Clone(none), 5, 0, 0, 0, 0, 0, 0, 0))
		}
	})
	p, err := bindPlain(t.Context(), cfg, 1, &samrInterface)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if got, err := p.call(7, []byte("abc")); err != nil || string(got) != "def" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := p.call(7, nil); !errors.Is(err, faultAccessDenied) {
		t.Error(err)
	}
}

func TestPlainFails(t *testing.T) {
	ack := func(in pdu) []byte { return answer(in, pduBindAck, whole, ackBody) }
	none := make([]byte, 8)
	for _, c := range []struct {
		name string
		f    func(n int, in pdu) []byte
		bind bool // else the call
		want error
	}{
		{"hangs up", func(int, pdu) []byte { return nil }, true, io.EOF},
		{"bind refused", func(_ int, in pdu) []byte { return answer(in, pduBindNak, whole, []byte{0, 0}) }, true, errBindRefused},
		{"interface refused", func(_ int, in pdu) []byte {
			b := bytes.Clone(ackBody)
			b[20] = 2
			return answer(in, pduBindAck, whole, b)
		}, true, errBindRefused},
		{"a fault for a bind", func(_ int, in pdu) []byte { return answer(in, pduFault, whole, make([]byte, 16)) }, true, errPDUType},
		{"another call's", func(_ int, in pdu) []byte { in.call++; return ack(in) }, true, errBadPDU},
		{"LDAP", func(int, pdu) []byte { return []byte("0\x0c\x02\x01\x01a\x07\x0a\x01\x00\x04\x00\x04\x00....") }, true, errBadPDU},
		{"another call's reply", func(_ int, in pdu) []byte {
			if in.kind == pduBind {
				return ack(in)
			}
			in.call++
			return answer(in, pduResponse, whole, none)
		}, false, errBadPDU},
		{"a bind-ack for a reply", func(_ int, in pdu) []byte { return ack(in) }, false, errPDUType},
		{"a reply without end", func(_ int, in pdu) []byte {
			if in.kind == pduBind {
				return ack(in)
			}
			var all []byte
			for range 20 {
				all = append(all, answer(in, pduResponse, pduFirst, make([]byte, maxFragment-pduHeader))...)
			}
			return all
		}, false, errLongReply},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := bindPlain(t.Context(), served(c.f), 1, &mapperInterface)
			if err == nil && !c.bind {
				_, err = p.call(3, nil)
				p.close()
			}
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// A server that says nothing costs no more than the caller's time.
func TestPlainDeadline(t *testing.T) {
	for _, silent := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			block := make(chan struct{})
			cfg := served(func(n int, in pdu) []byte {
				if n == silent {
					<-block
					return nil
				}
				return answer(in, pduBindAck, whole, ackBody)
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			began := time.Now()
			_, err := cfg.port(ctx, netlogonInterface)
			if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Second {
				t.Errorf("%v after %v", err, time.Since(began))
			}
			close(block)
		})
	}
}

func TestAddresses(t *testing.T) {
	for server, want := range map[string]string{
		"dc1.lab.example": "dc1.lab.example:135", "192.0.2.1": "192.0.2.1:135", "2001:db8::1": "[2001:db8::1]:135", "fe80::1%eth0": "[fe80::1%eth0]:135",
	} {
		var got string
		cfg := Config{Server: server, Dial: func(_ context.Context, _, address string) (net.Conn, error) {
			got = address
			return nil, io.EOF
		}}
		if _, err := cfg.port(t.Context(), netlogonInterface); !errors.Is(err, io.EOF) || got != want {
			t.Errorf("%s: dialled %s: %v", server, got, err)
		}
	}
	// A configured port is NETLOGON's, not SAM's.
	cfg := Config{Port: 49152, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, io.EOF }}
	if port, err := cfg.port(t.Context(), netlogonInterface); port != 49152 || err != nil {
		t.Error(port, err)
	}
	if _, err := cfg.port(t.Context(), samrInterface); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}
