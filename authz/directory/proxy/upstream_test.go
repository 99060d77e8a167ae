package proxy

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"layeh.com/radius/rfc2865"

	"postern/authz/directory"
	"postern/internal/mschap"
	"postern/internal/radius"
)

// upstream is a RADIUS server that knows passwords, and has answers a real one gives
// on a bad day only. It is called over the client's in-process transport: what goes
// back and forth is encoded, signed and checked as on a wire.
type upstream struct {
	passwords map[string]string
	accept    func(r *radius.Packet) error                // adds to every Accept
	answer    func(q *radius.Packet) *radius.Packet       // in place of all that; nil: silence
	spoil     func(reply []byte, q *radius.Packet) []byte // of the encoded reply
	literal   bool                                        // the NT hash in MS-CHAP-MPPE-Keys

	mu  sync.Mutex
	got []*radius.Packet
}

func newUpstream() *upstream {
	return &upstream{passwords: map[string]string{"alice": "Alice-Pass1", `LAB\alice`: "Alice-Pass1", "alice@lab.example": "Alice-Pass1"}}
}

// ServeRADIUS implements radius.Handler.
func (u *upstream) ServeRADIUS(_ context.Context, req []byte, from radius.Peer) []byte {
	q, err := radius.ParseRequest(req, from.Secret, true)
	if err != nil || q.Code != radius.CodeAccessRequest {
		return nil
	}
	u.mu.Lock()
	u.got = append(u.got, q)
	u.mu.Unlock()
	answer := u.answer
	if answer == nil {
		answer = u.decide
	}
	r := answer(q)
	if r == nil {
		return nil
	}
	b, err := radius.EncodeReply(r, q)
	if err != nil {
		panic(err)
	}
	if u.spoil != nil {
		b = u.spoil(b, q)
	}
	return b
}

// decide is what RFC 2548 and RFC 2759 want of a server.
func (u *upstream) decide(q *radius.Packet) *radius.Packet {
	name := rfc2865.UserName_GetString(q)
	password, known := "", false
	for n, p := range u.passwords {
		if strings.EqualFold(n, name) {
			password, known = p, true
		}
	}
	nt := mschap.NTHash(password)
	hashHash := mschap.HashHash(&nt)
	r := radius.NewReply(q, radius.CodeAccessAccept)
	if c, v2, ok := radius.GetMSCHAP2Response(q); ok {
		h := mschap.ChallengeHash(&v2.PeerChallenge, &c, mschap.TrimDomain(name))
		if !known || mschap.NTResponse(h, &nt) != v2.NTResponse {
			return reject(q, v2.Ident, "E=691 R=1 C=00112233445566778899AABBCCDDEEFF V=3 M=Authentication failed")
		}
		master := mschap.MasterKey(&hashHash, &v2.NTResponse)
		send, recv := mschap.StartKeys(&master, true)
		if err := errors.Join(
			radius.AddMSCHAP2Success(r, v2.Ident, mschap.AuthenticatorResponse(&hashHash, &v2.NTResponse, h)),
			radius.AddMPPEKeys(r, &send, &recv),
		); err != nil {
			panic(err)
		}
	} else if c, v1, ok := radius.GetMSCHAPResponse(q); ok {
		if !known || v1.Flags != 1 || mschap.NTResponse(c, &nt) != v1.NTResponse {
			return reject(q, v1.Ident, "E=691 R=0")
		}
		key := hashHash
		if u.literal {
			key = nt
		}
		if err := radius.AddMSCHAPKeys(r, &key); err != nil {
			panic(err)
		}
	} else if !known || rfc2865.UserPassword_GetString(q) != password {
		return radius.NewReply(q, radius.CodeAccessReject)
	}
	if u.accept != nil {
		if err := u.accept(r); err != nil {
			panic(err)
		}
	}
	return r
}

// accepting answers everything with an Accept that fill makes.
func accepting(fill func(r *radius.Packet) error) func(q *radius.Packet) *radius.Packet {
	return func(q *radius.Packet) *radius.Packet {
		r := radius.NewReply(q, radius.CodeAccessAccept)
		if err := fill(r); err != nil {
			panic(err)
		}
		return r
	}
}

func reject(q *radius.Packet, ident byte, text string) *radius.Packet {
	r := radius.NewReply(q, radius.CodeAccessReject)
	if text != "" {
		if err := radius.AddMSCHAPError(r, ident, text); err != nil {
			panic(err)
		}
	}
	return r
}

// last is the request that came last.
func (u *upstream) last(t *testing.T) *radius.Packet {
	t.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.got) == 0 {
		t.Fatal("the upstream server was not asked")
	}
	return u.got[len(u.got)-1]
}

func (u *upstream) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.got)
}

// open makes a directory over the servers. Patience is for the machine of a test run,
// which is busy; who waits for silence does it on virtual time.
func open(t testing.TB, change func(*Config), servers ...radius.Server) directory.Directory {
	t.Helper()
	return openWith(t, radius.ClientConfig{Name: "svc1", Servers: servers, Timeout: 5 * time.Second}, change)
}

func openWith(t testing.TB, cc radius.ClientConfig, change func(*Config)) directory.Directory {
	t.Helper()
	c, err := radius.NewClient(cc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cfg := Config{Upstream: c, NAS: "svc1", AsMSCHAPv1: AsMSCHAPv1WithCode, Groups: GroupsClass}
	if change != nil {
		change(&cfg)
	}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (u *upstream) open(t testing.TB, change func(*Config)) directory.Directory {
	return open(t, change, radius.Server{Name: "up", Network: "inproc", Local: u})
}

// login is a peer's login: what was typed, and what a directory is asked.
type login struct {
	typed    string
	name     directory.Name
	password string
	response directory.MSCHAPv2
}

// dial makes the response of a peer (RFC 2759 §8).
func dial(typed string, name directory.Name, password string) *login {
	l := &login{typed: typed, name: name, password: password}
	r := &l.response
	rand.Read(r.Challenge[:])
	rand.Read(r.PeerChallenge[:])
	r.Typed, r.Ident = typed, 0x5a
	r.ChallengeHash = mschap.ChallengeHash(&r.PeerChallenge, &r.Challenge, mschap.TrimDomain(typed))
	nt := mschap.NTHash(password)
	r.Response = mschap.NTResponse(r.ChallengeHash, &nt)
	return l
}

// verify logs in as the service does: find, then verify.
func (l *login) verify(d directory.Directory) (directory.Proof, error) {
	ctx := context.Background()
	a, err := d.Find(ctx, l.name)
	if err != nil {
		return directory.Proof{}, err
	}
	return d.VerifyMSCHAPv2(ctx, l.name, a, &l.response)
}

// satisfied checks what the peer checks: S=, and that both ends have the same keys.
func (l *login) satisfied(t *testing.T, p *directory.Proof) {
	t.Helper()
	nt := mschap.NTHash(l.password)
	hashHash := mschap.HashHash(&nt)
	hh := p.HashHash
	var success string
	var send, recv [16]byte
	if k := p.Keys; k != nil {
		if hh != [16]byte{} {
			t.Errorf("%s: keys and the hash of the hash", l.typed)
		}
		success, send, recv = k.Success, k.Send, k.Recv
	} else {
		master := mschap.MasterKey(&hh, &l.response.Response)
		success = mschap.AuthenticatorResponse(&hh, &l.response.Response, l.response.ChallengeHash)
		send, recv = mschap.StartKeys(&master, true)
	}
	if want := mschap.AuthenticatorResponse(&hashHash, &l.response.Response, l.response.ChallengeHash); success != want {
		t.Errorf("%s: the peer refuses %q, it wants %q", l.typed, success, want)
	}
	master := mschap.MasterKey(&hashHash, &l.response.Response)
	peerSend, peerRecv := mschap.StartKeys(&master, false)
	if send != peerRecv || recv != peerSend {
		t.Errorf("%s: the peer's keys are others", l.typed)
	}
}

func bareName(user string) directory.Name { return directory.Name{User: user} }

func wantRejected(t *testing.T, err error, reason directory.Reason, state directory.State) directory.Rejected {
	t.Helper()
	r, no := directory.IsRejected(err)
	if !no || r.Reason != reason || r.State != state {
		t.Errorf("%v, want %v, %v", err, reason, state)
	}
	return r
}

func wantUnavailable(t *testing.T, err error, cause error) {
	t.Helper()
	var u directory.Unavailable
	if _, no := directory.IsRejected(err); no || !errors.As(err, &u) || !errors.Is(err, cause) {
		t.Errorf("%v, want %v as the cause of no answer", err, cause)
	}
}
