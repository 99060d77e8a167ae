package cmdtest

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"

	"postern/internal/mschap"
	"postern/internal/radius"
)

// Client asks the site's service by UDP.
func (s *Site) Client(t testing.TB) *radius.Client {
	t.Helper()
	return NewClient(t, radius.Server{Name: "udp", Network: "udp", Addr: s.Auth, AcctAddr: s.Acct, Secret: radius.NewSecret(s.Secret)})
}

// NewClient asks one service until the end of the test.
func NewClient(t testing.TB, s radius.Server) *radius.Client {
	t.Helper()
	c, err := radius.NewClient(radius.ClientConfig{Name: "nas1", Servers: []radius.Server{s}, Timeout: 2 * time.Second, Retries: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Login asks for a user by MS-CHAPv2 (RFC 2759, RFC 2548 §2.3) as a node does. Name
// is as typed, code included.
func Login(t testing.TB, x radius.Exchanger, name, password, session string) (*radius.Packet, error) {
	t.Helper()
	var challenge [16]byte
	r := radius.MSCHAP2Response{Ident: 7}
	_, _ = rand.Read(challenge[:])
	_, _ = rand.Read(r.PeerChallenge[:])
	hash := mschap.NTHash(password)
	r.NTResponse = mschap.NTResponse(mschap.ChallengeHash(&r.PeerChallenge, &challenge, mschap.TrimDomain(name)), &hash)
	p := radius.NewRequest(radius.CodeAccessRequest, radius.Secret{})
	for _, err := range []error{
		rfc2865.UserName_AddString(p, name),
		rfc2865.NASIdentifier_AddString(p, "nas1"),
		rfc2865.CallingStationID_AddString(p, "192.0.2.5"),
		rfc2866.AcctSessionID_AddString(p, session),
		radius.AddMSCHAP2Response(p, &challenge, &r),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return x.Exchange(ctx, p)
}

// Expect logs in and wants this answer.
func Expect(t testing.TB, x radius.Exchanger, name, password, session string, want radius.Code) *radius.Packet {
	t.Helper()
	p, err := Login(t, x, name, password, session)
	if err != nil {
		t.Fatalf("login of %s: %v", name, err)
	}
	if p.Code != want {
		_, text, _ := radius.GetMSCHAPError(p)
		t.Fatalf("login of %s: %v %s, want %v", name, p.Code, text, want)
	}
	return p
}

// Account reports about a session that accept granted.
func Account(t testing.TB, x radius.Exchanger, accept *radius.Packet, user, session string, status rfc2866.AcctStatusType, also ...func(*radius.Packet) error) {
	t.Helper()
	p := radius.NewRequest(radius.CodeAccountingRequest, radius.Secret{})
	for _, err := range []error{
		rfc2866.AcctStatusType_Add(p, status),
		rfc2865.UserName_AddString(p, user),
		rfc2865.NASIdentifier_AddString(p, "nas1"),
		rfc2866.AcctSessionID_AddString(p, session),
		rfc2865.FramedIPAddress_Add(p, rfc2865.FramedIPAddress_Get(accept)),
		rfc2865.Class_Add(p, rfc2865.Class_Get(accept)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, add := range also {
		if err := add(p); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := x.Exchange(ctx, p); err != nil {
		t.Fatalf("accounting of %s: %v", session, err)
	}
}
