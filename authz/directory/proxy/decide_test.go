package proxy

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"layeh.com/radius/rfc2865"

	"postern/authz"
	"postern/authz/activation"
	"postern/authz/directory"
	"postern/authz/lockout"
	"postern/authz/mfa"
	"postern/authz/session"
	"postern/integration/freeradius"
	"postern/internal/radius"
	"postern/internal/seal"
	"postern/internal/store"
	"postern/internal/store/storetest"
	"postern/policy"
)

const testPolicy = `version: 1
pools:
  staff: [10.20.0.0/24]
rules:
  - {id: strangers, when: {source: 203.0.113.0/24}, then: deny}
  - {id: plant, when: {group: plant}, then: {permit: {factor: none, pool: staff}}}
  - {id: staff, when: {group: vpn-users}, then: {permit: {pool: staff, session_timeout: 8h}}}
`

// service is the service's decision over a realm of kind radius.
type service struct {
	*authz.Decider
	t       *testing.T
	now     time.Time
	secret  string // alice's token
	last    authz.Record
	session int
}

// Decision implements authz.Audit.
func (s *service) Decision(r *authz.Record) { s.last = *r }

func (s *service) StepUp(*authz.StepUpRecord) {}

func (s *service) Event(*lockout.Event) {}

func (s *service) SessionEnded(*authz.Ended) {}

func (s *service) SessionChanged(*authz.Changed) {}

func (s *service) SessionTold(*session.Told) {}

func (s *service) SessionReviewed(*authz.Reviewed) {}

func (s *service) PolicyChanged(*activation.Event) {}

func newService(t *testing.T, d directory.Directory) *service {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	realms, err := directory.NewRealms(directory.Realm{
		Name: "lab", Directory: d, Before: []string{"LAB"}, Behind: []string{"lab.example"}, Default: true, Suffix: "lab.example",
	})
	must(err)
	back := storetest.Embedded(t)
	ring, err := seal.ParseRing([]byte("k1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"))
	must(err)
	p, err := policy.Load("policy.yaml", []byte(testPolicy))
	must(err)
	s := &service{t: t}
	codes := mfa.New(back.Store, ring, mfa.Config{})
	s.Decider, err = authz.New(authz.Config{
		Directory: realms, Store: back.Store, Shield: lockout.New(lockout.Config{}), MFA: codes,
		Sessions: session.New(back.Store, session.Config{}), Policy: p, Audit: s,
	})
	must(err)
	clock := &store.Time{}
	must(back.Do(context.Background(), store.Seq{clock}))
	s.now = clock.Now
	e, err := codes.Enroll(context.Background(), s.now, "alice@lab.example", "phone")
	must(err)
	s.secret = e.Secret
	return s
}

// code is alice's code, steps of 30 s from now.
func (s *service) code(steps int) string {
	s.t.Helper()
	c, err := totp.GenerateCode(s.secret, s.now.Add(time.Duration(steps)*30*time.Second))
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// login decides a login by MS-CHAPv2 as a PPTP node sends it, and checks the reason.
func (s *service) login(want authz.Reason, typed, password string, source ...string) *authz.Result {
	s.t.Helper()
	s.session++
	l := dial(typed, directory.Name{}, password)
	from := "198.51.100.7"
	if len(source) > 0 {
		from = source[0]
	}
	r := &authz.Request{
		Now: s.now, NAS: authz.NAS{ID: "gw1", Addr: netip.MustParseAddr("192.0.2.10"), Type: "Virtual"}, User: typed,
		Source: netip.MustParseAddr(from), SessionID: fmt.Sprint("s", s.session), Tunnel: "PPTP", Method: authz.MethodMSCHAPv2,
	}
	r.MSCHAPv2.Ident, r.MSCHAPv2.Challenge = l.response.Ident, l.response.Challenge
	r.MSCHAPv2.PeerChallenge, r.MSCHAPv2.Response = l.response.PeerChallenge, l.response.Response
	res := s.Decide(context.Background(), r)
	if res.Reason != want {
		s.t.Errorf("%s: %v, want %v (%v)", typed, res.Reason, want, s.last.Err)
	} else if want == authz.Permitted {
		l.satisfied(s.t, &directory.Proof{Keys: &directory.Keys{Success: res.Success, Send: res.SendKey, Recv: res.RecvKey}})
	} else if res.Success != "" || res.SendKey != [16]byte{} {
		s.t.Errorf("%s: refused, with keys", typed)
	}
	return res
}

// The password is upstream's, everything else ours: second factor, lockout, policy,
// sessions, and what a refused client learns.
func TestDecision(t *testing.T) {
	u := newUpstream()
	u.passwords["plc1"], u.passwords["eve"] = "Plc1-Pass1", "Eve-Pass1"
	groups := map[string]string{"alice": "vpn-users", "plc1": "plant"}
	u.answer = func(q *radius.Packet) *radius.Packet {
		r := u.decide(q)
		if r.Code == radius.CodeAccessAccept {
			account := mfa.SplitCode(rfc2865.UserName_GetString(q), 0).Account
			if g := groups[strings.ToLower(account)]; g != "" {
				_ = addClass(r, g)
			}
		}
		return r
	}
	s := newService(t, u.open(t, nil))

	s.login(authz.CodeMissing, "alice", "Alice-Pass1")
	s.login(authz.CodeWrong, "alice+00000000", "Alice-Pass1")
	good := s.code(0)
	res := s.login(authz.Permitted, "alice+"+good, "Alice-Pass1")
	if s.last.User != "alice@lab.example" || s.last.Realm != "lab" || s.last.Rule != "staff" || !res.Grant.Addr.IsValid() || res.Grant.SessionTimeout != 8*time.Hour {
		t.Errorf("%+v %+v", s.last, res.Grant)
	}
	s.login(authz.CodeReplayed, `LAB\alice+`+good, "Alice-Pass1")
	s.login(authz.Permitted, `LAB\ALICE+`+s.code(1), "Alice-Pass1")
	s.login(authz.WrongPassword, "alice+"+s.code(1), "guess")
	s.login(authz.SourceDenied, "plc1", "Plc1-Pass1", "203.0.113.9")
	s.login(authz.Permitted, "plc1", "Plc1-Pass1")
	s.login(authz.PolicyNoMatch, "eve", "Eve-Pass1") // upstream lets her in, no group of hers may

	// Our lockout stands before upstream's, so that nobody locks accounts there.
	for range 5 {
		s.login(authz.WrongPassword, "eve", "guess")
	}
	asked := u.count()
	if s.login(authz.LockedOut, "EVE@lab.example", "Eve-Pass1"); u.count() != asked {
		t.Error("the upstream server was asked for somebody who is locked out")
	}
}

func TestDecisionStates(t *testing.T) {
	for _, row := range []struct {
		text    string
		reason  authz.Reason
		code    int
		verdict authz.Verdict
	}{
		{"E=646 R=0 V=3", authz.OutsideHours, 646, authz.Reject},
		{"E=647 R=0 V=3", authz.AccountDisabled, 647, authz.Reject},
		{"E=647 R=0 V=3 M=Account locked out", authz.AccountLocked, 691, authz.Reject},
		{"E=648 R=0 V=3", authz.PasswordExpired, 648, authz.Reject},
		{"E=649 R=0 V=3", authz.NoDialin, 649, authz.Reject},
		{"E=691 R=1 C=00112233445566778899AABBCCDDEEFF V=3", authz.WrongPassword, 691, authz.Reject},
		{"", authz.WrongPassword, 691, authz.Reject},
	} {
		u := newUpstream()
		u.answer = func(q *radius.Packet) *radius.Packet { return reject(q, 1, row.text) }
		// A refusal tells no groups, and an expired password is told to whom the policy
		// would let in: People know both.
		p := people{accounts: map[string]directory.Account{"alice": {Name: "p-alice", State: directory.Active, Groups: []string{"plant"}}}}
		s := newService(t, u.open(t, func(c *Config) { c.People = p }))
		res := s.login(row.reason, "alice", "Alice-Pass1")
		if res.ErrorCode != row.code || res.Verdict != row.verdict {
			t.Errorf("%q: %v %d, want %d", row.text, res.Verdict, res.ErrorCode, row.code)
		}
	}
	u := newUpstream()
	u.answer = func(q *radius.Packet) *radius.Packet { return radius.NewReply(q, radius.CodeAccessAccept) }
	s := newService(t, u.open(t, nil))
	if res := s.login(authz.DirectoryDown, "alice", "Alice-Pass1"); res.Verdict != authz.Silent {
		t.Errorf("an Accept without keys: %v", res.Verdict)
	}
}

// The same with FreeRADIUS, in either way of having codes verified.
func TestDecisionFreeRADIUS(t *testing.T) {
	server := freeradius.Start(t, freeradius.Options{TLS: true, KnowsCodes: true})
	for _, row := range []struct {
		form AsMSCHAPv1
		over radius.Server
	}{{AsMSCHAPv1WithCode, udp(server, 0)}, {AsMSCHAPv1Never, radsec(server)}} {
		s := newService(t, open(t, func(c *Config) { c.AsMSCHAPv1, c.GroupPrefix = row.form, "group=" }, row.over))
		password := freeradius.Password("alice")
		s.login(authz.CodeMissing, "alice", password)
		s.login(authz.WrongPassword, "alice+"+s.code(0), "guess")
		s.login(authz.Permitted, "alice+"+s.code(0), password)
		s.login(authz.CodeReplayed, "alice+"+s.code(0), password)
		s.login(authz.Permitted, `LAB\alice+`+s.code(1), password)
		s.login(authz.AccountLocked, "locked", freeradius.Password("locked"))
		s.login(authz.PolicyNoMatch, "carol", freeradius.Password("carol"))
	}
}
