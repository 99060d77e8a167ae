package netlogon

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oiweiwei/go-msrpc/dcerpc"
	rpcerrors "github.com/oiweiwei/go-msrpc/dcerpc/errors"
	"github.com/oiweiwei/go-msrpc/msrpc/dtyp"
	logon "github.com/oiweiwei/go-msrpc/msrpc/nrpc/logon/v1"
	"github.com/oiweiwei/go-msrpc/ndr"
)

func domainID() *dtyp.SID {
	return &dtyp.SID{
		Revision: 1, SubAuthorityCount: 4, IDAuthority: &dtyp.SIDIDAuthority{Value: []byte{0, 0, 0, 0, 0, 5}},
		SubAuthority: []uint32{21, 1, 2, 4294967295},
	}
}

func info() *logon.ValidationSAMInfo4 {
	return &logon.ValidationSAMInfo4{
		EffectiveName: text("alice"), LogonDomainName: text("LAB"), DNSLogonDomainName: text("lab.example"), LogonDomainID: domainID(),
		UserID: 1104, PrimaryGroupID: 513, UserFlags: 0x20, UserAccountControl: 0x10,
		GroupIDs: []*logon.GroupMembership{{RelativeID: 513, Attributes: 7}, {RelativeID: 1121, Attributes: 7}, {RelativeID: 1122, Attributes: 0x10}, nil},
		ExtraSIDs: []*logon.SIDAndAttributes{
			{SID: &dtyp.SID{Revision: 1, SubAuthorityCount: 1, IDAuthority: &dtyp.SIDIDAuthority{Value: []byte{0, 0, 0, 0, 0, 18}}, SubAuthority: []uint32{1}}, Attributes: 7},
			{SID: domainID(), Attributes: 0},
		},
		PasswordMustChange: &logon.OldLargeInteger{LowPart: 0xD53E8000, HighPart: 0x019DB1DE}, // 1 January 1970
		UserSessionKey:     &logon.UserSessionKey{Data: []*logon.CypherBlock{{Data: []byte{1, 2, 3, 4, 5, 6, 7, 8}}, {Data: []byte{9, 10, 11, 12, 13, 14, 15, 16}}}},
	}
}

func TestLogonOf(t *testing.T) {
	in := info()
	l, err := logonOf(in)
	if err != nil {
		t.Fatal(err)
	}
	if l.User != "alice" || l.Domain != "LAB" || l.DNS != "lab.example" || l.SID != "S-1-5-21-1-2-4294967295-1104" || l.Flags != 0x20 || l.Control != 0x10 {
		t.Errorf("%v %q %x %x", l, l.DNS, l.Flags, l.Control)
	}
	// Groups that are not enabled (deny only) give nothing.
	if want := []string{"S-1-5-21-1-2-4294967295-513", "S-1-5-21-1-2-4294967295-1121", "S-1-18-1"}; !slices.Equal(l.Groups, want) {
		t.Errorf("%q", l.Groups)
	}
	if l.HashHash != [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16} {
		t.Error("key")
	}
	forget(in)
	forget(&logon.ValidationSAMInfo4{})
	forget(&logon.ValidationSAMInfo4{UserSessionKey: &logon.UserSessionKey{Data: []*logon.CypherBlock{nil}}})
	for _, b := range in.UserSessionKey.Data {
		if !slices.Equal(b.Data, make([]byte, 8)) {
			t.Error("the key is still in the reply")
		}
	}
	if err := l.check(); err != nil {
		t.Error(err)
	}
	for name, edit := range map[string]func(*logon.ValidationSAMInfo4){
		"no domain":      func(i *logon.ValidationSAMInfo4) { i.LogonDomainID = nil },
		"revision 2":     func(i *logon.ValidationSAMInfo4) { i.LogonDomainID.Revision = 2 },
		"no authority":   func(i *logon.ValidationSAMInfo4) { i.LogonDomainID.IDAuthority = nil },
		"no extra SID":   func(i *logon.ValidationSAMInfo4) { i.ExtraSIDs[0].SID = nil },
		"no key":         func(i *logon.ValidationSAMInfo4) { i.UserSessionKey = nil },
		"half a key":     func(i *logon.ValidationSAMInfo4) { i.UserSessionKey.Data = i.UserSessionKey.Data[:1] },
		"a key of holes": func(i *logon.ValidationSAMInfo4) { i.UserSessionKey.Data[1] = nil },
		"a short block":  func(i *logon.ValidationSAMInfo4) { i.UserSessionKey.Data[1].Data = []byte{1} },
	} {
		bad := info()
		edit(bad)
		if l, err := logonOf(bad); !errors.Is(err, errReply) || l != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSID(t *testing.T) {
	s := domainID()
	s.IDAuthority.Value = []byte{1, 0, 0, 0, 0, 5}
	if got, err := sid(s); err != nil || got != "S-1-0x010000000005-21-1-2-4294967295" {
		t.Errorf("%s %v", got, err)
	}
}

func TestFiletime(t *testing.T) {
	for _, c := range []struct {
		in   *logon.OldLargeInteger
		want time.Time
	}{
		{nil, time.Time{}},
		{&logon.OldLargeInteger{}, time.Time{}},
		{&logon.OldLargeInteger{LowPart: 0xffffffff, HighPart: 0x7fffffff}, time.Time{}},
		{&logon.OldLargeInteger{LowPart: 0, HighPart: -0x80000000}, time.Time{}},
		{&logon.OldLargeInteger{LowPart: 0xD53E8000, HighPart: 0x019DB1DE}, time.Unix(0, 0)},
		{&logon.OldLargeInteger{LowPart: 0xD53E8001, HighPart: 0x019DB1DE}, time.Unix(0, 100)},
		{&logon.OldLargeInteger{LowPart: 1}, time.Date(1601, 1, 1, 0, 0, 0, 100, time.UTC)},
	} {
		if got := filetime(c.in); !got.Equal(c.want) {
			t.Errorf("%+v: %v, want %v", c.in, got, c.want)
		}
	}
}

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		in, want error
		alarm    bool
	}{
		{&rpcerrors.RPCError{Code: 0x1C010002}, faultNoCall, false},
		{&rpcerrors.Error{Value: uint32(5)}, faultAccessDenied, true},
		{&rpcerrors.Error{Value: uint32(0x721)}, faultSecurity, false},
		{&rpcerrors.Error{Value: "x"}, &rpcerrors.Error{}, false},
		{io.EOF, io.EOF, false},
	} {
		got := explain(c.in)
		if u := unavailable("dc1", "x", got); u.Alarm != c.alarm {
			t.Errorf("%v: alarm %v", got, u.Alarm)
		}
		if f := fault(0); errors.As(c.want, &f) && !errors.Is(got, f) || f == 0 && !errors.Is(got, c.in) {
			t.Errorf("%v, want %v", got, c.want)
		}
	}
}

func TestGuarded(t *testing.T) {
	err := guarded(func() error {
		b := bytes.Repeat([]byte{1}, time.Now().Minute())
		_ = b[len(b)]
		return nil
	})
	if !errors.Is(err, errPanic) {
		t.Error(err)
	}
	if err := guarded(func() error { return io.EOF }); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

// go-msrpc's bind against servers of every kind: it ends, and with an error.
func TestSealFails(t *testing.T) {
	for name, f := range map[string]func(n int, in pdu) []byte{
		"hangs up":           func(int, pdu) []byte { return nil },
		"refuses":            func(_ int, in pdu) []byte { return answer(in, pduBindNak, whole, []byte{0, 0}) },
		"fault":              func(_ int, in pdu) []byte { return answer(in, pduFault, whole, make([]byte, 16)) },
		"no token":           func(_ int, in pdu) []byte { return answer(in, pduBindAck, whole, ackBody) },
		"a token of nothing": func(_ int, in pdu) []byte { return sealedAck(in, nil) },
		"a token too long":   func(_ int, in pdu) []byte { return sealedAck(in, make([]byte, 100)) },
		"no results":         func(_ int, in pdu) []byte { return answer(in, pduBindAck, whole, ackBody[:20]) },
		"shutdown":           func(_ int, in pdu) []byte { return answer(in, pduShutdown, whole, nil) },
		"LDAP":               func(int, pdu) []byte { return []byte("0\x0c\x02\x01\x01a\x07\x0a\x01\x00\x04\x00\x04\x00....") },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := served(f)
			cfg.Machine, cfg.Domain = "RGW$", "LAB"
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			c, err := seal(ctx, cfg, 1, new([16]byte), &session{flags: offered})
			if err == nil {
				c.close()
				t.Fatal("bound")
			}
			t.Log(err)
			if ctx.Err() != nil {
				t.Errorf("only the deadline ended it: %v", err)
			}
		})
	}
	until(t, "go-msrpc's goroutines end", dcerpcGone)
}

// A server that does bind, and then answers calls with nonsense.
func TestSealedNonsense(t *testing.T) {
	ok := []byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	none := make([]byte, 8)
	for name, f := range map[string]func(in pdu) []byte{
		"hangs up":            func(pdu) []byte { return nil },
		"in the clear":        func(in pdu) []byte { return answer(in, pduResponse, whole, make([]byte, 64)) },
		"a token of nothing":  func(in pdu) []byte { return withToken(in, pduResponse, make([]byte, 64), nil) },
		"a wrong token":       func(in pdu) []byte { return withToken(in, pduResponse, make([]byte, 64), make([]byte, 56)) },
		"a token and no body": func(in pdu) []byte { return withToken(in, pduResponse, none, make([]byte, 56)) },
		"fault":               func(in pdu) []byte { return answer(in, pduFault, whole, append(none, 0x21, 7, 0, 0, 0, 0, 0, 0)) },
		"fault of nothing":    func(in pdu) []byte { return answer(in, pduFault, whole, make([]byte, 16)) },
		"a status in a fault": func(in pdu) []byte { return answer(in, pduFault, whole, append(none, 0x6a, 0, 0, 0xc0, 0, 0, 0, 0)) },
		"bind-ack":            func(in pdu) []byte { return answer(in, pduBindAck, whole, ackBody) },
		"another's":           func(in pdu) []byte { in.call++; return answer(in, pduResponse, whole, make([]byte, 64)) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := served(func(n int, in pdu) []byte {
				if n == 1 {
					return sealedAck(in, ok)
				}
				return f(in)
			})
			cfg.Machine, cfg.Domain = "RGW$", "LAB"
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			c, err := seal(ctx, cfg, 1, new([16]byte), &session{flags: offered})
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			l, err := c.logon(ctx, alice())
			var s Status
			if l != nil || err == nil || errors.As(err, &s) || errors.Is(err, errUnsent) {
				t.Errorf("%v, %v", l, err)
			}
			t.Log(err)
		})
	}
	until(t, "go-msrpc's goroutines end", dcerpcGone)
}

// Whoever is on the way may write whatever is not protected. go-msrpc verifies the
// signatures of responses alone, and reads the body of any PDU for the reply.
func TestForgedLogon(t *testing.T) {
	stub, err := ndr.Marshal(&logon.SAMLogonExResponse{
		ValidationLevel:       logon.ValidationInfoClassSAMInfo4,
		ValidationInformation: &logon.Validation{Value: &logon.Validation_SAM4{ValidationSAM4: info()}},
		Authoritative:         1,
	})
	if err != nil {
		t.Fatal(err)
	}
	size := []byte{byte(len(stub)), byte(len(stub) >> 8), 0, 0}
	token := make([]byte, 56)
	for name, f := range map[string]func(in pdu) []byte{
		"response without a token": func(in pdu) []byte {
			return answer(in, pduResponse, whole, slices.Concat(size, make([]byte, 4), stub))
		},
		"response": func(in pdu) []byte {
			return withToken(in, pduResponse, slices.Concat(size, make([]byte, 4), stub), token)
		},
		"fault": func(in pdu) []byte {
			return withToken(in, pduFault, slices.Concat(size, make([]byte, 12), stub), token)
		},
		"bind-ack": func(in pdu) []byte { return withToken(in, pduBindAck, slices.Concat(ackBody, stub), token) },
		"alter-context response": func(in pdu) []byte {
			return withToken(in, pduAlterAck, slices.Concat(ackBody, stub), token)
		},
		"shutdown": func(in pdu) []byte { return withToken(in, pduShutdown, stub, token) },
		"bind-nak": func(in pdu) []byte { return withToken(in, pduBindNak, slices.Concat(make([]byte, 3), stub), token) },
	} {
		cfg := served(func(n int, in pdu) []byte {
			if n == 1 {
				return sealedAck(in, []byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
			}
			return f(in)
		})
		cfg.Machine, cfg.Domain = "RGW$", "LAB"
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		c, err := seal(ctx, cfg, 1, new([16]byte), &session{flags: offered})
		if err != nil {
			t.Fatal(err)
		}
		l, err := c.logon(ctx, alice())
		if l != nil || err == nil {
			t.Errorf("%s: a stranger is let in as %v", name, l)
		}
		if ctx.Err() != nil {
			t.Errorf("%s: only the deadline ended it", name)
		}
		t.Log(name, err)
		c.close()
		cancel()
	}
}

func dcerpcGone() bool { return !strings.Contains(stacks(), "go-msrpc") }

func withToken(in pdu, kind pduType, body, token []byte) []byte {
	p := pdu{kind: kind, flags: whole, call: in.call, body: body, auth: append([]byte{0x44, 6, 0, 0, 1, 0, 0, 0}, token...)}
	return p.Append(nil)
}

// sealedAck accepts a bind, with the token of MS-NRPC §2.2.1.3.1.
func sealedAck(in pdu, token []byte) []byte { return withToken(in, pduBindAck, ackBody, token) }

// The given connection is used, whatever address is asked for.
func TestGiven(t *testing.T) {
	a, _ := net.Pipe()
	w := newWire(a)
	var d dcerpc.Dialer = given{w}
	if c, err := d.DialContext(t.Context(), "tcp", "anything"); err != nil || c != net.Conn(w) {
		t.Error(c, err)
	}
}

// What a server sends ends a bind or a call, and nothing else: a panic on one of
// go-msrpc's goroutines would end the service.
func FuzzSealed(f *testing.F) {
	ok := []byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	f.Add(byte(pduBindAck), byte(whole), ackBody, ok, byte(pduResponse), byte(whole), make([]byte, 40), make([]byte, 56))
	f.Add(byte(pduBindAck), byte(whole), ackBody, ok, byte(pduResponse), byte(pduFirst), make([]byte, 8), make([]byte, 32))
	f.Add(byte(pduBindAck), byte(whole), ackBody, ok, byte(pduFault), byte(whole), append(make([]byte, 8), 5, 0, 0, 0, 0, 0, 0, 0), make([]byte, 56))
	f.Add(byte(pduAlterAck), byte(whole), ackBody, ok, byte(pduShutdown), byte(whole), []byte{}, []byte{})
	f.Add(byte(pduBindNak), byte(whole), []byte{0, 0, 1, 5, 0}, []byte{}, byte(pduResponse), byte(0), []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, kind1, flags1 byte, body1, token1 []byte, kind2, flags2 byte, body2, token2 []byte) {
		if len(body1)+len(token1) > maxFragment-pduHeader-pduTrailer || len(body2)+len(token2) > maxFragment-pduHeader-pduTrailer {
			return
		}
		reply := func(in pdu, kind, flags byte, body, token []byte) []byte {
			p := pdu{kind: pduType(kind), flags: flags, call: in.call, body: body}
			if len(token) > 0 {
				p.auth = append([]byte{0x44, 6, 0, 0, 1, 0, 0, 0}, token...)
			}
			return p.Append(nil)
		}
		cfg := served(func(n int, in pdu) []byte {
			if n == 1 {
				return reply(in, kind1, flags1, body1, token1)
			}
			return append(reply(in, kind2, flags2, body2, token2), reply(in, kind2, whole, body2, token2)...)
		})
		cfg.Machine, cfg.Domain = "RGW$", "LAB"
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		c, err := seal(ctx, cfg, 1, new([16]byte), &session{flags: offered})
		if err != nil {
			return
		}
		defer c.close()
		if l, err := c.logon(ctx, alice()); l != nil || err == nil {
			t.Errorf("let in as %v", l)
		}
	})
}
