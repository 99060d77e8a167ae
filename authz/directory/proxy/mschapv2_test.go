package proxy

import (
	"errors"
	"strings"
	"testing"

	"layeh.com/radius/rfc2865"
	"layeh.com/radius/vendors/microsoft"

	"postern/authz/directory"
	"postern/internal/mschap"
	"postern/internal/radius"
)

func TestVerifyMSCHAPv2(t *testing.T) {
	u := newUpstream()
	d := u.open(t, nil)
	for _, n := range []struct {
		typed string
		name  directory.Name
	}{
		{"alice", bareName("alice")},
		{"ALICE", bareName("ALICE")},
		{`LAB\alice`, directory.Name{User: "alice", Realm: "LAB", Down: true}},
		{"alice@lab.example", directory.Name{User: "alice", Realm: "lab.example"}},
	} {
		l := dial(n.typed, n.name, "Alice-Pass1")
		proof, err := l.verify(d)
		if err != nil {
			t.Errorf("%s: %v", n.typed, err)
			continue
		}
		if proof.Keys == nil {
			t.Errorf("%s: no keys", n.typed)
		}
		l.satisfied(t, &proof)

		q := u.last(t)
		c, r, ok := radius.GetMSCHAP2Response(q)
		if !ok || c != l.response.Challenge || r.Ident != 0x5a || r.PeerChallenge != l.response.PeerChallenge || r.NTResponse != l.response.Response {
			t.Errorf("%s: sent %+v", n.typed, r)
		}
		if rfc2865.UserName_GetString(q) != n.typed || rfc2865.NASIdentifier_GetString(q) != "svc1" ||
			rfc2865.NASPortType_Get(q) != rfc2865.NASPortType_Value_Virtual ||
			rfc2865.ServiceType_Get(q) != rfc2865.ServiceType_Value_FramedUser || rfc2865.FramedProtocol_Get(q) != rfc2865.FramedProtocol_Value_PPP {
			t.Errorf("%s: sent %+v", n.typed, q)
		}
	}
	_, err := dial("alice", bareName("alice"), "guess").verify(d)
	r := wantRejected(t, err, directory.WrongPassword, directory.StateUnknown)
	if !strings.Contains(r.Detail, "691") || strings.Contains(r.Detail, "00112233") {
		t.Errorf("detail %q: the code, and never the challenge", r.Detail)
	}
	_, err = dial("", bareName(""), "x").verify(d)
	wantRejected(t, err, directory.NoSuchUser, directory.StateUnknown)
	long := strings.Repeat("a", 254)
	_, err = dial(long, bareName(long), "x").verify(d)
	wantRejected(t, err, directory.NoSuchUser, directory.StateUnknown)
}

// TestForm has a row for each setting and form of a name: what the server is asked.
func TestForm(t *testing.T) {
	upn, down := directory.Name{User: "alice", Realm: "lab.example"}, directory.Name{User: "alice", Realm: "LAB", Down: true}
	for _, row := range []struct {
		setting AsMSCHAPv1
		typed   string
		name    directory.Name
		v1      bool
		asked   string
	}{
		{AsMSCHAPv1Never, "alice", bareName("alice"), false, "alice"},
		{AsMSCHAPv1Never, "alice+123456", bareName("alice"), false, "alice+123456"},
		{AsMSCHAPv1WithCode, "alice", bareName("alice"), false, "alice"},
		{AsMSCHAPv1WithCode, "alice+123456", bareName("alice"), true, "alice"},
		{AsMSCHAPv1WithCode, "ALICE+123456", bareName("ALICE"), true, "ALICE"},
		{AsMSCHAPv1WithCode, `LAB\alice`, down, false, `LAB\alice`},
		{AsMSCHAPv1WithCode, `LAB\alice+123456`, down, true, `LAB\alice`},
		{AsMSCHAPv1WithCode, "alice@lab.example", upn, false, "alice@lab.example"},
		{AsMSCHAPv1WithCode, "alice+123456@lab.example", upn, true, "alice@lab.example"},
		{AsMSCHAPv1WithCode, "alice@lab.example+123456", upn, true, "alice@lab.example"},
		{AsMSCHAPv1Always, "alice", bareName("alice"), true, "alice"},
		{AsMSCHAPv1Always, "alice+123456", bareName("alice"), true, "alice"},
	} {
		u := newUpstream()
		u.passwords["alice+123456"] = "Alice-Pass1" // a server that knows of codes
		d := u.open(t, func(c *Config) { c.AsMSCHAPv1 = row.setting })
		l := dial(row.typed, row.name, "Alice-Pass1")
		proof, err := l.verify(d)
		if err != nil {
			t.Errorf("%v %s: %v", row.setting, row.typed, err)
			continue
		}
		l.satisfied(t, &proof)
		q := u.last(t)
		challenge, r, v1 := radius.GetMSCHAPResponse(q)
		if v1 != row.v1 || rfc2865.UserName_GetString(q) != row.asked {
			t.Errorf("%v %s: asked %q, v1 %v", row.setting, row.typed, rfc2865.UserName_GetString(q), v1)
		}
		if v1 && (challenge != l.response.ChallengeHash || r.Flags != 1 || r.Ident != 0x5a || r.LMResponse != [24]byte{} || r.NTResponse != l.response.Response) {
			t.Errorf("%v %s: sent %+v", row.setting, row.typed, r)
		}
	}
}

// A server that takes RFC 2548 §2.4.1 at its word sends the NT hash.
func TestNTKeyToTheLetter(t *testing.T) {
	u := newUpstream()
	u.literal = true
	l := dial("alice+123456", bareName("alice"), "Alice-Pass1")
	proof, err := l.verify(u.open(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	l.satisfied(t, &proof)
}

func TestWrongPasswordWithCode(t *testing.T) {
	_, err := dial("alice+123456", bareName("alice"), "guess").verify(newUpstream().open(t, nil))
	wantRejected(t, err, directory.WrongPassword, directory.StateUnknown)
}

// An Access-Accept that lacks a piece proves nothing, and refuses nobody either.
func TestIncompleteAccepts(t *testing.T) {
	const ident = 0x5a
	one, two, none := [16]byte{1}, [16]byte{2}, [16]byte{}
	success := "S=" + strings.Repeat("0A", 20)
	rows := []struct {
		about string
		typed string
		fill  func(r *radius.Packet) error
		want  error
	}{
		{"complete", "alice", func(r *radius.Packet) error {
			return errors.Join(radius.AddMSCHAP2Success(r, ident, success), radius.AddMPPEKeys(r, &one, &two))
		}, nil},
		{"empty", "alice", func(*radius.Packet) error { return nil }, errNoSuccess},
		{"no success", "alice", func(r *radius.Packet) error { return radius.AddMPPEKeys(r, &one, &two) }, errNoSuccess},
		{"another's success", "alice", func(r *radius.Packet) error {
			return errors.Join(radius.AddMSCHAP2Success(r, ident+1, success), radius.AddMPPEKeys(r, &one, &two))
		}, errNoSuccess},
		{"no digits", "alice", func(r *radius.Packet) error {
			return errors.Join(radius.AddMSCHAP2Success(r, ident, "S="+strings.Repeat("0G", 20)), radius.AddMPPEKeys(r, &one, &two))
		}, errNoSuccess},
		{"short success", "alice", func(r *radius.Packet) error {
			return errors.Join(microsoft.MSCHAP2Success_Add(r, append([]byte{ident}, success[:41]...)), radius.AddMPPEKeys(r, &one, &two))
		}, errNoSuccess},
		{"no keys", "alice", func(r *radius.Packet) error { return radius.AddMSCHAP2Success(r, ident, success) }, errNoKeys},
		{"one key", "alice", func(r *radius.Packet) error {
			return errors.Join(radius.AddMSCHAP2Success(r, ident, success), microsoft.MSMPPESendKey_Add(r, one[:]))
		}, errNoKeys},
		{"short keys", "alice", func(r *radius.Packet) error {
			return errors.Join(radius.AddMSCHAP2Success(r, ident, success), microsoft.MSMPPESendKey_Add(r, one[:8]), microsoft.MSMPPERecvKey_Add(r, two[:8]))
		}, errNoKeys},
		{"one key twice", "alice", func(r *radius.Packet) error {
			return errors.Join(radius.AddMSCHAP2Success(r, ident, success), radius.AddMPPEKeys(r, &none, &none))
		}, errNoKeys},
		{"MS-CHAPv1's keys", "alice", func(r *radius.Packet) error { return radius.AddMSCHAPKeys(r, &one) }, errNoSuccess},

		{"complete", "alice+123456", func(r *radius.Packet) error { return radius.AddMSCHAPKeys(r, &one) }, nil},
		{"empty", "alice+123456", func(*radius.Packet) error { return nil }, errNoV1Keys},
		{"zeros", "alice+123456", func(r *radius.Packet) error { return radius.AddMSCHAPKeys(r, &none) }, errNoV1Keys},
		{"short", "alice+123456", func(r *radius.Packet) error {
			r.Add(rfc2865.VendorSpecific_Type, append([]byte{0, 0, 1, 55, 12, 26}, make([]byte, 24)...))
			return nil
		}, errNoV1Keys},
		{"under another authenticator", "alice+123456", func(r *radius.Packet) error {
			own := r.Authenticator
			defer func() { r.Authenticator = own }()
			r.Authenticator[0] ^= 1
			return radius.AddMSCHAPKeys(r, &one)
		}, errSpoiltV1},
		{"MS-CHAPv2's keys", "alice+123456", func(r *radius.Packet) error {
			return errors.Join(radius.AddMSCHAP2Success(r, ident, success), radius.AddMPPEKeys(r, &one, &two))
		}, errNoV1Keys},
	}
	for _, row := range rows {
		u := newUpstream()
		u.answer = accepting(row.fill)
		proof, err := dial(row.typed, bareName("alice"), "Alice-Pass1").verify(u.open(t, nil))
		if row.want == nil {
			if err != nil {
				t.Errorf("%s, %s: %v", row.typed, row.about, err)
			}
			continue
		}
		if proof.Keys != nil || proof.HashHash != [16]byte{} {
			t.Errorf("%s, %s: a proof", row.typed, row.about)
		}
		t.Logf("%s, %s:", row.typed, row.about)
		wantUnavailable(t, err, row.want)
	}
}

// Servers that print the digits small are understood; peers would not be.
func TestSuccessInCapitals(t *testing.T) {
	u := newUpstream()
	u.answer = func(q *radius.Packet) *radius.Packet {
		r := u.decide(q)
		nt := mschap.NTHash("Alice-Pass1")
		hh := mschap.HashHash(&nt)
		c, v2, _ := radius.GetMSCHAP2Response(q)
		s := mschap.AuthenticatorResponse(&hh, &v2.NTResponse, mschap.ChallengeHash(&v2.PeerChallenge, &c, "alice"))
		small := radius.NewReply(q, r.Code)
		if err := radius.AddMSCHAP2Success(small, v2.Ident, "S="+strings.ToLower(s[2:])); err != nil {
			t.Error(err)
		}
		small.Attributes = append(small.Attributes, r.Attributes[1:]...)
		return small
	}
	l := dial("alice", bareName("alice"), "Alice-Pass1")
	proof, err := l.verify(u.open(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	l.satisfied(t, &proof)
}
