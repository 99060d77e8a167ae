package ppp

import (
	"bytes"
	"net/netip"
	"testing"
	"time"
)

// The machines' fuzz targets take a script: a byte that chooses what happens, and for
// a packet a length octet and its octets. The seeds are the golden packets.
const (
	playPacket = iota
	playOwnAck
	playOwnNak
	playTimeout
	playLowerDown
	playLowerUp
	playClose
	playKinds
)

func script(packets ...[]byte) (out []byte) {
	for _, p := range packets {
		if len(p) < 256 {
			out = append(append(out, playPacket, byte(len(p))), p...)
		}
	}
	return out
}

func addScripts(f *testing.F, p Proto) {
	all := seeds(f, p)
	if len(all) == 0 {
		f.Fatal("no seeds")
	}
	for _, b := range all {
		f.Add(script(b))
		f.Add(append([]byte{playOwnAck}, script(b, b)...))
		f.Add(append(script(b), playTimeout, playTimeout, playLowerDown, playLowerUp, playClose))
	}
	f.Add(script(all...))
	f.Add(append([]byte{playOwnNak, 1}, script(all...)...))
}

// play runs a script against a machine and checks what must hold after each input:
// few packets, each of them well formed and not longer than what came in allows; a
// deadline only where the automaton has one; and no more than a bounded number of
// timeouts until it rests.
func play(t *testing.T, m machine, b []byte) {
	now := epoch
	last := start(m, now)
	check := func(s Step, in int) {
		if len(s.Send) > 3 || len(s.Events) > 5 {
			t.Fatalf("for one input: %s", reading(s))
		}
		for _, p := range s.Send {
			q, err := parsePacket(p.Data)
			if err != nil || len(p.Data) != packetHeader+len(q.data) {
				t.Fatalf("sent %x: %v", p.Data, err)
			}
			if q.code >= CodeConfigureRequest && q.code <= CodeConfigureReject {
				if err := checkOptions(q.data); err != nil {
					t.Fatalf("sent %s: %v", p, err)
				}
			}
			if len(p.Data) > max(in, minMRU)+packetHeader {
				t.Fatalf("%d octets for %d: %s", len(p.Data), in, p)
			}
		}
		if s.Err != nil && (len(s.Send) > 0 || len(s.Events) > 0) {
			t.Fatalf("an error and an answer: %s", reading(s))
		}
		if int(m.State()) >= numStates {
			t.Fatalf("state %d", m.State())
		}
		if _, ok := ownRequest(s); ok {
			last = s
		}
	}
	take := func() byte {
		if len(b) == 0 {
			return 0
		}
		x := b[0]
		b = b[1:]
		return x
	}
	for len(b) > 0 {
		now = now.Add(50 * time.Millisecond)
		switch take() % playKinds {
		case playPacket:
			n := min(int(take()), len(b))
			in := b[:n:n]
			before := bytes.Clone(in)
			check(m.Input(now, in), n)
			if !bytes.Equal(in, before) {
				t.Fatal("the input was written to")
			}
			b = b[n:]
		case playOwnAck:
			if q, ok := ownRequest(last); ok {
				check(m.Input(now, ctl(CodeConfigureAck, q.id, q.data)), len(q.data))
			}
		case playOwnNak:
			if q, ok := ownRequest(last); ok {
				code := CodeConfigureNak + Code(take()%2)
				n := min(int(take()), len(b))
				check(m.Input(now, ctl(code, q.id, b[:n])), n)
				b = b[n:]
			}
		case playTimeout:
			if d := m.Deadline(); !d.IsZero() {
				now = later(now, d)
				check(m.Timeout(now), 0)
			}
		case playLowerDown:
			check(m.LowerDown(now), 0)
		case playLowerUp:
			check(m.LowerUp(now), 0)
		case playClose:
			check(m.Close(now, "fuzz"), 0)
		}
	}
	// Left alone, it rests: echoes die, requests run out.
	for range maxRequests + 20 {
		d := m.Deadline()
		if d.IsZero() {
			return
		}
		check(m.Timeout(later(now, d)), 0)
	}
	t.Fatalf("never rests in %s", m.State())
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func FuzzLCP(f *testing.F) {
	addScripts(f, ProtoLCP)
	f.Fuzz(func(t *testing.T, b []byte) {
		play(t, NewLCP(LCPConfig{MRU: 1400, ACCM: true, PFC: true, ACFC: true, Demand: []Auth{AuthEAP, AuthMSCHAPv2}, Magic: fixed(1), EchoInterval: time.Second}), b)
		play(t, NewLCP(LCPConfig{AskCallback: true, Accept: []Auth{AuthMSCHAPv2}, Magic: fixed(1)}), b)
	})
}

func FuzzCCP(f *testing.F) {
	addScripts(f, ProtoCCP)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, cfg := range []CCPConfig{
			{Require: true, Allow: MPPE128},
			{Require: true, Allow: MPPE128 | MPPE56 | MPPE40, AskStateful: true},
			{Allow: MPPE128, Quirk: QuirkHOnly},
			{},
		} {
			c := NewCCP(cfg)
			play(t, c, b)
			if r := c.Results(); c.State() == Opened && (r.SendBits&^(cfg.Allow|MPPEStateless) != 0 || cfg.Require && r.SendBits == 0) {
				t.Fatalf("open with %s under %+v", r.SendBits, cfg)
			}
		}
	})
}

func FuzzIPCP(f *testing.F) {
	addScripts(f, ProtoIPCP)
	f.Fuzz(func(t *testing.T, b []byte) {
		i := serverIPCP()
		play(t, i, b)
		if r := i.Results(); i.State() == Opened && (r.Peer != addrClient || r.Local != addrServer) {
			t.Fatalf("open with %+v", r)
		}
		i = NewIPCP(IPCPConfig{Client: true, WantDNS: true, WantNBNS: true, Local: netip.MustParseAddr("10.0.0.9")})
		play(t, i, b)
	})
}

// FuzzOptions: what the option parser accepts is written back the same.
func FuzzOptions(f *testing.F) {
	for _, p := range []Proto{ProtoLCP, ProtoCCP, ProtoIPCP} {
		for _, b := range seeds(f, p) {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := parsePacket(b); err == nil {
			if out := p.Append(nil); !bytes.Equal(out, b[:len(out)]) {
				t.Fatalf("%x becomes %x", b, out)
			}
		}
		var out []byte
		for o := range options(b) {
			out = o.Append(out)
		}
		if checkOptions(b) == nil && !bytes.Equal(out, b) || !bytes.HasPrefix(b, out) {
			t.Fatalf("%x becomes %x", b, out)
		}
	})
}
