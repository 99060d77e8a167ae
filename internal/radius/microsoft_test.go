package radius

import (
	"crypto/md5"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"layeh.com/radius/rfc2865"
)

// exchange makes a request and the accept that fill built, and brings both over the
// wire.
func exchanged(t *testing.T, code Code, fill func(*Packet) error) (request, reply []byte, got *Packet) {
	t.Helper()
	q := NewRequest(CodeAccessRequest, testSecret)
	request, err := EncodeRequest(q)
	if err != nil {
		t.Fatal(err)
	}
	r := NewReply(q, code)
	if err := fill(r); err != nil {
		t.Fatal(err)
	}
	if reply, err = EncodeReply(r, q); err != nil {
		t.Fatal(err)
	}
	if got, err = ParseReply(reply, request, testSecret); err != nil {
		t.Fatal(err)
	}
	return request, reply, got
}

func TestMSCHAP2Response(t *testing.T) {
	p := NewRequest(CodeAccessRequest, testSecret)
	challenge := [16]byte{1, 2, 3}
	want := MSCHAP2Response{Ident: 9, PeerChallenge: [16]byte{4, 5, 15: 6}, NTResponse: [24]byte{7, 23: 8}}
	if carriesMSCHAP(p) {
		t.Error("an empty packet carries MS-CHAP")
	}
	if err := AddMSCHAP2Response(p, &challenge, &want); err != nil {
		t.Fatal(err)
	}
	// RFC 2548 §2.3.2: Vendor-Type 25, Vendor-Length 52, Ident, Flags, Peer-Challenge,
	// 8 reserved, Response.
	v := p.Attributes[1].Attribute
	if len(v) != 56 || v[3] != 0x37 || v[4] != 25 || v[5] != 52 || v[6] != 9 || v[8] != 4 || v[23] != 6 || v[32] != 7 || v[55] != 8 {
		t.Errorf("on the wire % x", v)
	}
	c, got, ok := GetMSCHAP2Response(p)
	if !ok || c != challenge || got != want || !carriesMSCHAP(p) {
		t.Errorf("%v %+v %v", c, got, ok)
	}
	short := NewRequest(CodeAccessRequest, testSecret)
	_ = addVendor(short, vendorMicrosoft, 11, make([]byte, 8)) // MS-CHAPv1's challenge
	_ = addVendor(short, vendorMicrosoft, msCHAP2Response, make([]byte, 50))
	if _, _, ok := GetMSCHAP2Response(short); ok {
		t.Error("a challenge of eight octets was taken")
	}
	_ = addVendor(short, vendorMicrosoft, msCHAP2Response, make([]byte, 49))
	if _, _, ok := GetMSCHAP2Response(short); ok {
		t.Error("a response of 49 octets was taken")
	}
}

func TestMSCHAPResponse(t *testing.T) {
	p := NewRequest(CodeAccessRequest, testSecret)
	challenge := [8]byte{1, 7: 2}
	want := MSCHAPResponse{Ident: 9, Flags: MSCHAPUseNT, LMResponse: [24]byte{3, 23: 4}, NTResponse: [24]byte{5, 23: 6}}
	if err := AddMSCHAPResponse(p, &challenge, &want); err != nil {
		t.Fatal(err)
	}
	// RFC 2548 §2.1.3: Vendor-Type 1, Vendor-Length 52, Ident, Flags, LM-Response,
	// NT-Response; §2.1.2: Vendor-Type 11 and the challenge.
	if v := p.Attributes[0].Attribute; len(v) != 14 || v[4] != 11 || v[5] != 10 || v[6] != 1 || v[13] != 2 {
		t.Errorf("challenge on the wire % x", v)
	}
	v := p.Attributes[1].Attribute
	if len(v) != 56 || v[4] != 1 || v[5] != 52 || v[6] != 9 || v[7] != 1 || v[8] != 3 || v[31] != 4 || v[32] != 5 || v[55] != 6 {
		t.Errorf("on the wire % x", v)
	}
	c, got, ok := GetMSCHAPResponse(p)
	if !ok || c != challenge || got != want || !carriesMSCHAP(p) {
		t.Errorf("%v %+v %v", c, got, ok)
	}
	if _, _, ok := GetMSCHAP2Response(p); ok {
		t.Error("MS-CHAPv1 was taken for MS-CHAPv2")
	}
	long := NewRequest(CodeAccessRequest, testSecret)
	_ = addVendor(long, vendorMicrosoft, msCHAPChallenge, make([]byte, 16)) // MS-CHAPv2's
	_ = addVendor(long, vendorMicrosoft, msCHAPResponse, make([]byte, 50))
	if _, _, ok := GetMSCHAPResponse(long); ok {
		t.Error("a challenge of sixteen octets was taken")
	}
	short := NewRequest(CodeAccessRequest, testSecret)
	_ = addVendor(short, vendorMicrosoft, msCHAPChallenge, make([]byte, 8))
	_ = addVendor(short, vendorMicrosoft, msCHAPResponse, make([]byte, 49))
	if _, _, ok := GetMSCHAPResponse(short); ok {
		t.Error("a response of 49 octets was taken")
	}
}

func TestMSCHAPOutcomes(t *testing.T) {
	success := "S=" + strings.Repeat("0A", 20)
	_, _, got := exchanged(t, CodeAccessAccept, func(p *Packet) error { return AddMSCHAP2Success(p, 7, success) })
	if ident, text, ok := GetMSCHAP2Success(got); !ok || ident != 7 || text != success {
		t.Errorf("%d %q %v", ident, text, ok)
	}
	const failure = "E=691 R=0 C=00000000000000000000000000000000 V=3 M=no"
	_, _, got = exchanged(t, CodeAccessReject, func(p *Packet) error { return AddMSCHAPError(p, 8, failure) })
	if ident, text, ok := GetMSCHAPError(got); !ok || ident != 8 || text != failure {
		t.Errorf("%d %q %v", ident, text, ok)
	}
	p := NewRequest(CodeAccessRequest, testSecret)
	if err := AddMSCHAP2Success(p, 1, "S=12"); !errors.Is(err, ErrValue) {
		t.Error(err)
	}
	if err := AddMSCHAPError(p, 1, strings.Repeat("x", 247)); !errors.Is(err, ErrValue) {
		t.Error(err)
	}
	if len(p.Attributes) != 0 {
		t.Error("a refused value was added")
	}
}

func TestNameServersAndClaims(t *testing.T) {
	want := NameServers{
		DNS:  []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")},
		NBNS: []netip.Addr{netip.MustParseAddr("10.0.0.3")},
	}
	_, _, got := exchanged(t, CodeAccessAccept, func(p *Packet) error {
		return errors.Join(AddNameServers(p, want), AddRASClient(p, "LAPTOP\x00", "MSRASV5.20"), AddBandwidth(p, 1e6, 2e6))
	})
	if s := GetNameServers(got); !slices.Equal(s.DNS, want.DNS) || !slices.Equal(s.NBNS, want.NBNS) {
		t.Errorf("%+v", s)
	}
	if name, version := GetRASClient(got); name != "LAPTOP" || version != "MSRASV5.20" {
		t.Errorf("%q %q", name, version)
	}
	if up, down := GetBandwidth(got); up != 1e6 || down != 2e6 {
		t.Errorf("%d %d", up, down)
	}
	p := NewRequest(CodeAccessRequest, testSecret)
	if AddNameServers(p, NameServers{DNS: make([]netip.Addr, 3)}) == nil || AddNameServers(p, NameServers{DNS: []netip.Addr{netip.IPv6Loopback()}}) == nil {
		t.Error("three servers, or IPv6")
	}
	if err := AddRASClient(p, strings.Repeat("n", 999), ""); err != nil {
		t.Error(err)
	}
	if name, _ := GetRASClient(p); len(name) != maxVendorValue {
		t.Errorf("name of %d octets", len(name))
	}
}

// reveal undoes RFC 2548 §2.4.2 with nothing but the RFC's formulas.
func reveal(salted []byte, requestAuthenticator []byte, secret string) (salt [2]byte, key []byte) {
	copy(salt[:], salted)
	var plain []byte
	previous := append(append([]byte{}, requestAuthenticator...), salted[:2]...)
	for c := salted[2:]; len(c) >= 16; c = c[16:] {
		b := md5.Sum(append([]byte(secret), previous...))
		for i := range 16 {
			plain = append(plain, b[i]^c[i])
		}
		previous = c[:16]
	}
	return salt, plain[1 : 1+plain[0]]
}

func TestMPPEKeys(t *testing.T) {
	send, recv := [16]byte{1, 15: 2}, [16]byte{3, 15: 4}
	seen := map[[2]byte]bool{}
	for range 200 {
		request, reply, got := exchanged(t, CodeAccessAccept, func(p *Packet) error {
			return errors.Join(AddMPPEKeys(p, &send, &recv), AddMPPEPolicy(p, EncryptionRequired, Encryption128))
		})
		s, r, ok := MPPEKeys(got)
		if !ok || s != send || r != recv {
			t.Fatalf("%x %x %v", s, r, ok)
		}
		if policy, types := GetMPPEPolicy(got); policy != EncryptionRequired || types != Encryption128 {
			t.Fatalf("%v %v", policy, types)
		}
		// Vendor 311, types 16 and 17, in the bytes that went over the wire.
		var salts [][2]byte
		for i := 20; i < len(reply); i += int(reply[i+1]) {
			if v := reply[i : i+int(reply[i+1])]; v[0] == 26 && (v[6] == 16 || v[6] == 17) {
				salt, key := reveal(v[8:], request[4:20], "xyzzy5461")
				if want := map[byte][16]byte{16: send, 17: recv}[v[6]]; [16]byte(key) != want {
					t.Fatalf("type %d: key %x", v[6], key)
				}
				salts = append(salts, salt)
			}
		}
		if len(salts) != 2 || salts[0] == salts[1] || salts[0][0]&0x80 == 0 || salts[1][0]&0x80 == 0 {
			t.Fatalf("salts %x", salts)
		}
		seen[salts[0]] = true
	}
	if len(seen) < 150 {
		t.Errorf("%d different salts in 200 packets", len(seen))
	}
	_, _, got := exchanged(t, CodeAccessAccept, func(p *Packet) error { return AddMPPEKeys(p, &send, &recv) })
	got.Secret = []byte("another")
	if s, r, ok := MPPEKeys(got); ok && (s == send || r == recv) {
		t.Error("keys opened under another secret")
	}
}

func TestMSCHAPKeys(t *testing.T) {
	for _, nt := range [][16]byte{{1, 15: 2}, {0, 0, 3}, {}} { // zero octets inside, too
		request, reply, got := exchanged(t, CodeAccessAccept, func(p *Packet) error { return AddMSCHAPKeys(p, &nt) })
		if lm, k, ok := MSCHAPKeys(got); !ok || k != nt || lm != [8]byte{} {
			t.Fatalf("%x %x %v, want %x", lm, k, ok, nt)
		}
		// With nothing but the formulas of RFC 2865 §5.2, from the bytes on the wire.
		for i := 20; i < len(reply); i += int(reply[i+1]) {
			if v := reply[i : i+int(reply[i+1])]; v[0] == 26 {
				if v[6] != 12 || v[7] != 34 || len(v) != 40 {
					t.Fatalf("on the wire % x", v)
				}
				b1 := md5.Sum(append([]byte("xyzzy5461"), request[4:20]...))
				b2 := md5.Sum(append([]byte("xyzzy5461"), v[8:24]...))
				var plain [32]byte
				for j := range 16 {
					plain[j], plain[16+j] = v[8+j]^b1[j], v[24+j]^b2[j]
				}
				if want := [32]byte(append(append(make([]byte, 8), nt[:]...), make([]byte, 8)...)); plain != want {
					t.Fatalf("hidden % x, want % x", plain, want)
				}
			}
		}
		got.Secret = []byte("another")
		if lm, k, ok := MSCHAPKeys(got); ok && (k == nt || lm == [8]byte{}) {
			t.Error("keys opened under another secret")
		}
		got.Secret = nil
		if _, _, ok := MSCHAPKeys(got); ok {
			t.Error("keys opened without a secret")
		}
	}
	_, _, got := exchanged(t, CodeAccessAccept, func(p *Packet) error { return addVendor(p, vendorMicrosoft, msCHAPMPPEKeys, make([]byte, 24)) })
	if _, _, ok := MSCHAPKeys(got); ok {
		t.Error("24 octets were taken for 32")
	}
}

// hostileVendor are Vendor-Specific values that must neither hang nor panic.
var hostileVendor = []string{
	"", "00", "00000137", "0000013700", "000001371a", "000001371a00", "000001371a01", "000001371a02",
	"000001371aff", "000001371a0341", "000001371a03411a00", "000001371a03411aff", "0000013710021102",
	"00000137 10 04 8000", "00000137 10 14 800000000000000000000000000000000000",
	"00000137 10 14 000000000000000000000000000000000000", "00000137 07 03 01", "00000137 1c 05 0a0000",
	"00000137 19 34", "00000137 1b 46", "00000137 1b 06 07090000", "00000137 06 06 06090001", "00000137 06 07 0609000155", "00000137 0c 02", "00000137 0c 12 00000000000000000000000000000000", "00000137 0c 22", "ffffffff 01 ff", "00003712 07 00",
}

func TestHostileVendorSpecific(t *testing.T) {
	for _, h := range hostileVendor {
		p := NewRequest(CodeAccessRequest, testSecret)
		p.Add(rfc2865.VendorSpecific_Type, unhex(t, h))
		readEverything(p)
		if _, err := EncodeRequest(p); err != nil {
			t.Errorf("%s: %v", h, err)
		}
		// What stands behind the bad one is still found.
		_ = AddMSCHAPError(p, 3, "E=691")
		if !strings.HasPrefix(strings.ReplaceAll(h, " ", ""), "000001371a") {
			if ident, _, ok := GetMSCHAPError(p); !ok || ident != 3 {
				t.Errorf("%s: hides the next attribute", h)
			}
		}
	}
}

func readEverything(p *Packet) {
	_, _, _ = GetMSCHAP2Response(p)
	_, _, _ = GetMSCHAPResponse(p)
	_, _, _ = MSCHAPKeys(p)
	_ = carriesMSCHAP(p)
	_, _, _ = GetMSCHAP2Success(p)
	_, _, _ = GetMSCHAPError(p)
	_ = GetNameServers(p)
	_, _ = GetRASClient(p)
	_, _ = GetMPPEPolicy(p)
	_, _, _ = MPPEKeys(p)
	_, _ = GetBandwidth(p)
	_, _, _ = GetQuarantine(p)
	_, _ = GetFilterRules(p)
}

func FuzzMSAttributes(f *testing.F) {
	for _, h := range hostileVendor {
		f.Add(unhex(f, h))
	}
	f.Add(changeOnTheWire(f))
	v1 := "00000137 0b 0a 0102030405060708 01 34 0901" + strings.Repeat("05", 48)
	f.Add(unhex(f, v1))
	f.Add(unhex(f, "00000137 0c 22"+strings.Repeat("07", 32)))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := NewRequest(CodeAccessRequest, testSecret)
		for len(b) > 0 {
			n := min(len(b), maxAttrValue)
			p.Add(rfc2865.VendorSpecific_Type, b[:n])
			b = b[n:]
		}
		readEverything(p)
		if c, r, ok := GetMSCHAPResponse(p); ok {
			q := NewRequest(CodeAccessRequest, testSecret)
			if err := AddMSCHAPResponse(q, &c, &r); err != nil {
				t.Fatal(err)
			}
			if c2, r2, ok := GetMSCHAPResponse(q); !ok || c2 != c || r2 != r {
				t.Fatalf("%x %+v became %x %+v", c, r, c2, r2)
			}
		}
		if _, nt, ok := MSCHAPKeys(p); ok {
			q := NewRequest(CodeAccessRequest, testSecret)
			q.Authenticator = p.Authenticator
			if err := AddMSCHAPKeys(q, &nt); err != nil {
				t.Fatal(err)
			}
			if lm, again, ok := MSCHAPKeys(q); !ok || again != nt || lm != [8]byte{} {
				t.Fatalf("%x became %x", nt, again)
			}
		}
		// What the walk finds is found again when it is written alone.
		for _, vendor := range []uint32{vendorMicrosoft, vendorWISPr} {
			for typ, v := range vendorAttributes(p, vendor) {
				q := NewRequest(CodeAccessRequest, testSecret)
				if err := addVendor(q, vendor, typ, v); err != nil {
					t.Fatal(err)
				}
				if got, ok := lookupVendor(q, vendor, typ); !ok || string(got) != string(v) {
					t.Fatalf("%d: %x became %x", typ, v, got)
				}
			}
		}
	})
}
