package radius

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"layeh.com/radius/rfc2865"
)

func TestQuarantine(t *testing.T) {
	const url = "https://vpn.example.org/s/AbC-1_2"
	_, reply, got := exchanged(t, CodeAccessAccept, func(p *Packet) error { return AddQuarantine(p, 5*time.Minute, url) })
	if d, u, ok := GetQuarantine(got); d != 5*time.Minute || u != url || !ok {
		t.Errorf("%v %q %v", d, u, ok)
	}
	// Filter-Id; vendor 311 type 37 with seconds; vendor 14122 type 4 with the URL.
	const want = "0b0c" + "71756172616e74696e65" +
		"1a0c" + "00000137" + "2506" + "0000012c" +
		"1a29" + "0000372a" + "0423" + "68747470733a2f2f76706e2e6578616d706c652e6f72672f732f4162432d315f32"
	if s := hex.EncodeToString(reply); !strings.HasSuffix(s, want) {
		t.Errorf("on the wire %s", s)
	}
	for _, d := range []time.Duration{1, time.Second, 1500 * time.Millisecond, math.MaxUint32 * time.Second} {
		p := NewRequest(CodeAccessRequest, testSecret)
		if err := AddQuarantine(p, d, ""); err != nil {
			t.Fatal(err)
		}
		if got, u, ok := GetQuarantine(p); !ok || u != "" || got < d || got-d >= time.Second {
			t.Errorf("%v became %v %q %v", d, got, u, ok)
		}
	}
}

func TestQuarantineRefused(t *testing.T) {
	p := NewRequest(CodeAccessRequest, testSecret)
	for _, c := range []struct {
		d   time.Duration
		url string
	}{
		{0, ""}, {-time.Second, ""}, {(math.MaxUint32 + 1) * time.Second, ""},
		{time.Minute, "https://a/ b"}, {time.Minute, "https://a/\r\nX: y"}, {time.Minute, "https://ä/"}, {time.Minute, "https://" + strings.Repeat("x", 240)},
	} {
		if err := AddQuarantine(p, c.d, c.url); !errors.Is(err, ErrValue) {
			t.Errorf("%v %q: %v", c.d, c.url, err)
		}
	}
	if len(p.Attributes) != 0 {
		t.Error("a refused quarantine was added")
	}
	seconds := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	for about, fill := range map[string]func(*Packet){
		"nothing":        func(*Packet) {},
		"the name alone": func(p *Packet) { _ = rfc2865.FilterID_AddString(p, FilterQuarantine) },
		"the time alone": func(p *Packet) { _ = addVendor(p, vendorMicrosoft, msQuarantineSessionTimeout, seconds(300)) },
		"another filter": func(p *Packet) {
			_ = rfc2865.FilterID_AddString(p, "quarantine2")
			_ = addVendor(p, vendorMicrosoft, msQuarantineSessionTimeout, seconds(300))
		},
		"no time": func(p *Packet) {
			_ = rfc2865.FilterID_AddString(p, FilterQuarantine)
			_ = addVendor(p, vendorMicrosoft, msQuarantineSessionTimeout, seconds(0))
		},
		"a time of two octets": func(p *Packet) {
			_ = rfc2865.FilterID_AddString(p, FilterQuarantine)
			_ = addVendor(p, vendorMicrosoft, msQuarantineSessionTimeout, seconds(300)[2:])
		},
	} {
		p := NewRequest(CodeAccessRequest, testSecret)
		fill(p)
		if d, u, ok := GetQuarantine(p); ok || d != 0 || u != "" {
			t.Errorf("%s: %v %q %v", about, d, u, ok)
		}
	}
	// A page that cannot be shown: held back all the same.
	p = NewRequest(CodeAccessRequest, testSecret)
	if err := AddQuarantine(p, time.Minute, ""); err != nil {
		t.Fatal(err)
	}
	_ = addVendor(p, vendorWISPr, wisprRedirectionURL, []byte("http://a/\r\nSet-Cookie: x"))
	if d, u, ok := GetQuarantine(p); !ok || d != time.Minute || u != "" {
		t.Errorf("%v %q %v", d, u, ok)
	}
}

func FuzzQuarantine(f *testing.F) {
	f.Add([]byte{0, 0, 1, 44}, []byte("https://vpn.example.org/s/x"))
	f.Add([]byte{0, 0, 0, 0}, []byte("http://a/ b"))
	f.Add([]byte{255, 255, 255, 255}, []byte{})
	f.Fuzz(func(t *testing.T, seconds, url []byte) {
		p := NewRequest(CodeAccessRequest, testSecret)
		_ = rfc2865.FilterID_AddString(p, FilterQuarantine)
		if addVendor(p, vendorMicrosoft, msQuarantineSessionTimeout, seconds) != nil || addVendor(p, vendorWISPr, wisprRedirectionURL, url) != nil {
			return
		}
		d, u, ok := GetQuarantine(p)
		if !ok {
			return
		}
		q := NewRequest(CodeAccessRequest, testSecret)
		if err := AddQuarantine(q, d, u); err != nil {
			t.Fatalf("%v %q: %v", d, u, err)
		}
		if d2, u2, ok := GetQuarantine(q); !ok || d2 != d || u2 != u {
			t.Fatalf("%v %q became %v %q", d, u, d2, u2)
		}
	})
}
