package pptp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"postern/internal/config"
	"postern/internal/radius"
	"postern/pptp/control"
	"postern/pptp/gre"
	"postern/pptp/mppe"
	"postern/pptp/ppp"
)

// sink is a TUN device that keeps the last packet written.
type sink struct {
	last  []byte
	count int
}

func (*sink) Name() string                                { return "sink" }
func (*sink) MTU() int                                    { return 1400 }
func (*sink) Close() error                                { return nil }
func (*sink) ReadBatch([][]byte, []int, int) (int, error) { select {} }
func (d *sink) WriteBatch(bufs [][]byte, off int) (int, error) {
	for _, b := range bufs {
		d.last = append(d.last[:0], b[off:]...)
		d.count++
	}
	return len(bufs), nil
}

// wire is a GRE socket that keeps the last packet sent.
type wire struct {
	last  []byte
	count int
}

func (*wire) ReadBatch([]gre.Message) (int, error) { select {} }
func (*wire) Close() error                         { return nil }
func (w *wire) WriteBatch(ms []gre.Message) (int, error) {
	for _, m := range ms {
		w.last = append(w.last[:0], m.Buf[:m.N]...)
		w.count++
	}
	return len(ms), nil
}

var (
	testPeer  = netip.MustParseAddr("192.0.2.7")
	testLocal = netip.MustParseAddr("192.0.2.1")
	testInner = netip.MustParseAddr("10.80.0.10")
)

const testConfig = `
node: test
pptp:
  listen: 192.0.2.1:1723
  inside: 10.80.0.1
  routes: [10.80.0.0/16]
  shards: 2
radius:
  servers: [{name: s, transport: udp, address: "127.0.0.1:1812", acct_address: "127.0.0.1:1813", secret_env: TEST_SECRET}]
spool: {dir: spool}
`

func testGateway(t testing.TB) *config.Gateway {
	t.Helper()
	cfg, err := config.ParseGateway("test.yaml", []byte(testConfig))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Spool.Dir = ""
	return cfg
}

// rig is a node with one session in the data phase, its peer's ciphers, and no
// goroutine.
type rig struct {
	node   *Node
	s      *session
	tun    *sink
	wire   *wire
	sealer *mppe.Sealer // the client's
	opener *mppe.Opener
	seq    uint32
	rx     *rxBatch
	tx     *txBatch
}

func newRig(t testing.TB, encrypt bool) *rig {
	t.Helper()
	r := &rig{tun: new(sink), wire: new(wire)}
	var x radius.Exchanger = new(radius.Client)
	n, err := New(testGateway(t), Deps{TUN: r.tun, RADIUS: x})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	c := &controlConn{node: n, peer: testPeer, local: testLocal, log: n.log, m: control.NewServer(n.ctlConfig.Load(), now)}
	s := newSession(c, r.wire, 77, now)
	id, _ := n.calls.take(now)
	s.callID, s.shard, s.log = id, n.shards[int(id)%len(n.shards)], n.log
	n.callers.enter(c.peer)
	n.calls.put(id, s)
	s.phase, s.inner, s.requireMPPE = phaseUp, testInner.As4(), encrypt
	s.grant.addr = testInner
	n.addrs.put(s.inner, s)
	s.out.open = true
	var up, down [16]byte
	up[0], down[0] = 1, 2
	p := mppe.Params{Strength: mppe.Bits128, Stateless: true}
	if encrypt {
		s.opener, s.out.sealer = mppe.NewOpener(&up, p), mppe.NewSealer(&down, p)
		r.sealer, r.opener = mppe.NewSealer(&up, p), mppe.NewOpener(&down, p)
	}
	r.node, r.s, r.rx, r.tx = n, s, newRxBatch(n), newTxBatch(n)
	return r
}

// ipPacket makes an IPv4/UDP packet of n octets.
func ipPacket(src, dst netip.Addr, n int) []byte {
	b := make([]byte, n)
	b[0], b[8], b[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(b[2:], uint16(n))
	s, d := src.As4(), dst.As4()
	copy(b[12:], s[:])
	copy(b[16:], d[:])
	for i := 20; i < n; i++ {
		b[i] = byte(i)
	}
	return b
}

// fromClient puts ip into the receive batch's next message, as a client sends it.
func (r *rig) fromClient(m *gre.Message, ip []byte, peer netip.Addr) {
	buf := m.Buf[:headroom]
	switch {
	case r.sealer != nil:
		buf = append(buf, 0xFF, 0x03, 0x00, 0xFD)
		inner := append(make([]byte, 0, maxFrame), 0x00, 0x21)
		buf = r.sealer.Seal(buf, append(inner, ip...))
	default:
		buf = append(append(buf, 0xFF, 0x03, 0x00, 0x21), ip...)
	}
	off := gre.Prepend(buf, headroom, r.s.callID, true, r.seq, false, 0)
	r.seq++
	m.N = copy(m.Buf, buf[off:])
	m.Addr = peer
}

func (r *rig) drops(d Drop) uint64 { return r.node.metrics.drops[d].Load() }

func TestDataPath(t *testing.T) {
	host := netip.MustParseAddr("10.81.0.2")
	for _, encrypt := range []bool{false, true} {
		r := newRig(t, encrypt)
		up := ipPacket(testInner, host, 700)
		r.fromClient(&r.rx.ms[0], up, testPeer)
		r.node.input(r.rx, r.rx.ms[:1])
		if !slices.Equal(r.tun.last, up) {
			t.Fatalf("encrypt %v: TUN got %x", encrypt, r.tun.last)
		}
		down := ipPacket(host, testInner, 1400)
		r.tx.sizes[0] = copy(r.tx.bufs[0][headroom:], down)
		r.tx.output(1)
		h, err := gre.Parse(r.wire.last)
		if err != nil || h.CallID != 77 || !h.HasSeq || !h.HasAck || h.Ack != 0 {
			t.Fatalf("encrypt %v: sent %+v, %v", encrypt, h, err)
		}
		proto, data, err := ppp.ParseFrame(h.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if encrypt {
			if proto != ppp.ProtoMPPE {
				t.Fatalf("sent %v", proto)
			}
			plain, err := r.opener.Open(nil, data)
			if err != nil {
				t.Fatal(err)
			}
			proto, data, _ = ppp.ParseFrame(plain)
		}
		if proto != ppp.ProtoIP || !slices.Equal(data, down) {
			t.Fatalf("encrypt %v: client got %v %x", encrypt, proto, data)
		}
		if r.s.in != (counter{700, 1}) || r.s.out.counter != (counter{1400, 1}) {
			t.Fatalf("counted %+v and %+v", r.s.in, r.s.out.counter)
		}
	}
}

// What an outsider or a dishonest client can send changes nothing but a counter.
func TestDataPathRefuses(t *testing.T) {
	host := netip.MustParseAddr("10.81.0.2")
	good := func() []byte { return ipPacket(testInner, host, 100) }
	for _, tc := range []struct {
		name string
		want Drop
		make func(r *rig, m *gre.Message)
	}{
		{"not GRE", DropMalformed, func(_ *rig, m *gre.Message) { m.N = copy(m.Buf, "hello"); m.Addr = testPeer }},
		{"unknown call", DropUnknownCall, func(r *rig, m *gre.Message) {
			r.fromClient(m, good(), testPeer)
			binary.BigEndian.PutUint16(m.Buf[6:], r.s.callID+1)
		}},
		{"wrong node", DropWrongNode, func(r *rig, m *gre.Message) {
			r.fromClient(m, good(), netip.MustParseAddr("192.0.2.8"))
			binary.BigEndian.PutUint16(m.Buf[6:], r.s.callID+1)
		}},
		{"another address guesses the call ID", DropWrongPeer, func(r *rig, m *gre.Message) {
			r.fromClient(m, good(), netip.MustParseAddr("192.0.2.8"))
		}},
		{"spoofed inner source", DropSpoofed, func(r *rig, m *gre.Message) {
			r.fromClient(m, ipPacket(host, host, 100), testPeer)
		}},
		{"IP longer than its packet", DropBadIP, func(r *rig, m *gre.Message) {
			r.sealer, r.s.opener, r.s.requireMPPE = nil, nil, false
			ip := good()
			binary.BigEndian.PutUint16(ip[2:], 101)
			r.fromClient(m, ip, testPeer)
		}},
		{"replayed ciphertext under a new number", DropUndecryptable, func(r *rig, m *gre.Message) {
			r.fromClient(m, good(), testPeer)
			r.node.input(r.rx, r.rx.ms[:1]) // opens it in place: seal the same once more
			r.tun.count = 0
			r2 := newRig(t, true)
			r2.s.callID = r.s.callID
			r2.seq = r.seq
			r2.fromClient(m, good(), testPeer)
		}},
		{"acknowledges what was never sent", DropStrayAck, func(r *rig, m *gre.Message) {
			buf := make([]byte, headroom)
			off := gre.Prepend(buf, headroom, r.s.callID, false, 0, true, 5)
			m.N, m.Addr = copy(m.Buf, buf[off:]), testPeer
		}},
		{"encrypted before CCP is open", DropCiphertext, func(r *rig, m *gre.Message) {
			r.s.opener = nil
			r.fromClient(m, good(), testPeer)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, true)
			tc.make(r, &r.rx.ms[0])
			r.node.input(r.rx, r.rx.ms[:1])
			if r.drops(tc.want) != 1 || r.tun.count != 0 {
				t.Errorf("dropped as %v: %d, passed: %d", tc.want, r.drops(tc.want), r.tun.count)
			}
			if r.s.phase != phaseUp {
				t.Errorf("the session is %v", r.s.phase)
			}
		})
	}
}

// Cleartext IP after encryption was agreed ends the session (RFC 3078 leaves it
// open; a downgrade must not).
func TestCleartextEndsTheSession(t *testing.T) {
	r := newRig(t, true)
	r.sealer = nil
	r.fromClient(&r.rx.ms[0], ipPacket(testInner, testLocal, 100), testPeer)
	r.node.input(r.rx, r.rx.ms[:1])
	if r.drops(DropCleartext) != 1 || r.s.phase != phaseClosing || r.s.cause != Cleartext || r.tun.count != 0 {
		t.Fatalf("phase %v, cause %v, passed %d", r.s.phase, r.s.cause, r.tun.count)
	}
	if r.node.addrs.find(r.s.inner) != nil {
		t.Fatal("packets to it would still be sent")
	}
}

func TestNoCleartextIsSent(t *testing.T) {
	r := newRig(t, true)
	r.s.out.sealer = nil
	r.tx.sizes[0] = copy(r.tx.bufs[0][headroom:], ipPacket(testLocal, testInner, 100))
	r.tx.output(1)
	if r.wire.count != 0 || r.drops(DropWrongPhase) != 1 {
		t.Fatalf("%d packets sent", r.wire.count)
	}
}

// A packet that is too big for the client is answered by ICMP.
func TestTooBig(t *testing.T) {
	r := newRig(t, true)
	r.s.out.mru = 600
	ip := ipPacket(netip.MustParseAddr("10.81.0.2"), testInner, 700)
	binary.BigEndian.PutUint16(ip[6:], flagDF)
	r.tx.sizes[0] = copy(r.tx.bufs[0][headroom:], ip)
	r.tx.output(1)
	got := r.tun.last
	if r.drops(DropTooBig) != 1 || len(got) < 28 || got[20] != 3 || got[21] != 4 || binary.BigEndian.Uint16(got[26:]) != 600 ||
		onesSum(got[:20]) != 0xFFFF || onesSum(got[20:]) != 0xFFFF || !slices.Equal(got[16:20], ip[12:16]) {
		t.Fatalf("answered %x", got)
	}
	for name, change := range map[string]func([]byte){
		"later fragment": func(b []byte) { b[7] = 1 },
		"ICMP error":     func(b []byte) { b[9] = protoICMP; b[20] = 3 },
		"from multicast": func(b []byte) { b[12] = 224 },
		"long header":    func(b []byte) { b[0] = 0x4F; copy(b[2:], []byte{0, 60}) },
	} {
		b := slices.Clone(ip)
		change(b)
		if name == "long header" {
			b = b[:60]
		}
		if icmpTooBig([4]byte{10, 80, 0, 1}, b, 600) != nil {
			t.Errorf("%s: answered", name)
		}
	}
}

// One that may be fragmented arrives in pieces.
func TestFragments(t *testing.T) {
	r := newRig(t, false)
	r.s.out.mru = 600
	var got []byte
	ip := ipPacket(netip.MustParseAddr("10.81.0.2"), testInner, 1400)
	conn := &collect{}
	r.s.gre = conn
	r.tx.sizes[0] = copy(r.tx.bufs[0][headroom:], ip)
	r.tx.output(1)
	for i, p := range conn.packets {
		h, err := gre.Parse(p)
		if err != nil {
			t.Fatal(err)
		}
		_, b, err := ppp.ParseFrame(h.Payload)
		if err != nil || len(b) > 600 || int(binary.BigEndian.Uint16(b[2:])) != len(b) || onesSum(b[:20]) != 0xFFFF {
			t.Fatalf("fragment %x, %v", b, err)
		}
		f := binary.BigEndian.Uint16(b[6:])
		if int(f&maskOffset)*8 != len(got) || (f&flagMF != 0) != (i < len(conn.packets)-1) {
			t.Errorf("fragment %d: offset and flags %#x after %d octets", i, f, len(got))
		}
		got = append(got, b[20:]...)
	}
	if len(conn.packets) != 3 || !slices.Equal(got, ip[20:]) {
		t.Errorf("%d fragments", len(conn.packets))
	}
	for _, bad := range [][]byte{{0x45, 19: 0}, {0x41, 30: 0}, {0x4F, 30: 0}} {
		if fragment(bad, 600, headroom) != nil {
			t.Errorf("cut %x", bad)
		}
	}
}

// collect is a GRE socket that keeps everything.
type collect struct {
	wire
	packets [][]byte
}

func (c *collect) WriteBatch(ms []gre.Message) (int, error) {
	for _, m := range ms {
		c.packets = append(c.packets, slices.Clone(m.Buf[:m.N]))
	}
	return len(ms), nil
}

func TestDataPathAllocatesNothing(t *testing.T) {
	r := newRig(t, true)
	allocatesNothing(t, r)
	if r.tun.count < 1000 || r.wire.count < 1000 {
		t.Errorf("%d in, %d out", r.tun.count, r.wire.count)
	}
}

// allocatesNothing sends a thousand packets each way.
func allocatesNothing(t *testing.T, r *rig) {
	t.Helper()
	up := ipPacket(testInner, testLocal, 1400)
	inner := append([]byte{0x00, 0x21}, up...)
	m := &r.rx.ms[0]
	m.Addr = testPeer
	down := ipPacket(testLocal, testInner, 1400)
	if n := testing.AllocsPerRun(1000, func() {
		buf := append(m.Buf[:headroom], 0xFF, 0x03, 0x00, 0xFD)
		buf = r.sealer.Seal(buf, inner)
		off := gre.Prepend(buf, headroom, r.s.callID, true, r.seq, false, 0)
		r.seq++
		m.N = copy(m.Buf, buf[off:])
		r.node.input(r.rx, r.rx.ms[:1])
		r.tx.sizes[0] = copy(r.tx.bufs[0][headroom:], down)
		r.tx.output(1)
	}); n != 0 {
		t.Errorf("%v allocations a packet each way", n)
	}
}

func BenchmarkDataPath(b *testing.B) {
	for _, n := range []int{64, 512, 1400} {
		b.Run(fmt.Sprintf("out/%d", n), func(b *testing.B) {
			r := newRig(b, true)
			ip := ipPacket(testLocal, testInner, n)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				for i := range batchSize {
					r.tx.sizes[i] = copy(r.tx.bufs[i][headroom:], ip)
				}
				r.tx.output(batchSize)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batchSize, "ns/packet")
		})
		b.Run(fmt.Sprintf("in/%d", n), func(b *testing.B) {
			r := newRig(b, true)
			ip := append([]byte{0x00, 0x21}, ipPacket(testInner, testLocal, n)...)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				for i := range r.rx.ms {
					m := &r.rx.ms[i]
					buf := r.sealer.Seal(append(m.Buf[:headroom], 0xFF, 0x03, 0x00, 0xFD), ip)
					off := gre.Prepend(buf, headroom, r.s.callID, true, r.seq, false, 0)
					r.seq++
					m.N, m.Addr = copy(m.Buf, buf[off:]), testPeer
				}
				b.StartTimer()
				r.node.input(r.rx, r.rx.ms)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batchSize, "ns/packet")
		})
	}
}
