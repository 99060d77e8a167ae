package proxy

import (
	"strings"
	"testing"
	"unicode/utf8"

	"layeh.com/radius/rfc2865"

	"postern/authz/directory"
	"postern/internal/radius"
)

// FuzzReply has a server say anything: b is a packet's attributes.
func FuzzReply(f *testing.F) {
	q := radius.NewRequest(radius.CodeAccessRequest, radius.NewSecret("secret"))
	u := newUpstream()
	for _, typed := range []string{"alice", "alice+123456"} {
		l := dial(typed, bareName("alice"), "Alice-Pass1")
		ask := radius.NewRequest(radius.CodeAccessRequest, radius.NewSecret("secret"))
		_ = rfc2865.UserName_AddString(ask, "alice")
		_ = radius.AddMSCHAP2Response(ask, &l.response.Challenge, &radius.MSCHAP2Response{Ident: 0x5a, PeerChallenge: l.response.PeerChallenge, NTResponse: l.response.Response})
		r := u.decide(ask)
		_ = addClass(r, "OU=Staff;", "\xff")
		b, err := r.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[radius.HeaderLen:])
	}
	for _, text := range []string{"E=691 R=1 C=00112233445566778899AABBCCDDEEFF V=3 M=no", "E=647 M=locked", "x", "E="} {
		b, _ := reject(q, 1, text).Encode()
		f.Add(b[radius.HeaderLen:])
	}
	d := &Directory{Config{Groups: GroupsClass, GroupPrefix: "OU="}}
	f.Fuzz(func(t *testing.T, b []byte) {
		n := radius.HeaderLen + len(b)
		if n > radius.MaxPacket {
			return
		}
		raw := append([]byte{byte(radius.CodeAccessAccept), 1, byte(n >> 8), byte(n), 19: 0}, b...)
		p, err := radius.Parse(raw, radius.NewSecret("secret"))
		if err != nil {
			return
		}
		for _, g := range d.groups(p) {
			if g == "" || !utf8.ValidString(g) || strings.ContainsAny(g, "\x00\n") {
				t.Errorf("group %q", g)
			}
		}
		if k, err := readKeys(p, 0x5a); err == nil && (len(k.Success) != 42 || k.Success != strings.ToUpper(k.Success) || k.Send == k.Recv) {
			t.Errorf("keys with %q", k.Success)
		}
		r := rejected(p)
		if (r.Reason == directory.AccountState) == (r.State == directory.StateUnknown) || r.Reason == directory.ReasonUnknown || r.Reason == directory.NoSuchUser {
			t.Errorf("%v %v", r.Reason, r.State)
		}
	})
}
