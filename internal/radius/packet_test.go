package radius

import (
	"bytes"
	"errors"
	"testing"
)

var hostilePackets = []struct {
	name, hex string
	want      error
}{
	{"nothing", "", FaultShort},
	{"19 octets", "01000014 0000000000000000000000000000 00", FaultShort},
	{"Length says 19", "01000013 00000000000000000000000000000000", FaultLength},
	{"Length says 0", "01000000 00000000000000000000000000000000", FaultLength},
	{"Length says more than came", "01000020 00000000000000000000000000000000", FaultLength},
	{"Length says 65535", "0100ffff 00000000000000000000000000000000", FaultLength},
	{"one octet of an attribute", "01000015 00000000000000000000000000000000 01", FaultAttribute},
	{"attribute of length 0", "01000016 00000000000000000000000000000000 0100", FaultAttribute},
	{"attribute of length 1", "01000016 00000000000000000000000000000000 0101", FaultAttribute},
	{"attribute over the end", "01000016 00000000000000000000000000000000 0103", FaultAttribute},
	{"attribute over Length into padding", "01000016 00000000000000000000000000000000 0103 41", FaultAttribute},
	{"empty attribute", "01000016 00000000000000000000000000000000 0102", nil},
	{"header and padding", "01000014 00000000000000000000000000000000 ffffff", nil},
	{"short Message-Authenticator", "01000017 00000000000000000000000000000000 5003 00", FaultSignature},
	{"two Message-Authenticators", "01000038 00000000000000000000000000000000" +
		"5012 00000000000000000000000000000000 5012 00000000000000000000000000000000", FaultSignature},
}

func TestHostilePackets(t *testing.T) {
	for _, c := range hostilePackets {
		b := unhex(t, c.hex)
		if _, err := Parse(b, testSecret); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		for _, require := range []bool{true, false} {
			if err := VerifyRequest(b, testSecret, require); c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%s: verified as %v, want %v", c.name, err, c.want)
			}
		}
		if err := VerifyReply(b, unhex(t, rfc2865Request), testSecret); err == nil {
			t.Errorf("%s: taken as a reply", c.name)
		}
	}
	if err := VerifyReply(unhex(t, rfc2865Accept), nil, testSecret); !errors.Is(err, FaultShort) {
		t.Errorf("a reply to nothing: %v", err)
	}
	if err := VerifyRequest(unhex(t, rfc5997Query), Secret{}, false); !errors.Is(err, FaultNoSecret) {
		t.Errorf("without a secret: %v", err)
	}
}

func TestAttributesAreBounded(t *testing.T) {
	b := unhex(t, "01000000 00000000000000000000000000000000")
	b = append(b, bytes.Repeat([]byte{1, 2}, MaxAttributes+1)...)
	b[2], b[3] = byte(len(b)>>8), byte(len(b))
	if _, err := Parse(b, testSecret); !errors.Is(err, FaultAttribute) {
		t.Errorf("%d attributes: %v", MaxAttributes+1, err)
	}
	b = b[:len(b)-2]
	b[2], b[3] = byte(len(b)>>8), byte(len(b))
	p, err := Parse(b, testSecret)
	if err != nil || len(p.Attributes) != MaxAttributes {
		t.Errorf("%d attributes: %v", MaxAttributes, err)
	}
}

// A parsed packet lives on when the datagram's buffer is used again, and adding to
// one attribute does not run into the next.
func TestParseKeepsNothingOfItsInput(t *testing.T) {
	b := unhex(t, rfc2865Request)
	p, err := Parse(b, testSecret)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	if string(p.Attributes[0].Attribute) != "nemo" {
		t.Errorf("%q", p.Attributes[0].Attribute)
	}
	_ = append(p.Attributes[0].Attribute, 0xff, 0xff)
	if p.Attributes[1].Attribute[0] != 0x0d {
		t.Error("attributes share room")
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range hostilePackets {
		f.Add(unhex(f, c.hex))
	}
	for _, s := range []string{rfc2865Request, rfc2865Accept, rfc2865CHAP, rfc2865CHAPAccept, rfc5997Query, rfc5997Reply} {
		f.Add(unhex(f, s))
	}
	request := unhex(f, rfc2865Request)
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = VerifyRequest(b, testSecret, false)
		_ = VerifyReply(b, request, testSecret)
		p, err := Parse(b, testSecret)
		if err != nil {
			return
		}
		readEverything(p)
		s, _ := Inspect(b)
		if s.Signed { // encode puts a signature of its own in the first place
			again, err := encode(p, true)
			if err != nil && errors.Is(err, ErrTooLong) {
				t.Fatal(err)
			}
			if err == nil && len(again) != s.Length {
				t.Fatalf("%d octets became %d", s.Length, len(again))
			}
			return
		}
		again, err := encode(p, false)
		if errors.Is(err, FaultAttribute) { // type 0 is read, and never written
			return
		}
		if err != nil || !bytes.Equal(again, b[:s.Length]) {
			t.Fatalf("%x became %x: %v", b[:s.Length], again, err)
		}
	})
}
