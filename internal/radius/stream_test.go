package radius

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func TestStream(t *testing.T) {
	var wire bytes.Buffer
	first, second := unhex(t, rfc2865Request), unhex(t, rfc5997Query)
	for _, b := range [][]byte{first, second} {
		if err := WritePacket(&wire, b); err != nil {
			t.Fatal(err)
		}
	}
	r, buf := iotest.OneByteReader(&wire), make([]byte, MaxPacket)
	for _, want := range [][]byte{first, second} {
		if got, err := ReadPacket(r, buf); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%x, %v", got, err)
		}
	}
	if _, err := ReadPacket(r, buf); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func TestStreamRefuses(t *testing.T) {
	buf := make([]byte, MaxPacket)
	for name, c := range map[string]struct {
		hex  string
		want error
	}{
		"Length 19":      {"01000013", FaultLength},
		"Length 4097":    {"01001001", FaultLength},
		"a cut header":   {"0100", io.ErrUnexpectedEOF},
		"no body":        {"01000014", io.ErrUnexpectedEOF},
		"a cut packet":   {"01000014 0000", io.ErrUnexpectedEOF},
		"nothing at all": {"", io.EOF},
	} {
		if _, err := ReadPacket(bytes.NewReader(unhex(t, c.hex)), buf); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := ReadPacket(bytes.NewReader(unhex(t, rfc2865Request)), make([]byte, 20)); !errors.Is(err, io.ErrShortBuffer) {
		t.Errorf("a small buffer: %v", err)
	}
	for _, h := range []string{"", "01000014", "01000015 00000000000000000000000000000000"} {
		if err := WritePacket(io.Discard, unhex(t, h)); !errors.Is(err, FaultLength) {
			t.Errorf("written %q: %v", h, err)
		}
	}
}

func FuzzReadPacket(f *testing.F) {
	for _, h := range []string{rfc2865Request, rfc5997Query, rfc2865Request + rfc5997Query, "01000013", "01001001", "01000014 0000", ""} {
		f.Add(unhex(f, h))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, buf := bytes.NewReader(b), make([]byte, MaxPacket)
		var again bytes.Buffer
		for {
			p, err := ReadPacket(r, buf)
			if err != nil {
				if errors.Is(err, io.EOF) && again.Len() != len(b) {
					t.Fatalf("the stream of %d octets ended cleanly after %d", len(b), again.Len())
				}
				break
			}
			if err := WritePacket(&again, p); err != nil {
				t.Fatalf("read %x and would not write it: %v", p, err)
			}
		}
		if !bytes.HasPrefix(b, again.Bytes()) {
			t.Fatalf("%x became %x", b, again.Bytes())
		}
	})
}
