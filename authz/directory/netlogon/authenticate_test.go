package netlogon

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"postern/internal/mschap"
)

// From a Samba 4.17 DC.
func TestCredential(t *testing.T) {
	hash := mschap.NTHash("Gateway-Secret-1")
	s := session{client: [8]byte(unhex(t, "83948f86f64e5930")), server: [8]byte(unhex(t, "b8f3fb5835962c73"))}
	s.derive(&hash)
	if got := s.credential(&s.client); !bytes.Equal(got[:], unhex(t, "d92af07969a5a951")) {
		t.Errorf("ours %x", got)
	}
	if got := s.credential(&s.server); !bytes.Equal(got[:], unhex(t, "e2ec4e1d642fa026")) {
		t.Errorf("the server's %x", got)
	}
}

// peer is the server's side of authenticate.
type peer struct {
	t         *testing.T
	password  string
	flags     uint32 // granted; zero: all
	challenge Status // NetrServerReqChallenge's status
	refuse    Status // of Authenticate3
	lie       bool   // a wrong credential of its own
	cut       int    // octets missing at the end of the replies
	junk      bool   // octets too many

	client [8]byte
	calls  int
}

func (p *peer) call(operation uint16, stub []byte) ([]byte, error) {
	p.calls++
	d := decoder{b: stub}
	text := func() string {
		n := d.uint32()
		d.uint32()
		if d.uint32() != n {
			p.t.Error("string's lengths differ")
		}
		raw := d.octets(2 * n)
		var s []byte
		for i := 0; i+2 < len(raw); i += 2 {
			s = append(s, raw[i])
		}
		return string(s)
	}
	if d.uint32() != 0 {
		p.t.Error("a server name was sent")
	}
	server := [8]byte{1, 2, 3, 4, 5, 6, 7, 8}
	var e encoder
	switch operation {
	case opRequestChallenge:
		if name := text(); name != "RGW" {
			p.t.Errorf("computer %q", name)
		}
		copy(p.client[:], d.octets(8))
		e.octets(server[:])
		e.uint32(uint32(p.challenge))
	case opAuthenticate3:
		if name := text(); name != "RGW$" {
			p.t.Errorf("account %q", name)
		}
		if kind := d.uint16(); kind != 2 {
			p.t.Errorf("channel type %d", kind)
		}
		if name := text(); name != "RGW" {
			p.t.Errorf("computer %q", name)
		}
		got := d.octets(8)
		wants := d.uint32()
		if wants&0x4 != 0 {
			p.t.Error("RC4 is offered")
		}
		hash := mschap.NTHash(p.password)
		s := session{client: p.client, server: server}
		s.derive(&hash)
		proof, own := s.credential(&s.client), s.credential(&s.server)
		status := p.refuse
		if !bytes.Equal(got, proof[:]) {
			status = StatusAccessDenied
		}
		if p.lie {
			own[0] ^= 1
		}
		flags := p.flags
		if flags == 0 {
			flags = wants
		}
		e.octets(own[:])
		e.uint32(flags)
		e.uint32(1105)
		e.uint32(uint32(status))
	default:
		p.t.Errorf("operation %d", operation)
	}
	if !d.done() {
		p.t.Errorf("operation %d: misshapen stub data %x", operation, stub)
	}
	if p.junk {
		e.uint32(0)
	}
	return e.b[:len(e.b)-p.cut], nil
}

func TestAuthenticate(t *testing.T) {
	const password = "Gateway-Secret-1"
	hash := mschap.NTHash(password)
	for _, c := range []struct {
		name  string
		peer  peer
		want  error
		alarm bool
	}{
		{"all is well", peer{password: password}, nil, false},
		{"wrong machine password", peer{password: "other"}, StatusAccessDenied, true},
		{"no machine account", peer{password: password, refuse: StatusNoTrustSAMAccount}, StatusNoTrustSAMAccount, true},
		{"the DC begins to start", peer{password: password, refuse: StatusNetlogonNotStarted}, StatusNetlogonNotStarted, false},
		{"RC4 only", peer{password: password, flags: 0x40004004}, errNoAES, true},
		{"AES without a sealed channel", peer{password: password, flags: 0x01004000}, errNoAES, true},
		{"an impostor", peer{password: password, lie: true}, errImpostor, true},
		{"challenge refused", peer{password: password, challenge: StatusInvalidComputerName}, StatusInvalidComputerName, true},
		{"cut off", peer{password: password, cut: 1}, errReply, false},
		{"too long", peer{password: password, junk: true}, errReply, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.peer.t = t
			s, err := authenticate(&c.peer, "RGW$", "RGW", &hash)
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if err != nil {
				if u := unavailable("dc1", "set up", err); u.Alarm != c.alarm {
					t.Errorf("%v: alarm %v", err, u.Alarm)
				}
				return
			}
			if s.flags != offered || s.key == [16]byte{} || s.client == [8]byte{} || c.peer.calls != 2 {
				t.Errorf("%+v after %d calls", s, c.peer.calls)
			}
			if s.wipe(); s.key != [16]byte{} {
				t.Error("the key is still there")
			}
		})
	}
	lost := errors.New("lost")
	if _, err := authenticate(stubCaller(func(uint16, []byte) ([]byte, error) { return nil, lost }), "RGW$", "RGW", &hash); !errors.Is(err, lost) {
		t.Error(err)
	}
}

// Each session has challenges of its own.
func TestChallengesDiffer(t *testing.T) {
	hash := mschap.NTHash("x")
	seen := map[uint64]bool{}
	for range 64 {
		s, err := authenticate(&peer{t: t, password: "x"}, "RGW$", "RGW", &hash)
		if err != nil {
			t.Fatal(err)
		}
		seen[binary.LittleEndian.Uint64(s.client[:])] = true
	}
	if len(seen) != 64 {
		t.Errorf("%d challenges of 64", len(seen))
	}
}

func TestMachineHash(t *testing.T) {
	kept := []byte("Gateway-Secret-1")
	cfg := Config{Password: func() ([]byte, error) { return kept, nil }}
	got, err := machineHash(&cfg)
	if err != nil || got != mschap.NTHash("Gateway-Secret-1") {
		t.Errorf("%x %v", got, err)
	}
	if !bytes.Equal(kept, make([]byte, len(kept))) {
		t.Error("the password is still there")
	}
	for name, f := range map[string]func() ([]byte, error){
		"unreadable": func() ([]byte, error) { return nil, errors.New("sealed with another key") },
		"empty":      func() ([]byte, error) { return nil, nil },
	} {
		_, err := machineHash(&Config{Password: f})
		if u := unavailable("dc1", "set up", err); err == nil || !u.Alarm {
			t.Errorf("%s: %v", name, u)
		}
	}
}
