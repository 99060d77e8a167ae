package client

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/simnet"
	"postern/pptp/control"
	"postern/pptp/gre"
	"postern/pptp/mppe"
	"postern/pptp/ppp"
)

// packet is a UDP packet that is told by its number.
func packet(n, size int) []byte {
	b := make([]byte, size)
	b[0], b[8], b[9] = 0x45, ttl, 17
	binary.BigEndian.PutUint16(b[2:], uint16(size))
	binary.BigEndian.PutUint16(b[4:], uint16(n))
	copy(b[12:], []byte{10, 0, 0, 101})
	copy(b[16:], []byte{10, 0, 0, 1})
	return b
}

func number(b []byte) int { return int(binary.BigEndian.Uint16(b[4:])) }

func TestSendAndDeliver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, rules{mru: 1300})
		var got []int
		cfg := l.config()
		cfg.Deliver = func(ip []byte) { got = append(got, number(ip)) }
		s := l.dial(cfg)
		var sent []int
		for i := range 100 {
			if err := s.Send(packet(i, 20+i*12)); err != nil {
				t.Fatal(err)
			}
			sent = append(sent, i)
		}
		for _, c := range []struct {
			ip   []byte
			want error
		}{{packet(0, 1301), ErrTooBig}, {packet(0, 1300), nil}, {nil, ErrNotIPv4}, {make([]byte, 19), ErrNotIPv4}, {make([]byte, 40), ErrNotIPv4}} {
			if err := s.Send(c.ip); !errors.Is(err, c.want) {
				t.Errorf("%d octets: %v, want %v", len(c.ip), err, c.want)
			}
		}
		l.server.do(func(_ time.Time, k *serverCall) {
			for _, i := range sent {
				k.sendIP(packet(i, 1300))
			}
			k.sendIP([]byte{0x45, 0}) // nonsense inside
			k.sendIP(packet(9, 100)[:50])
		})
		pass(time.Second)
		l.server.mu.Lock()
		var arrived []int
		for _, ip := range l.server.got[:100] {
			if want := packet(number(ip), len(ip)); !slices.Equal(ip, want) {
				t.Errorf("packet %d was changed", number(ip))
			}
			arrived = append(arrived, number(ip))
		}
		if l.server.clear+l.server.dead != 0 {
			t.Errorf("server: %d in the clear, %d not opened", l.server.clear, l.server.dead)
		}
		l.server.mu.Unlock()
		if !slices.Equal(arrived, sent) || !slices.Equal(got, sent) {
			t.Errorf("server got %v\nclient got %v", arrived, got)
		}
		st := s.Stats()
		if st.OutPackets != 101 || st.OutOctets != 100*20+12*4950+1300 || st.InPackets != 100 || st.InOctets != 130000 ||
			st.BadFrames+st.Undecryptable != 2 || st.Cleartext+st.Duplicates+st.Unsent != 0 {
			t.Errorf("%+v", st)
		}
		_ = s.Close()
		if err := s.Send(packet(0, 100)); !errors.Is(err, ErrNotUp) {
			t.Errorf("send after Close: %v", err)
		}
		l.close()
	})
}

// What is turned round on the way is delivered in order, once.
func TestReorder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, rules{})
		var got []int
		cfg := l.config()
		cfg.Deliver = func(ip []byte) { got = append(got, number(ip)) }
		s := l.dial(cfg)
		l.net.SetFaults(serverAddr, clientAddr, simnet.Faults{
			Delay: 10 * time.Millisecond, Duplicate: 0.3, Reorder: 0.2, ReorderBy: 5 * time.Millisecond,
		})
		var sent []int
		for i := range 500 {
			l.server.do(func(_ time.Time, k *serverCall) { k.sendIP(packet(i, 200)) })
			sent = append(sent, i)
			pass(2 * time.Millisecond)
		}
		pass(time.Second)
		if !slices.Equal(got, sent) {
			t.Errorf("got %v", got)
		}
		if st := s.Stats(); st.Duplicates < 100 || st.Undecryptable != 0 {
			t.Errorf("%+v", st)
		}
		_ = s.Close()
		l.close()
	})
}

// A stateful session that loses packets asks for a reset and goes on.
func TestStatefulLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, rules{ccp: ppp.CCPConfig{Require: true, Allow: ppp.MPPE128, AskStateful: true}})
		got := 0
		cfg := l.config()
		cfg.MPPE.Stateful = StatefulAsk
		cfg.Deliver = func([]byte) { got++ }
		s := l.dial(cfg)
		l.net.SetFaults(netip.Addr{}, netip.Addr{}, simnet.Faults{Delay: time.Millisecond, Drop: simnet.Every(100)})
		for i := range 3000 {
			_ = s.Send(packet(i, 100))
			l.server.do(func(_ time.Time, k *serverCall) { k.sendIP(packet(i, 100)) })
			pass(5 * time.Millisecond)
		}
		pass(time.Second)
		if send, recv := s.MPPE(); send != "128-bit stateful" || recv != send {
			t.Fatalf("MPPE %s, %s", send, recv)
		}
		if n := len(l.server.got); got < 2000 || n < 2000 || got > 2999 || n > 2999 {
			t.Errorf("of 3000 packets %d and %d came through", got, n)
		}
		_ = s.Close()
		l.close()
	})
}

// Packets in the clear are dropped where there must be none.
func TestCleartext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, rules{})
		got := 0
		cfg := l.config()
		cfg.Deliver = func([]byte) { got++ }
		s := l.dial(cfg)
		l.server.do(func(_ time.Time, k *serverCall) {
			k.sendFrame(append([]byte{0, byte(ppp.ProtoIP)}, packet(1, 100)...))
			k.sendFrame([]byte{0, byte(ppp.ProtoMPPE), 0x90, 0, 1, 2, 3, 4})
			k.sendFrame([]byte{0, byte(ppp.ProtoMPPE)})
			k.sendFrame([]byte{0xFF})
		})
		pass(time.Second)
		if st := s.Stats(); got != 0 || st.Cleartext != 1 || st.Undecryptable != 2 || st.BadFrames != 1 {
			t.Errorf("%d delivered, %+v", got, st)
		}
		l.ping(s, 56)
		_ = s.Close()
		l.close()
	})
}

// Received packets are acknowledged: every eighth at once, the last soon.
func TestAcknowledgements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, rules{})
		s := l.dial(l.config())
		pass(time.Second)
		var acks []string
		start := time.Now()
		l.net.Trace(func(e simnet.Event) {
			if h, err := gre.Parse(e.Payload); e.From == clientAddr && err == nil && h.HasAck {
				acks = append(acks, time.Since(start).String())
				if h.HasSeq || len(h.Payload) != 0 {
					t.Error("an acknowledgement with a payload")
				}
			}
		})
		l.server.do(func(_ time.Time, k *serverCall) {
			for i := range 20 {
				k.sendIP(packet(i, 100))
			}
		})
		pass(time.Second)
		if want := []string{"10ms", "10ms", "110ms"}; !slices.Equal(acks, want) {
			t.Errorf("acknowledged at %v, want %v", acks, want)
		}
		l.net.Trace(nil)
		_ = s.Close()
		l.close()
	})
}

// sink is a GRE socket that swallows.
type sink struct{ last []byte }

func (*sink) ReadBatch([]gre.Message) (int, error) { return 0, net.ErrClosed }

func (c *sink) WriteBatch(ms []gre.Message) (int, error) {
	c.last = append(c.last[:0], ms[0].Buf[:ms[0].N]...)
	return len(ms), nil
}

func (*sink) Close() error { return nil }

// upSession is a session that is up and whose packets come back to the opener that
// is returned.
func upSession(tb testing.TB, deliver func([]byte)) (*Session, *sink, *mppe.Opener, *mppe.Sealer) {
	tb.Helper()
	conn := &sink{}
	h, err := NewHost(clientAddr, func(netip.Addr) (gre.Conn, error) { return &sink{}, nil })
	if err != nil {
		tb.Fatal(err)
	}
	h.work.Wait()
	h.conn, h.closed = conn, false
	c, err := Config{Server: netip.AddrPortFrom(serverAddr, 0), User: "alice", MTU: 1500, Deliver: deliver}.normal()
	if err != nil {
		tb.Fatal(err)
	}
	key := [16]byte{1, 2, 3}
	p := mppe.Params{Strength: mppe.Bits128, Stateless: true}
	near, _ := net.Pipe()
	l := &line{host: h, tcp: near, q: c.Quirk.habits()}
	l.m, _ = control.NewClient(&l.cfg, time.Now())
	s, err := h.newSession(l, c)
	if err != nil {
		tb.Fatal(err)
	}
	s.phase, s.acfc, s.peerCallID = phaseUp, true, 7
	s.sealer, s.opener = mppe.NewSealer(&key, p), mppe.NewOpener(&key, p)
	tb.Cleanup(func() { s.abandon(ErrClosed) })
	return s, conn, mppe.NewOpener(&key, p), mppe.NewSealer(&key, p)
}

// unpack opens what a session sent.
func unpack(o *mppe.Opener, b []byte) ([]byte, error) {
	h, err := gre.Parse(b)
	if err != nil {
		return nil, err
	}
	_, data, err := ppp.ParseFrame(h.Payload)
	if err != nil {
		return nil, err
	}
	plain, err := o.Open(data[mppe.HeaderLen:mppe.HeaderLen], data)
	if err != nil {
		return nil, err
	}
	_, ip, err := ppp.ParseFrame(plain)
	return ip, err
}

func TestDataPathAllocatesNothing(t *testing.T) {
	delivered := 0
	s, conn, o, far := upSession(t, func([]byte) { delivered++ })
	ip := packet(1, 1400)
	if n := testing.AllocsPerRun(1000, func() {
		if err := s.Send(ip); err != nil {
			t.Fatal(err)
		}
		if got, err := unpack(o, conn.last); err != nil || len(got) != len(ip) {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("sending: %v allocations", n)
	}
	buf := make([]byte, maxFrame)
	b := &rxBatch{ips: make([][]byte, 0, 1)}
	ms := make([]gre.Message, 1)
	seq := uint32(0)
	now := time.Now()
	if n := testing.AllocsPerRun(1000, func() {
		ms[0] = received(s, far, buf, ip, seq)
		seq++
		s.host.input(now, b, ms)
	}); n != 0 {
		t.Errorf("receiving: %v allocations", n)
	}
	if delivered != int(seq) {
		t.Errorf("%d of %d delivered: %+v", delivered, seq, s.Stats())
	}
}

// received is the packet that the server sends.
func received(s *Session, far *mppe.Sealer, buf, ip []byte, seq uint32) gre.Message {
	off := headroom
	end := off + copy(buf[off:], ip)
	off -= 2
	binary.BigEndian.PutUint16(buf[off:], uint16(ppp.ProtoIP))
	off -= mppe.HeaderLen
	far.Seal(buf[:off], buf[off+mppe.HeaderLen:end])
	off -= 2
	binary.BigEndian.PutUint16(buf[off:], uint16(ppp.ProtoMPPE))
	off = gre.Prepend(buf[:end], off, s.callID, true, seq, false, 0)
	return gre.Message{Buf: buf[off:end], N: end - off, Addr: serverAddr}
}

func BenchmarkSend(b *testing.B) {
	for _, size := range []int{64, 512, 1400} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			s, conn, o, _ := upSession(b, nil)
			ip := packet(1, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Send(ip); err != nil {
					b.Fatal(err)
				}
				if _, err := unpack(o, conn.last); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
