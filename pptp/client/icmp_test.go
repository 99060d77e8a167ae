package client

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// golden is an echo request with eight octets of data, its checksums from elsewhere.
const golden = "45000024 00010000 40016673 0a000065 0a000001 0800 d9ba 1234 0001 0001020304050607"

func goldenEcho(t testing.TB) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(golden, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEcho(t *testing.T) {
	want := echo{src: [4]byte{10, 0, 0, 101}, dst: [4]byte{10, 0, 0, 1}, id: 0x1234, seq: 1, data: []byte{0, 1, 2, 3, 4, 5, 6, 7}}
	b := goldenEcho(t)
	e, ok := parseEcho(b)
	if !ok || e.src != want.src || e.dst != want.dst || e.id != want.id || e.seq != want.seq || e.reply || !bytes.Equal(e.data, want.data) {
		t.Fatalf("read %+v, %v", e, ok)
	}
	if got := want.Append([]byte("x")); !bytes.Equal(got[1:], b) {
		t.Errorf("wrote %x\nwant  %x", got[1:], b)
	}
	options := append([]byte{0x46}, b[1:20]...) // one word of options
	options = append(append(options, 1, 1, 1, 0), b[20:]...)
	if e, ok := parseEcho(options); !ok || e.seq != 1 {
		t.Error("options are not skipped")
	}
	for i, change := range []func([]byte) []byte{
		func(b []byte) []byte { return b[:27] },
		func(b []byte) []byte { return nil },
		func(b []byte) []byte { b[0] = 0x65; return b },
		func(b []byte) []byte { b[0] = 0x44; return b },
		func(b []byte) []byte { b[0] = 0x4F; return b },
		func(b []byte) []byte { b[6] = 0x20; return b }, // more fragments
		func(b []byte) []byte { b[7] = 1; return b },    // a later fragment
		func(b []byte) []byte { b[9] = 17; return b },
		func(b []byte) []byte { b[20] = 3; return b },
		func(b []byte) []byte { b[21] = 1; return b },
		func(b []byte) []byte { b[35] ^= 1; return b }, // checksum
	} {
		if e, ok := parseEcho(change(goldenEcho(t))); ok {
			t.Errorf("change %d passes: %+v", i, e)
		}
	}
}

// What is read and written again is the same echo.
func FuzzParseEcho(f *testing.F) {
	f.Add(goldenEcho(f))
	f.Add(echo{reply: true, data: make([]byte, 56)}.Append(nil))
	f.Add([]byte{0x4F, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, ok := parseEcho(b)
		if !ok {
			return
		}
		again, ok := parseEcho(e.Append(nil))
		if !ok || again.src != e.src || again.dst != e.dst || again.reply != e.reply || again.id != e.id || again.seq != e.seq ||
			!bytes.Equal(again.data, e.data) {
			t.Errorf("%+v became %+v", e, again)
		}
	})
}
