package control

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

func TestMalformed(t *testing.T) { golden(t, "malformed.txt") }

// TestType checks the numbers of RFC 2637 §2 by their names.
func TestType(t *testing.T) {
	enum(t, TypeSetLinkInfo,
		"Start-Control-Connection-Request", "Start-Control-Connection-Reply",
		"Stop-Control-Connection-Request", "Stop-Control-Connection-Reply",
		"Echo-Request", "Echo-Reply",
		"Outgoing-Call-Request", "Outgoing-Call-Reply",
		"Incoming-Call-Request", "Incoming-Call-Reply", "Incoming-Call-Connected",
		"Call-Clear-Request", "Call-Disconnect-Notify",
		"WAN-Error-Notify", "Set-Link-Info")
	if TypeSetLinkInfo != 15 {
		t.Errorf("the last type is %d, want 15", TypeSetLinkInfo)
	}
}

// TestSizes compares the sizes that follow from our offsets with those that
// RFC 2637 §2.1 to §2.15 write down.
func TestSizes(t *testing.T) {
	rfc := []uint8{0, 156, 156, 16, 16, 16, 20, 168, 32, 220, 24, 28, 16, 148, 40, 24}
	if !reflect.DeepEqual(typeSizes[:], rfc) {
		t.Errorf("sizes %v, RFC 2637 says %v", typeSizes, rfc)
	}
	if maxMessage != 220 {
		t.Errorf("longest message %d, want 220", maxMessage)
	}
}

// TestParseEarly: every prefix of a good message asks for more, and every
// prefix that holds a wrong octet fails, whatever is still to come.
func TestParseEarly(t *testing.T) {
	good := OutgoingCallRequest{CallID: 1}.Append(nil)
	for n := range good {
		if _, _, err := Parse(good[:n]); !errors.Is(err, ErrShort) {
			t.Errorf("%d octets: %v, want %v", n, err, ErrShort)
		}
	}
	for at, want := range map[int]error{1: ErrLength, 3: ErrKind, 7: ErrMagic, 9: ErrLength} {
		bad := bytes.Clone(good[:at+1])
		bad[at] += 2
		if at == 1 {
			bad[0] = 0xff
		}
		if _, _, err := Parse(bad); !errors.Is(err, want) {
			t.Errorf("octet %d wrong: %v, want %v", at, err, want)
		}
	}
}

// FuzzParse: what is accepted is encoded again to a message that reads the
// same, and encodes to the same octets from then on.
func FuzzParse(f *testing.F) {
	seed(f, func(b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, b []byte) {
		m, n, err := Parse(b)
		if m == nil {
			if err == nil || n != 0 {
				t.Fatalf("no message, %d octets, error %v", n, err)
			}
			return
		}
		if err != nil && !errors.Is(err, ErrValue) {
			t.Fatalf("message with %v", err)
		}
		if n < headerSize || n > len(b) || n > maxMessage {
			t.Fatalf("%d octets taken of %d", n, len(b))
		}
		once := m.Append(nil)
		again, k, err := Parse(once)
		if err != nil || k != n || len(once) != n {
			t.Fatalf("encoded again: %d octets for %d, read %d, error %v", len(once), n, k, err)
		}
		if !reflect.DeepEqual(m, again) {
			t.Fatalf("reads as %+v, and encoded again as %+v", m, again)
		}
		if twice := again.Append(nil); !bytes.Equal(once, twice) {
			t.Fatalf("encodes to %x and then to %x", once, twice)
		}
	})
}

// TestParseCopies: but for Unknown.Body, a message outlives its buffer.
func TestParseCopies(t *testing.T) {
	b := StartRequest{Version: Version, Identity: Identity{HostName: "host"}}.Append(nil)
	m, _, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	if got, ok := m.(StartRequest); !ok || got.HostName != "host" {
		t.Errorf("after the buffer was cleared: %+v", m)
	}
}

// TestAppendCuts: text that does not fit its field is cut, never spilt.
func TestAppendCuts(t *testing.T) {
	long := string(bytes.Repeat([]byte("x"), 300))
	for _, m := range []Message{
		StartRequest{Identity: Identity{HostName: long, Vendor: long}},
		OutgoingCallRequest{Phone: long, Subaddress: long},
		IncomingCallRequest{Dialed: long, Dialing: long, Subaddress: long},
		CallDisconnectNotify{Statistics: long},
		Unknown{Code: 99, Body: []byte(long)},
	} {
		b := m.Append(nil)
		if _, n, err := Parse(b); err != nil || n != len(b) {
			t.Errorf("%s: %d of %d octets read, %v", m.Type(), n, len(b), err)
		}
	}
}
